"""robots.txt: held against Google's parser, a slow matcher written from the RFC, and a corpus with a known truth.

Google's parser comes with the PyPI package `jwm.robotstxt`, a test-only oracle; without it its tests are skipped.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datatrove.data import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import robots, robots_rules, robots_txt
from filters.decision import Action, Decision
from filters.robots import Reason, Robots, Snapshot, SnapshotError, disallowed_agents, evidence, origin
from tests.conftest import shared_data
from tests.filters import slow_robots

PAPER = robots.agent_list("paper")
GOOGLE_TOKENS = [agent for agent in PAPER if agent.replace("-", "").isalpha() or agent == "*"]
SITE = "http://site.example"


def google(body: bytes, agent: str, url: str) -> tuple[bool, int]:
    """Verdict and matching line of Google's parser."""
    oracle = pytest.importorskip("jwm.robotstxt.googlebot", reason="pip install jwm.robotstxt to test against Google's")
    matcher = oracle.RobotsMatcher()
    allowed = matcher.OneAgentAllowedByRobots(body, agent, url)
    return allowed, matcher.matching_line()


# --- the rule -----------------------------------------------------------------------------------------------------

DEPARTURES = [
    # point, robots.txt, agent, path, protego, here
    ("token found inside another", "User-agent: Applebot\nDisallow: /", "Applebot-Extended", "/p", False, True),
    ("token with a version", "User-agent: CCBot/2.0\nDisallow: /", "CCBot", "/p", True, False),
    ("text after a token", "User-agent: GPTBot, CCBot\nDisallow: /", "GPTBot", "/p", True, False),
    ("star and more text", "User-agent: * (all)\nDisallow: /", "CCBot", "/p", True, False),
    ("rank by re-quoted length", "User-agent: *\nDisallow: /*?\nAllow: /abc", "CCBot", "/abc?x", False, True),
    ("byte order mark", "\ufeffUser-agent: *\nDisallow: /p", "CCBot", "/p", True, False),
    ("group ended", "User-agent: GPTBot\nCrawl-delay: 5\nUser-agent: *\nDisallow: /", "GPTBot", "/", True, False),
    ("line ends", "User-agent: *\nDisallow: /a\vb", "CCBot", "/a", False, True),
    ("key with a suffix", "User-agent: *\nDisallowed: /p", "CCBot", "/p", True, False),
    ("no colon, three words", "User-agent: *\nDisallow /p q", "CCBot", "/p%20q", False, True),
    ("dollar inside a pattern", "User-agent: *\nDisallow: /a$b", "CCBot", "/a%24b", False, True),
    ("reserved characters", "User-agent: *\nDisallow: /a%3Fb", "CCBot", "/a?b", False, True),
    ("index.htm", "User-agent: *\nDisallow: /x/\nAllow: /x/index.htm", "CCBot", "/x/", False, True),
]


@pytest.mark.parametrize(("point", "text", "agent", "path", "by_protego", "here"), DEPARTURES)
def test_every_departure_of_protego_is_corrected(
    point: str, text: str, agent: str, path: str, by_protego: bool, here: bool
) -> None:
    assert robots.independent_verdict(text, agent, SITE + path) is by_protego, point
    assert evidence(text, agent, SITE + path)[0] is here, point
    assert google(text.encode(), agent, SITE + path)[0] is here, point


def test_rules_after_500_kib_are_not_read_and_no_rule_is_cut_in_two() -> None:
    rule = b"Disallow: /a-long-folder-name/\n"
    padding = b"#" * (robots.MAX_BODY_BYTES - len(b"User-agent: *\n\n") - 14) + b"\n"
    body = b"User-agent: *\n" + padding + rule + b"Disallow: /late\n"
    assert body[: robots.MAX_BODY_BYTES].endswith(b"Disallow: /a-l")
    assert evidence(body, "CCBot", SITE + "/late") == (True, 0)
    assert evidence(body, "CCBot", SITE + "/a-lion") == (True, 0)
    assert evidence(body.replace(b"#", b"", 100), "CCBot", SITE + "/late") == (False, 4)


def test_robots_txt_itself_is_always_allowed() -> None:
    body = "User-agent: *\nDisallow: /"
    assert evidence(body, "CCBot", SITE + "/robots.txt") == (True, 0)
    assert disallowed_agents(body, PAPER, SITE + "/robots.txt") == set()
    assert disallowed_agents(body, PAPER, SITE + "/robots.txt.bak") == set(PAPER)


