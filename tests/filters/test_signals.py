"""Signals about training and takedown requests: the examples of their specifications, and laws over anything.

What a reservation says is held against a slow reading of the specification where there is a rule to rank, and against
a table where the specification gives examples.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.decision import Action, Decision
from filters.robots import Reason, Robots, Snapshot, SnapshotError, agent_list, disallowed_agents, origin
from filters.robots_rules import encoded_pattern
from filters.robots_txt import RobotsTxt, parse
from filters.robots_url import request_path
from filters.signals import (
    DEFAULT_SIGNALS,
    SIGNALS,
    Answer,
    Finding,
    Site,
    content_signal,
    content_usage,
    named_signals,
    says_word,
    split_usage,
    tdm_reservation,
)
from filters.takedown import TakedownError, TakedownList, open_takedown
from manifests import schema
from tests.conftest import shared_data

PAPER = agent_list("paper")
YES, NO, SILENT = Answer.ALLOWED, Answer.DISALLOWED, Answer.UNKNOWN


def asked(
    name: str,
    robots: str | bytes | None = None,
    path: str = "/page",
    agents: Sequence[str] = PAPER,
    metadata: Mapping[str, Any] | None = None,
    **files: bytes,
) -> Finding:
    """What one signal finds for a path."""
    body = robots.encode() if isinstance(robots, str) else robots
    site = Site(None if body is None else RobotsTxt(body), **files)
    signal = SIGNALS[name]
    return signal.answer(signal.of_site(site, tuple(agents)), path, metadata or {}, tuple(agents))


# --- content-signal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("search=yes, ai-train=no", NO),  # the policy's example, and the default of managed files
        ("search=yes,ai-train=no,use=reference", NO),
        ("ai-train=yes, search=yes, ai-input=no", YES),
        ("search=yes", SILENT),  # "neither grants nor restricts"
        ("search=no, ai-input=no", SILENT),
        ("AI-Train = No", NO),
        ("ai-train=yes, ai-train=no", NO),
        ("ai-train=maybe", SILENT),
        ("no-ai-train=no", SILENT),
        ("ai-train=none", SILENT),
        ("ai-training=no", SILENT),
        ("", SILENT),
    ],
)
def test_content_signal_says_what_its_policy_says(value: str, answer: Answer) -> None:
    assert content_signal(value) is answer
    assert asked("content-signal", f"User-Agent: *\nContent-Signal: {value}\nAllow: /\n").answer is answer
    assert asked("content-signal", metadata={"content_signal": value}).answer is answer


def test_a_signal_in_a_group_speaks_to_its_agents_and_the_star_group_to_everyone() -> None:
    named = "User-agent: {}\nContent-Signal: ai-train=no\n\nUser-agent: *\nContent-Signal: search=yes\n"
    assert asked("content-signal", named.format("CCBot")).agents == ("CCBot", "CCBot/2.0", "CCBot/1.0")
    assert asked("content-signal", named.format("CCBot")).basis == "named"
    assert asked("content-signal", named.format("Googlebot")).answer is SILENT
    everyone = "User-agent: CCBot\nContent-Signal: ai-train=yes\n\nUser-agent: *\nContent-Signal: ai-train=no\n"
    found = asked("content-signal", everyone, agents=["CCBot"])
    assert (found.answer, found.line, found.basis, found.agents) == (NO, 5, "star", ())


def test_a_directive_ends_the_list_of_agents_for_directives_and_not_for_rules() -> None:
    body = "User-agent: Googlebot\nContent-Signal: ai-train=no\nUser-agent: CCBot\nDisallow: /x\n"
    assert asked("content-signal", body, agents=["CCBot"]).answer is SILENT
    assert asked("content-signal", body, agents=["Googlebot"]).agents == ("Googlebot",)
    assert disallowed_agents(body, ["CCBot", "Googlebot"], "https://x.example/x") == {"CCBot", "Googlebot"}


def test_a_directive_ahead_of_every_group_speaks_to_everyone() -> None:
    found = asked("content-signal", "\n# preamble\nContent-Signal: ai-train=no\n\nUser-agent: *\nAllow: /\n")
    assert (found.answer, found.line, found.basis) == (NO, 3, "star")
    body = "Disallow: /stray\nUser-agent: Googlebot\nDisallow: /\nContent-Signal: ai-train=no\n"
    assert asked("content-signal", body, agents=["CCBot"]).answer is SILENT


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
def test_evidence_line_and_rule_are_those_of_the_file(ending: str) -> None:
    body = ending.join(["\ufeff# hello", "", "User-agent: *", "Allow: /", " content-SIGNAL :  ai-train=no  # why", ""])
    found = asked("content-signal", body)
    assert (found.line, found.rule) == (5, "content-SIGNAL :  ai-train=no  # why")


# --- content-usage -------------------------------------------------------------------------------------------------

# The example of draft-ietf-aipref-attach, 3.4.
ATTACH_EXAMPLE = """User-Agent: *
Allow: /
Disallow: /never/
Content-Usage: train-ai=n
Content-Usage: /ai-ok/ train-ai=y

