"""Receipts: an answer about a site, signed, with the hashes that lead from its rows to the roots of the corpus.

A receipt is an in-toto Statement v1 in a DSSE envelope, signed with ed25519. Its subjects are the roots of a
version that it climbs to. It proves, by `manifests.verify` and to somebody who has only the roots:

- the complete answer for a host and its subdomains: the neighbouring leaves of the host tree from the last one before
  the site to the first one behind it, with the hashes beside them (RFC 9162, 2.1.3, for a range). When the site is
  in none of them, that is the proof of absence;
- the documents that have a URL: each one's row of `kept` or `decisions`, with its evidence, up to the task's root and
  from the task's leaf up to the root of the corpus.

What no tree commits to (version number, shard, the URL of a kept document, that no other has it) is under `stated`.
The same question to the same version with the same key gives the same bytes: no clock is read. Every proof is climbed
before a receipt is written, so a corpus that is not what its roots say gives an error and none.

Cost: the leaves of the host tree, and of a task's table for each document, are hashed anew, about 5 µs each.
"""

from __future__ import annotations

import base64
import json
import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import merkle
from manifests.ask import Answer, Page, host_of
from manifests.corpus import Corpus, open_corpus, published_versions
from manifests.ledger import DECISION_LEAF, EVIDENCE_LEAF, KEPT_LEAF
from manifests.publish import TABLES, count_root
from manifests.schema import CorpusError, FairtroveError
from manifests.verify import DIGEST, PREDICATE, STATEMENT, TYPE, ReceiptError, verify

HOST_LEAF = ("rhost", "action", "stage", "reason", "rows", "text_bytes")


class KeyFileError(FairtroveError):
    """A signing key that cannot be made, read or used."""


def write_receipt(answer: Answer, key: Path, out: Path, version: int | None = None) -> dict[str, Any]:
    """Write the receipt of one version's answer, the newest by default; returns what it proves (`verify`).

    Args:
        key: private key, as `new_key` writes it.

    Raises:
        CorpusError: the rows do not lead to the roots.
        KeyFileError: the key cannot be used, or `out` cannot be written.
    """
    corpus = open_corpus(answer.corpus, version)
    content = sign(statement(answer, corpus), key)
    try:
        proved = verify(content, corpus.run["roots"].values())
    except ReceiptError as error:
        raise CorpusError(
            f"{corpus.manifest}: its rows do not lead to its roots ({error}); audit the corpus"
        ) from error
    _write(out, content, 0o644, replace=True)
    return proved


def statement(answer: Answer, corpus: Corpus) -> dict[str, Any]:
    """The in-toto statement of what one version says."""
    said = next(version for version in answer.versions if version.version == corpus.version)
    hosts = pq.read_table(corpus.manifest / "hosts.parquet", columns=list(HOST_LEAF), partitioning=None)
    tasks, bound = _task_leaves(corpus)
    task_hashes = [merkle.leaf(merkle.encode(leaf)) for leaf in tasks]
    pages = said.pages or ()
    places = {leaf[0]: place for place, leaf in enumerate(tasks)}
    read = {name: _Task(corpus, name) for name in {page.task for page in pages}}
    documents = []
    for page in pages:
        task = _proof([tasks[places[page.task]]], task_hashes, places[page.task])
        documents += [{**document, "task": task} for document in read[page.task].documents(page)]
    documents.sort(key=lambda document: (document["task"]["first"], document["table"], document["row"]["first"]))
    climbed = ["corpus", "hosts"] if documents or bound else ["hosts"]
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {DIGEST: corpus.run["roots"][name]}} for name in climbed],
        "predicateType": PREDICATE,
        "predicate": {
            "rhost": answer.rhost,
            "hosts": _host_proof(hosts, answer.rhost),
            "binding": _proof([tasks[-1]], task_hashes, len(tasks) - 1) if bound else None,
            "documents": documents,
            "stated": {
                "version": corpus.version,
                "parent": corpus.run.get("parent"),
                "roots": corpus.run["roots"],
                "format": corpus.run["format"],
                "code": corpus.run.get("code"),
                "site": host_of(answer.rhost),
                "url": answer.url,
                "withdrawn": said.withdrawn,
                "pages": [
                    {"key": page.key, "kept": page.kept, "url": page.url, "shard": page.shard, "row": page.shard_row}
                    for page in pages
                ],
                "not_compared": said.unread,
            },
        },
    }


