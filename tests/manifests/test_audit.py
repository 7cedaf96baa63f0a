"""The audit finds each single tampering, at three depths of forgery; a true corpus passes; the SQL runs by hand."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests import audit as auditing
from manifests.audit import QUERIES, Verdict, audit, parameters, printable, render, to_json
from manifests.corpus import open_corpus
from manifests.publish import count_table, host_table
from manifests.report import page
from manifests.schema import CorpusError, Reason, Stage
from tests.manifests.build import build, edit_json, edit_table, fix_digests, fix_roots

V = "manifests/v0001"
KEPT = f"{V}/kept/web-0.parquet"
DECISIONS = f"{V}/decisions/web-0.parquet"
EVIDENCE = f"{V}/evidence/web-0.parquet"
COUNTS = f"{V}/counts.parquet"
HOSTS = f"{V}/hosts.parquet"
TASK = f"{V}/tasks/web-0.json"
RUN = f"{V}/run.json"
SHARD = "shards/web-0-000.parquet"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = tmp_path_factory.mktemp("audit") / "corpus"
    build(corpus)
    return corpus


@pytest.fixture
def corpus(original: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "corpus"
    shutil.copytree(original, copy)
    return copy


@pytest.fixture
def without_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "QUERIES", tmp_path)


def failed(corpus: Path, **options) -> set[str]:
    return {check.name for check in audit(open_corpus(corpus), **options).checks if not check.passed}


# -- tamperings: what a forger does, one thing each


def table(path: str, change: Callable) -> Callable[[Path], None]:
    return lambda corpus: edit_table(corpus / path, change)


def record(path: str, change: Callable) -> Callable[[Path], None]:
    return lambda corpus: edit_json(corpus / path, change)


def first(rows: list[dict], **wanted) -> dict:
    return next(row for row in rows if all(row[name] == value for name, value in wanted.items()))


def rest_on_another(rows: list[dict]) -> list[dict]:
    """A decision of one agent's rule resting on the evidence of a rule for everybody."""
    changed, other = first(rows, reason="agent_disallowed"), first(rows, reason="star_disallowed")
    return [{**row, "evidence_id": other["evidence_id"]} if row is changed else row for row in rows]


def drop(**wanted) -> Callable:
    return lambda rows: [row for row in rows if row is not first(rows, **wanted)]


def put(changes: dict, **wanted) -> Callable:
    return lambda rows: first(rows, **wanted).update(changes)


def swap(field: str) -> Callable:
    def change(rows: list[dict]) -> None:
        rows[0][field], rows[1][field] = rows[1][field], rows[0][field]

    return change


def count(action: str, reason: str, rows: int) -> Callable:
    def change(task: dict) -> None:
        first(task["counts"], action=action, reason=reason)["rows"] += rows

    return change


def swap_shards(corpus: Path) -> None:
    a, b = corpus / SHARD, corpus / "shards/books-0-000.parquet"
    a.rename(corpus / "x")
    b.rename(a)
    (corpus / "x").rename(b)


def swap_tables(corpus: Path) -> None:
    a, b = corpus / KEPT, corpus / f"{V}/kept/books-0.parquet"
    a.rename(corpus / "x")
    b.rename(a)
    (corpus / "x").rename(b)


def other_run(corpus: Path, *names: str) -> None:
    """Files of another run, of other documents, under the same names."""
    other = corpus.parent / "other"
    build(other, salt="other")
    for name in names:
        shutil.copyfile(other / name, corpus / name)


def leave_out_task(run: dict) -> None:
    run["tasks"] = [task for task in run["tasks"] if task["name"] != "web-0"]


