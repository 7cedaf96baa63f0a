"""Imports presidio-analyzer without its engines for trained models: torch, transformers and spaCy.

No recognizer used here needs them. Left alone, the first two cost each command and each worker 5 CPU seconds and 300 MB
as soon as the `train` extra is installed, and spaCy 0.6 CPU seconds of the 1.4 that are left. torch and transformers
are out of sight for the length of one import and can be imported afterwards as usual. For presidio's engines, and for
the classes of spaCy that it names in annotations, stand-ins take their place, and load the real ones when somebody
uses them. Import this module before any other that imports presidio.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any


class _StandIn:
    """Stands for a class whose module is not loaded: to call it, derive from it or look into it loads the module."""

    def __init__(self, module: str, name: str):
        self._names = (module, name)

    def _real(self) -> Any:
        module, name = self._names
        return getattr(importlib.import_module(module), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._real()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._real())


class _Later(ModuleType):
    """A module that only has stand-ins."""

    def __init__(self, name: str):
        super().__init__(name)
        self.__path__ = []  # a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn(self.__name__, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds spaCy and presidio's engines as modules of stand-ins."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        engine = name.startswith("presidio_analyzer.nlp_engine.") and name.endswith("_nlp_engine")
        return importlib.machinery.ModuleSpec(name, self) if engine or name.partition(".")[0] == "spacy" else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _import_presidio() -> None:
    hidden = [name for name in ("torch", "transformers") if name not in sys.modules]
    finder = _Finder()
    before = set(sys.modules)
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    if "spacy" not in sys.modules:
        sys.meta_path.insert(0, finder)
    try:
        import presidio_analyzer
    except Exception:  # a version that does more with them at import than stand-ins can: all of it, then
        if finder not in sys.meta_path:
            raise
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("presidio_analyzer", "spacy"):
                del sys.modules[name]
        import presidio_analyzer  # noqa: F401
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        for name in [*hidden, *(name for name, module in sys.modules.items() if isinstance(module, _Later))]:
            del sys.modules[name]


if "presidio_analyzer" not in sys.modules:
    _import_presidio()
