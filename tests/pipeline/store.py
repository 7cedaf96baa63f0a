"""An S3 endpoint (moto) behind a proxy that throttles, fails and breaks off as object stores do."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class Faults:
    """What happens to requests: `rates` by kind (`throttle`, `error`, `truncate`, `reset`), from a fixed seed."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {}
        self.seen: dict[str, int] = {}
        self._random = random.Random(3)
        self._lock = threading.Lock()

    def draw(self, method: str) -> str | None:
        with self._lock:
            for kind, rate in self.rates.items():
                if kind == "truncate" and method != "GET":
                    continue
                if self._random.random() < rate:
                    self.seen[kind] = self.seen.get(kind, 0) + 1
                    return kind
        return None


@contextlib.contextmanager
def faulty_store() -> Iterator[tuple[str, Faults]]:
    """Yields the endpoint's address and its faults, none at first. Skips where moto or s3fs is not installed."""
    pytest.importorskip("s3fs", reason="no s3fs here: pip install 'fairtrove[s3]'")
    server_module = pytest.importorskip("moto.server", reason="no moto here: pip install 'fairtrove[dev]'")
    backend = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    backend.start()
    host, port = backend.get_host_and_port()
    faults = Faults()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else self._chunks()
            fault = faults.draw(self.command)
            if fault == "reset":
                self.close_connection = True
                return
            if fault in ("throttle", "error"):
                self._answer(503 if fault == "throttle" else 500, [], SLOW_DOWN if fault == "throttle" else b"")
                return
            connection = http.client.HTTPConnection(host, port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            told = [(name, value) for name, value in answer.getheaders() if name.lower() not in _PER_HOP]
            if self.command == "HEAD":
                told.append(("Content-Length", answer.getheader("Content-Length") or "0"))
            self._answer(answer.status, told, content, cut=fault == "truncate")

        def _chunks(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return b""
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if cut:
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass

        def log_message(self, *arguments: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", faults
    finally:
        proxy.shutdown()
        proxy.server_close()
        backend.stop()


_PER_HOP = ("connection", "transfer-encoding", "content-length", "server", "date")
