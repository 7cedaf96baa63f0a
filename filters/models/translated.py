"""Portuguese comments, labelled by people, put into Spanish, Italian and French by rule-based translation (Apertium).

No labelled comments in Spanish and Italian were to be had. Between Romance languages a rule-based translator keeps
word order, register and most insults, which from English it does not: 10 to 20% of the words stay English there. On
the translated development rows the model gains .06 to .08 AUROC from the translated training rows. Needs the Debian
packages `apertium apertium-es-pt apertium-spa-ita apertium-fr-es`; 9,000 comments take a minute of one core.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

STEPS = {"spa_Latn": ("pt-es",), "ita_Latn": ("pt-es", "spa-ita"), "fra_Latn": ("pt-es", "es-fr")}
LINES_PER_CALL = 500
_END = "¶"  # a sign of its own line: translators join and split lines
_FORMAT = re.compile(r"[\[\]{}^$/\\@<>*]+")  # signs with a meaning in Apertium's stream format


def translations(texts: Sequence[str]) -> dict[str, list[str]]:
    """Language label -> translations of Portuguese texts, in order.

    Raises:
        RuntimeError: Apertium is not installed, or lost a line.
    """
    if not shutil.which("apertium"):
        raise RuntimeError(
            "apertium is not installed; run `apt-get install apertium apertium-es-pt apertium-spa-ita apertium-fr-es`, "
            "or give --untranslated for a model without these rows"
        )
    clean = [_FORMAT.sub(" ", text.lower()).replace("\n", " ").replace(_END, " ") for text in texts]
    done: dict[tuple[str, ...], list[str]] = {(): clean}
    for steps in STEPS.values():
        for count in range(1, len(steps) + 1):
            if steps[:count] not in done:
                done[steps[:count]] = _through(done[steps[: count - 1]], steps[count - 1])
    return {language: done[steps] for language, steps in STEPS.items()}


def _through(texts: Sequence[str], pair: str) -> list[str]:
    found: list[str] = []
    for first in range(0, len(texts), LINES_PER_CALL):
        part = texts[first : first + LINES_PER_CALL]
        lines = "".join(f"{text} {_END}\n" for text in part)
        run = subprocess.run(["apertium", "-u", pair], input=lines, capture_output=True, text=True, check=False)
        pieces = [piece.strip() for piece in run.stdout.split(_END)][:-1]
        if run.returncode or len(pieces) != len(part):
            raise RuntimeError(f"apertium {pair}: {len(part)} lines in, {len(pieces)} out. {run.stderr.strip()[:200]}")
        found += pieces
    return found
