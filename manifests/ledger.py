"""The ledger of one task: every row of one input file, what each stage said of it, and where it ended.

The law it holds is conservation: `rows in the file = kept + excluded`, row by row and not only in number. A row that
a stage loses, yields twice or invents is named in the error, and the task publishes nothing. The ledger does no I/O:
it takes plain values and returns Arrow tables and Merkle roots.

Cost, measured on 22,000 documents through five stages: see `ledger` in `tests/bench/LOG.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
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
        if len(identifier) == 47 and identifier.startswith("<urn:uuid:"):
            uuid = _URN_UUID.fullmatch(identifier)
            if uuid:
                return bytes.fromhex(identifier[10:46].replace("-", ""))
        return sha256(b"id\0" + identifier.encode("utf-8", "surrogatepass")).digest()[:16]
    return sha256(b"row\0%b\0%d" % (task.encode(), file_row)).digest()[:16]


_URN_UUID = re.compile("<urn:uuid:" + "-".join(f"[0-9a-fA-F]{{{length}}}" for length in (8, 4, 4, 4, 12)) + ">")


def evidence_id(task: str, leaf: bytes) -> int:
    """Number of a piece of evidence: 64 bits of a digest over its task and content, so that one join finds it among
    the evidence of all tasks, and finds it once."""
    return int.from_bytes(sha256(task.encode() + b"\0" + leaf).digest()[:8], "big", signed=True)


def row_mark(key: bytes, file_row: int) -> int:
    """What one row adds to a multiset hash: SHA-256(key, row) as an integer."""
    return int.from_bytes(sha256(key + file_row.to_bytes(8, "big")).digest(), "big")


class Outcome:
    """What some rows have in common so far: the stages that they met, and what each said of them.

    Outcomes form a tree with the row not yet read at its root. A corpus has few, and each entry points to its own: a
    stage's answer costs a row one look-up, and every count is a sum over the tree, taken once at the end.

    Attributes:
        shorter: the same without the last stage; None at the root.
        trail: see `manifests.trail`.
        rows, text_bytes, marks: of the rows that ended here; a mark is the digest that `row_mark` takes as a number.
    """

    __slots__ = (
        "_known",
        "action",
        "language",
        "longer",
        "marks",
        "reason",
        "rows",
        "shorter",
        "stage",
        "text_bytes",
        "trail",
    )

    def __init__(
        self, shorter: Outcome | None, stage: str, action: str, reason: str, language: str | None, trail: str
    ) -> None:
        self.shorter = shorter
        self.stage = stage
        self.action = action
        self.reason = reason
        self.language = language
        self.trail = trail
        self.longer: dict[tuple[str, str, str, str | None], Outcome] = {}
        self._known: dict[tuple[str, str, str, str | None], Outcome] = {}
        self.rows = 0
        self.text_bytes = 0
        self.marks: list[bytes] = []

    def after(self, stage: str, action: str, reason: str, language: str | None) -> Outcome:
        """This outcome and one more answer.

        Raises:
            ValueError: the reason is not in the closed set.
        """
        said = (stage, action, reason, language)
        longer = self._known.get(said)
        if longer is None:
            words = (stage, str(action), str(Reason(reason)), language)  # members of enums and their words are the same
            longer = self.longer.get(words)
            if longer is None:
                longer = Outcome(self, *words, trail.extend(self.trail, words[2], language))
                self.longer[words] = longer
            self._known[said] = longer
        return longer

    def end(self, text_bytes: int, mark: bytes) -> None:
        """Note that a row ended here."""
        self.rows += 1
        self.text_bytes += text_bytes
        self.marks.append(mark)

    def walk(self) -> Iterator[Outcome]:
        """This outcome and all longer ones."""
        yield self
        for longer in self.longer.values():
            yield from longer.walk()


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
        outcome: what the stages so far said of it; None before it was read.
    """

    file_row: int
    key: bytes
    rhost: str | None
    path: str | None
    text_bytes: int
    redactions: Mapping[str, int] | None = None
    outcome: Outcome | None = None


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
        self._unread = Outcome(None, "", "", "", None, "")
        self._keys: list[bytes] = []
        self._swapped = False

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
        if stage == Stage.INTAKE:
            for entry in entries:
                self._open(entry)
        state, rows = self._state, len(self._state)
        outcome = decided = after = None
        label: str | None = None
        for entry, decision, language in zip(entries, decisions, languages, strict=True):
            if entry.file_row >= rows or state[entry.file_row] != _OPEN:
                self._refuse(entry, stage)
            # Rows that share outcome, decision and label come in runs: stages answer most rows with one shared object.
            if decision is not decided or entry.outcome is not outcome or language != label or after is None:
                outcome, decided, label = entry.outcome, decision, language
                after = (outcome or self._unread).after(stage, decision.action, decision.reason, language)
            entry.outcome = after
            if decision.counts:
                entry.redactions = dict(sorted(decision.counts.items()))
            if after.action != "keep":
                if after.action == "exclude":
                    state[entry.file_row] = _EXCLUDED
                    self._end(entry, after)
                self._write(entry, after, decision)

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
        if entry.file_row >= len(self._state) or self._state[entry.file_row] != _OPEN:
            self._refuse(entry, "the writer")
        self._state[entry.file_row] = _KEPT
        outcome = entry.outcome or self._unread
        self._end(entry, outcome)
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
                outcome.trail,
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
            more = max(row + 1 - len(self._state), 4096)
            self._state.extend(bytes(more))
            self._keys.extend([b""] * more)
        if self._state[row] != _UNSEEN:
            raise ConservationError(f"{self.task}: row {row} was read twice")
        self._state[row] = _OPEN
        self._keys[row] = entry.key

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        row, key = entry.file_row, entry.key
        if key != self._keys[row]:
            self._swapped = True
        outcome.end(entry.text_bytes, sha256(key + row.to_bytes(8, "big")).digest())

    def _refuse(self, entry: Entry, where: str) -> None:
        state = self._state[entry.file_row] if entry.file_row < len(self._state) else _UNSEEN
        what = {_UNSEEN: "was never read", _KEPT: "is already written", _EXCLUDED: "is already excluded"}[state]
        raise ConservationError(f"{self.task}: row {entry.file_row} {what}, and {where} met it (again)")

    def _write(self, entry: Entry, outcome: Outcome, decision: DecisionLike) -> None:
        interned = None
        if decision.evidence is not None:
            interned = self._evidence.setdefault((outcome.stage, decision.evidence), len(self._evidence))
        self._decisions.append(
            (
                entry.rhost or "",
                entry.key,
                entry.file_row,
                self._position[outcome.stage],
                entry.path,
                outcome.stage,
                outcome.action,
                outcome.reason,
                interned,
                decision.score,
                outcome.language,
                entry.text_bytes,
                outcome.trail,
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
        if self._swapped:
            raise ConservationError(f"{self.task}: the rows kept and excluded are not the rows read")

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
        tally: dict[tuple[str, str, str, str | None], list[int]] = {}
        for ended in self._unread.walk():
            mark = _sum(ended.marks)
            outcome: Outcome | None = ended
            while ended.rows and outcome is not None and outcome.shorter is not None:
                words = (outcome.stage, outcome.action, outcome.reason, outcome.language)
                cell = tally.setdefault(words, [0, 0, 0])
                cell[0] += ended.rows
                cell[1] += ended.text_bytes
                cell[2] += mark
                outcome = outcome.shorter
        counts = [
            Count(self._position[stage], stage, action, reason, language, rows, text_bytes, mark % MODULUS)
            for (stage, action, reason, language), (rows, text_bytes, mark) in tally.items()
        ]
        return sorted(counts, key=lambda count: (count.position, count.action, count.reason, count.language or ""))


def _sum(marks: Sequence[bytes]) -> int:
    """Sum of 256-bit numbers in network order."""
    words = np.frombuffer(b"".join(marks), dtype=">u4").reshape(-1, 8).sum(axis=0, dtype=np.uint64)
    return sum(int(word) << 32 * (7 - place) for place, word in enumerate(words))
