"""The ledger's law: rows in the file = kept + excluded, row by row; and what its tables say of them."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.decision import Action, Decision, Evidence
from manifests.ledger import MODULUS, Account, Entry, Ledger, document_key
from manifests.schema import DECISIONS, EVIDENCE, KEPT, ConservationError, restore_host, reverse_host

STAGES = ("intake", "robots", "toxicity", "pii")
READ = Decision(Action.KEEP, "read")
OUTCOMES = {
    "robots": [
        Decision(Action.KEEP, "allowed"),
        Decision(Action.KEEP, "host_unknown"),
        Decision(Action.EXCLUDE, "agent_disallowed", Evidence("robots.txt", host="a.example", line=1)),
        Decision(Action.EXCLUDE, "star_disallowed", Evidence("robots.txt", host="b.example", line=2)),
    ],
    "toxicity": [
        Decision(Action.KEEP, "clean", score=0.25),
        Decision(Action.EXCLUDE, "toxic", Evidence("fasttext", threshold=0.5), score=0.75),
    ],
    "pii": [
        Decision(Action.KEEP, "clean"),
        Decision(Action.ALTER, "redacted", Evidence("presidio"), counts={"phone": 1, "email": 2}),
    ],
}
fates = st.lists(
    st.tuples(*(st.integers(0, len(OUTCOMES[stage]) - 1) for stage in STAGES[1:])), min_size=0, max_size=60
)


def entry(row: int, task: str = "t") -> Entry:
    host = reverse_host(f"h{row * 7 % 5}.example") if row % 4 else None
    return Entry(row, document_key(f"id{row}", task, row), host, f"/{row}", 10 + row)


def run(fates: list[tuple[int, ...]], batch: int = 7, order: int = 1, swallow: int | None = None) -> Ledger:
    """Send rows through the stages in batches; `order` -1 sends them backwards, `swallow` loses one before the end."""
    ledger = Ledger("t", STAGES)
    rows = list(range(len(fates)))[::order]
    for start in range(0, len(rows), batch):
        alive = rows[start : start + batch]
        entries = {row: entry(row) for row in alive}
        ledger.record("intake", [entries[row] for row in alive], [READ] * len(alive), [None] * len(alive))
        for place, stage in enumerate(STAGES[1:]):
            decisions = [OUTCOMES[stage][fates[row][place]] for row in alive]
            ledger.record(stage, [entries[row] for row in alive], decisions, ["deu_Latn"] * len(alive))
            alive = [row for row, decision in zip(alive, decisions, strict=True) if decision.kept]
        for row in alive:
            if row != swallow:
                ledger.keep(entries[row], "shards/t.parquet", row, bytes(16), 10, "deu_Latn", None)
    return ledger


def excluded(fate: tuple[int, ...]) -> bool:
    return any(not OUTCOMES[stage][choice].kept for stage, choice in zip(STAGES[1:], fate, strict=True))


@settings(max_examples=60, deadline=None)
@given(fates)
def test_rows_are_kept_or_excluded_and_every_stage_adds_up(fates):
    account = run(fates).close(len(fates))
    gone = {row for row, fate in enumerate(fates) if excluded(fate)}
    assert account.rows_kept + account.rows_excluded == account.rows == len(fates)
    assert {row["file_row"] for row in account.kept.to_pylist()} == set(range(len(fates))) - gone
    assert {row["file_row"] for row in account.decisions.to_pylist() if row["action"] == "exclude"} == gone
    passed = len(fates)
    for stage in STAGES:
        counts = [count for count in account.counts if count.stage == stage]
        assert sum(count.rows for count in counts) == passed
        passed -= sum(count.rows for count in counts if count.action == "exclude")
    assert passed == account.rows_kept


@settings(max_examples=60, deadline=None)
@given(fates)
def test_multiset_hashes_of_intake_are_those_of_kept_and_excluded_rows(fates):
    account = run(fates).close(len(fates))

    def mark(row: dict) -> int:
        return int.from_bytes(sha256(row["key"] + row["file_row"].to_bytes(8, "big")).digest(), "big")

    read = sum(count.multiset_hash for count in account.counts if count.stage == "intake")
    kept = sum(map(mark, account.kept.to_pylist()))
    gone = sum(mark(row) for row in account.decisions.to_pylist() if row["action"] == "exclude")
    assert (read - kept - gone) % MODULUS == 0


@settings(max_examples=40, deadline=None)
@given(fates, st.integers(1, 20), st.sampled_from([1, -1]))
def test_batches_and_order_change_nothing(fates, batch, order):
    one, other = run(fates).close(len(fates)), run(fates, batch, order).close(len(fates))
    assert same(one, other)


def same(one: Account, other: Account) -> bool:
    tables = all(getattr(one, name).equals(getattr(other, name)) for name in ("kept", "decisions", "evidence"))
    return tables and one.counts == other.counts and one.roots == other.roots


def test_tables_have_the_declared_columns_and_order():
    account = run([(row % 4, row % 2, row % 2) for row in range(40)]).close(40)
    assert account.kept.schema.equals(KEPT)
    assert account.decisions.schema.equals(DECISIONS)
    assert account.evidence.schema.equals(EVIDENCE)
    for table in (account.kept, account.decisions):
        order = [(row["rhost"] or "", row["key"], row["file_row"]) for row in table.to_pylist()]
        assert order == sorted(order)
    identifiers = account.evidence.column("evidence_id").to_pylist()
    assert len(set(identifiers)) == len(identifiers) > 1


def test_decisions_point_to_the_evidence_they_were_given():
    account = run([(row % 4, 0, 0) for row in range(40)]).close(40)
    evidence = {row["evidence_id"]: row for row in account.evidence.to_pylist()}
    wanted = {"agent_disallowed": "a.example", "star_disallowed": "b.example"}
    robots = [row for row in account.decisions.to_pylist() if row["stage"] == "robots"]
    assert robots
    assert all(evidence[row["evidence_id"]]["host"] == wanted[row["reason"]] for row in robots)
    assert len(evidence) == 2


def test_redactions_go_with_the_kept_row():
    [row] = run([(0, 0, 1)]).close(1).kept.to_pylist()
    assert dict(row["redactions"]) == {"email": 2, "phone": 1}


def test_a_swallowed_row_is_named():
    with pytest.raises(ConservationError, match=r"^t: 1 rows were neither kept nor excluded, the first is 17: "):
        run([(0, 0, 0)] * 30, swallow=17).close(30)


def test_a_row_written_twice_is_named():
    ledger = run([(0, 0, 0)] * 3)
    with pytest.raises(ConservationError, match=r"^t: row 1 is already written"):
        ledger.keep(entry(1), "shards/t.parquet", 9, bytes(16), 10, None, None)


def test_a_row_yielded_twice_by_a_stage_is_named():
    ledger = Ledger("t", STAGES)
    rows = [entry(0), entry(1)]
    ledger.record("intake", rows, [READ] * 2, [None] * 2)
    ledger.record("robots", [rows[1]], [OUTCOMES["robots"][2]], [None])
    with pytest.raises(ConservationError, match=r"^t: row 1 is already excluded"):
        ledger.record("toxicity", [rows[1]], [OUTCOMES["toxicity"][0]], [None])


def test_a_kept_row_yielded_twice_is_refused():
    """Twice through a stage that keeps it: the second pass ends at the writer, which has the row already."""
    ledger = Ledger("t", STAGES)
    row = entry(0)
    ledger.record("intake", [row], [READ], [None])
    for _ in range(2):
        ledger.record("robots", [row], [OUTCOMES["robots"][0]], [None])
    ledger.keep(row, "shards/t.parquet", 0, bytes(16), 10, None, None)
    with pytest.raises(ConservationError, match=r"^t: row 0 is already written"):
        ledger.keep(row, "shards/t.parquet", 1, bytes(16), 10, None, None)


def test_an_invented_row_is_named():
    ledger = run([(0, 0, 0)] * 3)
    with pytest.raises(ConservationError, match=r"^t: row 5 was never read"):
        ledger.record("robots", [entry(5)], [OUTCOMES["robots"][0]], [None])


def test_a_row_read_twice_is_named():
    ledger = run([(0, 0, 0)] * 3)
    with pytest.raises(ConservationError, match=r"^t: row 2 was read twice"):
        ledger.record("intake", [entry(2)], [READ], [None])


def test_a_row_beyond_the_end_of_the_file_is_named():
    with pytest.raises(ConservationError, match=r"^t: the file has 3 rows, but row 3 was read \(2 extra\)"):
        run([(0, 0, 0)] * 5).close(3)


def test_rows_that_the_reader_did_not_yield_are_named():
    with pytest.raises(ConservationError, match=r"^t: 4 of 9 rows were never read, the first is 5"):
        run([(0, 0, 0)] * 5).close(9)


def test_an_answer_short_is_refused():
    ledger = Ledger("t", STAGES)
    with pytest.raises(ConservationError, match="gave 1 decisions for 2 rows"):
        ledger.record("intake", [entry(0), entry(1)], [READ], [None, None])


def test_another_document_in_the_place_of_a_row_is_found():
    """A stage that swaps identities keeps every count; the multiset hash differs."""
    ledger = Ledger("t", STAGES)
    ledger.record("intake", [entry(0)], [READ], [None])
    other = Entry(0, bytes(16), None, None, 10)
    ledger.keep(other, "shards/t.parquet", 0, bytes(16), 10, None, None)
    with pytest.raises(ConservationError, match="are not the rows read"):
        ledger.close(1)


def test_a_reason_outside_the_closed_set_is_refused():
    ledger = Ledger("t", STAGES)
    with pytest.raises(ValueError, match="because"):
        ledger.record("intake", [entry(0)], [Decision(Action.KEEP, "because")], [None])


def test_any_changed_field_moves_a_root():
    before = run([(2, 0, 0), (0, 0, 0)]).close(2).roots
    after = run([(3, 0, 0), (0, 0, 0)]).close(2).roots
    assert before["decisions"] != after["decisions"]
    assert before["evidence"] != after["evidence"]
    assert before["kept"] == after["kept"]


UUID = "<urn:uuid:6f1e2c4e-8f0b-4d8f-9c3e-0123456789ab>"


def test_the_key_of_a_warc_record_is_its_uuid():
    assert document_key(UUID, "t", 0).hex() == "6f1e2c4e8f0b4d8f9c3e0123456789ab"


@given(st.text(max_size=60) | st.none(), st.integers(0, 2**40))
def test_keys_are_16_bytes_for_any_identifier(identifier, row):
    assert len(document_key(identifier, "t", row)) == 16


@pytest.mark.parametrize(
    "broken",
    [
        UUID[:-1] + "x",
        UUID.replace("6f1e", "6fxy"),
        UUID + " ",
        "<urn:uuid:" + "-" * 36 + ">",
        UUID.replace("6f1e", "6f  "),
    ],
)
def test_what_only_looks_like_a_record_id_still_has_a_full_key(broken):
    assert len(document_key(broken, "t", 0)) == 16


def test_without_an_id_the_place_names_the_document():
    keys = {document_key(None, task, row) for task in ("t", "u") for row in range(50)}
    assert len(keys) == 100
    assert document_key("", "t", 0) == document_key(None, "t", 0)


labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=8)
hosts = st.builds(
    lambda parts, top: ".".join([*parts, top]),
    st.lists(labels, max_size=4),
    st.text("abcdefgh", min_size=2, max_size=6),
)
addresses = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
ports = st.none() | st.integers(1, 65535)


@given(hosts | addresses, ports)
def test_restore_host_is_the_inverse_of_reverse_host(host, port):
    assert restore_host(reverse_host(host, port)) == (host, port)


@given(hosts, labels)
def test_a_subdomain_begins_with_its_domain(host, label):
    assert reverse_host(f"{label}.{host}").startswith(reverse_host(host) + ".")


def test_one_join_over_several_tasks_finds_each_decisions_own_evidence():
    from filters.decision import Action, Decision, Evidence

    found = []
    for task in ("a", "b"):
        ledger = Ledger(task, ["intake", "robots"])
        entry = Entry(0, document_key("same", task, 0), "org.example", "/", 1)
        ledger.record("intake", [entry], [READ], [None])
        refusal = Decision(Action.EXCLUDE, "agent_disallowed", Evidence("robots.txt", host="example.org", line=2))
        ledger.record("robots", [entry], [refusal], [None])
        account = ledger.close(1)
        assert account.decisions.column("evidence_id") == account.evidence.column("evidence_id")
        found += account.evidence.column("evidence_id").to_pylist()
    assert len(set(found)) == 2