def test_tokens_may_hold_digits_and_policy_tokens_end_before_their_version() -> None:
    body = "User-agent: AI2Bot\nUser-agent: CCBot\nDisallow: /x"
    assert disallowed_agents(body, ["AI2Bot", "CCBot/2.0", "GPTBot", "*"], SITE + "/x") == {"AI2Bot", "CCBot/2.0"}
    assert disallowed_agents("User-agent: AI\nDisallow: /", ["AI2Bot"], SITE) == set()


def test_an_empty_file_allows_everything_and_no_line_decides() -> None:
    for body in (b"", b"\xef\xbb\xbf", b"\n\n", b"# nothing", b"Disallow: /"):
        assert evidence(body, "CCBot", SITE + "/p") == (True, 0)


def test_a_named_group_switches_the_star_group_off_and_groups_of_an_agent_merge() -> None:
    body = "User-agent: *\nDisallow: /\n\nUser-agent: CCBot\nDisallow: /a\n\nUser-agent: ccbot\nDisallow: /b\n"
    assert evidence(body, "CCBot", SITE + "/c") == (True, 0)
    assert evidence(body, "CCBot", SITE + "/a") == (False, 5)
    assert evidence(body, "CCBot", SITE + "/b") == (False, 8)
    assert evidence(body, "GPTBot", SITE + "/c") == (False, 2)


@pytest.mark.parametrize("ending", [b"\n", b"\r", b"\r\n"])
def test_evidence_line_counts_each_kind_of_line_end(ending: bytes) -> None:
    body = ending.join([b"# head", b"", b"User-agent: *", b"Allow: /", b"", b"Disallow: /p"])
    assert evidence(body, "CCBot", SITE + "/p") == (False, 6) == google(body, "CCBot", SITE + "/p")


LINE_PIECES = st.one_of(
    st.sampled_from(["User-agent: ", "user agent:", "Useragent ", "Disallow: ", "disalow:", "Diasllow ", "Allow: "]),
    st.sampled_from(["Allowed:", "Sitemap:", "Crawl-delay: 3", "*", "CCBot", "GPTBot/1.1", "gptbot, x", "Google"]),
    st.sampled_from(["Google-Extended", "2", "/", "/a", "/a*b", "$", "%2f", "%C3", "é", "?", "/index.htm", "#", ":"]),
    st.sampled_from([" ", "\t", "\v", "\f", "\0", "\x1c", "\x85", "\xa0", "\ufeff", "\u2028", "\r", "\r\n"]),
    st.sampled_from(["\n", "\nUser-agent: *\nDisallow: /", "\nUser-agent: CCBot\nAllow: /a", "\nDisallow: /"]),
)
BODIES = st.lists(LINE_PIECES, max_size=60).map("".join).map(str.encode) | st.binary(max_size=300)
PATHS = st.text(alphabet="/ab?*$%2fFxindex.htm;", max_size=20)


@settings(max_examples=400, deadline=None)
@given(BODIES, st.sampled_from(GOOGLE_TOKENS), PATHS)
def test_any_file_reads_as_google_reads_it(body: bytes, agent: str, path: str) -> None:
    url = f"{SITE}/{path}"
    if robots.request_path(url) != "/robots.txt":
        assert evidence(body, agent, url) == google(body, agent, url)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.text(alphabet="/ab*$", min_size=1, max_size=8)), max_size=8),
    st.text(alphabet="/ab$", max_size=12),
)
def test_the_longest_match_wins_and_allow_wins_ties(rules: list[tuple[bool, str]], rest: str) -> None:
    body = "User-agent: *\n" + "".join(f"{'Allow' if allow else 'Disallow'}: {rule}\n" for allow, rule in rules)
    fitting = [(len(rule), allow) for allow, rule in rules if slow_robots.fits(rule, "/" + rest)]
    expected = max(fitting)[1] if fitting else True
    assert evidence(body, "CCBot", f"{SITE}/{rest}")[0] is expected
    assert (disallowed_agents(body, ["CCBot", "*"], f"{SITE}/{rest}") == set()) is expected


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.text(alphabet="/ab*$", min_size=1, max_size=9)), min_size=1, max_size=40),
    st.text(alphabet="/ab$", max_size=12),
)
def test_many_wildcards_are_ruled_out_together_only_where_none_fits(rules: list[tuple[bool, str]], rest: str) -> None:
    patterns = [pattern + "*" for _, pattern in rules]
    ranks = [robots_rules.NO_RECORD - n | robots_rules.ALLOW_BIT * allow for n, (allow, _) in enumerate(rules)]
    one_by_one = robots_rules.Rules(patterns, ranks).match("/" + rest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robots_rules, "_MANY", 0)
        assert robots_rules.Rules(patterns, ranks).match("/" + rest) == one_by_one
    assert one_by_one == max(
        [
            len(pattern) << robots_rules.LENGTH_SHIFT | rank
            for pattern, rank in zip(patterns, ranks, strict=True)
            if slow_robots.fits(pattern, "/" + rest)
        ],
        default=robots_rules.NOTHING_FITS,
    )


