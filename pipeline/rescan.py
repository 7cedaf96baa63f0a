"""Kept documents, drawn at random, through every filter once more: what share should not have been kept?

The stages are built from the policy that the version records, so that the question is the one of the run: would this
document be excluded, or would a personal value be found in it? The answer is a share with an upper bound (Clopper and
Pearson, one-sided, 95 %): 15,000 documents without a finding say "at most 0.02 %".

A shard holds less than the stages saw: no HTML, no response headers, and the text after redaction. So what filters say
of a document whose text was altered is counted apart: a marker in place of a name can move a score over a threshold. Of
an unaltered one, the same code says the same, and every finding is a violation; other code (the version records which
made it) may judge otherwise, and then more than `TOLERATED` of the documents must be found for the check to fail.

Stages whose files are not at hand are left out, and named: a snapshot that was not given, a model of one's own.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from datatrove.data import Document

from filters.decision import Action, Decision
from manifests import trail
from manifests.check_samples import Verdict
from manifests.corpus import Corpus
from manifests.intervals import upper_bound
from pipeline.recheck import pinned_snapshots
from pipeline.recipe import Policy, RecipeError, Source
from pipeline.stages import RecordedStage, build_stages
from pipeline.version import code_version

TOLERATED = 0.01
"""Share of documents that a newer code version may judge otherwise before the check fails."""
BATCH = 500
_SHOWN = 20
Progress = Callable[[int], None]


def filter_rescan(corpus: Corpus, snapshots: Sequence[Path], progress: Progress | None = None) -> Any:
    """An evaluator for `manifests.audit` that runs the filters of a corpus again.

    Args:
        snapshots: robots.txt snapshots that the corpus pins; without one its robots stages are left out.
        progress: called with the number of documents scanned so far.

    Raises:
        UsageError: a file is no snapshot, or not one that this corpus rests on.
    """
    found = {source: Path(snapshot.path) for source, snapshot in pinned_snapshots(corpus, snapshots).items()}

    def rescan(total: int, rows: Iterator[Mapping[str, Any]]) -> Verdict:
        kinds = {task["source"]: task["kind"] for task in corpus.run["tasks"]}
        policies = (corpus.run.get("recipe") or {}).get("policy") or {}
        stages: dict[str, list[RecordedStage]] = {}
        left_out: list[str] = []
        for source, kind in kinds.items():
            stages[source], without = _stages(kind, policies.get(source) or {}, found.get(source))
            left_out += [f"{source}: {reason}" for reason in without]
        if not any(stages.values()):
            return Verdict((), f"no stage can be run: {'; '.join(left_out) or 'the policy has none'}", True)
        scan = _Scan(stages)
        while batch := list(islice(rows, BATCH)):
            scan.add(batch)
            if progress:
                progress(scan.drawn)
        return _verdict(scan, total, left_out, corpus.run.get("code") == code_version())

    return rescan


class _Scan:
    """Documents drawn so far, and what was found in them."""

    def __init__(self, stages: Mapping[str, Sequence[RecordedStage]]):
        self._stages = stages
        self.drawn = 0
        self.found: Counter = Counter()  # by stage and reason, of unaltered documents
        self.moved: Counter = Counter()  # of altered ones
        self.named: list[str] = []

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Scan some documents, of any sources."""
        self.drawn += len(rows)
        for source in dict.fromkeys(row["source"] for row in rows):
            self._scan(self._stages[source], [row for row in rows if row["source"] == source])

    def _scan(self, stages: Sequence[RecordedStage], rows: Sequence[Mapping[str, Any]]) -> None:
        documents = [_document(row) for row in rows]
        places = {id(document): row for document, row in zip(documents, rows, strict=True)}

        def record(stage: str, batch: Sequence[Document], decisions: Sequence[Decision]) -> None:
            for document, decision in zip(batch, decisions, strict=True):
                residue = stage == "pii" and decision.action is Action.ALTER
                if decision.kept and not residue:
                    continue
                row = places[id(document)]
                why = f"{stage}: {'personal values left' if residue else decision.reason}"
                if row["altered"] and not residue:
                    self.moved[why] += 1
                    continue
                self.found[why] += 1
                if len(self.named) < _SHOWN:
                    what = f" ({', '.join(sorted(decision.counts or {}))})" if residue else ""
                    self.named.append(f"{row['shard']} row {row['shard_row']} (task {row['task']}): {why}{what}")

        stream: Any = iter(documents)
        for stage in stages:
            stage.recorder = record
            stream = stage.run(stream)
        deque(stream, maxlen=0)