def hide_exclusion(corpus: Path) -> None:
    """A withdrawn page goes back in: its decision is taken out, a kept row points to another document's place."""
    gone: list[dict] = []

    def take(rows: list[dict]) -> list[dict]:
        gone.append(first(rows, reason="agent_disallowed"))
        return [row for row in rows if row is not gone[0]]

    def give(rows: list[dict]) -> list[dict]:
        twin = {**rows[0], **{name: gone[0][name] for name in ("key", "file_row", "rhost")}}
        return sorted([*rows, twin], key=lambda row: (row["rhost"] or "", row["key"], row["file_row"]))

    edit_table(corpus / DECISIONS, take)
    edit_table(corpus / KEPT, give)


def lose_document(corpus: Path) -> None:
    """A row is dropped everywhere a row stands, and from the record's totals: only the counts by stage remember it."""
    edit_table(corpus / DECISIONS, drop(reason="agent_disallowed"))

    def fewer(task: dict) -> None:
        task["rows"] -= 1
        task["excluded"] -= 1

    edit_json(corpus / TASK, fewer)


def swap_identities(corpus: Path) -> None:
    """A kept and an excluded row change keys: every count stays."""
    kept = pq.read_table(corpus / KEPT).to_pylist()[0]
    edit_table(corpus / DECISIONS, put({"key": kept["key"]}, reason="agent_disallowed"))


def stray(corpus: Path) -> None:
    shutil.copyfile(corpus / KEPT, corpus / f"{V}/kept/web-1.parquet")


def orphan(corpus: Path) -> None:
    shutil.copyfile(corpus / SHARD, corpus / "shards/web-1-000.parquet")