@settings(max_examples=200, deadline=None)
@given(BODIES, st.lists(PATHS, min_size=1, max_size=5))
def test_what_the_screen_rules_out_no_rule_bars(body: bytes, paths: list[str]) -> None:
    for rule_set in robots_txt.RobotsTxt(body).rule_sets(("CCBot", "AI2Bot", "*")):
        for path in paths:
            path = robots.request_path(robots.request_url(f"{SITE}/{path}"))
            if not rule_set.rules.may_bar(path):
                assert robots_rules.allows(rule_set.rules.match(path))
            if not rule_set.rules.can_bar:
                assert robots_rules.allows(rule_set.rules.match(path))


@settings(max_examples=40, deadline=None)
@given(BODIES, st.lists(PATHS, min_size=2, max_size=5))
def test_a_stage_that_knows_a_host_decides_as_the_rule_does(body: bytes, paths: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stage = Robots(write_snapshot(Path(folder) / "s.parquet", [{"host": "site.example", "body": body}]), signals=[])
        urls = [f"{SITE}/{path}" for path in (*paths, *reversed(paths))]
        decisions = decide(stage, *urls)
    for url, decision in zip(urls, decisions, strict=True):
        url = robots.request_url(url)
        assert decision.kept is (disallowed_agents(body, PAPER, url) == set())
        if decision.evidence:
            first = decision.evidence.agents.split(",")[0]
            assert evidence(body, first, url) == (False, decision.evidence.line)


def test_a_known_host_is_not_taken_for_one_whose_name_goes_on(tmp_path: Path) -> None:
    rows = [{"host": "site.example", "body": b"User-agent: *\nDisallow: /"}, {"host": "site.examples", "body": b""}]
    stage = Robots(write_snapshot(tmp_path / "s.parquet", rows))
    urls = ["https://site.example/", "https://site.examples", "https://site.example.", "https://site.example"]
    assert [decision.kept for decision in decide(stage, *urls)] == [False, True, False, False]
    odd = ["https://site.example:8080/", "https://site.example@other.example/", "https://site.example\\@x.example/"]
    assert [decision.reason for decision in decide(stage, *odd)][:2] == [Reason.HOST_UNKNOWN] * 2


@pytest.mark.parametrize("line", ["Disallow: /p", " disallow: /p", "\tDisallow: /p ", "Disallow: /p # again"])
def test_the_deciding_line_is_the_earliest_however_its_twins_are_written(line: str) -> None:
    for before in (["Disallow: /p"], [" Disallow: /p"], [line], [line, line], []):
        body = "\n".join(["User-agent: x", *before, "User-agent: *", "Allow: /o", line, *before]).encode()
        assert evidence(body, "CCBot", SITE + "/p") == google(body, "CCBot", SITE + "/p")


LONG = SITE + "/" + "a" * 2000


def hostile_bodies() -> dict[str, tuple[bytes, str]]:
    head = b"User-agent: *\n"
    return {
        "deep": (head + b"Disallow: /" + b"*a" * 8000 + b"b", LONG),
        "long literal": (head + b"Disallow: /*" + b"a" * 8000 + b"b$", LONG),
        "line of 5 MB": (head + b"Disallow: /" + b"x" * 5_000_000, LONG),
        "nested prefixes": (head + b"".join(b"Disallow: /" + b"a" * n + b"b\n" for n in range(400)), LONG),
        "400 wildcards": (head + b"".join(b"Disallow: /*a%d\n" % n for n in range(400)), LONG),
        "28,000 wildcards": (head + b"".join(b"Disallow: /*a%d\n" % n for n in range(28_000)), LONG),
        "28,000 and a path of 16 KB": (
            head + b"".join(b"Disallow: /*a%d\n" % n for n in range(28_000)),
            SITE + "/" + "a" * 16_000,
        ),
        "many deep": (head + b"".join(b"Disallow: /" + b"*a" * 1900 + b"*b%d\n" % n for n in range(125)), LONG),
        "every octet": (bytes(range(256)) * 20_000, LONG),
        "blanks": ((b" " * 16_000 + b"\n") * 30, LONG),
        "agents without end": (b"user-agent \t" * 40_000, LONG),
    }


@pytest.mark.parametrize(("body", "url"), hostile_bodies().values(), ids=hostile_bodies())
def test_no_check_takes_10_ms(body: bytes, url: str) -> None:
    expected = evidence(body, "CCBot", url)  # parses and compiles
    fastest = min(_cpu_seconds(lambda: evidence(body, "CCBot", url)) for _ in range(5))
    assert fastest < 0.010
    assert expected[0] is True


def test_a_path_of_a_megabyte_is_checked_against_a_hundred_wildcards_in_linear_time() -> None:
    body = b"User-agent: *\n" + b"".join(b"Disallow: /*a%d*b\n" % n for n in range(100))
    url = SITE + "/" + "a" * 1_000_000
    evidence(body, "CCBot", url)
    # No crawler sends such a URL, and one `in` on it takes 0.3 ms: each pattern on its own would be 110 ms.
    assert min(_cpu_seconds(lambda: evidence(body, "CCBot", url)) for _ in range(5)) < 0.050
    assert evidence(body, "CCBot", f"{url}a7xb") == (False, 9)


def _cpu_seconds(call) -> float:  # type: ignore[no-untyped-def]
    started = time.process_time()
    call()
    return time.process_time() - started


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200), st.text(max_size=12), st.text(max_size=60))
def test_nothing_raises_and_both_functions_agree(body: str | bytes, agent: str, url: str) -> None:
    allowed, line = evidence(body, agent, url)
    assert (agent in disallowed_agents(body, [agent], url)) is not allowed
    assert line >= 0
    assert allowed or line > 0, "who is barred is barred by a line"


