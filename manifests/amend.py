"""Amending a closed account: some documents get another answer of one stage, and everything else follows from it.

What must follow is what the ledger would have written had that stage answered so in the first place: a document that
is excluded now leaves `kept`, and every later stage loses it from its counts, its decisions and their evidence. The
trail of each document (`manifests.trail`) says what those stages had answered, so no text and no filter is needed. A
property test holds the outcome, Merkle roots included, against ledgers written anew.

Cost: the rows of the task's `kept` table are hashed again (about 6 µs each, they are under one root), its decisions
are read and sorted again, and counts change by what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from manifests import merkle, trail
from manifests.ledger import (
    DECISION_LEAF,
    EVIDENCE_LEAF,
    KEPT_LEAF,
    MODULUS,
    Account,
    Count,
    evidence_id,
    row_mark,
)
from manifests.schema import DECISIONS, EVIDENCE, EVIDENCE_FIELDS, ConservationError, DecisionLike

_EVIDENCE_NAMES = tuple(field.name for field in EVIDENCE_FIELDS)


@dataclass(frozen=True, slots=True)
class Answer:
    """Another answer of one stage for one document.

    Attributes:
        stage: whose answer it is.
        decision: keep or exclude, with a reason and, to exclude, what it rests on.
        path: path of the document's URL, for the record of an exclusion.
    """

    stage: str
    decision: DecisionLike
    path: str | None


@dataclass(frozen=True, slots=True)
class Amended:
    """An amended account, and the rows of the former `kept` table that are not in the new one.

    Attributes:
        account: tables, counts and roots; `kept` still points into the former shards.
        withdrawn: rows of the former `kept` table, in its order.
        exclusions: the new exclusion of each withdrawn row: reason and evidence number, by row of the file.
    """

    account: Account
    withdrawn: pa.Table
    exclusions: Mapping[int, tuple[str, int | None]]


def amend(
    record: Mapping[str, Any],
    decisions: pa.Table,
    evidence: pa.Table,
    kept: pa.Table,
    answers: Mapping[int, Answer],
) -> Amended:
    """Give documents of a published task other answers.

    Args:
        record: the task's record: its name, stages and counts.
        decisions, evidence, kept: its tables.
        answers: by row of the file. A document that the stage had excluded can only be excluded otherwise: what it
            would have met after that stage is not on record.

    Raises:
        ConservationError: an answer concerns a row that did not reach the stage, or would bring one back.
    """
    task = record["name"]
    position = {stage: place for place, stage in enumerate(record["stages"])}
    counts = _Counts(record["counts"])
    listed = decisions.to_pylist()
    by_row: dict[int, list[dict[str, Any]]] = {}
    for row in listed:
        if row["file_row"] in answers:
            by_row.setdefault(row["file_row"], []).append(row)
    places, kept_rows = _kept_rows(kept, answers)
    trails = kept.column("trail").to_pylist() if len(places) else []
    stays = np.ones(len(kept), dtype=bool)
    gone: set[int] = set()
    added: list[dict[str, Any]] = []
    pieces: dict[int, tuple[bytes, str, Any]] = {}
    exclusions: dict[int, tuple[str, int | None]] = {}
    for file_row, answer in answers.items():
        place = places.get(file_row)
        own = by_row.get(file_row, [])
        exclusion = next((row for row in own if row["action"] == "exclude"), None)
        if (place is None) == (exclusion is None):
            raise ConservationError(f"{task}: row {file_row} is not kept or excluded once; audit the corpus")
        end = kept_rows[file_row] if exclusion is None else exclusion
        at = position[answer.stage]
        passed = trail.steps(end["trail"])
        if at >= len(passed):
            raise ConservationError(f"{task}: row {file_row} was excluded before {answer.stage}")
        decision = answer.decision
        excludes = str(decision.action) == "exclude"
        if exclusion is not None and at == len(passed) - 1 and not excludes:
            raise ConservationError(f"{task}: row {file_row} cannot come back without its text")
        actions = {position[row["stage"]]: row["action"] for row in own}
        as_read = own[0]["text_bytes"] if own else end["text_bytes"]
        mark = row_mark(end["key"], file_row)
        for met in range(at, len(passed) if excludes else at + 1):
            counts.add(met, record["stages"][met], actions.get(met, "keep"), *passed[met], -1, as_read, mark)
        counts.add(at, answer.stage, str(decision.action), str(decision.reason), passed[at][1], 1, as_read, mark)
        longer = trail.replace(end["trail"], at, str(decision.reason), excludes)
        if not excludes:
            if place is not None:
                trails[place] = longer
            for row in own:
                if position[row["stage"]] > at:
                    row["trail"] = trail.replace(row["trail"], at, str(decision.reason), False)
            continue
        gone.add(file_row)
        if place is not None:
            stays[place] = False
        identifier = None
        if decision.evidence is not None:
            identifier = _piece(task, answer.stage, decision.evidence, pieces)
        exclusions[file_row] = (str(decision.reason), identifier)
        added += [row for row in own if position[row["stage"]] < at]
        added.append(
            {
                "key": end["key"],
                "file_row": file_row,
                "rhost": end["rhost"],
                "path": answer.path if not own else own[0]["path"],
                "stage": answer.stage,
                "action": "exclude",
                "reason": str(decision.reason),
                "evidence_id": identifier,
                "score": decision.score,
                "language": passed[at][1],
                "text_bytes": as_read,
                "trail": longer,
            }
        )
    rows = [row for row in listed if row["file_row"] not in gone] + added
    rows.sort(key=lambda row: (row["rhost"] or "", row["key"], row["file_row"], position[row["stage"]]))
    remaining = (
        kept.set_column(kept.schema.get_field_index("trail"), kept.schema.field("trail"), [trails])
        if (len(places))
        else kept
    )
    mask = pa.array(stays)
    account = _account(
        record, pa.Table.from_pylist(rows, schema=DECISIONS), evidence, remaining.filter(mask), counts.sorted(), pieces
    )
    return Amended(account, kept.filter(pa.array(~stays)), exclusions)


class _Counts:
    """A task's counts, from which documents are taken and to which they are added."""

    def __init__(self, counts: list[Mapping[str, Any]]):
        self._cells: dict[tuple[int, str, str, str, str | None], list[int]] = {
            (count["position"], count["stage"], count["action"], count["reason"], count["language"]): [
                count["rows"],
                count["text_bytes"],
                int(count["multiset_hash"], 16),
            ]
            for count in counts
        }

    def add(
        self,
        position: int,
        stage: str,
        action: str,
        reason: str,
        language: str | None,
        rows: int,
        text_bytes: int,
        mark: int,
    ) -> None:
        """Add one document (`rows` 1) or take it away (-1)."""
        cell = self._cells.setdefault((position, stage, action, reason, language), [0, 0, 0])
        cell[0] += rows
        cell[1] += rows * text_bytes
        cell[2] += rows * mark

    def sorted(self) -> list[Count]:
        """Counts that are not zero, in the ledger's order."""
        found = [
            Count(*outcome, cell[0], cell[1], cell[2] % MODULUS) for outcome, cell in self._cells.items() if cell[0]
        ]
        return sorted(found, key=lambda count: (count.position, count.action, count.reason, count.language or ""))