TAMPERINGS: dict[str, Callable[[Path], None]] = {
    "a shard that no version names": orphan,
    "a kept row removed": table(KEPT, lambda rows: rows[1:]),
    "a kept row doubled": table(KEPT, lambda rows: [rows[0], *rows]),
    "a kept row invented": table(KEPT, lambda rows: [*rows, {**rows[-1], "key": b"\xff" * 16, "file_row": 40}]),
    "a kept row given another key": table(KEPT, put({"key": b"\0" * 16}, shard_row=0)),
    "a kept row given another host": table(KEPT, put({"rhost": "org.example.other"}, shard_row=3)),
    "a kept row given another licence": table(KEPT, put({"license": "CC0-1.0"}, license="CC-BY-4.0")),
    "two kept rows out of order": table(KEPT, lambda rows: [rows[1], rows[0], *rows[2:]]),
    "two kept rows exchanged places in the shard": table(KEPT, swap("shard_row")),
    "a kept row points into another shard": table(KEPT, put({"shard": "shards/books-0-000.parquet"}, shard_row=0)),
    "a kept row without its redactions": table(
        KEPT, lambda rows: next(row for row in rows if row["redactions"]).update(redactions=None)
    ),
    "a text digest replaced": table(KEPT, put({"text_digest": b"\0" * 16}, shard_row=1)),
    "a decision removed": table(DECISIONS, drop(reason="toxic")),
    "a decision flipped from exclude to alter": table(DECISIONS, put({"action": "alter"}, reason="toxic")),
    "a decision given another reason": table(DECISIONS, put({"reason": "conflict"}, reason="restricted")),
    "a decision given a word that is no reason": table(DECISIONS, put({"reason": "whatever"}, reason="restricted")),
    "a decision given another score": table(DECISIONS, put({"score": 0.125}, reason="toxic")),
    "a decision given another path": table(DECISIONS, put({"path": "/elsewhere"}, reason="agent_disallowed")),
    "a decision without its evidence": table(DECISIONS, put({"evidence_id": None}, reason="agent_disallowed")),
    "a decision resting on other evidence": table(DECISIONS, rest_on_another),
    "a decision moved to another row": table(DECISIONS, put({"file_row": 1}, reason="agent_disallowed")),
    "a decision given another length": table(DECISIONS, put({"text_bytes": 7}, reason="star_disallowed")),
    "a kept document also excluded": table(
        DECISIONS, lambda rows: [*rows, {**first(rows, action="alter"), "action": "exclude"}]
    ),
    "evidence edited: another rule": table(EVIDENCE, put({"rule": "Disallow: /all"}, basis="named")),
    "evidence edited: another agent": table(EVIDENCE, put({"agents": "Bingbot"}, basis="star")),
    "evidence edited: another threshold": table(EVIDENCE, put({"threshold": 0.9}, protocol="fasttext")),
    "evidence edited: another date": table(EVIDENCE, put({"fetched_at": "2020-01-01"}, basis="star")),
    "evidence removed": table(EVIDENCE, drop(basis="named")),
    "evidence that nothing needs": table(EVIDENCE, lambda rows: [*rows, {**rows[0], "evidence_id": 99}]),
    "the counts table edited": table(COUNTS, put({"rows": 1000}, reason="toxic")),
    "a row of the counts table removed": table(COUNTS, drop(reason="star_disallowed")),
    "the hosts table edited": table(HOSTS, put({"rows": 1}, action="keep")),
    "a host removed from the hosts table": table(HOSTS, lambda rows: rows[1:]),
    "a shard removed from a host": table(HOSTS, put({"shards": []}, action="keep")),
    "a text altered": table(SHARD, lambda rows: rows[4].update(text="Nothing to see here.")),
    "a text altered, as long as before": table(SHARD, lambda rows: rows[4].update(text="X" + rows[4]["text"][1:])),
    "two documents exchanged in a shard": table(SHARD, lambda rows: [rows[1], rows[0], *rows[2:]]),
    "a document removed from a shard": table(SHARD, lambda rows: rows[:-1]),
    "a document added to a shard": table(SHARD, lambda rows: [*rows, rows[0]]),
    "a licence altered in a shard": table(SHARD, lambda rows: rows[0].update(license="MIT")),
    "an id altered in a shard": table(SHARD, lambda rows: rows[0].update(id="another")),
    "two shards exchanged": swap_shards,
    "a shard missing": lambda corpus: (corpus / SHARD).unlink(),
    "a table missing": lambda corpus: (corpus / DECISIONS).unlink(),
    "a table cut short": lambda corpus: (corpus / KEPT).write_bytes((corpus / KEPT).read_bytes()[:-100]),
    "two tasks' tables exchanged": swap_tables,
    "the kept table of another run": lambda corpus: other_run(corpus, KEPT),
    "the record of another run": lambda corpus: other_run(corpus, TASK),
    "record and tables of another run": lambda corpus: other_run(corpus, TASK, KEPT, DECISIONS, EVIDENCE),
    "a task left out": record(RUN, leave_out_task),
    "rows changed in a record": record(TASK, lambda task: task.update(rows=task["rows"] + 1)),
    "excluded changed in a record": record(TASK, lambda task: task.update(excluded=task["excluded"] - 1)),
    "a count of exclusions lowered": record(TASK, count("exclude", "agent_disallowed", -1)),
    "a count of kept documents raised": record(TASK, count("keep", "allowed", 5)),
    "documents counted under another language": record(
        TASK,
        lambda task: first(task["counts"], stage="pii", action="keep", language="deu_Latn").update(language="fra_Latn"),
    ),
    "a parent that is no earlier version": record(RUN, lambda run: run.update(parent=3)),
    "a stage left out of the counts": record(
        TASK, lambda task: task.update(counts=[c for c in task["counts"] if c["stage"] != "robots"])
    ),
    "a multiset hash altered": record(TASK, lambda task: task["counts"][3].update(multiset_hash="0" * 64)),
    "totals raised": record(RUN, lambda run: run["totals"].update(kept=run["totals"]["kept"] + 1)),
    "the root replaced": record(RUN, lambda run: run["roots"].update(corpus="00" * 32)),
    "the root over hosts replaced": record(RUN, lambda run: run["roots"].update(hosts="00" * 32)),
    "a shard's size changed in run.json": record(RUN, lambda run: run["shards"][0].update(rows=1)),
    "an excluded page put back": hide_exclusion,
    "a document lost with its totals": lose_document,
    "two identities exchanged": swap_identities,
    "a table that nobody vouches for": stray,
}
BREAKS_FILES = {"a shard missing", "a table missing", "a table cut short"}  # no digest can be made to fit
UNDONE_BY_DIGESTS = {"a shard's size changed in run.json"}  # the true value comes back from the file
UNDONE_BY_ROOTS = UNDONE_BY_DIGESTS | {"the root replaced", "the root over hosts replaced"}