def real_files(count: int | None) -> list[bytes]:
    bodies = pq.read_table(shared_data("data/robots/robots.parquet"), columns=["body"])["body"]
    rows = range(len(bodies)) if count is None else random.Random(count).sample(range(len(bodies)), count)
    return [body for row in rows if (body := bodies[row].as_py()) and len(body) <= robots.MAX_BODY_BYTES]


def urls_from_rules(body: bytes, chance: random.Random, count: int) -> list[str]:
    urls = [f"{SITE}/", f"{SITE}/index.html", f"{SITE}/2020/01/a-post?id=3&x=%20", f"{SITE}/wp-admin/x.php"]
    values = [line.partition(b":")[2].strip() for line in body.splitlines() if b"llow" in line]
    for value in chance.sample(values, min(count, len(values))):
        path = robots_rules.encoded_pattern(value.decode("latin-1")).replace("$", "").replace("\0", "")
        for filling in ("", "x", "/y/"):
            url = SITE + "/" + path.replace("*", filling).lstrip("/")
            urls += [url, url + chance.choice(["x", "/", "?q=1", ".html"])]
    return [url for url in urls if robots.request_path(url) != "/robots.txt"]


def disagreements(bodies: Sequence[bytes], rules_per_file: int) -> tuple[int, list[tuple[str, str]]]:
    chance, checks, found = random.Random(9309), 0, []
    for body in bodies:
        for url in urls_from_rules(body, chance, rules_per_file):
            for agent in chance.sample(GOOGLE_TOKENS, 3):
                checks += 1
                if evidence(body, agent, url) != google(body, agent, url):
                    found.append((agent, url))
    return checks, found


def test_real_files_read_as_google_reads_them_verdict_and_line() -> None:
    checks, found = disagreements(real_files(200), rules_per_file=3)
    assert checks > 5_000
    assert found == []


@pytest.mark.slow
def test_all_real_files_read_as_google_reads_them() -> None:
    checks, found = disagreements(real_files(None), rules_per_file=4)
    assert checks > 400_000
    assert found == []


@pytest.mark.slow
def test_10_000_mutated_real_files_read_as_google_reads_them() -> None:
    chance, mutants = random.Random(1), []
    for body in real_files(2500):
        for _ in range(4):
            mutant = bytearray(body[:20_000])
            for _ in range(chance.randint(1, 20)):
                at = chance.randrange(len(mutant) + 1)
                mutant[at : at + chance.choice([0, 0, 1, 5])] = chance.choice(
                    [
                        b"\r",
                        b"\n",
                        b"\0",
                        b"*",
                        b"$",
                        b"%",
                        b"#",
                        b":",
                        b" ",
                        b"\xa0",
                        b"\xef\xbb\xbf",
                        b"User-agent: *\n",
                    ]
                )
            mutants.append(bytes(mutant))
    _, found = disagreements(mutants, rules_per_file=2)
    assert found == []


FUZZ_AGENTS = ["CCBot", "AI2Bot", "Google-Extended", "*"]