def _document(row: Mapping[str, Any]) -> Document:
    """What the stages would have read, as far as a shard and the trail still know it."""
    metadata = {name: row[name] for name in ("url", "dump", "date", "source", "kind", "license")}
    given = next(iter(trail.steps(row["trail"])), ("", None))[1]
    if given:
        language, _, script = given.partition("_")
        metadata |= {"language": language, **({"language_script": script} if script else {})}
    return Document(row["text"], row["id"] or "", [], {name: value for name, value in metadata.items() if value})


def _verdict(scan: _Scan, total: int, left_out: Sequence[str], same_code: bool) -> Verdict:
    number = scan.found.total()
    if not scan.drawn:
        return Verdict((), "no document is kept", True)
    bound = upper_bound(number, scan.drawn)
    share = (
        f"all {total:,} kept documents"
        if scan.drawn == total
        else f"{scan.drawn:,} of {total:,} kept documents, drawn at random"
    )
    says = f"{share}: {number:,} would be excluded or redacted now"
    if scan.drawn < total:
        says += f", so at most {percent(bound)} of all (95 %, Clopper-Pearson)"
    if scan.found:
        says += f" [{', '.join(f'{why} {count:,}' for why, count in scan.found.most_common())}]"
    if scan.moved:
        says += (
            f"; {scan.moved.total():,} whose text was redacted are judged otherwise with the markers in it "
            f"[{', '.join(f'{why} {count:,}' for why, count in scan.moved.most_common())}]"
        )
    if not same_code:
        says += "; another version of the code made this corpus, so up to 1 % may be judged otherwise"
    if left_out:
        says += f"; left out: {'; '.join(left_out)}"
    fails = number > 0 if same_code else number > TOLERATED * scan.drawn
    return Verdict([says, *scan.named] if fails else (), says)


def percent(share: float) -> str:
    """A share with two significant digits, rounded up: a bound must not shrink."""
    value = 100 * share
    for digits in range(0, 8):
        step = 10.0**-digits
        if value >= 10 * step or digits == 7:
            return f"{-(-value // step) * step:.{digits}f} %"
    return f"{value:g} %"


def _stages(kind: str, recorded: Mapping[str, Any], snapshot: Path | None) -> tuple[list[RecordedStage], list[str]]:
    """A source's stages as its version records them, and why some are left out."""
    policy = {name: dict(table) if isinstance(table, Mapping) else table for name, table in recorded.items()}
    without: list[str] = []
    if policy.get("robots"):
        if snapshot is None:
            del policy["robots"]
            without.append("robots, whose snapshot was not given (--robots FILE)")
        else:
            policy["robots"]["snapshot"] = str(snapshot)
            if policy["robots"].pop("takedown", None):
                without.append("the takedown list")
    for name, keys in (("language", ("model",)), ("toxicity", ("model", "encoder", "heads"))):
        table = policy.get(name)
        if table and any(table.get(key) for key in keys):
            del policy[name]
            without.append(f"{name}, whose model is not one that ships")
    if policy.get("pii") and policy["pii"].get("key"):
        policy["pii"]["key"] = "0" * 64  # decides which marker stands for a value, not what is one
    try:
        checked = Policy.model_validate(policy)
        return build_stages(Source(path="-", kind=kind), checked), without  # type: ignore[arg-type]
    except (RecipeError, ValueError) as error:
        return [], [*without, f"every stage ({' '.join(str(error).split())[:200]})"]
