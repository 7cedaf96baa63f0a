"""What language labels mean: codes, macrolanguages, scripts and relatives, all as data in `lists/languages.toml`.

Labels end as `iso639-3_Script` (ISO 639-3, ISO 15924), the inventory of FineWeb-2 and GlotLID v3, whatever a model or a
source writes: `de`, `zh`, `zho_Hans`, `arb_Arab`. Macrolanguages fold into the member that stands for them.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LISTS = Path(__file__).parent / "lists"
LABEL = re.compile(r"[a-z]{3}(_[A-Z][a-z]{3})?")
NO_LANGUAGE = frozenset({"und", "zxx", "mul", "mis"})


@dataclass(frozen=True, slots=True)
class ModelLabel:
    """A model's label in our terms: the language, the scripts it may stand for, or none when it is no language."""

    language: str
    scripts: tuple[str, ...]


def model_label(raw: str) -> ModelLabel:
    """Meaning of a model's label: `de`, `als`, `deu_Latn`, `zho_Hans`, with or without `__label__`."""
    data = languages()
    code, script = _parts(raw)
    if not script:
        code = data["wikipedia"].get(code, code)
    code, script = _folded(code, script)
    if code in NO_LANGUAGE:
        return ModelLabel("und", ())
    if code in data["by_script"] and script:
        return ModelLabel(data["by_script"][code].get(script, code), (script,))
    if code in data["by_script"]:
        code = next(iter(data["by_script"][code].values()))
    return ModelLabel(code, (script,) if script else tuple(data["scripts"].get(code, ["Latn"])))


def given_label(fields: Mapping[str, Any]) -> str | None:
    """The label a document brings along (`de`, `en-US`, `zho_Hans`, `__label__deu_Latn`) as `deu_Latn` or `deu`; None
    when it has none or an unintelligible one."""
    language, script = fields.get("language"), fields.get("language_script")
    if not isinstance(language, str):
        return None
    code, own = _parts(language)
    code, script = _folded(code, own or (script.title() if isinstance(script, str) else ""))
    if code in languages()["by_script"] and script:
        code = languages()["by_script"][code].get(script, code)
    label = f"{code}_{script}" if script else code
    return label if LABEL.fullmatch(label) and code not in NO_LANGUAGE else None


def related(one: str, other: str) -> bool:
    """Whether two ISO 639-3 codes are the same language or ones that models take for one another."""
    data = languages()
    one, other = data["fold"].get(one, one), data["fold"].get(other, other)
    return one == other or any(one in group and other in group for group in data["related"].values())


def _parts(raw: str) -> tuple[str, str]:
    """Code and script of a label; regions and variants (`en-US`, `apc_Arab_nort3139`) are left out."""
    code, *rest = re.split("[-_]", raw.removeprefix("__label__"))
    return code.lower(), next((part.title() for part in rest if len(part) == 4 and part.isalpha()), "")


def _folded(code: str, script: str) -> tuple[str, str]:
    data = languages()
    code = data["iso639_1"].get(code, code)
    return data["fold"].get(code, code), data["fold_script"].get(script, script)


@functools.cache
def languages() -> dict[str, Any]:
    """The tables of `lists/languages.toml`."""
    return tomllib.loads((LISTS / "languages.toml").read_text(encoding="utf-8"))
