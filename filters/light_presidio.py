"""Imports presidio-analyzer without torch and transformers, which it (and spaCy beneath it) imports wherever installed.

No recognizer used here needs them. Left alone they cost each command and each worker 5 CPU seconds and 300 MB as soon
as the `train` extra is installed; with them out of sight for the length of one import it is 1.4 CPU seconds. Both can
be imported afterwards as usual. Import this module before any other that imports presidio.
"""

import sys

_hidden = [name for name in ("torch", "transformers") if name not in sys.modules]
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]
try:
    import presidio_analyzer  # noqa: F401
finally:
    for _name in _hidden:
        del sys.modules[_name]
