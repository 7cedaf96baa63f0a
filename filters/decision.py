"""What a compliance rule answers for one document: keep it, alter it or exclude it, why, and resting on what.

A decision is local: it depends on the document, the policy and the pinned evidence, never on neighbours, order, rank,
path or clock. It never carries text of the document. A rule that answers "keep" for most documents returns one shared
`Decision` object for all of them, so that the common case allocates nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What happens to the document."""

    KEEP = "keep"
    ALTER = "alter"  # kept, with another text: PII redacted
    EXCLUDE = "exclude"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decision rests on; equal evidence is stored once per task. Every field is optional but `protocol`.

    Attributes:
        protocol: the signal or method: `robots.txt`, `spdx-tag`, `cc-mark`, `fasttext`, `presidio`, ...
        host: the authority whose file was consulted (consent signals only), as `filters.robots.origin` knows it.
        agents: user agents concerned, in the policy's order, comma-separated.
        basis: `named` when a group names the agent, `star` when only `*` applies.
        line: 1-based number of the deciding line in the consulted file, 0 when no line decides.
        rule: the deciding line as written, at most 200 characters; for a stock filter its reason.
        body_sha256: digest of the consulted file as stored in the snapshot (32 bytes).
        fetched_at: date of the snapshot, ISO 8601.
        status: HTTP status of the fetch.
        license: SPDX expression found.
        start, end: code point range of the licence mark in the text the stage saw.
        detector: name and version of what found it, as `name@version`.
        model_sha256: digest of the model file (32 bytes).
        threshold: score at which the policy excludes.
    """

    protocol: str
    host: str | None = None
    agents: str | None = None
    basis: str | None = None
    line: int | None = None
    rule: str | None = None
    body_sha256: bytes | None = None
    fetched_at: str | None = None
    status: int | None = None
    license: str | None = None
    start: int | None = None
    end: int | None = None
    detector: str | None = None
    model_sha256: bytes | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One stage's answer for one document.

    Attributes:
        action: keep, alter or exclude.
        reason: a member of the stage's closed set of reasons (`manifests.schema.Reason` is their union).
        evidence: what it rests on; required to exclude, optional to keep.
        score: model score in 0..1 where there is one.
        counts: for altered documents, number of redactions by type. Never values.
    """

    action: Action
    reason: str
    evidence: Evidence | None = None
    score: float | None = None
    counts: Mapping[str, int] | None = None

    @property
    def kept(self) -> bool:
        """True unless the document is excluded."""
        return self.action is not Action.EXCLUDE
