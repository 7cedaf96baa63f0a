"""The ledger of one task: every row of one input file, what each stage said of it, and where it ended.

The law it holds is conservation: `rows in the file = kept + excluded`, row by row and not only in number. A row that
a stage loses, yields twice or invents is named in the error, and the task publishes nothing. The ledger does no I/O:
it takes plain values and returns Arrow tables and Merkle roots.

Cost, measured on 22,000 documents through five stages: see `ledger` in `tests/bench/LOG.md`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import pyarrow as pa

from manifests import merkle, trail
from manifests.schema import (
    DECISIONS,
    EVIDENCE,
    EVIDENCE_FIELDS,
    KEPT,
    ConservationError,
    DecisionLike,
    Reason,
    Stage,
)

MODULUS = 1 << 256
_UNSEEN, _OPEN, _KEPT, _EXCLUDED = range(4)
_EVIDENCE_NAMES = tuple(field.name for field in EVIDENCE_FIELDS)
KEPT_LEAF = ("key", "file_row", "rhost", "text_digest", "text_bytes", "language", "license", "redactions", "trail")
EVIDENCE_LEAF = ("stage", *_EVIDENCE_NAMES)
DECISION_LEAF = ("key", "file_row", "rhost", "path", "stage", "action", "reason", "language", "text_bytes", "trail")
"""Columns that a leaf commits to. A kept leaf leaves out shard and shard row: moving a row is not a new decision. A
decision's leaf ends with the leaf hash of its evidence, so that evidence cannot be swapped under it; it leaves out the
score, whose last bits may differ between processors while the decision does not (file digests still cover it)."""


def document_key(identifier: str | None, task: str, file_row: int) -> bytes:
    """16 bytes that name a document: its WARC record UUID if the id is one, else a digest of the id, else of its place.

    FineWeb's ids are `<urn:uuid:…>`: an owner who has the id computes the key without us.
    """
    if identifier:
        uuid = _URN_UUID.fullmatch(identifier)
        if uuid:
            return bytes.fromhex("".join(uuid.groups()))
        return sha256(b"id\0" + identifier.encode("utf-8", "surrogatepass")).digest()[:16]
    return sha256(b"row\0%b\0%d" % (task.encode(), file_row)).digest()[:16]


_URN_UUID = re.compile("<urn:uuid:" + "-".join(f"([0-9a-fA-F]{{{length}}})" for length in (8, 4, 4, 4, 12)) + ">")


def evidence_id(task: str, leaf: bytes) -> int:
    """Number of a piece of evidence: 64 bits of a digest over its task and content, so that one join finds it among
    the evidence of all tasks, and finds it once."""
    return int.from_bytes(sha256(task.encode() + b"\0" + leaf).digest()[:8], "big", signed=True)


def row_mark(key: bytes, file_row: int) -> int:
    """What one row adds to a multiset hash: SHA-256(key, row) as an integer."""
    return int.from_bytes(sha256(key + file_row.to_bytes(8, "big")).digest(), "big")


@dataclass(slots=True)
class Entry:
    """One row of an input file as the ledger knows it.

    Attributes:
        file_row: 0-based row in the file.
        key: `document_key`.
        rhost: reversed host, None without a URL.
        path: path and query of the URL.
        text_bytes: UTF-8 length of the text as read.
        redactions: by type, set when a stage reports counts.
        trail: what each stage so far said of it; see `manifests.trail`.
    """

    file_row: int
    key: bytes
    rhost: str | None
    path: str | None
    text_bytes: int
    redactions: Mapping[str, int] | None = None
    trail: str = ""
    _mark: int = field(default=-1)

    @property
    def mark(self) -> int:
        """What this row adds to a multiset hash."""
        if self._mark < 0:
            self._mark = row_mark(self.key, self.file_row)
        return self._mark


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of one outcome at one stage; see `manifests.schema.COUNTS`."""

    position: int
    stage: str
    action: str
    reason: str
    language: str | None
    rows: int
    text_bytes: int
    multiset_hash: int


@dataclass(frozen=True, slots=True)
class Account:
    """A closed ledger: the tables of one task, their Merkle roots, and the totals."""

    decisions: pa.Table
    evidence: pa.Table
    kept: pa.Table
    counts: list[Count]
    rows: int
    rows_kept: int
    rows_excluded: int
    roots: Mapping[str, bytes]