def test_a_true_corpus_passes_every_check(original):
    result = audit(open_corpus(original), recheck=lambda excluded, kept: Verdict([], "nothing"))
    assert [check for check in result.checks if not check.passed] == []
    assert result.passed
    assert result.root == open_corpus(original).root


def test_there_are_at_least_forty_tamperings():
    assert len(TAMPERINGS) >= 40


@pytest.mark.parametrize("tampering", TAMPERINGS)
@pytest.mark.usefixtures("without_queries")
def test_tampering_is_caught_by_digests_and_roots(tampering, corpus):
    TAMPERINGS[tampering](corpus)
    assert failed(corpus)


@pytest.mark.parametrize("tampering", sorted(TAMPERINGS.keys() - BREAKS_FILES - UNDONE_BY_DIGESTS))
def test_tampering_is_caught_when_every_digest_is_made_to_fit(tampering, corpus):
    TAMPERINGS[tampering](corpus)
    fix_digests(corpus)
    assert failed(corpus)


@pytest.mark.slow
@pytest.mark.parametrize("tampering", sorted(TAMPERINGS.keys() - BREAKS_FILES - UNDONE_BY_ROOTS))
def test_tampering_is_caught_or_moves_the_root_when_digests_and_roots_are_made_to_fit(tampering, original, corpus):
    TAMPERINGS[tampering](corpus)
    if fix_roots(corpus) == open_corpus(original).root:
        assert failed(corpus)


def test_a_consistent_forgery_from_other_documents_is_found_by_the_root_alone(original, tmp_path):
    forged = tmp_path / "forged"
    build(forged, salt="others")
    assert failed(forged) == set()
    assert failed(forged, expected_root=open_corpus(original).root) == {"expected root"}


def test_tasks_of_one_source_are_made_by_one_recipe(tmp_path):
    build(tmp_path, tasks={"web-0": "web", "web-1": "web"})
    assert failed(tmp_path) == set()
    edit_json(tmp_path / f"{V}/tasks/web-1.json", lambda task: task.update(fingerprint="another"))
    fix_digests(tmp_path)
    assert failed(tmp_path) == {"task records"}


def test_text_that_found_its_way_into_a_manifest_column_is_found(corpus):
    for name, change in (
        (EVIDENCE, {"license": "as stated by Jane at jane@lanternpost.net"}),
        (EVIDENCE, {"detector": "Once upon a time there was a text. " * 20}),
        (KEPT, {"trail": "Once upon a time"}),
    ):
        before = (corpus / name).read_bytes()
        edit_table(corpus / name, lambda rows, change=change: rows[0].update(change))
        fix_digests(corpus)
        assert "no text" in failed(corpus)
        (corpus / name).write_bytes(before)


def test_a_licence_that_is_excluded_here_and_kept_there_is_found(corpus):
    edit_table(corpus / KEPT, put({"license": "CC-BY-NC-4.0"}, shard_row=0))
    edit_table(corpus / EVIDENCE, put({"rule": "noncommercial"}, protocol="cc-mark"))
    fix_digests(corpus)
    assert "licences" in failed(corpus)


def test_a_swap_that_keeps_every_count_is_found_by_the_multiset_hash(corpus):
    swap_identities(corpus)
    fix_roots(corpus)
    rebuild_rollups(corpus)
    assert "multiset hashes" in failed(corpus)