def fuzzed_files(chance: random.Random, count: int) -> list[bytes]:
    """Mutants of real files where they are at hand, else of made ones; binary, huge lines, deep wildcards between."""
    try:
        seeds = [body[:3000] for body in real_files(1500)]
    except pytest.skip.Exception:
        seeds = [b"User-agent: *\nDisallow: /a%d/*b\nAllow: /a%d/c$\n" % (n, n) for n in range(300)]
    splices = [
        b"\r",
        b"\0",
        b"*",
        b"$",
        b"%e4",
        b"#",
        b":",
        b" ",
        b"\xa0",
        b"\xef\xbb\xbf",
        b"\nUser-agent: *\n",
        b"\x85",
    ]
    splices += [
        b"\nUser-agent: CCBot\nDisallow: /",
        b"\nAllow: /",
        b"\nDisallow /x",
        b"\nUser-agent: AI2Bot/1.0\n",
        b"/*" * 9,
    ]
    made = []
    for number in range(count):
        kind = number % 20
        if kind == 0:
            body = chance.randbytes(chance.randint(0, 2000))
        elif kind == 1:
            stars = b"*".join(
                chance.choice([b"a", b"b", b"/", b"?", b"=", b""]) for _ in range(chance.randint(1, 3000))
            )
            body = b"User-agent: *\nDisallow: /" + stars + chance.choice([b"", b"$", b"x"])
        elif kind == 2 and number % 400 == 2:
            body = b"User-agent: *\nAllow: /" + bytes([chance.randrange(33, 127)]) * 5_000_000 + b"\nDisallow: /"
        else:
            body = chance.choice(seeds)
        mutant = bytearray(body)
        for _ in range(chance.randint(0, 12)):
            at = chance.randrange(min(len(mutant), 4000) + 1)
            mutant[at : at + chance.choice([0, 0, 1, 9])] = chance.choice(splices)
        made.append(bytes(mutant))
    return made


def fuzz(count: int) -> None:
    chance = random.Random(count)
    checks, slow = 0, []
    for body in fuzzed_files(chance, count):
        for url in chance.sample(urls_from_rules(body[:4000], chance, 2), 2):
            agent = chance.choice(FUZZ_AGENTS)
            allowed, line = evidence(body, agent, url)
            path = robots.request_path(url)
            if len(path) < 300:
                assert (allowed, line) == slow_robots.slow_verdict(body, agent, path), (agent, url, body[:3000])
            assert (agent in disallowed_agents(body, [agent], url)) is not allowed
            checks += 1
            if _cpu_seconds(lambda: evidence(body, agent, url)) >= 0.010:  # noqa: B023
                slow.append(min(_cpu_seconds(lambda: evidence(body, agent, url)) for _ in range(5)))  # noqa: B023
    assert checks == 2 * count
    assert max(slow, default=0.0) < 0.010


def test_fuzzed_files_read_as_the_slow_reader_reads_them_each_check_within_10_ms() -> None:
    fuzz(400)


@pytest.mark.slow
def test_10_000_fuzzed_files_read_as_the_slow_reader_reads_them_each_check_within_10_ms() -> None:
    fuzz(10_000)


@settings(max_examples=300, deadline=None)
@given(BODIES, st.sampled_from([*GOOGLE_TOKENS, "AI2Bot"]), PATHS)
def test_any_file_reads_as_the_slow_reader_reads_it(body: bytes, agent: str, path: str) -> None:
    path = robots.request_path(f"{SITE}/{path}")
    if path != "/robots.txt":
        assert evidence(body, agent, SITE + path) == slow_robots.slow_verdict(body, agent, path)


# --- origins ------------------------------------------------------------------------------------------------------