def _kept_rows(kept: pa.Table, answers: Mapping[int, Answer]) -> tuple[dict[int, int], dict[int, dict[str, Any]]]:
    """Place in the table, and the row itself, of each document that is answered for and kept."""
    file_rows = kept.column("file_row").to_numpy()
    found = np.flatnonzero(np.isin(file_rows, np.fromiter(answers, np.int64, len(answers))))
    places = {int(file_rows[place]): int(place) for place in found}
    columns = kept.select(["key", "file_row", "rhost", "text_bytes", "trail"]).take(pa.array(found))
    return places, {row["file_row"]: row for row in columns.to_pylist()}


def _piece(task: str, stage: str, piece: Any, pieces: dict[int, tuple[bytes, str, Any]]) -> int:
    """Number of a piece of evidence, noting it among `pieces`."""
    encoded = merkle.encode([stage, *(getattr(piece, name) for name in _EVIDENCE_NAMES)])
    identifier = evidence_id(task, merkle.leaf(encoded))
    pieces.setdefault(identifier, (encoded, stage, piece))
    return identifier


def _account(
    record: Mapping[str, Any],
    decisions: pa.Table,
    evidence: pa.Table,
    kept: pa.Table,
    counts: list[Count],
    pieces: Mapping[int, tuple[bytes, str, Any]],
) -> Account:
    cited = set(decisions.column("evidence_id").to_pylist())
    entries = []
    for row in evidence.to_pylist():
        if row["evidence_id"] in cited:
            entries.append((merkle.encode([row[name] for name in EVIDENCE_LEAF]), row))
    held = {row["evidence_id"] for _, row in entries}
    for identifier, (encoded, stage, piece) in pieces.items():
        if identifier in cited and identifier not in held:
            values = {name: getattr(piece, name) for name in _EVIDENCE_NAMES}
            entries.append((encoded, {"evidence_id": identifier, "stage": stage, **values}))
    entries.sort(key=lambda entry: entry[0])
    evidence = pa.Table.from_pylist([row for _, row in entries], schema=EVIDENCE)
    leaves = merkle.table_leaves(evidence, EVIDENCE_LEAF)
    leaf_of = dict(zip(evidence.column("evidence_id").to_pylist(), leaves, strict=True))
    behind = [leaf_of.get(identifier) for identifier in decisions.column("evidence_id").to_pylist()]
    excluded = decisions.column("action").to_pylist().count("exclude")
    if len(kept) + excluded != record["rows"]:
        raise ConservationError(
            f"{record['name']}: {record['rows']:,} rows were read, {len(kept):,} would be kept and {excluded:,} "
            "excluded; audit the corpus"
        )
    return Account(
        decisions=decisions,
        evidence=evidence,
        kept=kept,
        counts=counts,
        rows=record["rows"],
        rows_kept=len(kept),
        rows_excluded=excluded,
        roots={
            "decisions": merkle.root(merkle.table_leaves(decisions, DECISION_LEAF, pa.array(behind, pa.binary()))),
            "evidence": merkle.root(leaves),
            "kept": merkle.root(merkle.table_leaves(kept, KEPT_LEAF)),
        },
    )