def test_unknown_consent_declared_allowed_is_caught_or_moves_the_root(original, corpus):
    """No row stands behind a kept decision, so only a root that covers the counts can commit to them."""

    def whitewash(task: dict) -> None:
        for entry in task["counts"]:
            if entry["reason"] == "host_unknown":
                entry["reason"] = "allowed"

    edit_json(corpus / TASK, whitewash)
    rebuild_rollups(corpus)
    assert open_corpus(corpus).root != open_corpus(original).root or failed(corpus)


def test_a_violation_names_file_and_key(corpus):
    edit_table(corpus / SHARD, lambda rows: rows[4].update(text="Nothing to see here."))
    fix_digests(corpus)
    texts = next(check for check in audit(open_corpus(corpus)).checks if check.name == "texts")
    key = next(row for row in pq.read_table(corpus / KEPT).to_pylist() if row["shard_row"] == 4)["key"]
    assert any(SHARD in violation and key.hex() in violation for violation in texts.violations)


def test_a_sample_reads_some_row_groups_and_says_so(corpus, monkeypatch):
    monkeypatch.setattr(auditing, "ALL_TEXTS_UP_TO", 10)
    texts = next(check for check in audit(open_corpus(corpus), row_groups=1).checks if check.name == "texts")
    assert texts.passed
    assert "sample" in texts.detail
    everything = next(check for check in audit(open_corpus(corpus), row_groups=0).checks if check.name == "texts")
    assert "every text" in everything.detail


def test_the_second_evaluator_sees_exclusions_with_their_evidence_and_kept_urls(original):
    seen = {}

    def recheck(excluded, kept):
        seen.update(excluded=list(excluded), kept=list(kept))
        return Verdict([f"{seen['excluded'][0]['task']}: allowed"], "some")

    result = audit(open_corpus(original), documents=5, recheck=recheck)
    assert {row["reason"] for row in seen["excluded"]} <= {"agent_disallowed", "star_disallowed"}
    assert all(row["body_sha256"] and row["agents"] and row["path"].startswith("/") for row in seen["excluded"])
    assert len(seen["excluded"]) == 5
    assert all(row["url"].startswith("https://") for row in seen["kept"])
    assert [check.name for check in result.checks if not check.passed] == ["consent re-derived"]


@pytest.mark.parametrize(
    "content",
    ["[]", "null", "{}", '{"name": "web-0"}', "\xff", '{"name": "web-0", "counts": 3, "tables": [], "shards": null}'],
)
def test_a_broken_record_fails_the_audit_and_never_raises(content, corpus):
    (corpus / TASK).write_bytes(content.encode("latin-1"))
    assert "task records" in failed(corpus)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.usefixtures("without_queries")
def test_no_value_anywhere_in_the_run_record_makes_the_audit_or_the_report_crash(data, original, tmp_path):
    run = json.loads((original / RUN).read_bytes())
    places = [place for place in walk(run) if place != ("format",)]
    *path, last = data.draw(st.sampled_from(places))
    parent = run
    for step in path:
        parent = parent[step]
    value = data.draw(st.sampled_from([None, "x", -1, 2**70, [], {}, 1.5, True, [None], {"a": [1]}]))
    parent[last] = value
    copy = tmp_path / "copy"
    shutil.copytree(original, copy, dirs_exist_ok=True)
    (copy / RUN).write_text(json.dumps(run))
    try:
        corpus = open_corpus(copy)
    except CorpusError:
        return
    assert all(check.detail for check in audit(corpus).checks)
    with contextlib.suppress(CorpusError):
        assert page(corpus).endswith("</html>\n")