ORIGINS = [
    ("https://site.example/a", ("site.example", None)),
    ("HTTPS://WWW.Site.EXAMPLE/a", ("www.site.example", None)),
    ("https://site.example:443/a", ("site.example", None)),
    ("http://site.example:80/a", ("site.example", None)),
    ("http://site.example:443/a", ("site.example", 443)),
    ("http://site.example:8080", ("site.example", 8080)),
    ("http://site.example:/a", ("site.example", None)),
    ("http://user:pass@site.example/a", ("site.example", None)),
    ("http://user@mail@site.example:81/a", ("site.example", 81)),
    ("http://site.example./a", ("site.example", None)),
    ("http://site.example.:8080/a", ("site.example", 8080)),
    ("http://münchen.example/a", ("xn--mnchen-3ya.example", None)),
    ("http://MÜNCHEN.example/a", ("xn--mnchen-3ya.example", None)),
    ("http://xn--mnchen-3ya.example/", ("xn--mnchen-3ya.example", None)),
    ("http://XN--MNCHEN-3YA.example/", ("xn--mnchen-3ya.example", None)),
    ("http://straße.example/", ("xn--strae-oqa.example", None)),
    ("http://例え。例/", ("xn--r8jz45g.xn--fsq", None)),
    ("http://site%2Eexample/", ("site.example", None)),
    ("http://192.0.2.7:8888/a", ("192.0.2.7", 8888)),
    ("http://[2001:DB8:0::1]/a", ("2001:db8::1", None)),
    ("http://[2001:db8::1]:8080/a", ("2001:db8::1", 8080)),
    ("http://site.example?q=a/b@c", ("site.example", None)),
    ("http://site.example#x@y", ("site.example", None)),
    ("  https://site.example/a\n", ("site.example", None)),
    ("//site.example/a", ("site.example", None)),
    ("http://my_host.example/", ("my_host.example", None)),
    ("http://localhost/", ("localhost", None)),
    ("site.example/a", ("", None)),
    ("mailto:someone@site.example", ("", None)),
    ("", ("", None)),
    ("http:///a", ("", None)),
]


@pytest.mark.parametrize(("url", "expected"), ORIGINS)
def test_origin_is_the_authority_that_robots_txt_speaks_for(url: str, expected: tuple[str, int | None]) -> None:
    assert origin(url) == expected


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "http://[", "//", "https://a@"]))
def test_origin_never_raises_and_naming_it_again_changes_nothing(rest: str, scheme: str) -> None:
    host, port = origin(scheme + rest)
    assert port is None or port >= 0
    assert host == host.lower()
    if host and host.isascii() and not set(host) & set("/?#\\@%:[] ") and host.isprintable():
        assert origin("http://" + robots.host_key(host, port)) == (host, None if port == 80 else port)


def test_request_url_encodes_what_a_crawler_would_encode() -> None:
    assert robots.request_url("http://a.example/ツ?q=%c3%a9") == "http://a.example/%E3%83%84?q=%C3%A9"
    assert robots.request_url("http://a.example/\ud800") == "http://a.example/%ED%A0%80"
    body = "User-agent: *\nDisallow: /ツ"
    assert evidence(body, "CCBot", robots.request_url("http://a.example/ツ")) == (False, 2)


# --- snapshots ----------------------------------------------------------------------------------------------------


def write_snapshot(path: Path, rows: list[dict[str, object]], body: str = "body") -> str:
    columns = {
        "host": pa.array([row["host"] for row in rows], pa.string()),
        "status": pa.array([row.get("status", 200) for row in rows], pa.int16()),
        body: pa.array([row.get("body") for row in rows], pa.binary()),
        "fetched_at": pa.array([row.get("fetched_at") for row in rows], pa.string()),
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize("body", Snapshot.BODY_COLUMNS)
def test_a_snapshot_is_found_by_origin_however_its_hosts_are_written(tmp_path: Path, body: str) -> None:
    hosts = ["Site.Example", "münchen.example", "a.example:8080", "https://b.example/robots.txt", "c.example:443"]
    rows = [{"host": host, "body": host.encode()} for host in hosts]
    snapshot = Snapshot.load(write_snapshot(tmp_path / "s.parquet", rows, body))
    for url, host in [
        ("http://site.example/x", hosts[0]),
        ("http://xn--mnchen-3ya.example/x", hosts[1]),
        ("http://a.example:8080/x", hosts[2]),
        ("https://b.example/x", hosts[3]),
        ("https://c.example/x", hosts[4]),
    ]:
        entry = snapshot.lookup(*origin(url))
        assert entry is not None
        assert entry.body == host.encode()
        assert entry.body_sha256 == hashlib.sha256(host.encode()).digest()
    assert snapshot.lookup("a.example") is None
    assert snapshot.lookup("www.site.example") is None
    assert len(snapshot.sha256) == 64


def test_of_several_rows_the_newest_counts(tmp_path: Path) -> None:
    rows = [
        {"host": "a.example", "body": b"new", "fetched_at": "2025-03-01"},
        {"host": "A.example", "body": b"old", "fetched_at": "2024-03-01"},
        {"host": "a.example.", "body": b"undated"},
    ]
    entry = Snapshot.load(write_snapshot(tmp_path / "s.parquet", rows)).lookup("a.example", None)
    assert entry is not None
    assert (entry.body, entry.fetched_at) == (b"new", "2025-03-01")


def test_a_wrong_snapshot_names_file_fault_and_remedy(tmp_path: Path) -> None:
    missing, text, lacking = tmp_path / "none.parquet", tmp_path / "text.parquet", tmp_path / "lacking.parquet"
    text.write_text("not parquet")
    pq.write_table(pa.table({"host": ["a"], "text": ["x"]}), lacking)
    typed = tmp_path / "typed.parquet"
    pq.write_table(pa.table({"host": ["a"], "status": ["200"], "body": ["x"]}), typed)
    for path, words in [
        (missing, "no such file"),
        (text, "not a Parquet"),
        (lacking, "status, body"),
        (typed, "status"),
    ]:
        for read in (Snapshot.check, Snapshot.load):
            with pytest.raises(SnapshotError, match=words) as error:
                read(path)
            assert str(path) in str(error.value)


def test_a_snapshot_damaged_behind_its_footer_is_an_error_of_ours(tmp_path: Path) -> None:
    path = Path(
        write_snapshot(tmp_path / "s.parquet", [{"host": f"h{n}.example", "body": b"x" * n} for n in range(500)])
    )
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="build it anew"):
        Snapshot.load(path)


