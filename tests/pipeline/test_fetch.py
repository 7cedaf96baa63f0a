"""Fetching robots.txt from servers that misbehave: each fault ends in its own status, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pyarrow.parquet as pq
import pytest

from filters.robots import MAX_BODY_BYTES, Entry, Reason, settle
from pipeline.fetch import Fetcher, Limits, _is_public, _seconds, _target, user_agent
from pipeline.fetch_hosts import Journal, Retries, fetch_hosts, read_hosts
from pipeline.snapshot_sources import SnapshotSourceError
from pipeline.snapshots import Answer, Failure
from pipeline.terminal import UsageError
from tests.pipeline.rude_server import (
    Rude,
    endless,
    gzip_bomb,
    in_turn,
    redirect,
    reset,
    response,
    self_signed,
    silence,
    slam,
    tls_server,
)
from tests.pipeline.test_cli import fairtrove, one_line

RULES = b"User-agent: *\nDisallow: /private\n"
LIMITS = Limits(connect=1.0, read=0.4, total=1.2, private=True, per_address=1000)
AGENT = user_agent("crawler@fairtrove.example")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def rude():
    with Rude() as server:
        yield server


def ask(*hosts: str, limits: Limits = LIMITS) -> list[Answer]:
    async def fetch() -> list[Answer]:
        fetcher = Fetcher(AGENT, limits)
        return [found.answer for found in await asyncio.gather(*map(fetcher.fetch, hosts))]

    return asyncio.run(fetch())


def test_the_file_comes_back_as_served_under_our_own_name(rude):
    host = rude.serve(response(RULES))
    (answer,) = ask(host)
    assert (answer.host, answer.status, answer.body) == (host, 200, RULES)
    assert abs(datetime.now(UTC).replace(tzinfo=None) - answer.fetched_at) < timedelta(seconds=10)
    ((_, line, headers),) = rude.requests
    assert line == "GET /robots.txt HTTP/1.1"
    assert headers["host"] == host
    assert headers["user-agent"].startswith("fairtrove-robots/")
    assert "+crawler@fairtrove.example" in headers["user-agent"]


FAULTS = {
    "headers that never end": (endless(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", 0.05), Failure.TIMEOUT),
    "headers without measure": (endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"b" * 5000 + b"\r\n"), Failure.PROTOCOL),
    "one header without end": (endless(b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 5000), Failure.PROTOCOL),
    "interim answers for ever": (endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100), Failure.PROTOCOL),
    "a body that drips": (endless(response(length=10**6), b"#", 0.05), Failure.TIMEOUT),
    "silence": (silence, Failure.TIMEOUT),
    "closed without a word": (slam, Failure.INCOMPLETE),
    "closed within the headers": (b"HTTP/1.1 200 OK\r\nContent-Le", Failure.INCOMPLETE),
    "a status line and nothing more": (b"HTTP/1.1 200 OK\r\n", Failure.INCOMPLETE),
    "fewer bytes than announced": (response(RULES, length=500), Failure.INCOMPLETE),
    "reset within the body": (reset, Failure.INCOMPLETE),
    "chunks that break off": (CHUNKED + b"f\r\nUser-agent: *\n", Failure.INCOMPLETE),
    "chunks without the last": (CHUNKED + b"e\r\nUser-agent: *\n\r\n", Failure.INCOMPLETE),
    "chunks that are none": (CHUNKED + b"zz\r\nUser-agent: *\n\r\n0\r\n\r\n", Failure.PROTOCOL),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", Failure.PROTOCOL),
    "a length that is none": (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nabcd", Failure.PROTOCOL),
    "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcd", Failure.PROTOCOL),
    "garbage for a status line": (b"\x00\xff\xfe garbage\r\n\r\n", Failure.PROTOCOL),
    "a mail server": (b"220 mail.example ESMTP\r\n", Failure.PROTOCOL),
    "no status line at all": (RULES, Failure.PROTOCOL),
    "a status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n" + RULES, Failure.PROTOCOL),
    "another protocol's version": (b"HTTP/9.9.9 200 OK\r\n\r\n" + RULES, Failure.PROTOCOL),
    "gzip that is none": (response(RULES, "200 OK", "Content-Encoding: gzip"), Failure.PROTOCOL),
    "half of a gzip": (response(gzip.compress(RULES)[:-9], "200 OK", "Content-Encoding: gzip"), Failure.INCOMPLETE),
    "an encoding nobody asked for": (response(RULES, "200 OK", "Content-Encoding: br"), Failure.PROTOCOL),
}


def test_each_fault_is_a_failure_of_its_kind_in_bounded_time(rude):
    hosts = {rude.serve(behaviour): name for name, (behaviour, _) in FAULTS.items()}
    before = time.monotonic()
    answers = ask(*hosts)
    assert time.monotonic() - before < 5 * LIMITS.total
    assert {hosts[a.host]: a.status for a in answers} == {name: failure for name, (_, failure) in FAULTS.items()}
    assert all(answer.body is None for answer in answers)


GOOD = {
    "no length, closed at the end": (b"HTTP/1.1 200 OK\r\n\r\n" + RULES, RULES),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n" + RULES, RULES),
    "no reason": (b"HTTP/1.1 200 \r\n\r\n" + RULES, RULES),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", b"abc"),
    "chunks": (CHUNKED + b"d\r\nUser-agent: *\r\n0\r\n\r\n", b"User-agent: *"),
    "more bytes than announced": (response(RULES + b"more", length=len(RULES)), RULES),
    "nothing": (response(b""), b""),
    "not UTF-8": (response(b"\xff\xfe\x00\x80 \xe9"), b"\xff\xfe\x00\x80 \xe9"),
    "gzip unasked": (response(gzip.compress(RULES), "200 OK", "Content-Encoding: gzip"), RULES),
    "deflate unasked": (response(zlib.compress(RULES), "200 OK", "Content-Encoding: deflate"), RULES),
    "an empty gzip": (response(b"", "200 OK", "Content-Encoding: gzip"), b""),
    "interim answers first": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + response(RULES), RULES),
    "headers in Latin-1": (response(RULES, "200 OK", "X-Name: caf\xe9"), RULES),
}


def test_what_is_odd_but_whole_is_a_file(rude):
    hosts = {rude.serve(behaviour): name for name, (behaviour, _) in GOOD.items()}
    answers = ask(*hosts)
    assert {hosts[a.host]: (a.status, a.body) for a in answers} == {
        name: (200, body) for name, (_, body) in GOOD.items()
    }


def test_a_body_stops_at_500_kib_whatever_it_unpacks_to(rude):
    bomb = gzip_bomb(300)
    hosts = [
        rude.serve(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"#" * 65536)),
        rude.serve(endless(response(length=10**12), b"#" * 65536)),
        rude.serve(response(bomb, "200 OK", "Content-Encoding: gzip")),
    ]
    tracemalloc.start()
    answers = ask(*hosts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"#" * MAX_BODY_BYTES)] * 3
    assert peak < 20 << 20


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410, 429, 451, 500, 503, 599, 999])
def test_other_answers_are_kept_by_status(rude, status):
    (answer,) = ask(rude.serve(response(b"" if status in (204, 304) else b"<html>", f"{status} Whatever")))
    assert answer.status == status
    assert answer.body == (b"" if status == 204 else None)


def test_no_failure_and_no_server_error_ever_settles_as_allowed():
    for status in [*Failure, 0, 500, 503, 599, 999]:
        assert settle(Entry("a.example", None, int(status), "2026-01-01", None)) == Reason.FETCH_ERROR


# ---------------------------------------------------------------------------------------------------------------------
# Redirects, TLS, addresses
# ---------------------------------------------------------------------------------------------------------------------


def test_the_result_of_a_redirect_belongs_to_the_first_authority(rude):
    end = rude.serve(response(RULES))
    for location in (f"http://{end}/robots.txt", f"//{end}/robots.txt", f"HTTP://user@{end}/a b\xe9?q=[1]#x"):
        (answer,) = ask(rude.serve(redirect(location)))
        assert (answer.status, answer.body) == (200, RULES)
        assert answer.host != end
    assert rude.asked(end)[-1] == "GET /a%20b%C3%A9?q=[1] HTTP/1.1"


def test_five_redirects_in_a_row_are_followed_and_a_loop_is_not_for_ever(rude):
    host = rude.serve(response(RULES))
    for status in ("301 A", "302 B", "303 C", "307 D", "308 E"):
        host = rude.serve(redirect(f"http://{host}/robots.txt", status))
    loop = rude.serve(redirect("/robots.txt", "302 Found"))
    chain, looping = ask(host, loop)
    assert (chain.status, chain.body) == (200, RULES)
    assert (looping.status, looping.body) == (302, None)
    assert len(rude.asked(loop)) == 11


@pytest.mark.parametrize(
    "location",
    ["", "ftp://example.org/robots.txt", "javascript:alert(1)", "http://", "http://[::1/", "http://a:99999/"],
)
def test_a_redirect_to_nowhere_keeps_its_status(rude, location):
    (answer,) = ask(rude.serve(redirect(location)))
    assert (answer.status, answer.body) == (301, None)


def test_a_redirect_ends_as_its_target_does(rude):
    ends = {
        rude.serve(redirect(f"http://{rude.serve(behaviour)}/robots.txt")): expected
        for behaviour, expected in [
            (response(b"", "404 Not Found"), 404),
            (response(b"", "503 Busy"), 503),
            (slam, Failure.INCOMPLETE),
            (silence, Failure.TIMEOUT),
        ]
    }
    ends[rude.serve(redirect("http://no-such-name.invalid/robots.txt"))] = Failure.NAME
    assert {answer.host: answer.status for answer in ask(*ends)} == ends


def test_private_addresses_are_refused_also_behind_a_redirect():
    with Rude() as rude:
        inner = rude.serve(response(RULES))
        public = Limits(connect=1.0, read=1.0, total=2.0)
        answers = ask(inner, "localhost:" + inner.split(":")[1], "[::1]:80", limits=public)
        assert [answer.status for answer in answers] == [Failure.NOT_PUBLIC] * 3
        assert rude.requests == []
    for address in ("10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "fe80::1%eth0", "224.0.0.1", "0.0.0.0", "::"):
        assert not _is_public(address)
    assert _is_public("93.184.216.34")
    assert _is_public("2606:2800:220:1:248:1893:25c8:1946")


def test_nobody_there_and_no_such_name(rude):
    gone = rude.serve(response(RULES))
    with Rude() as other:
        closed = other.serve(response(RULES))
    answers = ask(closed, "no-such-name.invalid", f"{'a' * 64}.example", gone)
    assert [answer.status for answer in answers] == [Failure.CONNECT, Failure.NAME, Failure.NAME, 200]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl makes the certificate of this test, and is not installed")
    return self_signed(tmp_path_factory.mktemp("tls"), openssl)


def test_a_certificate_that_does_not_hold_is_no_valid_tls(rude, certificate):
    secret = rude.serve(response(RULES), tls_server(certificate))
    direct, behind = ask(secret, rude.serve(redirect(f"https://{secret}/robots.txt")))
    assert direct.status in (Failure.TLS, Failure.INCOMPLETE)  # the second: as http, to a port that speaks TLS only
    assert (behind.status, behind.body) == (Failure.TLS, None)
    assert rude.asked(secret) == []


def test_https_is_asked_first_and_alone_when_it_answers(rude, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    good = rude.serve(response(RULES), tls_server(certificate))
    missing = rude.serve(response(b"", "404 Not Found"), tls_server(certificate))
    cut = rude.serve(slam, tls_server(certificate))
    answers = ask(good, missing, cut)
    assert [answer.status for answer in answers] == [200, 404, Failure.INCOMPLETE]
    assert [len(rude.asked(host)) for host in (good, missing, cut)] == [1, 1, 1]


def test_locations_are_resolved_normalised_and_encoded():
    base = "https://example.org/robots.txt"
    assert _target(base, "/x") == "https://example.org/x"
    assert _target(base, "https://MÜSLI.example:443") == "https://xn--msli-0ra.example/"
    assert _target(base, "http://example.org?q") == "http://example.org/?q"
    assert _target(base, "/x\r\nHost: evil.example") == "https://example.org/xHost:%20evil.example"
    assert _target(base, "x\r\nHost: evil.example") is None
    assert _target(base, None) is None


def test_retry_after_is_seconds_or_a_date():
    assert _seconds("120") == 120
    assert 50 < _seconds(format_datetime(datetime.now(UTC) + timedelta(seconds=60))) <= 60
    assert _seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert _seconds("soon") is None
    assert _seconds("-5") is None


@pytest.mark.parametrize("contact", ["", " ", "a\r\nHost: b", "ü@example.org", "a(b)"])
def test_a_contact_must_fit_into_a_header(contact):
    with pytest.raises(ValueError, match="ASCII"):
        user_agent(contact)


# ---------------------------------------------------------------------------------------------------------------------
# Many hosts
# ---------------------------------------------------------------------------------------------------------------------

QUICK = Retries(count=2, first=0.05, longest=0.5)


def listed(folder, *hosts: str):
    path = folder / "hosts.txt"
    path.write_text("".join(f"{host}\n" for host in hosts), encoding="utf-8")
    return path


def rows_of(path) -> dict[str, tuple[int, bytes | None]]:
    return {row["host"]: (row["status"], row["body"]) for row in pq.read_table(path).to_pylist()}


def test_a_list_becomes_a_snapshot_and_the_journal_goes(rude, tmp_path):
    good, bad, gone = rude.serve(response(RULES)), rude.serve(slam), rude.serve(response(b"", "404 Not Found"))
    seen = []
    result = fetch_hosts(
        listed(tmp_path, good, f"http://{good}/page", bad, gone, "# a comment", ""),
        tmp_path / "robots.parquet",
        AGENT,
        limits=LIMITS,
        retries=QUICK,
        start=lambda total, done: seen.append((total, done)),
        step=lambda answer: seen.append(answer.host),
    )
    assert rows_of(tmp_path / "robots.parquet") == {
        good: (200, RULES),
        bad: (Failure.INCOMPLETE, None),
        gone: (404, None),
    }
    assert seen[0] == (3, 0)
    assert sorted(seen[1:]) == sorted([good, bad, gone])
    assert result.outcomes == {"file": 1, "broken off": 1, "no file (4xx)": 1}
    assert len(rude.asked(good)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts.txt", "robots.parquet"]


def by_path(**answers: bytes):
    """A server with files of its own: the answer by the last part of the path, 404 for others."""

    async def behave(reader, writer, server):
        line = await server.read_request(reader, writer)
        name = line.split()[1].rpartition("/")[2].partition(".")[0]
        writer.write(answers.get(name, response(b"", "404 Not Found")))

    return behave


def test_other_files_are_asked_for_on_request_and_only_where_they_may_be(rude, tmp_path):
    tdm, ai = b'[{"location": "/", "tdm-reservation": 1}]', b"User-agent: *\nDisallow: /"
    whole = rude.serve(by_path(robots=response(RULES), tdmrep=response(tdm), ai=response(ai)))
    barred = rude.serve(by_path(robots=response(b"User-agent: *\nDisallow: /ai.txt"), ai=response(ai)))
    none = rude.serve(by_path())
    broken = rude.serve(by_path(robots=response(RULES), tdmrep=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[{"))
    busy = rude.serve(by_path(robots=response(b"", "503 Busy"), ai=response(ai)))
    hosts = listed(tmp_path, whole, barred, none, broken, busy)
    fetch_hosts(hosts, tmp_path / "s.parquet", AGENT, limits=LIMITS, retries=Retries(count=0), others=True)
    rows = {row["host"]: (row["status"], row["tdmrep"], row["ai_txt"]) for row in read_rows(tmp_path / "s.parquet")}
    assert rows == {
        whole: (200, tdm, ai),
        barred: (200, None, None),
        none: (404, None, None),
        broken: (200, None, None),
        busy: (503, None, None),
    }
    assert [len(rude.asked(host)) for host in (whole, barred, none, broken, busy)] == [3, 2, 3, 2, 1]
    fetch_hosts(hosts, tmp_path / "t.parquet", AGENT, limits=LIMITS, retries=Retries(count=0))
    assert [len(rude.asked(host)) for host in (whole, none)] == [4, 4]


def read_rows(path):
    return pq.read_table(path).to_pylist()


def test_temporary_failures_are_tried_again_and_bearable_pauses_are_kept(rude, tmp_path):
    busy = response(b"", "503 Busy")
    recovers = rude.serve(in_turn(busy, response(b"", "429 Slow", "Retry-After: 0"), response(RULES)))
    stays = rude.serve(busy)
    patient = rude.serve(in_turn(response(b"", "429 Slow", "Retry-After: 3600"), response(RULES)))
    missing = rude.serve(in_turn(response(b"", "404 Not Found"), response(RULES)))
    hosts = listed(tmp_path, recovers, stays, patient, missing)
    fetch_hosts(hosts, tmp_path / "robots.parquet", AGENT, limits=LIMITS, retries=QUICK)
    assert rows_of(tmp_path / "robots.parquet") == {
        recovers: (200, RULES),
        stays: (503, None),
        patient: (429, None),
        missing: (404, None),
    }
    assert [len(rude.asked(host)) for host in (recovers, stays, patient, missing)] == [3, 3, 1, 1]


def test_a_server_gets_two_requests_at_a_time_however_many_hosts_it_has(rude, tmp_path):
    async def slow(reader, writer, server):
        await server.read_request(reader, writer)
        await asyncio.sleep(0.05)
        writer.write(response(RULES))

    hosts = listed(tmp_path, *(rude.serve(slow) for _ in range(10)))
    fetch_hosts(hosts, tmp_path / "robots.parquet", AGENT, limits=Limits(private=True))
    assert {status for status, _ in rows_of(tmp_path / "robots.parquet").values()} == {200}
    assert rude.most_at_once <= 2


def test_an_interrupted_run_goes_on_without_asking_again(rude, tmp_path):
    hosts = [rude.serve(response(b"#%d" % number)) for number in range(12)]
    path = listed(tmp_path, *hosts)
    out = tmp_path / "robots.parquet"
    left = 5

    def interrupt(answer: Answer) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_hosts(path, out, AGENT, concurrency=1, limits=LIMITS, step=interrupt)
    assert not out.exists()
    with open(tmp_path / "robots.parquet.journal", "ab") as journal:
        journal.write(b'{"host":"torn.exam')
    result = fetch_hosts(path, out, AGENT, concurrency=1, limits=LIMITS)
    assert result.resumed == 5
    assert rows_of(out) == {host: (200, b"#%d" % number) for number, host in enumerate(hosts)}
    assert [len(rude.asked(host)) for host in hosts] == [1] * 12


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_command_goes_on_from_its_journal(rude, tmp_path, how):
    fast, slow = rude.serve(response(RULES)), rude.serve(silence)
    out = tmp_path / "robots.parquet"
    command = [sys.executable, "-m", "pipeline.cli", "robots", "fetch", str(listed(tmp_path, fast, slow))]
    command += ["--out", str(out), "--contact", "a@b.example", "--private", "--retries", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    journal = tmp_path / "robots.parquet.journal"
    deadline = time.monotonic() + 20
    while not (journal.exists() and journal.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(how)
    said = process.communicate(timeout=20)[1].decode()
    assert not out.exists()
    assert process.returncode == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[how]
    assert "Traceback" not in said
    result = fairtrove(*command[3:], "--timeout", 1)
    assert result.returncode == 0, result.stderr
    assert rows_of(out) == {fast: (200, RULES), slow: (Failure.TIMEOUT, None)}
    assert len(rude.asked(fast)) == 1
    assert "1 of them from the run before" in result.stdout
    assert "timeout" in result.stdout


def test_the_journal_refuses_a_second_run_and_names_a_damaged_line(tmp_path):
    path = tmp_path / "x.journal"
    with Journal(path) as journal:
        journal.append(Answer("a.example", datetime(2026, 1, 1), 200, b"\xff"))
        journal.append(Answer("b.example", datetime(2026, 1, 1), -1, None))
        assert [(answer.host, answer.body) for answer in journal] == [("a.example", b"\xff"), ("b.example", None)]
        with pytest.raises(SnapshotSourceError, match="another run"), Journal(path):
            pass
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{}\n" + lines[1])
    with Journal(path) as journal, pytest.raises(SnapshotSourceError, match="line 2 is damaged"):
        list(journal)


def test_hosts_are_read_once_each_and_not_in_the_order_of_the_list(tmp_path):
    names = [f"h{number}.blog.example" for number in range(50)]
    hosts = read_hosts(listed(tmp_path, "\ufeffMÜSLI.example", *names, "https://H1.blog.example:443/x", "a:8080 # c"))
    assert sorted(hosts) == sorted([*names, "xn--msli-0ra.example", "a:8080"])
    assert hosts != sorted(hosts)
    assert hosts == read_hosts(listed(tmp_path, "a:8080", "müsli.example", *reversed(names)))


@pytest.mark.parametrize(
    "line", ["two words", "a/b/c d", "a:99999", "-", "a..b", "/robots.txt", "a" * 300, "ho%20st", "::"]
)
def test_a_line_that_is_no_host_is_named_before_anything_is_asked(tmp_path, line):
    path = listed(tmp_path, "good.example", line)
    if line == "-":
        assert "-" in read_hosts(path)  # nobody's name, but the DNS says so, not we
        return
    with pytest.raises(UsageError, match="line 2"):
        read_hosts(path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hosts.txt", "--out", "there.parquet", "--contact", "a@b.example"], "merge"),
        (["none.txt", "--out", "x.parquet", "--contact", "a@b.example"], "none.txt"),
        (["empty.txt", "--out", "x.parquet", "--contact", "a@b.example"], "names no host"),
        (["latin1.txt", "--out", "x.parquet", "--contact", "a@b.example"], "latin1.txt"),
        (["hosts.txt", "--out", "x.parquet", "--contact", "(me)"], "--contact"),
        (["hosts.txt", "--out", ".", "--contact", "a@b.example"], "is a folder"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_line_before_anything_is_asked(tmp_path, arguments, says):
    listed(tmp_path, "good.invalid")
    (tmp_path / "empty.txt").write_text("# nobody\n")
    (tmp_path / "latin1.txt").write_bytes(b"caf\xe9.example\n")
    (tmp_path / "there.parquet").write_bytes(b"")
    before = sorted(path.name for path in tmp_path.iterdir())
    result = fairtrove("robots", "fetch", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert says in one_line(result)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_thousand_hosts_of_all_kinds_in_one_run(rude, tmp_path):
    kinds = [*(behaviour for behaviour, _ in FAULTS.values()), *(behaviour for behaviour, _ in GOOD.values())]
    wanted = {rude.serve(kinds[number % len(kinds)]): number % len(kinds) for number in range(800)}
    out = tmp_path / "robots.parquet"
    limits = Limits(connect=5.0, read=2.0, total=5.0, private=True, per_address=1000)
    fetch_hosts(listed(tmp_path, *wanted), out, AGENT, concurrency=200, limits=limits, retries=Retries(count=0))
    expected = [*(int(failure) for _, failure in FAULTS.values()), *[200] * len(GOOD)]
    found = rows_of(out)
    assert {host: found[host][0] for host in wanted} == {host: expected[kind] for host, kind in wanted.items()}
    assert json.dumps(sorted(found))
