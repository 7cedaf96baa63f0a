"""Checking a receipt, offline, with this one file: Python's standard library and the `cryptography` package.

    python verify.py receipt.json --root 4f3c… --root 9a01… --key 7b21…

A receipt is an in-toto Statement in a DSSE envelope. What it says is *proved* where it hangs from a root that you were
given elsewhere (a dataset card, a release), whoever signed it: this file hashes each row as `manifests.merkle` does and
climbs to the root in the shape of RFC 9162, 2.1. Hosts are proved as one range of neighbouring leaves from before the
question to behind it, so what is not in it is not in the corpus. The rest is under `stated`: signed, no more.

It imports nothing of fairtrove, so that it can be read whole, kept beside a receipt, and disagree with us.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

TYPE, STATEMENT = "application/vnd.in-toto+json", "https://in-toto.io/Statement/v1"
PREDICATE, DIGEST = "urn:fairtrove:receipt:v1", "rfc9162_sha256"
ROWS = {  # place of the table's root in the leaf of a task, and the columns of a row
    "decisions": (6, "key file_row rhost path stage action reason language text_bytes trail evidence"),
    "kept": (8, "key file_row rhost text_digest text_bytes language license redactions trail"),
}


class ReceiptError(Exception):
    """The receipt does not prove what it says; the message names the part."""


def verify(receipt: bytes, roots: Iterable[str], key: str | None = None) -> dict[str, Any]:
    """What a receipt proves: all rows that the host table has of the site `rhost` (`hosts`), and that `documents` are
    on record (not that no others are); `roots` are those it climbs to. What is under `stated` is signed only.

    Args:
        roots: trusted roots, hexadecimal; every proof must reach one of them.
        key: trusted ed25519 public key, 64 hexadecimal digits. Without it anybody may have signed.

    Raises:
        ReceiptError: anything at all does not fit.
    """
    try:
        return _verify(receipt, {root.strip().lower() for root in roots}, key)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, StopIteration, RecursionError) as error:
        raise ReceiptError(f"not a receipt of this kind: {type(error).__name__}: {error}") from error


def _verify(receipt: bytes, trusted: set[str], key: str | None) -> dict[str, Any]:
    envelope = _canonical(receipt.strip(), {"payload", "payloadType", "signatures"})
    ((signature),) = envelope["signatures"]
    _expect(signature.keys() == {"keyid", "sig"} and envelope["payloadType"] == TYPE, "the envelope has another form")
    _expect(key is None or key.strip().lower() == signature["keyid"], "it is signed by another key than yours")
    payload = _base64(envelope["payload"])
    _signed(_unhex(signature["keyid"]), _base64(signature["sig"]), payload)
    statement = _canonical(payload, {"_type", "subject", "predicateType", "predicate"})
    _expect((statement["_type"], statement["predicateType"]) == (STATEMENT, PREDICATE), "another kind of statement")
    predicate = statement["predicate"]
    rhost, expected = predicate["rhost"], {"rhost", "hosts", "binding", "documents", "stated"}
    _expect(predicate.keys() == expected and isinstance(rhost, str) and rhost != "", "the predicate has another form")
    listed, binding = predicate["documents"], predicate["binding"]
    roots = {subject["name"]: subject["digest"][DIGEST] for subject in statement["subject"]}
    named = ["corpus", "hosts"] if listed or binding else ["hosts"]
    subjects = [{"name": name, "digest": {DIGEST: roots[name]}} for name in named]
    _expect(statement["subject"] == subjects, "the subjects are not the roots that it climbs to")

    _expect(_climb(predicate["hosts"]).hex() == roots["hosts"], "the hosts do not lead to their root")
    if binding is not None:  # the root of hosts is itself a leaf under the root of the corpus
        _expect(_climb(binding).hex() == roots["corpus"], "the root of hosts is not under that of the corpus")
        _expect(_rows(binding) == [["hosts", bytes.fromhex(roots["hosts"])]], "another root of hosts is bound")
    documents = [_document(document, rhost, roots["corpus"]) for document in listed]
    for name in named:
        given = roots[name] in trusted or (binding is not None and name == "hosts")
        _expect(given, f"its {name if name == 'hosts' else 'documents'} hang from {roots[name]}: not one that you gave")
    places = [(found["task"], found["table"], found["place"]) for found in documents]
    _expect(places == sorted(set(places)), "its documents are not in order")
    hosts = _hosts(predicate["hosts"], rhost)
    return {"rhost": rhost, "roots": roots, "hosts": hosts, "documents": documents, "stated": predicate["stated"]}


def _hosts(proof: dict[str, Any], rhost: str) -> list[dict[str, Any]]:
    """Rows of the hosts in question, when the range begins before the first and ends behind the last there can be."""
    leaves = _rows(proof)
    names = [leaf[0][0] or "" for leaf in leaves]
    _expect(names == sorted(set(names)), "the hosts are not in order")
    _expect(all(row[0] == leaf[0][0] for leaf in leaves for row in leaf), "a leaf holds rows of several hosts")
    _expect(proof["first"] == 0 or names[0] < rhost, "hosts before the first one shown may be missing")
    whole = proof["first"] + len(leaves) == proof["size"] or names[-1] >= rhost + ";"  # `;` follows `:`
    _expect(whole, "hosts behind the last one shown may be missing")
    columns = ("rhost", "action", "stage", "reason", "rows", "text_bytes")
    chosen = [leaf for leaf, name in zip(leaves, names, strict=True) if belongs(name, rhost)]
    return [dict(zip(columns, row, strict=True)) for leaf in chosen for row in leaf]


def belongs(name: str, rhost: str) -> bool:
    """Whether a reversed host is `rhost`, one of its ports, or one of its subdomains, which no IP address is or has."""
    address = re.compile(r"[0-9]+(?:\.[0-9]+){3}(?::[0-9]+)?")
    below = name.startswith(rhost + ".") and not (address.fullmatch(name) or address.fullmatch(rhost))
    return name == rhost or name.startswith(rhost + ":") or below


def _document(document: dict[str, Any], rhost: str, corpus_root: str) -> dict[str, Any]:
    """A row of a task's table as a dict; its leaf leads to the task's leaf, and that one to the root of the corpus."""
    _expect(document.keys() == {"table", "row", "evidence", "task"}, "a document's fields differ")
    place, columns = ROWS[document["table"]]
    ((row,), (task,)) = (_rows(document["row"]), _rows(document["task"]))
    _expect(_climb(document["row"]) == task[place], "a document is not in its task")
    _expect(_climb(document["task"]).hex() == corpus_root, "a task is not under the root of the corpus")
    found = {"task": task[0], "table": document["table"], "place": document["row"]["first"]}
    found |= dict(zip(columns.split(), row, strict=True))
    evidence = None if document["evidence"] is None else _plain(document["evidence"])
    _expect(found.get("evidence") == (evidence and _leaf(evidence)), "a decision rests on other evidence")
    found["evidence"] = evidence
    _expect(belongs(found["rhost"] or "", rhost), "a document is of another host")
    return found


def _climb(proof: dict[str, Any]) -> bytes:
    """Root above a range of neighbouring leaves: `path` holds the hashes of what lies beside it, left to right."""
    _expect(proof.keys() == {"first", "size", "leaves", "path"}, "a proof's fields differ")
    first, size, beside = proof["first"], proof["size"], iter([_unhex(node) for node in proof["path"]])
    leaves = [_leaf(row) for row in _rows(proof)]
    fit = {type(first), type(size)} == {int} and 0 <= first <= size - len(leaves) < 1 << 62 and (leaves or not size)
    _expect(bool(fit), "a proof's numbers do not fit")

    def node(low: int, high: int, outside: Iterator[bytes]) -> bytes:
        if high <= first or low >= first + len(leaves):
            return next(outside)
        if high - low == 1:
            return leaves[low - first]
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        return sha256(b"\x01" + node(low, middle, outside) + node(middle, high, outside)).digest()

    root = node(0, size, beside) if size else sha256(b"").digest()
    _expect(next(beside, None) is None, "a proof has hashes too many")
    return root


def _leaf(row: list[Any]) -> bytes:
    return sha256(b"\x00" + encode(row)).digest()


def encode(values: Iterable[Any]) -> bytes:
    """Bytes of a row, which differ whenever rows do (`manifests.merkle.encode`, written again)."""
    return b"".join(map(_field, values))


def _field(value: Any) -> bytes:
    """A letter for the kind, the length, the content."""
    if value is None:
        return b"n"
    if isinstance(value, (int, float)):
        return b"i%d;" % value if isinstance(value, int) else b"f" + struct.pack(">d", value)
    text = isinstance(value, str)
    letter = b"s" if text else b"b" if isinstance(value, bytes) else b"l"
    content = value.encode("utf-8", "surrogatepass") if text else encode(value) if letter == b"l" else value
    return b"%b%d:%b" % (letter, len(content), content)


def _rows(proof: dict[str, Any]) -> list[Any]:
    return [_plain(leaf) for leaf in proof["leaves"]]


def _plain(value: Any) -> Any:
    """A value of a row: bytes are written {"hex": "…"}; true and false do not occur."""
    if isinstance(value, list):
        return [_plain(part) for part in value]
    _expect(not isinstance(value, bool), "a value is no value")
    return _unhex(*value.values()) if isinstance(value, dict) and value.keys() == {"hex"} else value


def _unhex(text: str) -> bytes:
    content = bytes.fromhex(text)
    _expect(content.hex() == text, "a hexadecimal number is written otherwise")
    return content


def _base64(text: str) -> bytes:
    content = base64.b64decode(text, validate=True)
    _expect(base64.b64encode(content).decode() == text, "base64 is written otherwise")
    return content


def _canonical(content: bytes, names: set[str]) -> dict[str, Any]:
    """JSON written in the one way in which receipts are, so that no byte can change unseen."""
    value = json.loads(content)
    _expect(json.dumps(value, sort_keys=True, separators=(",", ":")).encode() == content, "JSON is written otherwise")
    _expect(value.keys() == names, "fields differ")
    return value


def _signed(key: bytes, signature: bytes, payload: bytes) -> None:
    """DSSE: ed25519 over the pre-authentication encoding of type and payload."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signed = b"DSSEv1 %d %b %d %b" % (len(TYPE), TYPE.encode(), len(payload), payload)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature as error:
        raise ReceiptError("the signature is not that of this content") from error


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ReceiptError(otherwise)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check a receipt offline.")
    parser.add_argument("receipt", type=Path)
    parser.add_argument("--root", action="append", required=True, metavar="HEX")
    parser.add_argument("--key", metavar="HEX", help="ed25519 public key")
    given = parser.parse_args()
    try:
        print(json.dumps(verify(given.receipt.read_bytes(), given.root, given.key), indent=1, default=bytes.hex))
    except ReceiptError as error:
        raise SystemExit(f"not proved: {error}") from None
