"""Where a document is from, as the manifests write it; apart from the reading of files, so that asking starts fast."""

from __future__ import annotations

import re
from functools import lru_cache

from filters.robots_url import origin, request_path
from manifests.schema import reverse_host


def locate(url: str | None) -> tuple[str | None, str | None]:
    """Reversed host, and path with query, of a URL: what robots.txt is asked for when only a decision is left of it."""
    if not url:
        return None, None
    plain = _PLAIN_URL.match(url)
    if plain:
        rhost = _reversed_host(plain[1])
        return (None, None) if rhost is None else (rhost, plain[2] or "/")
    host, port = origin(url)
    if not host:
        return None, None
    path = _PATH.search(url)
    if path is None or ";" in url[: path.start(1)]:  # a URL that Google's parser, and so robots.txt, cuts elsewhere
        return reverse_host(host, port), request_path(url)
    return reverse_host(host, port), path[1] or "/"


_PLAIN_URL = re.compile(r"(https?://[A-Za-z0-9.-]+(?::[0-9]+)?)(?=[/?#]|\Z)([^#]*)")
"""What nearly all are: the host depends on this much of them, and hosts recur."""
_PATH = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:[/\\]{2}[^/\\?#]*([^#]*)")


@lru_cache(maxsize=65536)
def _reversed_host(authority: str) -> str | None:
    host, port = origin(authority)
    return reverse_host(host, port) if host else None
