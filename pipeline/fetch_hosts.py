"""robots.txt of many hosts, politely and so that nothing is asked twice: a list of hosts in, a snapshot out.

Each host is asked once, hosts on one server two at a time, all under one name with a contact in it. The order is by
digest of the host, so that neighbours of a sorted list, which share servers, are far apart. 429, 5xx, timeouts and
broken answers are tried again later, after the pause that the server asks for (Retry-After) if it is bearable, else
after one that doubles; what remains is recorded as it is.

Every answer goes to a journal beside the output (`OUT.journal`, one JSON object per line) before the next is counted,
so an interrupted run goes on where it was. The snapshot is built from the journal at the end, and the journal removed.
An output that exists is refused: it is evidence; merge a newer one into it with `fairtrove robots build`.

The list and what is done are held in memory, some 150 bytes per host. A host costs about 2 CPU-ms over http on the same
machine (the server of the measurement included), so one core is never what a run waits for.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import heapq
import ipaddress
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pipeline.fetch import Fetched, Fetcher, Limits
from pipeline.snapshot_sources import SnapshotSourceError
from pipeline.snapshots import OTHER_FILES, Answer, Built, Draft, Failure, Outcome, origin_key
from pipeline.terminal import UsageError

_KEY = re.compile(r"(?:(?P<name>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)|\[(?P<ipv6>[0-9a-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?")
_MAX_NAME = 253  # octets, RFC 1035
_RESOLVERS = 64  # names looked up at the same time; each takes a thread
_WORTH_RETRYING = frozenset({Failure.TIMEOUT, Failure.INCOMPLETE, 429})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how late a temporary failure is tried again; seconds.

    Attributes:
        count: further attempts.
        first: pause before the first of them when the server names none; each further one is twice as long.
        longest: the longest Retry-After that is waited for; a server that asks for more is left alone.
    """

    count: int = 2
    first: float = 5.0
    longest: float = 120.0


