"""A receipt proves what the tables say, to whoever has the roots and one file; nothing else can be proved with it."""

from __future__ import annotations

import ast
import base64
import contextlib
import copy
import io
import json
import random
import shutil
import stat
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from manifests import merkle, verify
from manifests.ask import ask, host_of
from manifests.corpus import open_corpus
from manifests.ledger import DECISION_LEAF, KEPT_LEAF
from manifests.publish import TABLES, count_root
from manifests.receipt import KeyFileError, canonical, new_key, range_proof, sign, statement, write_receipt
from manifests.schema import CorpusError, restore_host
from manifests.verify import ReceiptError
from pipeline.addresses import locate
from pipeline.cli import app
from tests.manifests import sites
from tests.manifests.build import edit_json, edit_table
from tests.manifests.sites import AUTHORITIES, build_sites

URL = "https://a.b.example.org/a?b=c"  # excluded, kept and redacted: all of it
RECEIPTS = (("www.example.org", None), ("example.org", None), ("nowhere.invalid", None), ("example.org", URL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("receipts")
    build_sites(folder / "corpus")
    (folder / "public").write_text(new_key(folder / "key.pem"))
    return folder


@pytest.fixture(scope="module")
def roots(folder) -> list[str]:
    return [open_corpus(folder / "corpus").root]


@pytest.fixture(scope="module")
def public(folder) -> str:
    return (folder / "public").read_text()


def receipt(folder: Path, site: str, url: str | None = None) -> bytes:
    write_receipt(ask(folder / "corpus", site, url, locate=locate), folder / "key.pem", folder / "receipt.json")
    return (folder / "receipt.json").read_bytes()


def payload(content: bytes) -> dict[str, Any]:
    return json.loads(base64.b64decode(json.loads(content)["payload"]))


# -- what it proves


@pytest.mark.parametrize("site", [*AUTHORITIES, "example", "2.3.4", "nowhere.invalid", "aaa", "zzz.zzz", "exampl.org"])
def test_a_receipt_proves_the_hosts_of_a_full_scan(folder, roots, public, site):
    proved = verify.verify(receipt(folder, site), roots, public)
    hosts: dict[tuple[Any, ...], int] = {}
    for row in proved["hosts"]:
        hosts[row["rhost"], row["action"], row["stage"], row["reason"]] = row["rows"]
    (answer,) = ask(folder / "corpus", site, locate=locate).versions
    expected: dict[tuple[Any, ...], int] = {}
    for outcome in answer.outcomes:
        if outcome.action != "alter":
            rhost = locate(f"http://{outcome.host}/")[0]
            kept = outcome.action == "keep"
            key = (rhost, outcome.action, None if kept else outcome.stage, None if kept else outcome.reason)
            expected[key] = expected.get(key, 0) + outcome.documents
    assert hosts == expected
    assert (not hosts) == (site in ("2.3.4", "nowhere.invalid", "aaa", "zzz.zzz", "exampl.org"))


def test_a_receipt_proves_what_became_of_each_document_with_a_url(folder, roots, public):
    seen = {"kept": 0, "decisions": 0}
    documents = [document for document in sites.documents(folder / "corpus", 1) if document["rhost"]]
    for document in documents[::25]:
        proved = verify.verify(receipt(folder, document["url"], document["url"]), roots, public)
        mine = [row for row in proved["documents"] if row["key"].hex() == document["key"]]
        assert [row["table"] for row in mine].count("kept") == document["kept"]
        decided = [row for row in mine if row["table"] == "decisions"]
        assert len(decided) == len(document["decisions"])
        for row, other in zip(decided, document["decisions"], strict=True):
            assert {name: row[name] for name in DECISION_LEAF} == {name: other[name] for name in DECISION_LEAF}
            assert row["evidence"][1:3] == [other["evidence"]["protocol"], other["evidence"]["host"]]
        for row in mine:
            seen[row["table"]] += 1
            if row["table"] == "kept":
                assert row["text_digest"] == document["text_digest"]
    assert min(seen.values()) > 4


def test_the_verifier_knows_the_columns_of_leaves():
    assert verify.ROWS["kept"][1].split() == list(KEPT_LEAF)
    assert verify.ROWS["decisions"][1].split() == [*DECISION_LEAF, "evidence"]


def test_the_same_question_gives_the_same_bytes(folder):
    assert receipt(folder, "example.org") == receipt(folder, "EXAMPLE.org.")


def test_a_site_may_have_another_port_or_none(folder, roots):
    ports = {restore_host(row["rhost"])[1] for row in verify.verify(receipt(folder, "example.org"), roots)["hosts"]}
    assert ports == {None, 8080, 8443}
    alone = verify.verify(receipt(folder, "example.org:8080"), roots)["hosts"]
    assert {host_of(row["rhost"]) for row in alone} == {"example.org:8080"}


def test_hosts_chain_to_the_corpus_root_alone(tmp_path):
    """The last leaf under the corpus root is the root of hosts, so one root is all that a third party must know."""
    build_sites(tmp_path / "corpus")
    key = new_key(tmp_path / "key.pem")
    corpus = open_corpus(tmp_path / "corpus")
    hosts = bytes.fromhex(corpus.run["roots"]["hosts"])
    leaves = _task_leaves(tmp_path)
    bound = merkle.root([merkle.leaf(merkle.encode(leaf)) for leaf in [*leaves, ["hosts", hosts]]]).hex()
    assert bound == corpus.root
    content = receipt(tmp_path, "a.b.example.org", URL)
    assert payload(content)["predicate"]["binding"]["leaves"] == [["hosts", {"hex": hosts.hex()}]]
    assert verify.verify(content, [bound], key)["hosts"]
    forged = payload(content)
    forged["predicate"]["binding"] = forged["predicate"]["documents"][0]["task"]
    with pytest.raises(ReceiptError, match="another root of hosts is bound"):
        verify.verify(sign(forged, tmp_path / "key.pem"), [bound], key)


def _task_leaves(folder: Path) -> list[list[Any]]:
    leaves = []
    for record in open_corpus(folder / "corpus").tasks:
        head = [record[name] for name in ("name", "source", "kind", "rows", "kept")]
        roots = [bytes.fromhex(record["roots"][name]) for name in TABLES]
        leaves.append([*head, count_root(record["counts"]), *roots])
    return leaves


# -- what cannot be proved


def test_a_thousand_damaged_receipts_do_not_verify(folder, roots, public):
    chance = random.Random(8)
    contents = [receipt(folder, site, url) for site, url in RECEIPTS]
    for content in contents:
        verify.verify(content, roots, public)
    refused = 0
    for number in range(1000):
        content = contents[number % len(contents)].strip()
        place = chance.randrange(len(content))
        damaged = [
            content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :],
            content[:place] + content[place + 1 :],
            content[:place] + bytes([chance.choice(content)]) + content[place:],
            content[:place],
            content[:place] + content[place + 1 : place + 2] + content[place : place + 1] + content[place + 2 :],
        ][chance.randrange(5)]
        if damaged.strip() != content:
            with pytest.raises(ReceiptError):
                verify.verify(damaged, roots, public)
            refused += 1
    assert refused > 950


def test_a_thousand_forged_receipts_do_not_verify_though_the_operator_signs_them(folder, roots, public):
    """Every value and every field of what is proved, changed in several ways, and signed anew with the right key."""
    refused = 0
    for site, url in (("nowhere.invalid", None), ("a.b.example.org", URL)):
        content = receipt(folder, site, url)
        genuine, proved = payload(content), verify.verify(content, roots, public)
        for path, change in changes(genuine):
            forged = copy.deepcopy(genuine)
            change(forged)
            resigned = sign(forged, folder / "key.pem")
            if path[-1] == "size":  # only the shape counts, and a tree of another size may have the same
                with contextlib.suppress(ReceiptError):
                    assert verify.verify(resigned, roots, public) == proved
            elif path == ("predicate", "rhost"):  # another question, to which the same leaves may be an answer
                with contextlib.suppress(ReceiptError):
                    assert verify.verify(resigned, roots, public)["hosts"] == _scan(
                        folder, forged["predicate"]["rhost"]
                    )
            else:
                with pytest.raises(ReceiptError):
                    verify.verify(resigned, roots, public)
                refused += 1
    assert refused > 2000


def _scan(folder: Path, rhost: str) -> list[dict[str, Any]]:
    table = pq.read_table(folder / "corpus/manifests/v0001/hosts.parquet").drop_columns("shards")
    return [row for row in table.to_pylist() if row["rhost"] and verify.belongs(row["rhost"], rhost)]


def changes(value: Any) -> Iterator[tuple[tuple[Any, ...], Callable[[dict[str, Any]], None]]]:
    """Changes of each part of a statement but what it only states, with the path of the part."""
    for path, part in parts(value, ()):
        if "stated" in path or (len(path) <= 3 and path[:2] == ("predicate", "documents")):
            continue  # that the documents listed are all is not proved
        *above, last = path

        def replace(statement: dict[str, Any], above=above, last=last, other=None) -> None:
            for step in above:
                statement = statement[step]
            statement[last] = other

        def remove(statement: dict[str, Any], above=above, last=last) -> None:
            for step in above:
                statement = statement[step]
            del statement[last]

        yield path, remove
        for other in others(part):
            yield path, lambda statement, replace=replace, other=other: replace(statement, other=other)


def parts(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if path:
        yield path, value
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from parts(part, (*path, name))


def others(part: Any) -> list[Any]:
    if isinstance(part, int):
        return [part + 1, -part - 1, float(part), str(part), None]
    if isinstance(part, str):
        changed = part[:-1] + ("0" if part[-1:] != "0" else "1")
        return [changed, part + "0", part.swapcase() if part.swapcase() != part else part + " ", 7, None, [part]]
    if part is None:
        return ["", 0, []]
    if isinstance(part, list):
        return [[*part, part[0]] if part else [None], part[::-1] if part[::-1] != part else [*part, None], None]
    return [{**part, "more": 1}, {}, None]


def test_true_is_not_one(folder, roots, public):
    genuine = payload(receipt(folder, "www.example.org"))
    done = 0
    for path, part in parts(genuine["predicate"]["hosts"], ()):
        if part == 1 and isinstance(part, int):
            forged = copy.deepcopy(genuine)
            target = forged["predicate"]["hosts"]
            for step in path[:-1]:
                target = target[step]
            target[path[-1]] = True
            with pytest.raises(ReceiptError):
                verify.verify(sign(forged, folder / "key.pem"), roots, public)
            done += 1
    assert done


@pytest.mark.parametrize("drop", ["before", "behind", "both"])
def test_a_host_cannot_be_left_out(folder, roots, public, drop):
    """A narrower range, correctly proved, in which a host of the site is missing."""
    corpus = open_corpus(folder / "corpus")
    answer = ask(folder / "corpus", "example.org", locate=locate)
    genuine = statement(answer, corpus)
    proof = genuine["predicate"]["hosts"]
    leaves = _host_leaves(folder)
    first, rows = proof["first"], proof["leaves"]
    start, end = {"before": (2, None), "behind": (0, -2), "both": (2, -2)}[drop]
    chosen = rows[start:end]
    narrow = range_proof(leaves, first + start, len(chosen))
    path = [node.hex() for node in narrow]
    genuine["predicate"]["hosts"] = {**proof, "first": first + start, "leaves": chosen, "path": path}
    with pytest.raises(ReceiptError, match="may be missing"):
        verify.verify(sign(genuine, folder / "key.pem"), roots, public)


def test_absence_cannot_be_shown_by_hosts_that_are_no_neighbours(folder, roots, public):
    """Both neighbours of a host, proved one by one, do not make a range without it."""
    corpus = open_corpus(folder / "corpus")
    genuine = statement(ask(folder / "corpus", "www.example.org", locate=locate), corpus)
    proof = genuine["predicate"]["hosts"]
    for place in range(1, len(proof["leaves"]) - 1):
        forged = copy.deepcopy(genuine)
        gone = forged["predicate"]["hosts"]["leaves"].pop(place)
        hidden = merkle.leaf(merkle.encode(gone)).hex()
        for at in range(len(proof["path"]) + 1):
            for size in (proof["size"], proof["size"] - 1):
                path = [*proof["path"][:at], hidden, *proof["path"][at:]]
                forged["predicate"]["hosts"].update(path=path, size=size)
                with pytest.raises(ReceiptError):
                    verify.verify(sign(forged, folder / "key.pem"), roots, public)


def _host_leaves(folder: Path) -> list[bytes]:
    rows: dict[str | None, list[Any]] = {}
    columns = ["rhost", "action", "stage", "reason", "rows", "text_bytes"]
    for row in pq.read_table(folder / "corpus/manifests/v0001/hosts.parquet", columns=columns).to_pylist():
        rows.setdefault(row["rhost"], []).append(list(row.values()))
    return [merkle.leaf(merkle.encode(group)) for group in rows.values()]


def test_a_receipt_for_one_site_is_none_for_another(folder, roots, public):
    genuine = payload(receipt(folder, "a.b.example.org", URL))
    for rhost in ("org.example", "example", "org", "org.example.b.a2", "zz", ""):
        genuine["predicate"]["rhost"] = rhost
        with pytest.raises(ReceiptError):
            verify.verify(sign(genuine, folder / "key.pem"), roots, public)


def test_roots_and_keys_of_others_are_refused(folder, roots, public):
    content = receipt(folder, "a.b.example.org", URL)
    stranger = sha256(b"another corpus").hexdigest()
    for trusted in ([], [stranger], [roots[0][:-1]]):
        with pytest.raises(ReceiptError, match="not one that you gave"):
            verify.verify(content, trusted, public)
    by_name = open_corpus(folder / "corpus").run["roots"]
    with pytest.raises(ReceiptError, match="hang from"):
        verify.verify(content, [by_name["hosts"]], public)
    assert verify.verify(content, [by_name["corpus"]], public)
    with pytest.raises(ReceiptError, match="another key"):
        verify.verify(content, roots, stranger)
    assert verify.verify(content, [root.upper() for root in roots], public.upper())


def test_without_a_trusted_key_proofs_stand_and_the_signature_must_still_fit(folder, roots, tmp_path):
    genuine = receipt(folder, "www.example.org")
    assert verify.verify(genuine, roots)["hosts"]
    envelope = json.loads(genuine)
    envelope["signatures"][0]["keyid"] = new_key(tmp_path / "other.pem")
    with pytest.raises(ReceiptError, match="signature"):
        verify.verify(canonical(envelope), roots)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"null", b"[]", b"\xff\xfe", b"1" * 5000, b'{"payload":1}', b"[" * 100_000, b'"\\ud800"']
)
def test_what_is_no_receipt_is_refused_in_our_words(roots, content):
    with pytest.raises(ReceiptError):
        verify.verify(content, roots)