# --- the stage ----------------------------------------------------------------------------------------------------

BARRED = b"User-agent: GPTBot\nDisallow: /private\n\nUser-agent: *\nDisallow: /search\n"
HTML = b"<!DOCTYPE html><html><body>Not found</body></html>"
STATUS_ROWS = [
    ("rules.example", 200, BARRED),
    ("undated.example", None, BARRED),
    ("empty.example", 200, b""),
    ("gone.example", 404, None),
    ("gonepage.example", 410, HTML),
    ("moved.example", 301, None),
    ("broken.example", 503, BARRED),
    ("network.example", -1, None),
    ("odd.example", 600, b"User-agent: *\nAllow: /"),
    ("informational.example", 103, b"User-agent: *\nAllow: /"),
    ("nobody.example", 200, None),
    ("norecord.example", None, None),
    ("html.example", 200, HTML),
    ("binary.example", 200, bytes(range(256)) * 4),
    ("htmlrules.example", 200, b"<pre>\nUser-agent: *\nDisallow: /\n</pre>"),
]


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    rows = [{"host": host, "status": status, "body": body} for host, status, body in STATUS_ROWS]
    return write_snapshot(tmp_path / "robots.parquet", rows)


def decide(stage: Robots, *urls: str | None) -> list[Decision]:
    documents = [
        Document(text="x", id=str(n), metadata={} if url is None else {"url": url}) for n, url in enumerate(urls)
    ]
    return stage.decide(documents)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("rules.example", Reason.ALLOWED),
        ("undated.example", Reason.ALLOWED),
        ("empty.example", Reason.ALLOWED),
        ("gone.example", Reason.NO_FILE),
        ("gonepage.example", Reason.NO_FILE),
        ("moved.example", Reason.FETCH_ERROR),
        ("broken.example", Reason.FETCH_ERROR),
        ("network.example", Reason.FETCH_ERROR),
        ("odd.example", Reason.FETCH_ERROR),
        ("informational.example", Reason.FETCH_ERROR),
        ("nobody.example", Reason.FETCH_ERROR),
        ("norecord.example", Reason.FETCH_ERROR),
        ("html.example", Reason.PARSE_ERROR),
        ("binary.example", Reason.PARSE_ERROR),
        ("htmlrules.example", Reason.STAR_DISALLOWED),
        ("nowhere.example", Reason.HOST_UNKNOWN),
    ],
)
@pytest.mark.parametrize("unknown", ["keep", "exclude"])
@pytest.mark.parametrize("star", ["counts", "ignore"])
def test_each_status_has_its_reason_and_unknown_is_never_allowed(
    snapshot: str, host: str, reason: Reason, unknown: str, star: str
) -> None:
    (decision,) = decide(Robots(snapshot, star=star, unknown=unknown), f"https://{host}/page")
    if reason is Reason.STAR_DISALLOWED and star == "ignore":
        reason = Reason.ALLOWED
    assert decision.reason == reason
    if reason in robots.UNKNOWN_REASONS:
        assert decision.kept is (unknown == "keep")
        assert decision.reason != Reason.ALLOWED
        assert unknown == "keep" or (decision.evidence and decision.evidence.host == host)
    else:
        assert decision.kept is (reason is not Reason.STAR_DISALLOWED)


