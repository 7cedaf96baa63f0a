"""One robots.txt from a live server: HTTP/1.1 by hand, because what matters here is where it stops.

A server among a million will send headers for ever, a body without end, a gzip bomb, half a file, or nothing. A rule
file is small and one request per host is all there is, so pools, cookies, HTTP/2 and decoding by itself, which a client
library is for, are what this has no use for; the total time, the number of bytes *after* decoding, the address before
connecting and the reason for a failure, which a library hides, are what it needs. h11 reads the protocol (strictly),
asyncio connects, and each limit is one line below.

What it does, by RFC 9309:
- **https first, then http**, and http only where https cannot be had at all (no connection, no valid TLS): most sites
  answer http with a redirect to https, so this order saves them a request. A snapshot's origin knows no scheme.
- **Redirects** (2.3.1.2): up to ten, to any authority; the result belongs to the first. A chain that is longer or leads
  nowhere keeps its 3xx status.
- **An answer that breaks off** before 500 KiB is a failure, not a file: the rule that counts may be in the rest.
- Addresses of private networks are refused, whoever names them (a page on the web can redirect to anything), unless
  allowed. The address that is checked is the one connected to. Proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urljoin

import h11

from filters.robots import MAX_BODY_BYTES, disallowed_agents, host_key, origin
from pipeline.snapshots import MAX_REDIRECTS, Answer, Failure, utc

TOKEN = "fairtrove-robots"
OTHER_PATHS = {"tdmrep": "/.well-known/tdmrep.json", "ai_txt": "/ai.txt"}
_HEADER_BYTES = 64 * 1024  # of one answer; browsers and servers stop at 8 to 256 KiB
_BEFORE_BODY_BYTES = 4 * _HEADER_BYTES  # with interim answers (1xx), of which a server may send any number
_ADDRESSES = 4  # tried per name
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much one request may take; seconds and bytes.

    Attributes:
        connect: for each address, TLS included.
        read: between two pieces of an answer.
        total: for one request, from name to last byte.
        body: bytes kept of a file, after decoding.
        private: whether addresses of private networks may be asked.
        per_address: requests to one server at the same time, however many hosts it has.
    """

    connect: float = 10.0
    read: float = 10.0
    total: float = 30.0
    body: int = MAX_BODY_BYTES
    private: bool = False
    per_address: int = 2


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, and for how long the server asked not to be asked again (seconds), if it did."""

    answer: Answer
    retry_after: float | None = None


class FetchError(Exception):
    """A request that got no HTTP answer. `unreached`: there was nobody to ask at this port, or nobody to trust."""

    def __init__(self, failure: Failure, unreached: bool = False):
        super().__init__(failure.name)
        self.failure = failure
        self.unreached = unreached


@dataclass(slots=True)
class Fetcher:
    """Asks servers for robots.txt under one name and one set of limits.

    Attributes:
        others: also ask for /.well-known/tdmrep.json and /ai.txt, where robots.txt was answered and does not bar it.
    """

    user_agent: str
    limits: Limits = Limits()
    others: bool = False
    _tls: ssl.SSLContext = field(default_factory=lambda: _tls_context(), init=False)
    _servers: dict[str, _Server] = field(default_factory=dict, init=False)

    async def fetch(self, host: str) -> Fetched:
        """What the origin `host` (`example.org`, `example.org:8080`) answers; failures are statuses, never raised."""
        failure: Failure | None = None
        for scheme in ("https", "http"):
            try:
                fetched = await self._follow(host, f"{scheme}://{host}/robots.txt")
                return await self._with_others(fetched, f"{scheme}://{host}") if self.others else fetched
            except FetchError as error:
                if failure is None or not error.unreached:  # of two, the one that got further says more
                    failure = error.failure
                if not error.unreached:
                    break
            except Exception:  # one server in a million finds what nobody thought of; the others' run goes on
                failure = Failure.PROTOCOL
                break
        return Fetched(Answer(host, _now(), failure, None))

    async def _follow(self, host: str, url: str) -> Fetched:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._get(url)
            target = _target(url, response.location) if response.status in _REDIRECTS else None
            if target is None:
                break
            url = target
        body = response.body if 200 <= response.status < 300 else None
        return Fetched(Answer(host, _now(), response.status, body), response.retry_after)

    async def _with_others(self, fetched: Fetched, site: str) -> Fetched:
        """The same with the other files; null where the server has none, would not say, or bars the question."""
        answer = fetched.answer
        if answer.status == 429 or (answer.status or 0) >= 500:
            return fetched
        found: dict[str, bytes | None] = {}
        for name, path in OTHER_PATHS.items():
            if answer.body is not None and disallowed_agents(answer.body, (TOKEN,), site + path):
                continue
            try:
                found[name] = (await self._follow(answer.host or "", site + path)).answer.body
            except FetchError:
                break  # who stopped answering is not asked again
        return replace(fetched, answer=replace(answer, tdmrep=found.get("tdmrep"), ai_txt=found.get("ai_txt")))

    async def _get(self, url: str) -> _Response:
        """One request. Raises FetchError."""
        scheme, _, rest = url.partition("://")
        path = rest.partition("/")[2]
        name, port = origin(url)
        try:
            async with asyncio.timeout(self.limits.total):
                addresses = await self._resolve(name)
        except TimeoutError:
            raise FetchError(Failure.TIMEOUT) from None
        server = self._servers.setdefault(addresses[0][1], _Server(self.limits.per_address))
        server.users += 1
        try:
            async with server.turn:  # waiting for one's turn is not the server's slowness: the clock starts after it
                async with asyncio.timeout(self.limits.total):
                    reader, writer = await self._connect(addresses, name, port, scheme == "https")
                    try:
                        conversation = _Conversation(reader, writer, self.limits)
                        return await conversation.get(host_key(name, port), f"/{path}", self.user_agent)
                    finally:
                        writer.transport.abort()  # no TLS farewell to wait for
        except TimeoutError:
            raise FetchError(Failure.TIMEOUT) from None
        except OSError:  # reset, or TLS that breaks down
            raise FetchError(Failure.INCOMPLETE) from None
        finally:
            server.users -= 1
            if not server.users:
                self._servers.pop(addresses[0][1], None)

    async def _resolve(self, name: str) -> list[tuple[int, str]]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # UnicodeError: a label that is empty or too long for the DNS
            raise FetchError(Failure.NAME) from None
        addresses = list(dict.fromkeys((int(family), str(address[0])) for family, _, _, _, address in found))
        addresses.sort(key=lambda address: address[0] != socket.AF_INET)  # IPv6 is often announced and not routed
        public = [(family, address) for family, address in addresses if self.limits.private or _is_public(address)]
        if not public:
            raise FetchError(Failure.NOT_PUBLIC if addresses else Failure.NAME)
        return public[:_ADDRESSES]

    async def _connect(
        self, addresses: list[tuple[int, str]], name: str, port: int | None, secure: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure = Failure.CONNECT
        for family, address in addresses:  # another address may answer where one does not
            try:
                async with asyncio.timeout(self.limits.connect):
                    return await asyncio.open_connection(
                        address,
                        port or (443 if secure else 80),
                        family=family,
                        ssl=self._tls if secure else None,
                        server_hostname=name if secure else None,
                    )
            except TimeoutError:
                failure = Failure.TIMEOUT
            except (ssl.SSLError, ssl.CertificateError, ConnectionResetError, ConnectionAbortedError, ValueError):
                failure = Failure.TLS if secure else Failure.CONNECT
            except OSError:
                failure = Failure.CONNECT
        raise FetchError(failure, unreached=True)


def user_agent(contact: str) -> str:
    """The name under which requests go out: who asks, and where its owner can be reached.

    Raises:
        ValueError: `contact` is empty or does not fit into a header.
    """
    if not contact.strip() or not contact.isascii() or not contact.isprintable() or set(contact) & set("()"):
        raise ValueError("an e-mail address or URL in printable ASCII without parentheses")
    return f"{TOKEN}/1 (+{contact.strip()}; robots.txt only)"


# ---------------------------------------------------------------------------------------------------------------------
# One request and its answer
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Server:
    """Turns at one address. Many hosts live on few servers: a list of blogs would otherwise be an attack on one."""

    limit: int
    users: int = 0
    turn: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.turn = asyncio.Semaphore(self.limit)


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    location: str | None
    retry_after: float | None
    body: bytes


class _Conversation:
    """One request over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits):
        self._reader, self._writer, self._limits = reader, writer, limits
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEADER_BYTES)
        self._received = 0
        self._start = b""
        self._ended = False

    async def get(self, host: str, path: str, agent: str) -> _Response:
        """Raises FetchError, TimeoutError, or OSError when the connection breaks."""
        headers = [
            ("Host", host),
            ("User-Agent", agent),
            ("Accept", "text/plain, */*;q=0.5"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        try:
            request = self._protocol.send(h11.Request(method="GET", target=path, headers=headers)) or b""
        except h11.LocalProtocolError:  # a redirect to what no request line can carry
            raise FetchError(Failure.PROTOCOL) from None
        self._writer.write(request)
        self._protocol.send(h11.EndOfMessage())
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            if self._received > _BEFORE_BODY_BYTES:
                raise FetchError(Failure.PROTOCOL)
            event = await self._event()
        if not isinstance(event, h11.Response):
            raise FetchError(Failure.INCOMPLETE)
        found = dict(reversed(list(event.headers)))  # of several, the first
        success = 200 <= event.status_code < 300
        return _Response(
            event.status_code,
            _text(found.get(b"location")),
            _seconds(_text(found.get(b"retry-after"))),
            await self._body(found.get(b"content-encoding", b"")) if success else b"",
        )

    async def _body(self, encoding: bytes) -> bytes:
        decoder = _decoder(encoding)
        body = bytearray()
        coded = 0
        while len(body) < self._limits.body:
            event = await self._event()
            if not isinstance(event, h11.Data):
                if decoder and coded and not decoder.eof:
                    raise FetchError(Failure.INCOMPLETE)
                break
            coded += len(event.data)
            if decoder is None:
                body += event.data
                continue
            try:
                body += decoder.decompress(bytes(event.data), self._limits.body - len(body))
            except zlib.error:
                raise FetchError(Failure.PROTOCOL) from None
        return bytes(body[: self._limits.body])

    async def _event(self) -> object:
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError:
                cut = self._ended and b"HTTP/".startswith(self._start[:5])
                raise FetchError(Failure.INCOMPLETE if cut else Failure.PROTOCOL) from None
            if event is not h11.NEED_DATA:
                return event
            async with asyncio.timeout(self._limits.read):
                block = await self._reader.read(1 << 16)
            self._start = self._start or block[:16]
            self._received += len(block)
            self._ended = not block
            self._protocol.receive_data(block)


def _decoder(encoding: bytes) -> zlib._Decompress | None:
    """For gzip and deflate, which some servers send unasked. What is left of the limit bounds each step of decoding."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return None
    if name in (b"gzip", b"x-gzip", b"deflate"):
        return zlib.decompressobj(zlib.MAX_WBITS | 32)
    raise FetchError(Failure.PROTOCOL)


def _target(url: str, location: str | None) -> str | None:
    """Where a redirect leads, ready to be requested; None when it leads nowhere."""
    if not location:
        return None
    try:
        target = urljoin(url, location.strip())
    except ValueError:  # an unbalanced bracket
        return None
    scheme, separator, rest = target.partition("://")
    name, port = origin(target)
    if not separator or scheme.lower() not in ("http", "https") or not name or (port or 0) > 65535:
        return None
    path = rest[len(rest.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]) :].partition("#")[0]
    path = quote(path, safe="/?:@!$&'()*+,;=%[]~-._")
    return f"{scheme.lower()}://{host_key(name, port)}{path if path.startswith('/') else '/' + path}"


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3: a number, or a date)."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after.strip()[:9])
    try:
        return max((utc(parsedate_to_datetime(retry_after)) - _now()).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_global and not found.is_multicast


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _now() -> datetime:
    """The moment of an answer, whole seconds, UTC."""
    return datetime.now(UTC).replace(microsecond=0, tzinfo=None)
