"""The shape of the record: stages, reasons and the columns of each manifest table.

Everything an auditor reads is declared here, once. Reasons are a closed set with a version: a new reason is a new
`FORMAT`, so that an old reader never meets a word that it does not know. They keep apart what other pipelines fold
into "allowed": no robots.txt, a fetch error, an unparsable file, a host that no snapshot covers, a row without URL.

Tables are sorted by (reversed host, key, row), so that one host is one range of rows, row-group statistics prune a
host query to a few pages, and absence is provable by two neighbours. Sizes measured on `tests/bench` are in its LOG.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

import pyarrow as pa

FORMAT = 2
"""Version of this module's tables and reasons; written into every `run.json` and every Parquet footer."""


class FairtroveError(Exception):
    """Root of the errors a user can meet; the message says what is wrong, where, and what to do."""


class CorpusError(FairtroveError):
    """A corpus on disk is not what its manifest says, or is not there."""


class ConservationError(FairtroveError):
    """Rows in is not kept plus excluded: a stage lost, doubled or invented a document."""


class Stage(StrEnum):
    """Stages in the order in which a document meets them. `filter` stands for any stock datatrove step."""

    INTAKE = "intake"
    ROBOTS = "robots"
    LICENSE = "license"
    LANGUAGE = "language"
    TOXICITY = "toxicity"
    FILTER = "filter"
    PII = "pii"


class Reason(StrEnum):
    """Why a stage kept, altered or excluded a document."""

    # intake
    READ = "read"
    EMPTY_TEXT = "empty_text"
    MISSING_TEXT = "missing_text"
    TOO_LARGE = "too_large"
    UNREADABLE_ROW = "unreadable_row"
    UNDECODABLE = "undecodable"
    INVALID_UNICODE = "invalid_unicode"
    HTTP_STATUS = "http_status"
    NOT_HTML = "not_html"
    EXTRACTION_FAILED = "extraction_failed"
    # robots; the first six keep the document unless the policy says otherwise for what is unknown
    ALLOWED = "allowed"
    NO_FILE = "no_file"
    FETCH_ERROR = "fetch_error"
    PARSE_ERROR = "parse_error"
    HOST_UNKNOWN = "host_unknown"
    NO_URL = "no_url"
    AGENT_DISALLOWED = "agent_disallowed"
    STAR_DISALLOWED = "star_disallowed"
    SIGNAL_RESERVED = "signal_reserved"
    TAKEDOWN = "takedown"  # a retraction gives it at intake where a source consults no robots.txt
    # license
    PERMISSIVE = "permissive"
    RESTRICTED = "restricted"
    NO_EVIDENCE = "no_evidence"
    CONFLICT = "conflict"
    UNRECOGNIZED = "unrecognized"
    # language
    IDENTIFIED = "identified"
    TRUSTED = "trusted"
    LOW_SCORE = "low_score"
    NOT_SELECTED = "not_selected"
    UNDETERMINED = "undetermined"
    MISMATCH = "mismatch"
    # toxicity
    CLEAN = "clean"  # also pii: nothing found
    CLEARED = "cleared"  # by the cheap model of a cascade
    TOXIC = "toxic"
    UNSCORED_LANGUAGE = "unscored_language"
    # stock datatrove steps
    PASSED = "passed"
    FILTERED = "filtered"
    ALTERED = "altered"
    # pii
    REDACTED = "redacted"


UNKNOWN_CONSENT = frozenset({Reason.FETCH_ERROR, Reason.PARSE_ERROR, Reason.HOST_UNKNOWN, Reason.NO_URL})
"""Reasons under which a document is kept or excluded without any statement of its owner: counted, never "allowed"."""


