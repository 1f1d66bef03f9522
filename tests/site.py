"""A web server whose files and faults are set by the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What it has, who may have it, and how it fails; `asked` has each request's Range, `sent` the answers' codes, `sent_bytes` their size."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    leads: dict[str, str] = field(default_factory=dict)
    etag: str = '"v1"'
    last_modified: str = ""
    ranges: bool = True
    ranges_told: str = "bytes {start}-{last}/{size}"
    drops: int = 0
    failures: list[int] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    encoding: str = ""
    tells_length: bool = True
    asked: list[str | None] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    sent_bytes: int = 0
    login: str = ""

    def is_had(self, etag: str | None, since: str | None) -> bool:
        """Whether a client has this version already (RFC 9110, 13.2.2: the date counts where no ETag is asked for)."""
        if etag is not None:
            return bool(self.etag) and etag.removeprefix("W/") == self.etag.removeprefix("W/")
        return bool(self.last_modified) and since == self.last_modified


@contextmanager
def serving() -> Iterator[Site]:
    """A server on loopback until the end of the block."""
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:  # named by http.server
            state.asked.append(self.headers.get("Range"))
            if state.login and self.headers.get("Authorization") != state.login:
                return self.answer(401, b"")
            if self.path in state.leads:
                return self.answer(302, b"", {"Location": state.leads[self.path]})
            body = state.files.get(self.path.partition("?")[0])
            if state.failures or body is None:
                return self.answer(state.failures.pop(0) if state.failures else 404, b"")
            if state.is_had(self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since")):
                return self.answer(304, b"")
            start = 0
            same = self.headers.get("If-Range") in (None, state.etag, state.last_modified)
            if state.ranges and same and self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    return self.answer(416, b"")
            told = state.ranges_told.format(start=start, last=len(body) - 1, size=len(body))
            headers = {"Content-Range": told} if start and told else {}
            return self.answer(206 if start else 200, body[start:], headers)

        def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            state.sent.append(code)
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if state.etag:
                self.send_header("ETag", state.etag)
            if state.last_modified:
                self.send_header("Last-Modified", state.last_modified)
            self.send_header("Content-Type", state.types.get(self.path, "application/octet-stream"))
            if state.encoding:
                self.send_header("Content-Encoding", state.encoding)
            if state.tells_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.drops and body:
                state.drops -= 1
                body = body[: len(body) // 2]
            state.sent_bytes += self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
