"""`make up` as a person starts it, and a browser to look at it with."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, sync_playwright
from prefect.client.orchestration import SyncPrefectClient

from tests import corpora

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What Prefect's own UI asks for in vain, whatever it shows.
PREFECT_LACKS = re.compile(r"/favicon\.ico$|//[^/]+/\w+\.svg$")


class Up:
    """A running `make up` with a home, data and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, reports, page = _free_ports(3)
        self.origin = f"http://127.0.0.1:{self.port}"
        self.ui = f"{self.origin}/v2"
        self.api = f"{self.origin}/api"
        own = ("PACH", "LOCALPACH", "PREFECT", "SCRIPTWRIGHT", "IMAGE_")
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith(own)},
            "HOME": str(folder / "home"),
            "IMAGE_BUILDER": "bundle",
            "PREFECT_SERVER_API_PORT": str(self.port),
            "REPORTS_PORT": str(reports),
            "PAGE_PORT": str(page),
            "LOCALPACH_ROOT": str(folder / "localpach"),
            "SCRIPTWRIGHT_OUTPUT": str(folder / "output"),
            "SCRIPTWRIGHT_CACHE": str(folder / "cache"),
        }
        (folder / "home").mkdir()
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                ["make", "up"], cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        self.until(lambda: "Ctrl-C here ends all." in self.log(), 300, "make up")
        self.login = (ROOT / ".prefect-login").read_text().strip()
        self.client = SyncPrefectClient(self.api, auth_string=self.login)

    def log(self) -> str:
        """All that has been printed."""
        return (self.folder / "log").read_text()

    def until(self, true: Any, seconds: float, what: str) -> None:
        """Waits for something; fails with the end of the log."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"{what} took longer than {seconds:.0f} s\n{self.log()[-3000:]}"
            assert self.process.poll() is None, f"make up ended\n{self.log()[-3000:]}"
            time.sleep(0.3)

    def filter(self, what: str, **body: Any) -> list[dict[str, Any]]:
        """What Prefect's API lists."""
        answer = self.client._client.post(f"/{what}/filter", json=body)
        listed: list[dict[str, Any]] = answer.json()
        return listed

    def processes(self) -> list[str]:
        """Command lines of all processes that have this folder in their environment, arguments or mounts: jobs see it there
        alone."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes()
                told = arguments + (process / "environ").read_bytes() + (process / "mountinfo").read_bytes()
            except OSError:
                continue
            if str(self.folder).encode() in told and arguments:
                found.append(arguments.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def end(self) -> None:
        """Ctrl-C."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            self.process.wait(60)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    corpora.plays(folder / "plays.tar.gz")
    started = Up(folder)
    yield started
    started.end()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Ended with its module: while Playwright goes on, Prefect takes all that follows for asynchronous."""
    if not CHROMIUM and not os.environ.get("CI"):
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def another_origin(up: Up, tmp_path: Path) -> Iterator[str]:
    """The address of a page that wants to use the Prefect of who looks at it."""
    page = Path(__file__).with_name("another_origin.html").read_text()
    (tmp_path / "index.html").write_text(page.replace("API", up.api))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class Tab:
    """A page that remembers what went wrong in it, and keeps pictures."""

    def __init__(self, context: BrowserContext) -> None:
        self.errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        url = str(message.location.get("url"))
        if message.type == "error" and not PREFECT_LACKS.search(url):
            self.errors.append(f"{message.text} {url}")

    def picture(self, name: str) -> None:
        """Keeps the whole page as `screenshots/NAME.png`."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def tab(chromium: Browser, up: Up) -> Iterator[Tab]:
    """A profile that has logged in. Nothing outside this machine is asked: what the UI sends elsewhere gets an empty answer."""
    context = chromium.new_context(viewport={"width": 1280, "height": 960})
    context.set_default_timeout(60_000)
    login = base64.b64encode(up.login.encode()).decode()
    context.add_init_script(f"if (origin === '{up.origin}') localStorage.setItem('prefect-password', '{login}')")
    context.route(lambda url: "//127.0.0.1:" not in url, _empty)
    yield Tab(context)
    context.close()


def _empty(route: Route) -> None:
    route.fulfill(status=200, body="{}", content_type="application/json")