def sign(value: dict[str, Any], key: Path) -> bytes:
    """A statement in its DSSE envelope; the key's id is the public key itself."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{key}: no private key ({_reason(error)}); make one with `fairtrove key new`") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{key}: not an ed25519 key; make one with `fairtrove key new`")
    payload = canonical(value)
    signature = private.sign(b"DSSEv1 %d %b %d %b" % (len(TYPE), TYPE.encode(), len(payload), payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": TYPE,
        "signatures": [{"keyid": _public_hex(private), "sig": base64.b64encode(signature).decode()}],
    }
    return canonical(envelope) + b"\n"


def canonical(value: Any) -> bytes:
    """JSON in the one form in which receipts are written."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def new_key(path: Path) -> str:
    """Make a key pair: the private key at `path` (PKCS 8 PEM, readable by its owner only), the public one in
    hexadecimal at `path`.pub; returns the latter.

    Raises:
        KeyFileError: a file is there already, or `path` is inside a corpus, which is made to be passed on.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    for folder in path.resolve().parents:
        if published_versions(folder):
            raise KeyFileError(f"{path}: is inside the corpus {folder}, which others get; keep private keys elsewhere")
    private = Ed25519PrivateKey.generate()
    public = _public_hex(private)
    _write(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(path.with_name(path.name + ".pub"), public.encode() + b"\n", 0o644)
    return public


def range_proof(leaves: Sequence[bytes], first: int, count: int) -> list[bytes]:
    """Hashes beside neighbouring leaves, left to right; of one leaf those of its audit path (RFC 9162, 2.1.3)."""

    def beside(low: int, high: int) -> list[bytes]:
        if high <= first or low >= first + count:
            return [merkle.root(leaves[low:high])]
        if first <= low and high <= first + count:
            return []
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        return beside(low, middle) + beside(middle, high)

    return beside(0, len(leaves)) if leaves else []


# -- proofs


def _host_proof(hosts: pa.Table, rhost: str) -> dict[str, Any]:
    """The leaves of the site, with a neighbour on each side."""
    groups: list[list[list[Any]]] = []
    columns = [hosts.column(name).to_pylist() for name in HOST_LEAF]
    for row in zip(*columns, strict=True):
        if not groups or groups[-1][0][0] != row[0]:
            groups.append([])
        groups[-1].append(list(row))
    names = [group[0][0] or "" for group in groups]
    first = max(0, bisect_left(names, rhost) - 1)
    last = min(len(names), bisect_left(names, rhost + ";") + 1)
    return _proof(groups[first:last], [merkle.leaf(merkle.encode(group)) for group in groups], first)


def _proof(rows: Sequence[Any], leaves: Sequence[bytes], first: int) -> dict[str, Any]:
    return {
        "first": first,
        "size": len(leaves),
        "leaves": _json(list(rows)),
        "path": [node.hex() for node in range_proof(leaves, first, len(rows))],
    }


def _task_leaves(corpus: Corpus) -> tuple[list[list[Any]], bool]:
    """What the leaves under the corpus's root say, and whether the last of them binds the root of hosts.

    Raises:
        CorpusError: they do not lead to the root.
    """
    leaves: list[list[Any]] = [
        [record["name"], record["source"], record["kind"], record["rows"], record["kept"]]
        + [count_root(record["counts"])]
        + [bytes.fromhex(record["roots"][name]) for name in TABLES]
        for record in sorted(corpus.tasks, key=lambda record: record["name"])
    ]
    binding = ["hosts", bytes.fromhex(corpus.run["roots"]["hosts"])]
    for bound, rows in ((False, leaves), (True, [*leaves, binding])):
        if merkle.root([merkle.leaf(merkle.encode(row)) for row in rows]).hex() == corpus.root:
            return rows, bound
    raise CorpusError(f"{corpus.manifest}: the tasks do not lead to the root in run.json; audit the corpus")


class _Task:
    """A task's rows, and the leaves of its two tables."""

    def __init__(self, corpus: Corpus, name: str):
        def table(kind: str) -> pa.Table:
            return pq.read_table(corpus.manifest / kind / f"{name}.parquet", partitioning=None)

        kept, decisions, evidence = table("kept"), table("decisions"), table("evidence")
        pieces = zip(*(evidence.column(column).to_pylist() for column in EVIDENCE_LEAF), strict=True)
        self._evidence = dict(zip(evidence.column("evidence_id").to_pylist(), map(list, pieces), strict=True))
        hashes = {number: merkle.leaf(merkle.encode(piece)) for number, piece in self._evidence.items()}
        self._numbers = decisions.column("evidence_id").to_pylist()
        columns = [decisions.column(column).to_pylist() for column in DECISION_LEAF]
        decided = zip(*columns, map(hashes.get, self._numbers), strict=True)
        self._rows = {"kept": _kept_rows(kept), "decisions": [list(row) for row in decided]}
        self._leaves = {table: [merkle.leaf(merkle.encode(row)) for row in rows] for table, rows in self._rows.items()}

    def documents(self, page: Page) -> list[dict[str, Any]]:
        """The rows that say what became of a document, with their evidence and their proofs up to the task's roots."""
        found = []
        for table, rows in self._rows.items():
            for place, row in enumerate(rows):
                if row[1] == page.file_row and row[0].hex() == page.key:
                    evidence = self._evidence.get(self._numbers[place]) if table == "decisions" else None
                    proof = _proof([row], self._leaves[table], place)
                    found.append({"table": table, "row": proof, "evidence": _json(evidence)})
        return found


def _kept_rows(kept: pa.Table) -> list[list[Any]]:
    columns = [kept.column(column).to_pylist() for column in KEPT_LEAF]
    place = KEPT_LEAF.index("redactions")
    columns[place] = [None if value is None else sorted(map(list, value)) for value in columns[place]]
    return [list(row) for row in zip(*columns, strict=True)]


def _json(value: Any) -> Any:
    """A row's value as JSON has it: bytes as {"hex": "…"}."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, (list, tuple)):
        return [_json(part) for part in value]
    return value


def _public_hex(private: Any) -> str:
    return private.public_key().public_bytes_raw().hex()


def _write(path: Path, content: bytes, mode: int, replace: bool = False) -> None:
    """Write a file whole, with its mode from the first byte on; never over another unless `replace`."""
    target = path.with_name(f".{path.name}.{os.getpid()}.tmp") if replace else path
    try:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replace else os.O_EXCL)
        with os.fdopen(os.open(target, flags, mode), "wb") as file:
            file.write(content)
        if replace:
            os.replace(target, path)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: is there already; give the key another name") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error).splitlines()[0]