LIMITS, RETRIES = Limits(), Retries()


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What a run did: the snapshot, hosts found done, and hosts by what came of them."""

    built: Built
    resumed: int
    outcomes: dict[str, int]


def fetch_hosts(
    hosts: Path,
    out: Path,
    agent: str,
    concurrency: int = 50,
    limits: Limits = LIMITS,
    retries: Retries = RETRIES,
    start: Callable[[int, int], None] = lambda total, done: None,
    step: Callable[[Answer], None] = lambda answer: None,
    others: bool = False,
) -> FetchResult:
    """Ask every host of a list and publish a snapshot of the answers.

    Args:
        hosts: a text file, one host, `host:port` or URL per line; `#` starts a comment.
        agent: the User-Agent, see `pipeline.fetch.user_agent`.
        others: also ask for /.well-known/tdmrep.json and /ai.txt; hosts that a run before has done stay as they are.
        start, step: called with (hosts, hosts already done) and with each answer, for a progress bar.

    Raises:
        UsageError: the list cannot be used, or `out` exists.
        SnapshotSourceError: the journal is damaged, or another run holds it.
    """
    wanted = read_hosts(hosts)
    if out.exists():
        raise UsageError(
            f"{out}: exists, and a snapshot is evidence; give another name, then merge: fairtrove robots build"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with Journal(out.with_name(f"{out.name}.journal")) as journal:
        done = {answer.host for answer in journal}
        todo = [host for host in wanted if host not in done]
        resumed = len(wanted) - len(todo)
        start(len(wanted), resumed)

        def record(answer: Answer) -> None:
            journal.append(answer)
            step(answer)

        if todo:
            asyncio.run(_fetch_all(todo, Fetcher(agent, limits, others), concurrency, retries, record))
        outcomes: Counter[str] = Counter()
        with Draft(out) as draft:
            for answer in journal:
                draft.add(answer)
                outcomes[told(answer)] += 1
            built = draft.publish()
        journal.remove()
    return FetchResult(built, resumed, dict(outcomes.most_common()))


def read_hosts(path: Path) -> list[str]:
    """Keys of the hosts in a list, each once, in the order in which they are asked.

    Raises:
        UsageError: names the first line that is no host.
    """
    keys: set[str] = set()
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                text = line.partition("#")[0].strip()
                if text:
                    key = origin_key(text)
                    if re.search(r"\s", text) or not _is_host(key):
                        raise UsageError(f"{path}: line {number}: {text[:80]!r} is no host; one host or URL per line")
                    keys.add(key)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not keys:
        raise UsageError(f"{path}: names no host; write one per line")
    return sorted(keys, key=lambda key: blake2b(key.encode(), digest_size=8).digest())


def _is_host(key: str) -> bool:
    found = _KEY.fullmatch(key)
    if not found or int(found["port"] or 1) > 65535:
        return False
    if found["name"]:
        return len(found["name"]) <= _MAX_NAME
    try:
        return bool(ipaddress.IPv6Address(found["ipv6"]))
    except ValueError:
        return False


def told(answer: Answer) -> str:
    """What came of a host, for the table at the end."""
    outcome = Outcome.of(answer.status, answer.body is not None)
    if outcome is Outcome.FAILURE and answer.status in _FAILURES:
        return _FAILURES[answer.status]
    return outcome.value


_FAILURES: dict[int | None, str] = {
    Failure.NAME: "name does not resolve",
    Failure.CONNECT: "no connection",
    Failure.TLS: "no valid TLS",
    Failure.TIMEOUT: "timeout",
    Failure.PROTOCOL: "not HTTP",
    Failure.INCOMPLETE: "broken off",
    Failure.NOT_PUBLIC: "private address",
}


# ---------------------------------------------------------------------------------------------------------------------
# Asking
# ---------------------------------------------------------------------------------------------------------------------


async def _fetch_all(
    hosts: Iterable[str], fetcher: Fetcher, concurrency: int, retries: Retries, record: Callable[[Answer], None]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(min(concurrency, _RESOLVERS), thread_name_prefix="resolver"))
    waiting: list[tuple[float, str, int]] = []  # a heap: when due, host, attempts so far
    fresh: Iterator[str] = iter(hosts)
    busy = 0

    async def work() -> None:
        nonlocal busy
        while True:
            if waiting and waiting[0][0] <= loop.time():
                _, host, attempts = heapq.heappop(waiting)
            else:
                host, attempts = next(fresh, ""), 0
            if not host:
                if not waiting and not busy:
                    return
                await asyncio.sleep(min(max(waiting[0][0] - loop.time(), 0.01), 0.25) if waiting else 0.05)
                continue
            busy += 1
            try:
                fetched = await fetcher.fetch(host)
            finally:
                busy -= 1
            pause = _pause(fetched, attempts, retries)
            if pause is None:
                record(fetched.answer)
            else:
                heapq.heappush(waiting, (loop.time() + pause, host, attempts + 1))

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


def _pause(fetched: Fetched, attempts: int, retries: Retries) -> float | None:
    """Seconds until the next attempt, None when this answer stands."""
    status = fetched.answer.status
    if attempts >= retries.count or not (status in _WORTH_RETRYING or 500 <= (status or 0) < 600):
        return None
    if fetched.retry_after is None:
        return retries.first * 2**attempts
    return max(fetched.retry_after, retries.first) if fetched.retry_after <= retries.longest else None


# ---------------------------------------------------------------------------------------------------------------------
# The journal
# ---------------------------------------------------------------------------------------------------------------------


class Journal:
    """Answers so far, one JSON object per line; a last line that a crash cut is dropped. One run at a time."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Journal:
        self._file: BinaryIO = open(self.path, "a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise SnapshotSourceError(f"{self.path}: another run is writing it; wait for it, or stop it") from error
        self._cut_torn_line()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Answer]:
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line)
                    files = {"body": row["body"], **{name: row.get(name) for name in OTHER_FILES}}
                    found = {name: None if text is None else base64.b64decode(text) for name, text in files.items()}
                    moment = datetime.fromisoformat(row["fetched_at"])
                    answer = Answer(row["host"], moment, row["status"], found.pop("body"))
                    answer = replace(answer, tdmrep=found["tdmrep"], ai_txt=found["ai_txt"])
                except (ValueError, KeyError, TypeError) as error:
                    raise SnapshotSourceError(
                        f"{self.path}: line {number} is damaged; delete that line, its host is then asked again"
                    ) from error
                yield answer

    def append(self, answer: Answer) -> None:
        """Note an answer; it survives the process from here on."""
        moment = answer.fetched_at.isoformat() if answer.fetched_at else None
        row = {"host": answer.host, "fetched_at": moment, "status": answer.status}
        for name in ("body", *OTHER_FILES):
            content = getattr(answer, name)
            row[name] = None if content is None else base64.b64encode(content).decode()
        self._file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def remove(self) -> None:
        """Its content is published."""
        self.path.unlink()

    def _cut_torn_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        while end:
            start = max(end - (1 << 16), 0)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        self._file.truncate(end)