# -- its parts


rows = st.recursive(
    st.none() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(rows, max_size=6))
def test_rows_have_the_same_bytes_in_both_implementations(row):
    assert verify.encode(row) == merkle.encode(row)


def audit_path(place: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]) as RFC 9162, 2.1.3.1 defines it."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if place < split:
        return [*audit_path(place, leaves[:split]), merkle.root(leaves[split:])]
    return [*audit_path(place - split, leaves[split:]), merkle.root(leaves[:split])]


def test_the_proof_of_one_leaf_is_its_audit_path():
    for size in range(1, 34):
        leaves = [sha256(bytes([number])).digest() for number in range(size)]
        for place in range(size):
            assert sorted(range_proof(leaves, place, 1)) == sorted(audit_path(place, leaves))


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1), st.integers(1, size)))
)
def test_every_range_leads_to_the_root_and_no_other_does(numbers):
    size, first, count = numbers
    count = min(count, size - first)
    all_rows = [["host", number] for number in range(size)]
    leaves = [merkle.leaf(merkle.encode(row)) for row in all_rows]
    path = [node.hex() for node in range_proof(leaves, first, count)]
    proof = {"first": first, "size": size, "leaves": all_rows[first : first + count], "path": path}
    assert verify._climb(proof) == merkle.root(leaves)
    if path:
        with pytest.raises((ReceiptError, StopIteration)):
            verify._climb({**proof, "path": path[:-1]})
    with pytest.raises(ReceiptError, match="too many"):
        verify._climb({**proof, "path": [*path, "00" * 32]})


