"""All that was recorded from a real Pachyderm 2.7.6, asked of localpach."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localpach.runtime.bundles import Bundles
from tests.conformance.exceptions import EXCEPTIONS
from tests.conformance.replay import Replay, records
from tests.servers import serving

IMAGES = ("alpine", "a", "ubuntu:20.04")


class Page(BaseHTTPRequestHandler):
    """What the recording fetched by URL."""

    def do_GET(self) -> None:
        found = self.path == "/ok.txt"
        body = b"from http\n" if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Replay]:
    """A fresh server with the recording's images, as empty bundles, and the web site."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text("FROM scratch\n")
    root = tmp_path / "root"
    for image in IMAGES:
        Bundles(root).build(tmp_path / "image", image)
    site = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    with serving(root, missing_image="docker", auth=False) as server:
        yield Replay(server.address, f"127.0.0.1:{site.server_address[1]}")
    site.shutdown()
    site.server_close()


@pytest.mark.timeout(400)
def test_the_recording(replay: Replay) -> None:
    told = []
    for record in records():
        differences = replay.differences(record)
        if differences:
            step = f"{record['seq']} {record['section']}/{record['step']} {record['rpc']}"
            told.append("\n    ".join([step, *differences[:8]]))
    assert not told, f"{len(told)} of {len(records())} answers differ:\n" + "\n".join(told)
    unused = [meant.steps for meant in EXCEPTIONS if meant not in replay.used]
    assert not unused, f"exceptions that nothing needs: {unused}"