@pytest.mark.parametrize("url", [None, "", "site.example/page", "mailto:a@b.example", "http:///x"])
def test_a_document_without_origin_is_unknown(snapshot: str, url: str | None) -> None:
    assert decide(Robots(snapshot), url)[0].reason == Reason.NO_URL
    excluded = decide(Robots(snapshot, unknown="exclude"), url)[0]
    assert (excluded.action, excluded.reason) == (Action.EXCLUDE, Reason.NO_URL)


def test_an_exclusion_carries_its_evidence(snapshot: str) -> None:
    named, star, kept = decide(
        Robots(snapshot, agents=["CCBot", "GPTBot", "*"]),
        "https://rules.example/private/1",
        "http://RULES.example./search?q=1",
        "https://rules.example/open",
    )
    assert named.reason == Reason.AGENT_DISALLOWED
    assert named.evidence is not None
    assert (named.evidence.protocol, named.evidence.host) == ("robots.txt", "rules.example")
    assert (named.evidence.agents, named.evidence.basis) == ("GPTBot", "named")
    assert (named.evidence.line, named.evidence.rule, named.evidence.status) == (2, "Disallow: /private", 200)
    assert named.evidence.body_sha256 == hashlib.sha256(BARRED).digest()
    assert star.reason == Reason.STAR_DISALLOWED
    assert star.evidence is not None
    assert (star.evidence.agents, star.evidence.basis, star.evidence.line) == ("CCBot,*", "star", 5)
    assert kept.reason == Reason.ALLOWED
    assert decide(Robots(snapshot, star="ignore"), "https://rules.example/search")[0].reason == Reason.ALLOWED


def test_decisions_do_not_depend_on_batch_order_or_pickling(snapshot: str) -> None:
    urls = [f"https://{host}/{path}" for host, *_ in STATUS_ROWS for path in ("private", "search", "ツ", "robots.txt")]
    stage = Robots(snapshot)
    together = decide(stage, *urls)
    backwards = decide(Robots(snapshot), *reversed(urls))[::-1]
    alone = [decide(pickle.loads(pickle.dumps(stage)), url)[0] for url in urls]
    assert together == backwards == alone


def test_what_a_task_rests_on_is_digested_by_host_and_not_by_snapshot(snapshot: str, tmp_path: Path) -> None:
    rows = [{"host": host, "status": status, "body": body} for host, status, body in STATUS_ROWS]
    more = write_snapshot(tmp_path / "more.parquet", [{"host": "new.example", "body": b"x"}, *rows[::-1]])
    changed = write_snapshot(tmp_path / "changed.parquet", [{**rows[0], "body": b"User-agent: *"}, *rows[1:]])
    hosts = [("rules.example", None), ("gone.example", None), ("absent.example", 8080)]
    before = Robots(snapshot)
    assert before.evidence_digest(hosts) == Robots(more).evidence_digest(reversed(hosts))
    assert before.evidence_digest(hosts) != Robots(changed).evidence_digest(hosts)
    assert before.evidence_digest(hosts[1:]) == Robots(changed).evidence_digest(hosts[1:])
    assert before.evidence_digest(hosts) != Robots(more).evidence_digest([*hosts, ("new.example", None)])
    assert before.fingerprint() == Robots(changed).fingerprint()
    assert before.pins() != Robots(changed).pins()
    assert before.fingerprint() != Robots(snapshot, star="ignore").fingerprint()
    assert before.fingerprint() != Robots(snapshot, agents=["CCBot"]).fingerprint()


def test_the_agent_lists_hold_what_was_published() -> None:
    assert len(PAPER) == 15
    assert {"CCBot/2.0", "*", "FacebookBot", "AI2Bot"} <= set(PAPER)
    training, strict = set(robots.agent_list("training")), set(robots.agent_list("strict"))
    assert {robots_txt.product_token(agent)[0] for agent in PAPER} <= {
        robots_txt.product_token(agent)[0] for agent in training
    }
    assert training < strict
    with pytest.raises(ValueError, match="paper, strict, training"):
        robots.agent_list("papers")


def test_the_corpus_with_known_truth_is_decided_as_it_was_made() -> None:
    truth = pq.read_table(
        shared_data("data/corpus/truth.parquet"), columns=["url", "disallowed_user_agents"]
    ).to_pylist()
    stage = Robots(str(shared_data("data/corpus/robots.parquet")))
    decisions = decide(stage, *(row["url"] for row in truth))
    wrong = [
        (row["url"], decision)
        for row, decision in zip(truth, decisions, strict=True)
        if set(row["disallowed_user_agents"])
        != (set(decision.evidence.agents.split(",")) if decision.evidence and decision.evidence.agents else set())
    ]
    assert wrong == []
