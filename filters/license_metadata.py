"""Licences in package metadata: `package.json`, `PKG-INFO`, `pyproject.toml`, `Cargo.toml`, `pom.xml`, gemspecs, cards.

The format is told by the content, since a document of a corpus seldom has a file name. Each format has a field in which
the package names its licence, and only that field is read: `package.json` holds a `license` for each of its
dependencies too. An SPDX expression is taken before free text, free text before classifiers. `UNLICENSED` (npm's word
for "no licence") and proprietary classifiers restrict.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from filters.license_finding import Finding, granted, reserved
from filters.license_named import name_in
from filters.license_policy import canonical

_MAX_CHARS = 400_000
_CLASSIFIER = re.compile(r"License :: [A-Za-z0-9 ():/.,+&-]{2,120}")
_GEMSPEC = re.compile(r"Gem::Specification\.new")
_GEM_LICENSE = re.compile(
    r"\.licen[sc]es?\s*=\s*(\[[^\]\n]{0,200}\]|\"[^\"\n]{0,100}\"|'[^'\n]{0,100}'|%w[\[(][^\])\n]{0,200})"
)
_QUOTED = re.compile(r"[\"']([^\"']+)[\"']")
_POM = re.compile(r"<licenses>(.{0,4000}?)</licenses>", re.DOTALL)
_POM_NAME = re.compile(r"<name>\s*([^<]{2,120}?)\s*</name>")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(.{0,20000}?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_CARD_LICENSE = re.compile(
    r"^licen[sc]e:[ \t]*(?:([^\s#\[][^\n#]{0,80})|\[([^\]\n]{0,200})\]|((?:\n[ \t]*-[ \t]+[^\n]{1,60})+))", re.MULTILINE
)


def metadata_marks(content: str) -> list[Finding]:
    """The licence that a package's metadata names, as one mark; none when the content is no metadata."""
    start = content[:2_000].lstrip()
    fields: list[tuple[str, list[str]]]
    if start.startswith("{"):
        fields = list(_json_fields(content))
    elif start.startswith("Metadata-Version:"):
        fields = list(_header_fields(content))
    elif re.search(r"^\[(?:project|package|tool\.poetry)\]", content[:_MAX_CHARS], re.MULTILINE):
        fields = list(_toml_fields(content))
    elif start.startswith("<") and "<project" in start:
        fields = [("all", _POM_NAME.findall(block[1])) for block in _POM.finditer(content[:_MAX_CHARS])][:1]
    elif _GEMSPEC.search(content[:5_000]) and (gem := _GEM_LICENSE.search(content[:_MAX_CHARS])):
        fields = [("all", _QUOTED.findall(gem[1]) or re.findall(r"[^\s%w\[(]\S*", gem[1]))]
    else:
        fields = []
    for kind, values in fields:
        if mark := _mark(content, kind, [value.strip() for value in values if value and value.strip()]):
            return [mark]
    return []


def card_marks(content: str) -> list[Finding]:
    """The licence in the front matter of a README, where model and data set cards have theirs."""
    front = _FRONT_MATTER.match(content)
    if not front or not (found := _CARD_LICENSE.search(front[1])):
        return []
    value = found[1] or found[2] or found[3] or ""
    names = [name.strip(" -\"'") for name in re.split(r"[,\n]", value) if name.strip(" -\"'")]
    mark = _mark(content, "all", names)
    return [mark] if mark else []


def _mark(content: str, kind: str, values: list[str]) -> Finding | None:
    if not values:
        return None
    place = max(0, content.find(values[0]))
    end = place + len(values[0])
    if kind == "classifiers":
        values = [value for value in values if value != "License :: OSI Approved"]
        if any("Proprietary" in value for value in values):
            return reserved("proprietary", place, end, 0.9, "package-metadata")
        values = [value.rsplit(" :: ", 1)[-1] for value in values]
    if values == ["UNLICENSED"]:
        return reserved("proprietary", place, end, 0.95, "package-metadata")
    names = [name_in(value[:300]) for value in values]
    if not names or not all(names):
        return None
    # Several classifiers do not say whether they are alternatives; a list of licences neither: all apply.
    expression = canonical(" AND ".join(f"({name})" for name in names))
    return granted(expression, "package-metadata", place, end, 0.9)


def _json_fields(content: str) -> Iterator[tuple[str, list[str]]]:
    if len(content) > _MAX_CHARS:
        return
    try:
        package = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(package, dict) or not isinstance(package.get("name"), str):
        return
    for key in ("license", "licence", "licenses"):
        value = package.get(key)
        parts = value if isinstance(value, list) else [value]
        yield "all", [text for part in parts if (text := _text_of(part))]


def _text_of(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("type") or value.get("name") or value.get("text")
    return value if isinstance(value, str) else None


def _header_fields(content: str) -> Iterator[tuple[str, list[str]]]:
    head = re.split(r"\n[ \t]*\n", content[:_MAX_CHARS], maxsplit=1)[0]
    for key in ("License-Expression", "License"):
        yield "all", re.findall(rf"^{key}:[ \t]*([^\n]+)$", head, re.MULTILINE)[:1]
    yield "classifiers", _CLASSIFIER.findall(head)


def _toml_fields(content: str) -> Iterator[tuple[str, list[str]]]:
    try:
        parsed = tomllib.loads(content[:_MAX_CHARS])
    except (ValueError, RecursionError):
        return
    tool = parsed.get("tool")
    tables = [parsed.get("project"), parsed.get("package"), tool.get("poetry") if isinstance(tool, dict) else None]
    for table in tables:
        if not isinstance(table, dict):
            continue
        yield "all", [text for text in [_text_of(table.get("license"))] if text and len(text) < 300]
        classifiers = table.get("classifiers")
        if isinstance(classifiers, list):
            yield (
                "classifiers",
                [text for text in classifiers if isinstance(text, str) and text.startswith("License ::")],
            )
