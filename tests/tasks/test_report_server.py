"""What the server of reports gives, and to whom: asked as a browser does, and as one does that was led there."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.report.server import main, serve

REPORT = b"<!doctype html><title>A report</title>"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    run = tmp_path / "output" / "1f0e"
    run.mkdir(parents=True)
    (run / "report.html").write_bytes(REPORT)
    (run / ".report.html.partial").write_bytes(b"half of it")
    (tmp_path / "secret").write_bytes(b"secret")
    (run / "linked").symlink_to(tmp_path / "secret")
    (tmp_path / "output" / "away").symlink_to(tmp_path)
    server = serve(tmp_path / "output", 0)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def ask(port: int, path: str, host: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_report_is_given_under_either_name(port: int) -> None:
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert ask(port, "/1f0e/report.html", host) == (200, REPORT)
    assert ask(port, "/1f0e/report.html", method="HEAD") == (200, b"")


def test_a_report_is_given_under_the_name_that_is_shown(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPTWRIGHT_REPORTS_URL", "https://reports.example:8443/all")
    assert ask(port, "/1f0e/report.html", "reports.example:8443") == (200, REPORT)
    assert ask(port, "/1f0e/report.html", f"localhost:{port}") == (200, REPORT)
    assert ask(port, "/1f0e/report.html", "reports.example")[0] == 421


@pytest.mark.parametrize("path", ["/", "/1f0e/report.html", "/none"])
def test_every_answer_says_how_it_may_be_used(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-site"
    assert answer.headers["Content-Type"].startswith("text/html")
    assert int(answer.headers["Content-Length"]) == len(body)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "", "127.0.0.1:{port}.evil.example"]
)
def test_a_name_that_is_not_its_own_gets_nothing(port: int, host: str) -> None:
    for path in ("/", "/1f0e/report.html"):
        status, said = ask(port, path, host.format(port=port))
        assert (status, b"report" in said) == (421, False)


@pytest.mark.parametrize(
    "path",
    [
        "/1f0e/.report.html.partial",
        "/1f0e/linked",
        "/away/secret",
        "/away/",
        "/../secret",
        "/%2e%2e/secret",
        "/1f0e/..%2f..%2fsecret",
        "/1f0e/%2ereport.html.partial",
        "//secret",
        "/none",
        "/%00",
        "/1f0e/%00",
        "/" + "x" * 5000,
        "/" + "x/" * 5000,
    ],
)
def test_what_is_no_result_is_not_there(port: int, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    status, said = ask(port, path)
    assert (status, b"secret" in said) == (404, False)
    assert not capfd.readouterr().err


def test_a_browser_that_goes_away_is_no_error(port: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "output" / "1f0e" / "big").write_bytes(bytes(50_000_000))
    before = threading.active_count()
    with socket.create_connection(("127.0.0.1", port)) as browser:
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        browser.sendall(f"GET /1f0e/big HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert browser.recv(1)
    deadline = time.monotonic() + 30
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("wanted", ["abc", "", "99999", "taken"])
def test_a_port_that_can_not_be_had_is_told(
    wanted: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTWRIGHT_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("REPORTS_PORT", str(port) if wanted == "taken" else wanted)
    with pytest.raises(
        SystemExit, match=r"^Error: .* can't be served at REPORTS_PORT '\w*' \(.+\); name a free port\.$"
    ):
        main()


def test_lists_name_results_alone(port: int) -> None:
    status, runs = ask(port, "/")
    assert (status, runs) == (200, b'<!doctype html><title>Reports</title><ul><li><a href="1f0e/">1f0e/</a></li></ul>')
    status, files = ask(port, "/1f0e/")
    assert (status, b'href="report.html"' in files) == (200, True)
    assert b"partial" not in files and b"linked" not in files


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_done_but_read(port: int, method: str) -> None:
    assert ask(port, "/1f0e/report.html", method=method)[0] == 501
