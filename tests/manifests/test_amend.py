"""An amended account is the account that the ledger would have written with the other answers in the first place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.decision import Action, Decision, Evidence
from manifests import trail
from manifests.amend import Answer, amend
from manifests.ledger import Account, Entry, Ledger
from manifests.schema import ConservationError

STAGES = ("intake", "robots", "license", "language", "pii")
LANGUAGES = (None, "und_Zzzz", "deu_Latn", "eng_Latn")
KEEPS = {
    "intake": ("read",),
    "robots": ("allowed", "no_file", "host_unknown"),
    "license": ("no_evidence", "permissive"),
    "language": ("identified", "trusted"),
    "pii": ("clean", "redacted"),
}
EXCLUDES = {
    "intake": ("empty_text",),
    "robots": ("agent_disallowed", "star_disallowed"),
    "license": ("restricted",),
    "language": ("low_score",),
}


@st.composite
def fates(draw):
    """What each stage would answer for a document: reason and language label, and where, if anywhere, it ends."""
    words = [draw(st.sampled_from(KEEPS[stage])) for stage in STAGES]
    before, after = draw(st.sampled_from(LANGUAGES)), draw(st.sampled_from(LANGUAGES))
    labels = [before, before, before, after, after]
    end = draw(st.sampled_from([None, None, None, "intake", "robots", "license", "language"]))
    if end:
        words[STAGES.index(end)] = draw(st.sampled_from(EXCLUDES[end]))
    return words, labels, end, draw(st.integers(0, 3)), draw(st.integers(0, 900))


def answer(stage: str, reason: str, host: int) -> Decision:
    if reason in EXCLUDES.get(stage, ()):
        return Decision(Action.EXCLUDE, reason, Evidence(stage, host=f"h{host}", line=len(reason), rule=reason))
    if reason == "redacted":
        return Decision(Action.ALTER, reason, Evidence("presidio"), counts={"email": host + 1})
    return Decision(Action.KEEP, reason)


def account_of(documents) -> Account:
    ledger = Ledger("t", STAGES)
    rows = 0
    for row, (words, labels, end, host, size) in enumerate(documents):
        entry = Entry(row, bytes([row % 7]) * 16, f"h{host}" if host else None, f"/{row}", size)
        for stage, word, label in zip(STAGES, words, labels, strict=True):
            ledger.record(stage, [entry], [answer(stage, word, host)], [label])
            if stage == end:
                break
        else:
            ledger.keep(entry, "shards/a", rows, bytes(16), size + (words[-1] == "redacted"), labels[-1], None)
            rows += 1
    return ledger.close(len(documents))


def record_of(account: Account) -> dict:
    counts = [
        {
            "position": count.position,
            "stage": count.stage,
            "action": count.action,
            "reason": count.reason,
            "language": count.language,
            "rows": count.rows,
            "text_bytes": count.text_bytes,
            "multiset_hash": count.multiset_hash.to_bytes(32, "big").hex(),
        }
        for count in account.counts
    ]
    return {"name": "t", "stages": list(STAGES), "counts": counts, "rows": account.rows}


def amended(account: Account, answers):
    return amend(record_of(account), account.decisions, account.evidence, account.kept, answers)


@settings(max_examples=150, deadline=None)
@given(st.lists(fates(), max_size=25), st.data())
def test_another_answer_of_a_stage_leaves_what_the_ledger_would_have_written(documents, data):
    before = account_of(documents)
    answers, otherwise = {}, []
    for row, (words, labels, end, host, size) in enumerate(documents):
        reached = end != "intake"
        can_stay = end != "robots"
        choices = EXCLUDES["robots"] + (KEEPS["robots"] if can_stay else ())
        if reached and data.draw(st.booleans()):
            word = data.draw(st.sampled_from(choices))
            answers[row] = Answer("robots", answer("robots", word, host), f"/{row}")
            words = [words[0], word, *words[2:]]
            end = "robots" if word in EXCLUDES["robots"] else end
        otherwise.append((words, labels, end, host, size))
    found = amended(before, answers)
    expected = account_of(otherwise)
    assert found.account.decisions == expected.decisions
    assert found.account.evidence == expected.evidence
    assert found.account.counts == expected.counts
    assert found.account.roots == expected.roots
    assert (found.account.rows_kept, found.account.rows_excluded) == (expected.rows_kept, expected.rows_excluded)
    columns = [name for name in expected.kept.column_names if name != "shard_row"]  # it moves with the shard
    assert found.account.kept.select(columns).to_pylist() == expected.kept.select(columns).to_pylist()
    gone = set(before.kept.column("file_row").to_pylist()) - set(expected.kept.column("file_row").to_pylist())
    assert set(found.withdrawn.column("file_row").to_pylist()) == gone


def test_a_document_that_the_stage_excluded_cannot_come_back():
    documents = [(["read", "star_disallowed", "", "", ""], ["deu_Latn"] * 5, "robots", 1, 10)]
    with pytest.raises(ConservationError, match="cannot come back"):
        amended(account_of(documents), {0: Answer("robots", Decision(Action.KEEP, "allowed"), "/0")})


def test_a_row_that_never_reached_the_stage_is_refused():
    documents = [(["empty_text", "", "", "", ""], ["deu_Latn"] * 5, "intake", 1, 10)]
    with pytest.raises(ConservationError, match="excluded before robots"):
        amended(account_of(documents), {0: Answer("robots", answer("robots", "star_disallowed", 1), "/0")})


def test_a_row_that_the_task_does_not_have_is_refused():
    with pytest.raises(ConservationError, match="not kept or excluded once"):
        amended(account_of([]), {3: Answer("robots", answer("robots", "star_disallowed", 1), "/3")})


@given(st.lists(st.tuples(st.sampled_from(["read", "allowed", "clean"]), st.sampled_from(LANGUAGES)), max_size=7))
def test_a_trail_gives_back_the_reasons_and_labels_it_was_made_of(met):
    written = ""
    for reason, language in met:
        written = trail.extend(written, reason, language)
    assert list(trail.steps(written)) == met
    for position in range(len(met)):
        changed = trail.steps(trail.replace(written, position, "toxic", False))
        assert list(changed) == [*met[:position], ("toxic", met[position][1]), *met[position + 1 :]]
        assert list(trail.steps(trail.replace(written, position, "toxic", True))) == [
            *met[:position],
            ("toxic", met[position][1]),
        ]