User-Agent: ExampleBot
Allow: /
Content-Usage: train-ai=y
"""


@pytest.mark.parametrize(("path", "line", "answer"), [("/test", 4, NO), ("/ai-ok/test", 5, YES)])
def test_content_usage_reads_the_example_of_its_draft(path: str, line: int, answer: Answer) -> None:
    found = asked("content-usage", ATTACH_EXAMPLE, path)
    assert (found.answer, found.line) == (answer, line)
    # Who trains on a corpus is not who crawled it, so the star group speaks although ExampleBot has its own.
    assert asked("content-usage", ATTACH_EXAMPLE, "/test", ["ExampleBot"]).answer is NO


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("train-ai=n", NO),
        ("train-ai=y", YES),
        ("search=y, train-ai=n", NO),
        ('train-ai=n;reason=later, x=(1 2.5 "s" :YQ==: ?1 @12);p', NO),  # unknown keys and parameters are ignored
        ("train-ai=y, train-ai=n", NO),  # of equal keys the last (RFC 9651, 4.2.2)
        ("train-ai=n, train-ai=y", YES),
        ("  train-ai=n \t", NO),
        ("train-ai", SILENT),  # a boolean, not a token
        ("train-ai=?0", SILENT),
        ('train-ai="n"', SILENT),
        ("train-ai=no", SILENT),
        ("Train-AI=n", SILENT),  # keys are lower case; the field does not parse
        ("train-ai=n,", SILENT),
        ("train-ai=n please", SILENT),
        ("search=n", SILENT),
        ("", SILENT),
    ],
)
def test_a_usage_preference_is_a_structured_dictionary(value: str, answer: Answer) -> None:
    assert content_usage(value) is answer
    assert asked("content-usage", metadata={"content_usage": value}).answer is answer
    assert asked("content-usage", f"User-agent: *\nContent-Usage: {value}\n").answer is answer


def test_a_path_in_a_usage_rule_ends_at_white_space_and_fits_like_a_disallow() -> None:
    assert split_usage("/a/ \t train-ai=n") == ("/a/", "train-ai=n")
    assert split_usage("train-ai=n") == ("", "train-ai=n")
    assert split_usage("/a/") == ("/a/", "")
    body = "User-agent: *\nContent-Usage: /*.pdf$ train-ai=n\nContent-Usage: /caf\u00e9/ train-ai=n\n"
    assert asked("content-usage", body, "/x.pdf").line == 2
    assert asked("content-usage", body, "/x.pdf?y").answer is SILENT
    assert asked("content-usage", body, "/caf%C3%A9/menu").line == 3


def test_a_longer_path_replaces_a_shorter_one_whole_and_of_equal_paths_the_stricter_counts() -> None:
    body = "User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /open/ search=y\n"
    assert asked("content-usage", body, "/open/x").answer is SILENT
    body = "User-agent: *\nContent-Usage: /a train-ai=n\nContent-Usage: /a train-ai=y\nContent-Usage: /a search=y\n"
    assert (asked("content-usage", body, "/a").answer, asked("content-usage", body, "/a").line) == (NO, 2)
    body = "User-agent: *\nContent-Usage: /*a train-ai=n\nContent-Usage: /a* train-ai=y\n"  # equal length, other path
    assert asked("content-usage", body, "/aa").answer is NO


USAGE_PATHS = st.text(alphabet="/ab*$", max_size=5).map(lambda rest: "/" + rest)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(USAGE_PATHS | st.just(""), st.sampled_from("yn-")), max_size=8), st.text("/ab", max_size=6))
def test_usage_rules_rank_as_a_slow_reading_of_the_draft_ranks_them(rules: list[tuple[str, str]], rest: str) -> None:
    path = "/" + rest
    text = "".join(f"Content-Usage: {p} {f'train-ai={v}' if v != '-' else 'search=y'}\n" for p, v in rules)
    fitting = [(len(pattern), value) for pattern, value in rules if _fits(pattern, path)]
    longest = {value for length, value in fitting if length == max(fitting)[0]}
    expected = NO if "n" in longest else YES if "y" in longest else SILENT
    # Equal paths combine; different ones of one length are beyond the draft, and then only "no" is owed.
    if len({p for p, _ in rules if _fits(p, path) and len(p) == max(fitting)[0]}) > 1 and expected is not NO:
        return
    assert asked("content-usage", "User-agent: *\n" + text, path).answer is expected


def _fits(pattern: str, path: str) -> bool:
    anchored = pattern.endswith("$")
    parts = (pattern[:-1] if anchored else pattern).split("*")
    return re.match(".*".join(map(re.escape, parts)) + (r"\Z" if anchored else ""), path) is not None


# --- tdmrep --------------------------------------------------------------------------------------------------------

# The second example of the report, "TDM File on the Origin Server".
REPORT_EXAMPLE = json.dumps(
    [
        {"location": "/directory-a/", "tdm-reservation": 1},
        {
            "location": "/directory-b/html/",
            "tdm-reservation": 1,
            "tdm-policy": "https://provider.com/policies/policy.json",
        },
        {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0},
    ]
).encode()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/directory-a/x.pdf", NO),
        ("/directory-b/html/x", NO),
        ("/directory-b/images/x.jpg", YES),
        ("/directory-b/images/x.png", SILENT),
        ("/", SILENT),
    ],
)
def test_tdmrep_reads_the_example_of_its_report(path: str, answer: Answer) -> None:
    found = asked("tdmrep", path=path, tdmrep=REPORT_EXAMPLE)
    assert found.answer is answer
    assert (found.file == "tdmrep.json") is (answer is not SILENT)


def test_the_first_location_that_fits_decides_even_if_its_value_is_wrong() -> None:
    body = json.dumps([{"location": "/a", "tdm-reservation": 2}, {"location": "/", "tdm-reservation": 1}]).encode()
    assert asked("tdmrep", path="/a/x", tdmrep=body).answer is SILENT
    assert asked("tdmrep", path="/b", tdmrep=body).answer is NO
    body = json.dumps([{"location": "/x%7Ey/$", "tdm-reservation": 1}]).encode()
    assert asked("tdmrep", path="/x~y/", tdmrep=body).answer is NO  # unreserved characters are compared decoded
    assert asked("tdmrep", path="/x~y/z", tdmrep=body).answer is SILENT


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
def test_evidence_names_the_line_of_the_reservation(ending: str) -> None:
    rules = ["[", '{"location": "/a",', ' "tdm-reservation": 1},', '{"location": "/b"},', ""]
    rules += ['{ "location": "/c[,]{", "tdm-policy": "x",', '"tdm-reservation" : 1 } ]', ""]
    body = ending.join(rules).encode()
    assert [asked("tdmrep", path=path, tdmrep=body).line for path in ("/a", "/b", "/c[,]{")] == [3, None, 7]
    single = ending.join(["", '{"location": "/",', '"tdm-reservation": "1"}']).encode()
    assert asked("tdmrep", tdmrep=single).line == 3


def test_the_page_supersedes_its_header_and_the_header_the_file() -> None:
    reserved = b'[{"location": "/", "tdm-reservation": 1}]'
    assert asked("tdmrep", tdmrep=reserved, metadata={"tdm_reservation": "0"}).answer is YES
    both = {"tdm_reservation": "1", "meta_tdm_reservation": "0"}
    assert asked("tdmrep", tdmrep=reserved, metadata=both).answer is YES
    assert asked("tdmrep", tdmrep=reserved, metadata={"tdm_reservation": "yes"}).answer is NO  # unset: the file speaks
    assert asked("tdmrep", metadata={"tdm_reservation": "0, 1"}).answer is NO


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (1, NO),
        (0, YES),
        ("1", NO),
        (" 0 ", YES),
        (2, SILENT),
        (True, SILENT),
        (1.0, SILENT),
        (None, SILENT),
        ([], SILENT),
    ],
)
def test_a_reservation_is_one_or_zero(value: Any, answer: Answer) -> None:
    assert tdm_reservation(value) is answer
    assert asked("tdmrep", tdmrep=json.dumps([{"location": "/", "tdm-reservation": value}]).encode()).answer is answer


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b"[" * 100_000, b"\xff\xfe", b"null", b'[{"tdm-reservation": 1}]', b"9" * 9999]
)
def test_what_is_no_reservation_file_says_nothing(body: bytes) -> None:
    assert asked("tdmrep", tdmrep=body).answer is SILENT


# --- noai, noarchive -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("noai, noimageai", ""),  # DeviantArt's own line
        ("noindex, NoAI", ""),
        ("noai noimageai", ""),
        ("noimageai", None),
        ("noindex, nofollow", None),
        ("GPTBot: noai", "GPTBot: "),
        ("gptbot: noindex, ccbot: noai", "CCBot: "),
        ("otherbot: noai", None),
        ("otherbot: noindex, noai", ""),  # joined fields: the doubt goes to the owner
        ("unavailable_after: 25 Jun 2026 15:00:00 PST, noai", ""),
        ("noaii", None),
        ("", None),
    ],
)
def test_noai_is_read_in_each_form(text: str, address: str | None) -> None:
    assert says_word(text, "noai", ["CCBot", "GPTBot"]) == address
    for field in ("x_robots_tag", "meta_robots"):
        found = asked("noai", metadata={field: text}, agents=["CCBot", "GPTBot"])
        assert found.answer is (SILENT if address is None else NO)


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        (["otherbot: noindex, noai"], None),  # an address holds to the end of its field
        (["otherbot: noindex", "noai"], ""),
        (["gptbot: noindex, noai"], "GPTBot: "),
        (["otherbot: noindex, ccbot: noindex, noai"], "CCBot: "),
        (["unavailable_after: 25 Jun 2026 15:00:00 PST, noai"], ""),
        (["otherbot: unavailable_after: 25 Jun 2026 15:00:00 PST, noai"], None),
        (["max-snippet:-1, noai"], ""),
        (["*: noai"], ""),
        ([], None),
    ],
)
def test_fields_kept_apart_keep_their_addresses(fields: list[str], address: str | None) -> None:
    found = asked("noai", metadata={"x_robots_tag": fields}, agents=["CCBot", "GPTBot"])
    assert (found.rule == f"X-Robots-Tag: {address}noai") is (address is not None)
    assert found.answer is (SILENT if address is None else NO)


def test_noarchive_is_a_switch_of_its_own() -> None:
    assert asked("noarchive", metadata={"meta_robots": "noarchive"}).rule == "meta robots: noarchive"
    assert asked("noai", metadata={"meta_robots": "noarchive"}).answer is SILENT
    assert "noarchive" not in DEFAULT_SIGNALS
    assert "rsl" not in DEFAULT_SIGNALS


# --- ai.txt, rsl ---------------------------------------------------------------------------------------------------

GENERATED = b"# Spawning AI\n# Prevent datasets from using the following file types\n\nUser-Agent: *\n"


@pytest.mark.parametrize(
    ("rules", "path", "answer", "line"),
    [
        (b"Disallow: *.txt\nDisallow: *.html\nAllow: *.jpg\n", "/story", NO, 6),
        (b"Disallow: *.txt\nDisallow: *.html\nAllow: *.jpg\n", "/index.php?id=3", NO, 6),
        (b"Disallow: *.txt\nAllow: *.html\n", "/notes.txt", NO, 5),
        (b"Disallow: *.txt\nAllow: *.html\n", "/story", YES, 6),
        (b"Disallow: *.jpg\nDisallow: *.mp3\n", "/story", SILENT, None),
        (b"Disallow: /\nDisallow: *\n", "/story.pdf", NO, 5),
    ],
)
def test_ai_txt_is_about_the_type_of_the_text(rules: bytes, path: str, answer: Answer, line: int | None) -> None:
    found = asked("ai-txt", path=path, ai_txt=GENERATED + rules)
    assert (found.answer, found.line) == (answer, line)


def test_another_ai_txt_and_a_page_in_its_place_say_nothing() -> None:
    for body in (b"<html><body>Disallow: /</body></html>", b"# My site\n\nIt is about bees.\n", b"", b"\0\1\2"):
        assert asked("ai-txt", ai_txt=body).answer is SILENT


def test_rsl_is_an_absolute_url_in_any_place() -> None:
    assert asked("rsl", "License: https://site.example/license.xml\nUser-agent: *\nAllow: /\n").line == 1
    assert asked("rsl", "User-agent: x\nDisallow: /\nLICENSE: https://site.example/l.xml\n").line == 3
    for value in ("none (public domain)", "/license.xml", "https://", "MIT", ""):
        assert asked("rsl", f"License: {value}\n").answer is SILENT


# --- laws over anything --------------------------------------------------------------------------------------------

WORDS = "ai-train=no|train-ai=n|train-ai=y|noai|/a |*|$|,|;|=|(|[|]|:|1| |\t|\n|\r|\0|\ufeff|\ud800|https://x.example/l"
LINES = "User-agent: *\n|User-agent: CCBot\n|Content-Signal: |Content-Usage: |License: |Disallow: *.html\n|# "
PIECES = st.sampled_from([*WORDS.split("|"), *LINES.split("|"), '"', '{"location": "/", "tdm-reservation": 1}'])
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60)
BODIES = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=80)
VALUES = st.none() | TEXTS | st.integers() | st.lists(TEXTS, max_size=3) | st.floats() | st.binary(max_size=9)
FIELDS = sorted({field for signal in SIGNALS.values() for field in signal.page_fields})


@settings(max_examples=400, deadline=None)
@given(BODIES, BODIES, BODIES, st.dictionaries(st.sampled_from(FIELDS), VALUES), TEXTS)
def test_no_signal_raises_and_each_says_one_of_three_things(
    robots: bytes, tdmrep: bytes, ai_txt: bytes, metadata: dict[str, Any], path: str
) -> None:
    lines = robots.count(b"\n") + robots.count(b"\r") + 1
    for name in SIGNALS:
        found = asked(name, robots, path, metadata=metadata, tdmrep=tdmrep, ai_txt=ai_txt)
        assert found.answer in (YES, NO, SILENT)
        assert (found.answer is SILENT) <= (found.line is None)
        assert found.file != "robots.txt" or 1 <= (found.line or 0) <= lines


@settings(max_examples=200, deadline=None)
@given(BODIES)
def test_directives_are_found_only_where_a_line_begins_with_one_and_in_order(body: bytes) -> None:
    directives = RobotsTxt(body).directives
    assert [line.line for line in directives] == sorted(line.line for line in directives)
    spoken = re.findall(rb"(?im)^[ \t\v\f]*(content-signal|content-usage|license)[ \t\v\f]*:", body)
    assert bool(directives) <= bool(spoken or b"\r" in body or b"\xef" in body or b"\xbb" in body or b"\xbf" in body)


def hostile() -> list[tuple[str, Callable[[], Finding]]]:
    megabyte = 1_000_000
    return [
        ("tokens", lambda: asked("content-usage", metadata={"content_usage": "a=(" * (megabyte // 3)})),
        ("parameters", lambda: asked("content-usage", metadata={"content_usage": "a" + ";a" * (megabyte // 2) + "!"})),
        ("string", lambda: asked("content-usage", metadata={"content_usage": 'a="' + "\\\\" * (megabyte // 2)})),
        ("spaces", lambda: asked("content-signal", metadata={"content_signal": "ai-train " * (megabyte // 9)})),
        ("one space", lambda: asked("content-signal", metadata={"content_signal": "ai-train" + " " * megabyte})),
        ("bots", lambda: asked("noai", metadata={"x_robots_tag": "x: noai," * (megabyte // 8)})),
        ("rules", lambda: asked("content-usage", "User-agent: *\n" + "Content-Usage: /a*b*c train-ai=n\n" * 15_000)),
        ("paths", lambda: asked("content-usage", "".join(f"Content-Usage: /{n} train-ai=n\n" for n in range(15_000)))),
        ("path", lambda: asked("content-usage", "Content-Usage: /*a*b*c*d$ train-ai=n", "/" + "abc" * (megabyte // 3))),
        ("json", lambda: asked("tdmrep", tdmrep=b"[" * megabyte)),
        ("groups", lambda: asked("content-signal", "User-agent: a\nDisallow: /\nContent-Signal: x\n" * 10_000)),
        ("media", lambda: asked("ai-txt", path="/" + "." * megabyte, ai_txt=b"User-agent: *\nDisallow: *.html$\n")),
    ]


@pytest.mark.parametrize(("name", "call"), hostile(), ids=[name for name, _ in hostile()])
def test_hostile_input_costs_linear_time(name: str, call: Callable[[], Finding]) -> None:
    started = time.process_time()
    call()
    assert time.process_time() - started < 1.0  # quadratic at this size would be minutes


def test_real_files_are_read_and_few_of_them_speak() -> None:
    bodies = pq.read_table(shared_data("data/robots/robots.parquet"), columns=["body"])["body"].to_pylist()
    speaking: dict[str, set[bytes]] = {}
    for body in {body for body in bodies if body and (b"ontent-" in body or b"icense" in body)}:
        parsed = parse(body)
        for name, signal in SIGNALS.items():
            says = signal.of_site(Site(parsed), PAPER)
            found = says("/any/page") if says else Finding(SILENT)
            if found.answer is NO:
                speaking.setdefault(name, set()).add(body)
                written = re.split(rb"\r\n|\r|\n", body)[(found.line or 0) - 1]
                assert (found.rule or "").encode() == written.removeprefix(b"\xef\xbb\xbf").strip()
    assert set(speaking) == {"content-signal", "rsl"}


# --- the stage -----------------------------------------------------------------------------------------------------


def write_snapshot(path: Path, rows: list[dict[str, Any]]) -> str:
    table = {
        "host": pa.array([row["host"] for row in rows]),
        "status": pa.array([row.get("status", 200) for row in rows], pa.int32()),
        "body": pa.array([row.get("body") for row in rows], pa.binary()),
        "fetched_at": pa.array(["2026-01-31"] * len(rows)),
    }
    for name in ("tdmrep", "ai_txt"):
        if any(name in row for row in rows):
            table[name] = pa.array([row.get(name) for row in rows], pa.binary())
    pq.write_table(pa.table(table), path)
    return str(path)


OPEN = b"User-agent: *\nAllow: /\n"
RESERVED = b"User-agent: *\nContent-Signal: ai-train=no\nAllow: /\n"
BARRED = b"User-agent: GPTBot\nDisallow: /\n\nUser-agent: *\nContent-Signal: ai-train=no\n"
GRANTED_AND_BARRED = b"User-agent: *\nContent-Signal: ai-train=yes\nContent-Usage: train-ai=y\nDisallow: /\n"
TDM = b'[{"location": "/", "tdm-reservation": 1}]'
ROWS: list[dict[str, Any]] = [
    {"host": "open.example", "body": OPEN},
    {"host": "reserved.example", "body": RESERVED},
    {"host": "barred.example", "body": BARRED},
    {"host": "granted.example", "body": GRANTED_AND_BARRED},
    {"host": "usage.example", "body": b"User-agent: *\nContent-Usage: /a/ train-ai=n\n"},
    {"host": "tdm.example", "body": OPEN, "tdmrep": TDM},
    {"host": "tdm-gone.example", "status": 404, "tdmrep": TDM},
    {"host": "tdm-broken.example", "status": 503, "tdmrep": TDM},
    {"host": "aitxt.example", "body": OPEN, "ai_txt": GENERATED + b"Disallow: *.html\n"},
    {"host": "rsl.example", "body": b"License: https://rsl.example/l.xml\n" + OPEN},
    {"host": "broken.example", "status": 503, "body": RESERVED},
    {"host": "page.example", "body": b"<!doctype html><p>Content not found"},
    {"host": "gone.example", "status": 404, "body": RESERVED},
]


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    return write_snapshot(tmp_path / "robots.parquet", ROWS)


def decide(stage: Robots, *pages: str | tuple[str | None, dict[str, Any]]) -> list[Decision]:
    pairs = [(page, {}) if isinstance(page, str) else page for page in pages]
    return stage.decide(
        [
            Document(text="x", id=str(number), metadata={**({} if url is None else {"url": url}), **metadata})
            for number, (url, metadata) in enumerate(pairs)
        ]
    )


@pytest.mark.parametrize(
    ("url", "reason", "protocol"),
    [
        ("https://open.example/", Reason.ALLOWED, None),
        ("https://reserved.example/", Reason.SIGNAL_RESERVED, "content-signal"),
        ("https://barred.example/", Reason.AGENT_DISALLOWED, "robots.txt"),  # a rule of robots.txt is the reason
        ("https://granted.example/", Reason.STAR_DISALLOWED, "robots.txt"),  # a grant overrides no rule
        ("https://usage.example/a/x", Reason.SIGNAL_RESERVED, "content-usage"),
        ("https://usage.example/b", Reason.ALLOWED, None),
        ("https://tdm.example/", Reason.SIGNAL_RESERVED, "tdmrep"),
        ("https://tdm-gone.example/", Reason.SIGNAL_RESERVED, "tdmrep"),
        ("https://tdm-broken.example/", Reason.SIGNAL_RESERVED, "tdmrep"),
        ("https://aitxt.example/story", Reason.SIGNAL_RESERVED, "ai.txt"),
        ("https://rsl.example/", Reason.ALLOWED, None),
        ("https://gone.example/", Reason.NO_FILE, None),  # an error page is no robots.txt, whatever it holds
        ("https://broken.example/", Reason.FETCH_ERROR, None),
        ("https://page.example/", Reason.PARSE_ERROR, None),
        ("https://nobody.example/", Reason.HOST_UNKNOWN, None),
    ],
)
def test_each_statement_keeps_its_reason(snapshot: str, url: str, reason: Reason, protocol: str | None) -> None:
    (decision,) = decide(Robots(snapshot), url)
    assert decision.reason == reason
    assert (decision.evidence.protocol if decision.evidence else None) == protocol
    assert decision.kept is (protocol is None)


def test_policy_switches_each_signal(snapshot: str) -> None:
    urls = [f"https://{row['host']}/a/x" for row in ROWS]
    assert all(decision.reason != Reason.SIGNAL_RESERVED for decision in decide(Robots(snapshot, signals=[]), *urls))
    for name, host in (("tdmrep", "tdm.example"), ("rsl", "rsl.example"), ("content-usage", "usage.example")):
        reserved = {
            decision.evidence.host
            for decision in decide(Robots(snapshot, signals=[name]), *urls)
            if decision.reason == Reason.SIGNAL_RESERVED and decision.evidence
        }
        assert host in reserved
        assert "reserved.example" not in reserved
    with pytest.raises(ValueError, match=r"no signal `content_signals`; did you mean `content-signal`\?"):
        Robots(snapshot, signals=["content_signals"])
    with pytest.raises(ValueError, match="name its file in takedown"):
        Robots(snapshot, signals=["takedown"])
    with pytest.raises(ValueError, match="a list of names"):
        Robots(snapshot, signals="noai")
    assert [signal.name for signal in named_signals(["rsl", "noai", "rsl"])] == ["rsl", "noai"]


def test_a_star_group_s_signal_counts_when_its_rules_do_not(snapshot: str) -> None:
    stage = Robots(snapshot, star="ignore")
    assert decide(stage, "https://reserved.example/")[0].reason == Reason.SIGNAL_RESERVED
    assert decide(stage, "https://granted.example/")[0].reason == Reason.ALLOWED


PAGE = {"x_robots_tag": "noai"}


def test_a_page_s_own_words_bar_on_any_host_and_without_one(snapshot: str) -> None:
    stage = Robots(snapshot)
    pages = [f"https://{row['host']}/b" for row in ROWS] + ["https://nobody.example/", None, "mailto:x", "not a url"]
    for decision in decide(stage, *[(url, PAGE) for url in pages]):
        assert decision.action is Action.EXCLUDE
        assert decision.reason in (Reason.SIGNAL_RESERVED, Reason.AGENT_DISALLOWED, Reason.STAR_DISALLOWED)
    (decision,) = decide(stage, ("https://open.example/", {"meta_robots": "index, noai"}))
    assert decision.evidence
    assert (decision.evidence.protocol, decision.evidence.rule) == ("noai", "meta robots: noai")
    assert (decision.evidence.host, decision.evidence.line, decision.evidence.body_sha256) == (
        "open.example",
        None,
        None,
    )


GRANTS = {"content_signal": "ai-train=yes", "content_usage": "train-ai=y", "tdm_reservation": "0"}


@pytest.mark.parametrize("unknown", ["keep", "exclude"])
def test_unknown_is_never_allowed_on_any_path(snapshot: str, unknown: str, tmp_path: Path) -> None:
    """Every way of not knowing, crossed with everything a page or a list can say in favour or not at all."""
    unknown_pages = {
        "https://broken.example/": Reason.FETCH_ERROR,
        "https://tdm-broken.example/": Reason.FETCH_ERROR,
        "https://page.example/": Reason.PARSE_ERROR,
        "https://nobody.example/": Reason.HOST_UNKNOWN,
        "https://open.example:8443/": Reason.HOST_UNKNOWN,
        "": Reason.NO_URL,
        "mailto:x@y.example": Reason.NO_URL,
    }
    takedown = tmp_path / "takedown.txt"
    takedown.write_text("https://nobody.example/other\n")
    for signals in ([], list(SIGNALS), DEFAULT_SIGNALS, *[[name] for name in SIGNALS]):
        for requests in (None, takedown):
            stage = Robots(snapshot, unknown=unknown, signals=signals, takedown=requests)
            for said in ({}, GRANTS, {"x_robots_tag": "index"}, {"tdm_reservation": "broken"}, {"meta_robots": None}):
                for (url, reason), decision in zip(
                    unknown_pages.items(), decide(stage, *[(url, said) for url in unknown_pages]), strict=True
                ):
                    reserved = "tdm-broken" in url and "tdmrep" in stage.signals and said is not GRANTS
                    assert decision.reason == (Reason.SIGNAL_RESERVED if reserved else reason)
                    assert decision.kept is (unknown == "keep" and not reserved)


def test_evidence_names_the_file_that_speaks(snapshot: str) -> None:
    def evidence(url: str) -> Any:
        (decision,) = decide(Robots(snapshot), url)
        return decision.evidence

    found = evidence("https://reserved.example/")
    assert (found.line, found.rule, found.basis) == (2, "Content-Signal: ai-train=no", "star")
    assert found.agents == ",".join(PAPER)
    assert (found.fetched_at, found.status) == ("2026-01-31", 200)
    assert found.body_sha256 == hashlib.sha256(RESERVED).digest()
    found = evidence("https://tdm.example/")
    assert (found.line, found.status, found.fetched_at) == (1, None, "2026-01-31")
    assert found.rule == '"location": "/", "tdm-reservation": 1'
    assert found.body_sha256 == hashlib.sha256(TDM).digest()
    found = evidence("https://aitxt.example/story")
    assert (found.line, found.rule) == (5, "Disallow: *.html")
    assert found.body_sha256 == hashlib.sha256(GENERATED + b"Disallow: *.html\n").digest()


def test_equal_statements_share_one_decision(snapshot: str) -> None:
    pages = [(f"https://open.example/{n}", {"x_robots_tag": "noindex, noai" if n % 2 else "noai"}) for n in range(10)]
    assert len({id(decision) for decision in decide(Robots(snapshot), *pages)}) == 1


def test_decisions_do_not_depend_on_batch_order_or_pickling(snapshot: str, tmp_path: Path) -> None:
    takedown = tmp_path / "takedown.txt"
    takedown.write_text("open.example\nhttps://gone.example/a/\n")
    stage = Robots(snapshot, signals=list(SIGNALS), takedown=takedown)
    pages: list[Any] = [(f"https://{row['host']}/{path}", said) for row in ROWS for path in "ab" for said in ({}, PAGE)]
    whole = decide(stage, *pages)
    assert decide(pickle.loads(pickle.dumps(stage)), *reversed(pages)) == whole[::-1]
    assert [decide(Robots(snapshot, signals=list(SIGNALS), takedown=takedown), page)[0] for page in pages] == whole


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.none() | TEXTS, st.dictionaries(st.sampled_from(FIELDS), VALUES)), max_size=5))
def test_the_stage_never_raises(tmp_path_factory: pytest.TempPathFactory, pages: list[Any]) -> None:
    snapshot = write_snapshot(tmp_path_factory.getbasetemp() / "any.parquet", ROWS)
    for decision in decide(Robots(snapshot, signals=list(SIGNALS)), *pages):
        assert decision.kept or decision.evidence


def test_every_reason_is_a_word_of_the_manifest() -> None:
    assert {str(reason) for reason in Reason} <= {str(reason) for reason in schema.Reason}


# --- takedown ------------------------------------------------------------------------------------------------------

LIST = """\ufeff# requests of March
example.org            # the host and what is under it
www.ported.example:8443
https://pages.example/blog/
https://pages.example/author/ann*
https://pages.example/2019/page.html?x=1#top
https://pages.example:8443/only
M\u00fcnchen.example
bare.example/one
https://root.example
https://pages.example/caf%c3%a9/%7Eann
192.0.2.7
"""
COVERED = [
    ("http://example.org/", 2),
    ("https://example.org:9000/x", 2),
    ("https://a.b.EXAMPLE.org./x", 2),
    ("https://www.ported.example:8443/x", 3),
    ("https://sub.www.ported.example:8443/x", 3),
    ("https://pages.example/blog/", 4),
    ("http://pages.example/blog/deep/page?q", 4),
    ("https://pages.example/author/anna", 5),
    ("https://pages.example/2019/page.html?x=1", 6),
    ("https://user@pages.example:8443/only#fragment", 7),
    ("https://xn--mnchen-3ya.example/", 8),
    ("https://bare.example/one", 9),
    ("https://root.example/anything", 10),
    ("https://pages.example/caf\u00e9/~ann", 11),
    ("http://192.0.2.7/", 12),
]
NOT_COVERED = [
    "https://notexample.org/",
    "https://example.org.evil.example/",
    "https://ported.example:8443/",
    "https://www.ported.example/",
    "https://pages.example/blog",
    "https://pages.example/Blog/x",
    "https://pages.example/author/bob",
    "https://pages.example/2019/page.html",
    "https://pages.example/only",
    "https://sub.pages.example/blog/",
    "https://pages.example:8443/blog/",
    "https://bare.example/one/two",
    "https://www.root.example/",
    "http://9.192.0.2.7/",
]


def covering(requests: TakedownList, url: str) -> int | None:
    about = requests.about(*origin(url))
    line = about.covering(url) if about else None
    return line.number if line else None


def test_a_takedown_covers_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "takedown.txt"
    path.write_text(LIST, encoding="utf-8")
    requests = open_takedown(path)
    assert [covering(requests, url) for url, _ in COVERED] == [line for _, line in COVERED]
    assert [url for url in NOT_COVERED if covering(requests, url)] == []
    assert requests.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("com", "names no host"),
        ("two words", "neither a host nor a URL"),
        ("ann@example.org", "neither a host nor a URL"),
        ("https:/example.org/x", "names no host"),
        ("https://example.org/*/x", "before its end"),
        ("http://", "neither a host nor a URL"),
        ("*", "neither a host nor a URL"),
        ("/path", "neither a host nor a URL"),
    ],
)
def test_a_line_that_cannot_be_read_is_an_error_with_its_number(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "takedown.txt"
    path.write_text(f"# head\n\n{line}\n")
    with pytest.raises(TakedownError, match=rf"takedown\.txt, line 3: .*{fault}"):
        open_takedown(path)


def test_a_missing_or_binary_list_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(TakedownError, match="No such file"):
        open_takedown(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"m\xfcnchen.example\n")
    with pytest.raises(TakedownError, match="not UTF-8 at byte 1"):
        open_takedown(tmp_path / "latin.txt")


def test_a_takedown_counts_before_all_else_and_its_evidence_is_its_line(snapshot: str, tmp_path: Path) -> None:
    path = tmp_path / "takedown.txt"
    path.write_text("# head\nbarred.example\nhttps://nobody.example/x\n")
    stage = Robots(snapshot, takedown=str(path))
    named, url, other = decide(
        stage, ("https://barred.example/", PAGE), "https://nobody.example/x", "https://nobody.example/y"
    )
    assert named.reason == url.reason == Reason.TAKEDOWN
    assert other.reason == Reason.HOST_UNKNOWN
    assert named.evidence
    assert (named.evidence.protocol, named.evidence.line, named.evidence.rule) == ("takedown", 2, "barred.example")
    digest = hashlib.sha256(b"2\tbarred.example\n").hexdigest()
    assert named.evidence.detector == f"takedown-list@{digest[:12]}"
    assert stage.pins()["takedown_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(LIST.split("\n")) | TEXTS, max_size=5).map("\n".join), TEXTS, st.sampled_from(COVERED))
def test_no_list_and_no_url_raises_anything_but_its_own_error(text: str, rest: str, covered: tuple[str, int]) -> None:
    try:
        requests = TakedownList(text)
    except TakedownError:
        return
    for url in (rest, f"https://pages.example/{rest}", covered[0]):
        number = covering(requests, url)
        assert number is None or 1 <= number <= len(re.split("\r\n|\r|\n", text))


# --- what a task rests on ------------------------------------------------------------------------------------------

HOSTS = [(str(row["host"]), None) for row in ROWS] + [("nobody.example", None)]


def changed(folder: Path, host: str, **change: Any) -> str:
    return write_snapshot(
        folder / "changed.parquet", [{**row, **change} if row["host"] == host else row for row in ROWS]
    )


@pytest.mark.parametrize("change", [{"tdmrep": b"[]"}, {"ai_txt": b"User-agent: *\nDisallow: /\n"}])
def test_a_file_of_one_host_touches_the_digest_of_this_host_only(
    snapshot: str, tmp_path: Path, change: dict[str, bytes]
) -> None:
    before, after = Robots(snapshot), Robots(changed(tmp_path, "tdm.example", **change))
    touched = [host for host in HOSTS if before.evidence_digest([host]) != after.evidence_digest([host])]
    assert touched == [("tdm.example", None)]
    deaf = ["noai"]  # a policy that consults neither file does not run again for them
    assert Robots(snapshot, signals=deaf).evidence_digest(HOSTS) == Robots(
        after.snapshot, signals=deaf
    ).evidence_digest(HOSTS)
    assert before.fingerprint() == after.fingerprint()


def test_a_longer_list_touches_the_digests_of_its_new_hosts_only(snapshot: str, tmp_path: Path) -> None:
    short, longer = tmp_path / "short.txt", tmp_path / "long.txt"
    short.write_text("open.example\n")
    longer.write_text("open.example\nhttps://nobody.example/x\ntdm.example:8443\n")
    none, before, after = (Robots(snapshot, takedown=path) for path in (None, short, longer))
    hosts = [*HOSTS, ("tdm.example", 8443), ("sub.tdm.example", 8443), ("www.open.example", None)]

    def touched(one: Robots, other: Robots) -> list[tuple[str, int | None]]:
        return [host for host in hosts if one.evidence_digest([host]) != other.evidence_digest([host])]

    assert touched(none, before) == [("open.example", None), ("www.open.example", None)]
    assert touched(before, after) == [("nobody.example", None), ("tdm.example", 8443), ("sub.tdm.example", 8443)]
    assert none.fingerprint() == before.fingerprint() == after.fingerprint()
    assert len({str(sorted(stage.pins().items())) for stage in (none, before, after)}) == 3
    # What did not change in evidence did not change in decisions, evidence included.
    assert decide(before, "https://open.example/") == decide(after, "https://open.example/")
    assert before.fingerprint() != Robots(snapshot, signals=["noai"]).fingerprint()


def test_a_snapshot_column_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.parquet"
    pq.write_table(pa.table({"host": ["a.example"], "status": [200], "body": [b""], "tdmrep": [1]}), path)
    with pytest.raises(SnapshotError, match="column tdmrep is int64"):
        Snapshot.check(path)


def test_the_path_asked_is_the_path_that_patterns_are_written_in() -> None:
    assert encoded_pattern("/%c3%a9") == request_path("https://x.example/%C3%A9")
