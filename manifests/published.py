"""The documents that are published with a corpus, each written whole, each the same bytes for the same manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from manifests import eu_summary
from manifests.card import card
from manifests.corpus import Corpus
from manifests.croissant import croissant
from manifests.facts import Facts
from manifests.schema import CorpusError


def write_documents(
    corpus: Corpus, folder: Path, wanted: Sequence[str], profile: Mapping[str, Any] | None = None
) -> list[tuple[Path, str]]:
    """Write documents into a folder; returns each path with what there is to say about it.

    Args:
        wanted: of `eu`, `croissant` and `card`.
        profile: what only the provider knows (`eu_summary`, `croissant`, `card` say which keys).

    Raises:
        CorpusError: the manifest cannot be read as one.
    """
    try:
        files = _documents(corpus, wanted, profile)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, IndexError, duckdb.Error) as error:
        raise CorpusError(
            f"{corpus.manifest}: no document can be made of this manifest ({type(error).__name__}: {error}); "
            "`fairtrove audit` says what is wrong with it"
        ) from error
    written = []
    for name, (content, said) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
        os.replace(temporary, path)
        written.append((path, said))
    return written


def _documents(
    corpus: Corpus, wanted: Sequence[str], profile: Mapping[str, Any] | None
) -> dict[str, tuple[str | bytes, str]]:
    facts = Facts(corpus)
    files: dict[str, tuple[str | bytes, str]] = {}
    if "eu" in wanted:
        answers = eu_summary.fields(facts, profile)
        percentage, grade, _ = eu_summary.score(answers)
        missing = sum(not field.answered for field in answers)
        said = f"{len(answers) - missing} of {len(answers)} fields filled, {percentage:.1f} % of the points, {grade}"
        files["eu-summary.md"] = (eu_summary.markdown(facts, answers), said)
        files["eu-summary.docx"] = (eu_summary.word(facts, answers), "")
        files["eu-domains.csv"] = (eu_summary.domain_list(facts), "top 10 % of domains by size")
        if missing:
            form = eu_summary.profile_form(answers)
            files["eu-profile.toml"] = (form, f"a form for the other {missing}; give it back with --profile")
    if "croissant" in wanted:
        files["croissant.json"] = (croissant(facts, profile), "")
    if "card" in wanted:
        files["README.md"] = (card(facts, profile), "goes to the top of the corpus on the Hub")
    return files
