"""A server on 127.0.0.1 that misbehaves on demand: each host of a test is a port with one behaviour."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Rude"], Awaitable[None]]


class Rude:
    """Servers in a thread of their own. `requests` lists (port, request line, headers) as they came."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, str, dict[str, str]]] = []
        self.most_at_once = 0
        self._open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Rude:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def stop() -> None:
            for server in self._servers:
                server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def serve(self, behaviour: Behaviour | bytes, tls: ssl.SSLContext | None = None) -> str:
        """Start a server; returns its host key. Bytes are sent as they are after the request."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            try:
                if isinstance(behaviour, bytes):
                    await self.read_request(reader, writer)
                    writer.write(behaviour)
                else:
                    await behaviour(reader, writer, self)
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
                pass
            finally:
                self._open -= 1
                with contextlib.suppress(Exception):
                    writer.close()

        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls), self._loop
        ).result(10)
        self._servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def read_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """The request line; a TLS handshake that reaches a plain server ends here."""
        first = await reader.readexactly(1)
        if first == b"\x16":
            raise ConnectionAbortedError
        head = first + await reader.readuntil(b"\r\n\r\n")
        line, *headers = head.decode("latin-1").split("\r\n")
        port = writer.get_extra_info("sockname")[1]
        fields = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}
        self.requests.append((port, line, fields))
        return line

    def asked(self, host: str) -> list[str]:
        """Request lines that a host got."""
        return [line for port, line, _ in self.requests if host.endswith(f":{port}")]


def response(body: bytes = b"", status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    """An HTTP answer with a Content-Length, right or wrong."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def redirect(location: str, status: str = "301 Moved Permanently") -> bytes:
    """A redirect."""
    return response(b"", status, f"Location: {location}")


def in_turn(*answers: bytes) -> Behaviour:
    """A different answer for each request, the last one for all further."""
    left = list(answers)

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rude: Rude) -> None:
        await rude.read_request(reader, writer)
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return behave


def endless(start: bytes, block: bytes, pause: float = 0.0) -> Behaviour:
    """`start`, then `block` for ever."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rude: Rude) -> None:
        await rude.read_request(reader, writer)
        writer.write(start)
        while True:
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rude: Rude) -> None:
    """Reads the request and says nothing."""
    await rude.read_request(reader, writer)
    await asyncio.sleep(60)


async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rude: Rude) -> None:
    """Closes as soon as it has the request."""
    await rude.read_request(reader, writer)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rude: Rude) -> None:
    """Half an answer, then a reset instead of an end."""
    await rude.read_request(reader, writer)
    writer.write(response(b"User-agent: *\n", length=500))
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()


def gzip_bomb(megabytes: int) -> bytes:
    """Kilobytes that unpack to many megabytes of comment."""
    return gzip.compress(b"#" * (megabytes << 20), compresslevel=9)


def self_signed(folder: Path, openssl: str) -> Path:
    """Certificate and key for 127.0.0.1 in one file, which nobody trusts."""
    path = folder / "server.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    command = [openssl, "req", "-x509", "-days", "2", *subject, *key, "-out", f"{path}.crt"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def tls_server(pem: Path) -> ssl.SSLContext:
    """A server's side of TLS with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
