"""Serves results on loopback, as `make up` starts it: to who asks for them by this server's own name, and nothing else.

Its name is that of loopback, and the one in `SCRIPTWRIGHT_REPORTS_URL`, under which others may see it.
"""

from __future__ import annotations

import html
import os
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from tasks.report.results import output_root

HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-site"}


class Handler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD. A page of another site may have made its name one of this machine; the Host header tells."""

    timeout = 10
    server: ThreadingHTTPServer

    def send_head(self) -> BytesIO | BinaryIO | None:
        port = self.server.server_port
        shown = urlsplit(os.environ.get("SCRIPTWRIGHT_REPORTS_URL", "")).netloc
        if self.headers.get("Host") not in {f"127.0.0.1:{port}", f"localhost:{port}", shown} - {""}:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        path = Path(self.translate_path(self.path))
        if not _is_result(path, Path(self.directory)):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def list_directory(self, path: str | os.PathLike[str]) -> BytesIO | None:
        root = Path(self.directory)
        names = sorted(f"{each.name}{'/' * each.is_dir()}" for each in Path(path).iterdir() if _is_result(each, root))
        rows = "".join(f'<li><a href="{quote(name)}">{html.escape(name)}</a></li>' for name in names)
        page = f"<!doctype html><title>Reports</title><ul>{rows}</ul>".encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        return BytesIO(page)

    def end_headers(self) -> None:
        for header in HEADERS.items():
            self.send_header(*header)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing: `make up` has many voices already."""


class Server(ThreadingHTTPServer):
    """Tells of what fails in a line; a browser that goes away in the middle is no failure."""

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"A request for reports failed: {error!r}", file=sys.stderr)


def _is_result(path: Path, root: Path) -> bool:
    """Whether it is a file or folder in `root`, not hidden, and reached without a link."""
    parts = path.relative_to(root).parts
    try:
        resolved = path.resolve()
    except (ValueError, OSError, RuntimeError):  # NUL in it, a name that is too long, links in a circle
        return False
    return not any(part.startswith(".") for part in parts) and resolved == root.resolve().joinpath(*parts)


def serve(root: Path, port: int) -> Server:
    """A server of a folder that listens; 0 takes a free port."""
    return Server(("127.0.0.1", port), partial(Handler, directory=str(root)))


def main() -> None:
    """Serves the results at `REPORTS_PORT` until it is ended; exits with 1 where that can't be."""
    port = os.environ.get("REPORTS_PORT", "")
    try:
        output_root().mkdir(parents=True, exist_ok=True)
        server = serve(output_root().absolute(), int(port))
    except (ValueError, OverflowError, OSError) as error:
        sys.exit(
            f"Error: the reports in {output_root()} can't be served at REPORTS_PORT {port!r} ({error}); name a free port."
        )
    server.serve_forever()


if __name__ == "__main__":
    main()
