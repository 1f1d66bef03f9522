"""The progress artifact, made of what a training says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import progress as progress_module
from tasks.image import image
from tasks.names import name_run
from tasks.progress import Progress

LINES = [
    "Model: small Parameters: 9 Vocabulary: 9",
    "Epoch: 1 of 2 Learning rate: 1.000",
    "0.500 perplexity: 300.000 speed: 9 wps",
    "1.000 perplexity: 200.000 speed: 9 wps",
    "Epoch: 1 Train Perplexity: 200.000",
    "Epoch: 2 of 2 Learning rate: 1.000",
    "0.500 perplexity: 150.000 speed: 9 wps",
]


def artifacts(key: str) -> list[tuple[float, str]]:
    with get_client(sync_client=True) as client:
        found = client._client.post("/artifacts/filter", json={"sort": "CREATED_DESC"}).json()
    return [(each["data"], each["description"]) for each in found if each["key"] == key]


def test_it_shows_how_far_all_epochs_are(prefect: None) -> None:
    @flow
    def read() -> None:
        with Progress("GoT_shown", "1a2b3c4d") as progress:
            for line in LINES:
                progress.read(line)

    read()
    ((percent, told),) = artifacts("scriptwright-progress-got-shown")
    assert percent == 75
    assert told == "GoT_shown@1a2b3c4: epoch 2 of 2, perplexity 150.000"


def test_it_is_updated_at_most_once_a_second(prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[float, float]] = []

    def record(*arguments: object, **_: object) -> UUID:
        percent = arguments[-1]
        assert isinstance(percent, float)
        sent.append((time.monotonic(), percent))
        return UUID(int=1)

    monkeypatch.setattr(progress_module, "create_progress_artifact", record)
    monkeypatch.setattr(progress_module, "update_progress_artifact", record)
    with Progress("GoT_shown", "1a2b3c4d") as progress:
        for step in range(1, 1000):
            progress.read(f"0.{step:03} perplexity: 9.0 speed: 9 wps")
            time.sleep(0.0025)
        progress.read("1.000 perplexity: 9.0 speed: 9 wps")
    moments = [moment for moment, _ in sent]
    assert len(sent) >= 2
    assert all(later - earlier >= 1 for earlier, later in pairwise(moments))
    assert sent[-1][1] == 100


class Failing(BaseHTTPRequestHandler):
    """A server of Prefect that fails each call, as with a full disk."""

    def do_POST(self) -> None:  # named by http.server
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PATCH(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def failing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Failing)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("gone", [True, False])
def test_without_an_answer_from_prefect_a_run_goes_on(
    gone: bool, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while its server is restarted."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(UUID(int=1)))
    for module in (progress_module, image):
        monkeypatch.setattr(module, "UPDATE_SECONDS", 0.01)
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    api = "http://127.0.0.1:9/api" if gone else failing
    with disable_run_logger(), temporary_settings({PREFECT_API_URL: api}):
        name_run("train test on GoT_scripts@1a2b3c4")
        with Progress("GoT_shown", "1a2b3c4d") as progress:
            for line in LINES:
                progress.read(line)
        image._Progress("Building the image")("a step", 0.5)
    assert not failed