def walk(value, path: tuple = ()) -> Iterator[tuple]:
    """Paths of all values in JSON, two entries of each list."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for step, inner in items:
        yield (*path, step)
        yield from walk(inner, (*path, step))


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "shards/../../outside.parquet"])
def test_a_shard_name_cannot_lead_out_of_the_corpus(name, corpus):
    edit_json(corpus / RUN, lambda run: run["shards"][0].update(name=name))
    assert "shards" in failed(corpus)


def test_render_and_json_say_the_same(corpus):
    edit_table(corpus / COUNTS, put({"rows": 1000}, reason="toxic"))
    result = audit(open_corpus(corpus))
    value = json.loads(json.dumps(to_json(result)))
    assert value["passed"] is False
    assert [check["name"] for check in value["checks"] if not check["passed"]] == [
        check.name for check in result.checks if not check.passed
    ]
    assert render(result).row_count == len(result.checks)


def test_hostile_characters_reach_the_terminal_escaped():
    assert printable("a\x1b[31mb\u202e") == "a\\x1b[31mb\\u202e"
    assert printable("Grüße") == "Grüße"


def test_words_in_the_query_are_the_closed_sets():
    query = (QUERIES / "01_closed_words.sql").read_text(encoding="utf-8")
    listed = re.search(r"reason NOT IN \(([^)]*)\) THEN 'unknown reason'", query)
    stages = re.search(r"stage IN \(([^)]*)\)", query)
    assert listed
    assert stages
    assert set(re.findall(r"'([a-z_]+)'", listed[1])) == {str(reason) for reason in Reason}
    assert set(re.findall(r"'([a-z_]+)'", stages[1])) == {str(stage) for stage in Stage}


@pytest.mark.parametrize("file", sorted(QUERIES.glob("*.sql")), ids=lambda file: file.name)
def test_each_query_runs_by_hand_as_its_comment_says(file, original):
    if file.name == "14_tombstones.sql":
        pytest.skip("asks about a retracted corpus: tests/pipeline/test_retract.py runs it by hand")
    comment = next((line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("-- sed")), None)
    if comment is None:
        assert file.name == "hosts.sql"  # run by the publisher
        return
    command = comment.removeprefix("-- ").removesuffix(f" {file.name} | duckdb")
    by_hand = subprocess.run([*_split(command), str(file)], capture_output=True, text=True, check=True).stdout
    by_hand = by_hand.replace("'manifests/", f"'{original}/manifests/")
    rows = duckdb.sql(by_hand).fetchall()
    assert not rows if file.name[:2].isdigit() else rows
    assert "$" not in re.sub(r"--[^\n]*|'[^']*'", "", by_hand)
    assert parameters(file.read_text(encoding="utf-8"))


def test_was_my_site_used_answers_for_a_domain_with_its_subdomains_and_not_for_a_namesake(original):
    query = (QUERIES / "was_my_site_used.sql").read_text(encoding="utf-8")
    corpus = open_corpus(original)
    given = {name: corpus.tables(name) for name in ("kept", "decisions", "evidence")}
    answer = duckdb.sql(query, params={**given, "site": "Example.ORG"}).fetchall()
    assert {row[0] for row in answer} == {"www.example.org", "news.example.org"}
    assert duckdb.sql(query, params={**given, "site": "ample.org"}).fetchall() == []
    [named] = [
        row for row in duckdb.sql(query, params={**given, "site": "b.example.net"}).fetchall() if "Disallow: /" in row
    ]
    assert named[1:4] == ("exclude", "robots", "agent_disallowed")


def rebuild_rollups(corpus: Path) -> None:
    """Counts and hosts made anew from what the tables say, so that only the logic is left to object."""
    run = json.loads((corpus / RUN).read_bytes())
    names = [task["name"] for task in run["tasks"]]
    records = [json.loads((corpus / f"{V}/tasks/{name}.json").read_bytes()) for name in names]
    hosts = host_table(corpus / V, names).to_pylist()
    edit_table(corpus / HOSTS, lambda rows: hosts)
    counts = count_table(records).to_pylist()
    edit_table(corpus / COUNTS, lambda rows: counts)
    fix_roots(corpus)


def _split(command: str) -> list[str]:
    sed, option, program = command.split(" ", 2)
    assert program[0] == program[-1] == '"'
    return [sed, option, program[1:-1]]