class DecisionLike(Protocol):
    """The shape of one stage's answer; `filters.decision.Decision` has it, and so may anybody's."""

    @property
    def action(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def evidence(self) -> Any: ...
    @property
    def score(self) -> float | None: ...
    @property
    def counts(self) -> Mapping[str, int] | None: ...


KEY = pa.binary(16)
DIGEST = pa.binary(32)

DECISIONS = pa.schema(
    [
        pa.field("key", KEY, nullable=False),
        pa.field("file_row", pa.int64(), nullable=False),
        pa.field("rhost", pa.string()),
        pa.field("path", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("evidence_id", pa.int64()),
        pa.field("score", pa.float32()),
        pa.field("language", pa.string()),
        pa.field("text_bytes", pa.int64(), nullable=False),
        pa.field("trail", pa.string(), nullable=False),
    ]
)
"""One row per excluded or altered document and stage. `text_bytes`: UTF-8 length of the text as read; `trail`: what
each stage up to this one said of the document (`manifests.trail`)."""

EVIDENCE_FIELDS = (
    pa.field("protocol", pa.string(), nullable=False),
    pa.field("host", pa.string()),
    pa.field("agents", pa.string()),
    pa.field("basis", pa.string()),
    pa.field("line", pa.int32()),
    pa.field("rule", pa.string()),
    pa.field("body_sha256", DIGEST),
    pa.field("fetched_at", pa.string()),
    pa.field("status", pa.int32()),
    pa.field("license", pa.string()),
    pa.field("start", pa.int64()),
    pa.field("end", pa.int64()),
    pa.field("detector", pa.string()),
    pa.field("model_sha256", DIGEST),
    pa.field("threshold", pa.float64()),
)

EVIDENCE = pa.schema(
    [
        pa.field("evidence_id", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        *EVIDENCE_FIELDS,
    ]
)
"""What decisions rest on, once per distinct piece of evidence in a task; the meaning is in `filters.decision`. Numbers
are unique over all tasks: `decisions JOIN evidence USING (evidence_id)` is right over any set of files."""

KEPT = pa.schema(
    [
        pa.field("key", KEY, nullable=False),
        pa.field("file_row", pa.int64(), nullable=False),
        pa.field("rhost", pa.string()),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("shard_row", pa.int32(), nullable=False),
        pa.field("text_digest", pa.binary(16), nullable=False),
        pa.field("text_bytes", pa.int64(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("license", pa.string()),
        pa.field("redactions", pa.map_(pa.string(), pa.int32())),
        pa.field("trail", pa.string(), nullable=False),
    ]
)
"""One row per kept document. `shard` is relative to the corpus, `text_digest` the first 16 bytes of the SHA-256 of the
published text, `text_bytes` its UTF-8 length, `trail` what each stage said of it (`manifests.trail`)."""

TOMBSTONES = pa.schema(
    [
        pa.field("key", KEY, nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("file_row", pa.int64(), nullable=False),
        pa.field("rhost", pa.string()),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("shard_row", pa.int32(), nullable=False),
        pa.field("text_bytes", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("evidence_id", pa.int64()),
    ]
)
"""One row per document that a retraction withdrew. `shard`, `shard_row` and `text_bytes` are those of the parent
version, so that a copy made of it can be purged; `reason` and `evidence_id` are those of the exclusion in this one."""

RETURNED = pa.schema(
    [
        pa.field("key", KEY, nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("file_row", pa.int64(), nullable=False),
        pa.field("rhost", pa.string()),
        pa.field("path", pa.string()),
    ]
)
"""One row per document whose owner allows it again, but whose text was not kept: only curating restores it."""

COUNTS = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("text_bytes", pa.int64(), nullable=False),
        pa.field("multiset_hash", DIGEST, nullable=False),
    ]
)
"""Rows that each stage decided, by outcome. `position` is the stage's place in the pass, `text_bytes` is of the text as
read, `multiset_hash` the sum of SHA-256(key, row) modulo 2^256: order-free, so that parts add up, and a loss, a
doubling or a swap shows where counts agree. A stage's input is the sum over its outcomes."""

HOSTS = pa.schema(
    [
        pa.field("rhost", pa.string()),
        pa.field("action", pa.string(), nullable=False),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("text_bytes", pa.int64(), nullable=False),
        pa.field("shards", pa.list_(pa.string())),
    ]
)
"""Per host: one row for what was kept (`action` keep, with the shards that hold it) and one per way of exclusion."""

SHARD = pa.schema(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("dump", pa.string()),
        pa.field("url", pa.string()),
        pa.field("date", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("language_script", pa.string()),
        pa.field("language_score", pa.float64()),
        pa.field("license", pa.string()),
        pa.field("toxicity", pa.float32()),
        pa.field("redactions", pa.int32()),
        pa.field("redaction_spans", pa.string()),  # only where the policy asks: type and place, never a value
    ]
)
"""Columns of a published shard, flat, with FineWeb-2's names where it has the column."""


def reverse_host(host: str, port: int | None = None) -> str:
    """`www.example.org` → `org.example.www`, so that a domain and its subdomains are neighbours; IP addresses as is.

    An IPv6 address comes without brackets and gets them. A port other than the scheme's default is appended
    (`org.example:8080`): the scope of a robots.txt includes it.
    """
    if ":" in host:
        reversed_host = f"[{host}]"
    else:
        reversed_host = host if _IPV4.fullmatch(host) else ".".join(reversed(host.split(".")))
    return f"{reversed_host}:{port}" if port is not None else reversed_host


def restore_host(rhost: str) -> tuple[str, int | None]:
    """Inverse of `reverse_host`."""
    name, port = rhost, None
    head, separator, digits = rhost.rpartition(":")
    if separator and digits.isdigit() and (not head.startswith("[") or head.endswith("]")):
        name, port = head, int(digits)
    if name.startswith("["):
        return name[1:-1], port
    return name if _IPV4.fullmatch(name) else ".".join(reversed(name.split("."))), port


_IPV4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