class Ledger:
    """Records one task; `close` proves conservation and returns the account.

    Args:
        task: name of the task, for error messages.
        stages: labels of the stages in the order of the pass, `intake` first.
    """

    def __init__(self, task: str, stages: Sequence[str]):
        self.task = task
        self._position = {stage: position for position, stage in enumerate(stages)}
        self._state = bytearray()
        self._decisions: list[tuple[Any, ...]] = []
        self._kept: list[tuple[Any, ...]] = []
        self._evidence: dict[tuple[str, Any], int] = {}
        self._tally: dict[tuple[str, str, str, str | None], list[int]] = {}
        self._trails: dict[tuple[str, str, str | None], str] = {}

    def record(
        self,
        stage: str,
        entries: Sequence[Entry],
        decisions: Sequence[DecisionLike],
        languages: Sequence[str | None],
    ) -> None:
        """Take one stage's answers for some rows, in step. `languages`: each document's label as known now.

        Raises:
            ConservationError: numbers differ, a reason is not in the closed set, or the row is not open here.
        """
        if not len(entries) == len(decisions) == len(languages):
            raise ConservationError(
                f"{self.task}: stage {stage} gave {len(decisions)} decisions for {len(entries)} rows"
            )
        if stage not in self._position:
            raise ConservationError(f"{self.task}: stage {stage} is not among this task's stages")
        opening = stage == Stage.INTAKE
        tally, trails = self._tally, self._trails
        for entry, decision, language in zip(entries, decisions, languages, strict=True):
            action, reason = str(decision.action), str(decision.reason)
            if opening:
                self._open(entry)
            self._expect_open(entry, stage)
            outcome = (stage, action, reason, language)
            cell = tally.get(outcome)
            if cell is None:
                Reason(reason)  # refuses a word that is not in the closed set
                cell = tally[outcome] = [0, 0, 0]
            cell[0] += 1
            cell[1] += entry.text_bytes
            cell[2] += entry.mark
            longer = trails.get((entry.trail, reason, language))
            if longer is None:
                longer = trails[entry.trail, reason, language] = trail.extend(entry.trail, reason, language)
            entry.trail = longer
            if decision.counts:
                entry.redactions = dict(sorted(decision.counts.items()))
            if action != "keep":
                if action == "exclude":
                    self._state[entry.file_row] = _EXCLUDED
                self._write(stage, entry, action, reason, decision, language)

    def keep(
        self,
        entry: Entry,
        shard: str,
        shard_row: int,
        text_digest: bytes,
        text_bytes: int,
        language: str | None,
        license: str | None,
    ) -> None:
        """Note that a row ended in a shard.

        Raises:
            ConservationError: the row was not open: excluded before, written already, or never read.
        """
        self._expect_open(entry, "the writer")
        self._state[entry.file_row] = _KEPT
        self._kept.append(
            (
                entry.rhost or "",
                entry.key,
                entry.file_row,
                shard,
                shard_row,
                text_digest,
                text_bytes,
                language,
                license,
                entry.redactions,
                entry.trail,
            )
        )

    def close(self, rows_in_file: int) -> Account:
        """Prove that every row of the file ended once, then build tables and roots.

        Args:
            rows_in_file: what the file itself says, from its footer or stream, not what the reader yielded.

        Raises:
            ConservationError: names the first rows that are missing or extra.
        """
        self._conserve(rows_in_file)
        evidence, identifiers, leaf_of = self._evidence_table()
        decisions = self._decision_table(identifiers)
        kept = self._kept_table()
        decision_evidence = [leaf_of.get(identifier) for identifier in decisions.column("evidence_id").to_pylist()]
        behind = pa.array(decision_evidence, pa.binary())
        return Account(
            decisions=decisions,
            evidence=evidence,
            kept=kept,
            counts=self._counts(),
            rows=rows_in_file,
            rows_kept=len(kept),
            rows_excluded=rows_in_file - len(kept),
            roots={
                "decisions": merkle.root(merkle.table_leaves(decisions, DECISION_LEAF, behind)),
                "evidence": merkle.root(list(leaf_of.values())),
                "kept": merkle.root(merkle.table_leaves(kept, KEPT_LEAF)),
            },
        )

    # -- one row

    def _open(self, entry: Entry) -> None:
        row = entry.file_row
        if row >= len(self._state):
            self._state.extend(bytes(max(row + 1 - len(self._state), 4096)))
        if self._state[row] != _UNSEEN:
            raise ConservationError(f"{self.task}: row {row} was read twice")
        self._state[row] = _OPEN

    def _expect_open(self, entry: Entry, where: str) -> None:
        state = self._state[entry.file_row] if entry.file_row < len(self._state) else _UNSEEN
        if state != _OPEN:
            what = {_UNSEEN: "was never read", _KEPT: "is already written", _EXCLUDED: "is already excluded"}[state]
            raise ConservationError(f"{self.task}: row {entry.file_row} {what}, and {where} met it (again)")

    def _write(
        self, stage: str, entry: Entry, action: str, reason: str, decision: DecisionLike, language: str | None
    ) -> None:
        interned = None
        if decision.evidence is not None:
            interned = self._evidence.setdefault((stage, decision.evidence), len(self._evidence))
        self._decisions.append(
            (
                entry.rhost or "",
                entry.key,
                entry.file_row,
                self._position[stage],
                entry.path,
                stage,
                action,
                reason,
                interned,
                decision.score,
                language,
                entry.text_bytes,
                entry.trail,
            )
        )

    # -- closing

    def _conserve(self, rows_in_file: int) -> None:
        state = self._state
        beyond = [row for row in range(rows_in_file, len(state)) if state[row] != _UNSEEN]
        if beyond:
            raise ConservationError(
                f"{self.task}: the file has {rows_in_file} rows, but row {beyond[0]} was read ({len(beyond)} extra)"
            )
        state.extend(bytes(max(0, rows_in_file - len(state))))
        unread = state.count(_UNSEEN, 0, rows_in_file)
        if unread:
            raise ConservationError(
                f"{self.task}: {unread} of {rows_in_file} rows were never read, the first is {state.index(_UNSEEN)}"
            )
        open_rows = state.count(_OPEN, 0, rows_in_file)
        if open_rows:
            raise ConservationError(
                f"{self.task}: {open_rows} rows were neither kept nor excluded, the first is {state.index(_OPEN)}: "
                "a stage swallowed them"
            )
        read = self._sum_marks(lambda stage, action: stage == Stage.INTAKE)
        excluded = self._sum_marks(lambda stage, action: action == "exclude")
        kept = sum(int.from_bytes(sha256(row[1] + row[2].to_bytes(8, "big")).digest(), "big") for row in self._kept)
        if (read - excluded - kept) % MODULUS:
            raise ConservationError(f"{self.task}: the rows kept and excluded are not the rows read")

    def _sum_marks(self, chosen: Any) -> int:
        return sum(cell[2] for (stage, action, _, _), cell in self._tally.items() if chosen(stage, action))

    def _evidence_table(self) -> tuple[pa.Table, dict[int, int], dict[int, bytes]]:
        """The table, by content; each interned piece's number; and each number's leaf, in the table's order."""
        rows = []
        for (stage, evidence), interned in self._evidence.items():
            encoded = merkle.encode([stage, *(getattr(evidence, name) for name in _EVIDENCE_NAMES)])
            rows.append((encoded, stage, evidence, interned, evidence_id(self.task, merkle.leaf(encoded))))
        rows.sort(key=lambda row: row[0])
        columns: dict[str, list[Any]] = {"evidence_id": [row[4] for row in rows], "stage": [row[1] for row in rows]}
        for name in _EVIDENCE_NAMES:
            columns[name] = [getattr(row[2], name) for row in rows]
        table = pa.table(columns, schema=EVIDENCE)
        leaves = merkle.table_leaves(table, EVIDENCE_LEAF)
        return table, {row[3]: row[4] for row in rows}, {row[4]: leaf for row, leaf in zip(rows, leaves, strict=True)}

    def _decision_table(self, identifiers: Mapping[int, int]) -> pa.Table:
        rows = sorted(self._decisions, key=lambda row: row[:4])
        return pa.table(
            {
                "key": [row[1] for row in rows],
                "file_row": [row[2] for row in rows],
                "rhost": [row[0] or None for row in rows],
                "path": [row[4] for row in rows],
                "stage": [row[5] for row in rows],
                "action": [row[6] for row in rows],
                "reason": [row[7] for row in rows],
                "evidence_id": [None if row[8] is None else identifiers[row[8]] for row in rows],
                "score": [row[9] for row in rows],
                "language": [row[10] for row in rows],
                "text_bytes": [row[11] for row in rows],
                "trail": [row[12] for row in rows],
            },
            schema=DECISIONS,
        )

    def _kept_table(self) -> pa.Table:
        rows = sorted(self._kept, key=lambda row: row[:3])
        return pa.table(
            {
                "key": [row[1] for row in rows],
                "file_row": [row[2] for row in rows],
                "rhost": [row[0] or None for row in rows],
                "shard": [row[3] for row in rows],
                "shard_row": [row[4] for row in rows],
                "text_digest": [row[5] for row in rows],
                "text_bytes": [row[6] for row in rows],
                "language": [row[7] for row in rows],
                "license": [row[8] for row in rows],
                "redactions": [None if not row[9] else list(row[9].items()) for row in rows],
                "trail": [row[10] for row in rows],
            },
            schema=KEPT,
        )

    def _counts(self) -> list[Count]:
        counts = [
            Count(self._position[stage], stage, action, reason, language, rows, text_bytes, mark % MODULUS)
            for (stage, action, reason, language), (rows, text_bytes, mark) in self._tally.items()
        ]
        return sorted(counts, key=lambda count: (count.position, count.action, count.reason, count.language or ""))
