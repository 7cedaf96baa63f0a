"""How well toxicity is told from what only resembles it: AUROC, recall at 5% false positives, functional tests.

Three figures belong together, because each is easy alone. AUROC on natural comments says whether toxic ones rank above
clean ones; it says nothing about whom the errors fall on. Functional tests (after Röttger et al. 2021, "HateCheck"; the
sentences in `models/functional.toml` are our own) say whether abuse of a group is told from neutral sentences,
negation, quotation and counter-speech with the same words. The identity gap says how much higher neutral sentences
score for naming a group; near 0 it is fairness when the functional AUROC is high, and blindness when that is near .5.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

Scores = Callable[[Sequence[str], Sequence[str]], Sequence[float]]  # (texts, language labels) -> scores, 0..1
FUNCTIONAL = Path(__file__).parent / "models" / "functional.toml"
ABUSE = ("derogation", "dehumanising", "threat", "exclusion", "insult")
GROUPS = "groups"
PLACE = "{}"
FALSE_POSITIVES = 0.05


class CardError(ValueError):
    """A labelled file cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled text.

    Attributes:
        text: the text.
        toxic: its label.
        language: such as `deu_Latn`.
        source: where it comes from; figures are also given by source.
    """

    text: str
    toxic: bool
    language: str
    source: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """How one set of labelled texts is ranked.

    Attributes:
        name: language, or language and source.
        toxic, clean: number of texts.
        auroc: probability that a toxic text scores above a clean one, ties counting half.
        recall: share of the toxic texts above the score that 5% of the clean ones exceed.
        flagged_toxic, flagged_clean: shares at the default threshold; None where there is none.
    """

    name: str
    toxic: int
    clean: int
    auroc: float
    recall: float
    flagged_toxic: float | None
    flagged_clean: float | None


@dataclass(frozen=True, slots=True)
class Functional:
    """Result of one language's functional tests.

    Attributes:
        language: its label.
        cases: number of sentences.
        auroc: of all abusive against all other sentences.
        gap: mean score of neutral and kind sentences about groups, less that of sentences that name none.
        spread: highest less lowest mean score of those sentences by group.
        flagged: function -> share at or above the default threshold.
    """

    language: str
    cases: int
    auroc: float
    gap: float
    spread: float
    flagged: dict[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """One sentence of the functional tests; `group` is empty where it names none."""

    function: str
    group: str
    text: str


def cases(path: Path = FUNCTIONAL) -> dict[str, list[Case]]:
    """Sentences of the functional tests by language.

    Raises:
        CardError: the file is not one of functional tests.
    """
    try:
        languages = tomllib.loads(path.read_text(encoding="utf-8"))
        return {language: list(_cases(lists)) for language, lists in languages.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CardError(
            f"{path}: not functional tests ({error}); give TOML with a table per language label, each with `groups` "
            f"and lists of sentences such as `neutral` and `derogation`"
        ) from error


def _cases(lists: dict[str, list[str]]) -> Iterator[Case]:
    for function, frames in lists.items():
        for frame in frames if function != GROUPS else ():
            for group in lists[GROUPS] if PLACE in frame else [""]:
                yield Case(function, group, frame.replace(PLACE, group))


def functional(scores: Scores, threshold: Callable[[str], float | None], path: Path = FUNCTIONAL) -> list[Functional]:
    """Results of the functional tests, one per language."""
    return [_functional(language, found, scores, threshold(language)) for language, found in cases(path).items()]


def _functional(language: str, found: Sequence[Case], scores: Scores, threshold: float | None) -> Functional:
    values = np.array(scores([case.text for case in found], [language] * len(found)))
    abuse = np.array([case.function in ABUSE for case in found])
    named = np.array([bool(case.group) and case.function in ("neutral", "positive") for case in found])
    unnamed = np.array([not case.group and case.function not in ABUSE for case in found])
    by_group: dict[str, list[float]] = defaultdict(list)
    by_function: dict[str, list[float]] = defaultdict(list)
    for case, value, neutral in zip(found, values.tolist(), named, strict=True):
        if neutral:
            by_group[case.group].append(value)
        by_function[case.function].append(value)
    means = [float(np.mean(group)) for group in by_group.values()] or [0.0]
    bar = 2.0 if threshold is None else threshold
    return Functional(
        language,
        len(found),
        auroc(abuse, values),
        float(values[named].mean() - values[unnamed].mean()) if named.any() and unnamed.any() else 0.0,
        max(means) - min(means),
        {name: float(np.mean(np.array(group) >= bar)) for name, group in by_function.items()},
    )


def rankings(rows: Sequence[Labelled], scores: Scores, threshold: Callable[[str], float | None]) -> list[Ranking]:
    """Figures by language, and by source within it; sets without both labels are left out."""
    values = np.array(scores([row.text for row in rows], [row.language for row in rows]))
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        members[row.language, ""].append(index)
        members[row.language, row.source].append(index)
    sources: dict[str, int] = defaultdict(int)
    for language, source in members:
        sources[language] += bool(source)
    found = []
    for (language, source), indices in sorted(members.items()):
        if source and sources[language] == 1:
            continue  # the language's own line says it
        toxic = np.array([rows[index].toxic for index in indices])
        if toxic.all() or not toxic.any():
            continue
        mine = values[indices]
        bar = threshold(language)
        shares = [None if bar is None else float((mine[toxic == kind] >= bar).mean()) for kind in (True, False)]
        name = f"{language} {source}".strip()
        ranking = auroc(toxic, mine), recall_at(toxic, mine, FALSE_POSITIVES)
        found.append(Ranking(name, int(toxic.sum()), int((~toxic).sum()), *ranking, *shares))
    return found


def auroc(toxic: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a toxic row scores above a clean one, ties counting half."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positive, negative = int(toxic.sum()), int((~toxic).sum())
    return float((ranks[toxic].sum() - positive * (positive + 1) / 2) / (positive * negative))


def recall_at(toxic: np.ndarray, scores: np.ndarray, rate: float) -> float:
    """Share of toxic rows above the score that `rate` of the clean rows exceed."""
    return float((scores[toxic] > np.quantile(scores[~toxic], 1 - rate)).mean())


def read_labelled(path: Path) -> list[Labelled]:
    """Labelled texts of a Parquet file or JSON Lines, plain or gzipped: `text`, `label` (0, 1), `lang`, maybe `source`.

    Raises:
        CardError: the file is missing, unreadable, or a row lacks a field.
    """
    try:
        rows = list(_rows(path))
    except OSError as error:
        raise CardError(f"{path}: {error.strerror or error}; give a Parquet or JSON Lines file") from error
    except (ValueError, EOFError) as error:
        raise CardError(f"{path}: not readable as Parquet or JSON Lines: {error}") from error
    found = []
    for number, row in enumerate(rows, 1):
        text, label = (row.get(name) for name in ("text", "label")) if isinstance(row, dict) else (None, None)
        language = row.get("lang", row.get("language", "")) if isinstance(row, dict) else ""
        if not isinstance(text, str) or label not in (0, 1) or not isinstance(language, str):
            raise CardError(f"{path}, row {number}: needs `text` (a string), `label` (0 or 1) and `lang` (eng_Latn)")
        found.append(Labelled(text, bool(label), language, str(row.get("source") or "")))
    if not found:
        raise CardError(f"{path}: no rows")
    return found


def _rows(path: Path) -> Iterator[dict[str, object]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(path).to_pylist()
        return
    with _opened(path) as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def to_json(results: Sequence[Ranking | Functional]) -> list[dict[str, object]]:
    """Plain values of some results."""
    return [asdict(result) for result in results]