def test_the_envelope_is_dsse(folder, public):
    """The example of the DSSE protocol for the pre-authentication encoding, and the signature over ours by hand."""
    envelope = json.loads(receipt(folder, "example.org"))
    content = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    encoded = b" ".join([b"DSSEv1", b"%d" % len(kind), kind.encode(), b"%d" % len(content), content])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, encoded)
    said = json.loads(content)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert [subject["name"] for subject in said["subject"]] == ["corpus", "hosts"]
    more = payload(receipt(folder, "a.b.example.org", URL))
    assert [subject["name"] for subject in more["subject"]] == ["corpus", "hosts"]


def test_the_verifier_is_one_short_file_that_runs_alone(folder, roots, public, tmp_path):
    source = Path(verify.__file__).read_text(encoding="utf-8")
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert imported <= set(sys.stdlib_module_names) | {"cryptography"}
    comments = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in comments]
    described = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    assert len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - described) < 150
    shutil.copy(verify.__file__, tmp_path / "verify.py")
    (tmp_path / "r.json").write_bytes(receipt(folder, "www.example.org"))
    command = [sys.executable, "-I", "verify.py", "r.json", "--root", roots[0], "--key", public]
    good = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["hosts"]
    bad = subprocess.run([*command[:5], "00" * 32], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert "not proved" in bad.stderr


# -- keys, files, commands


def test_a_private_key_is_its_owners_and_never_overwritten_or_in_a_corpus(folder, tmp_path):
    new_key(tmp_path / "mine.pem")
    assert stat.S_IMODE((tmp_path / "mine.pem").stat().st_mode) == 0o600
    before = (tmp_path / "mine.pem").read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        new_key(tmp_path / "mine.pem")
    assert (tmp_path / "mine.pem").read_bytes() == before
    with pytest.raises(KeyFileError, match="inside the corpus"):
        new_key(folder / "corpus" / "report" / "mine.pem")


def test_keys_of_other_kinds_are_refused(folder, tmp_path):
    elliptic = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content, message in ((elliptic, "not an ed25519 key"), (b"nonsense", "no private key")):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(KeyFileError, match=message):
            sign({}, tmp_path / "key")


@pytest.mark.parametrize(
    "table", ["hosts.parquet", "kept/web-1.parquet", "decisions/web-1.parquet", "tasks/web-1.json"]
)
def test_a_corpus_that_does_not_lead_to_its_roots_gets_no_receipt(tmp_path, table):
    build_sites(tmp_path / "corpus")
    new_key(tmp_path / "key.pem")
    path = tmp_path / "corpus/manifests/v0001" / table
    if path.suffix == ".json":
        edit_json(path, lambda record: record.update(kept=record["kept"] + 1))
    else:
        edit_table(path, lambda rows: [{**row, "text_bytes": row["text_bytes"] + 1} for row in rows])
    pages = [page for page in sites.documents(tmp_path / "corpus", 1) if page["task"] == "web-1" and page["rhost"]]
    url = next(page["url"] for page in pages if page["kept"] and page["decisions"])
    with pytest.raises(CorpusError):
        receipt(tmp_path, url, url)
    assert not (tmp_path / "receipt.json").exists()


def test_the_commands_make_a_key_and_a_receipt_and_verify_it(folder, tmp_path, roots):
    run = CliRunner().invoke
    key, out = tmp_path / "k.pem", tmp_path / "r.json"
    assert run(app, ["key", "new", str(key)]).exit_code == 0
    asked = run(app, ["ask", str(folder / "corpus"), "a.b.example.org", URL, "--receipt", str(out), "--key", str(key)])
    assert asked.exit_code == 0, asked.output
    run_json = str(folder / "corpus/manifests/v0001/run.json")
    for trusted in (["--root", run_json], ["--root", roots[0]]):
        good = run(app, ["verify", str(out), *trusted, "--key", f"{key}.pub"])
        assert good.exit_code == 0, good.output
        assert "proved: this is all that the corpus has of a.b.example.org" in good.stdout
    assert json.loads(run(app, ["verify", str(out), "--root", run_json, "--json"]).stdout)["documents"]
    bad = run(app, ["verify", str(out), "--root", "00" * 32])
    assert bad.exit_code == 1
    assert "not proved" in bad.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "{corpus}", "example.org", "--receipt", "r.json"],
        ["ask", "{corpus}", "example.org", "--receipt", "r.json", "--key", "nothing.pem"],
        ["verify", "nothing.json", "--root", "00" * 32],
        ["verify", "{receipt}", "--root", "12"],
        ["verify", "{receipt}", "--root", "00" * 32, "--key", "zz"],
        ["key", "new", "{corpus}/key.pem"],
    ],
)
def test_what_cannot_be_used_ends_with_code_2(folder, arguments):
    receipt(folder, "example.org")
    names = {"corpus": str(folder / "corpus"), "receipt": str(folder / "receipt.json")}
    result = CliRunner().invoke(app, [argument.format(**names) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert "error:" in result.stderr
