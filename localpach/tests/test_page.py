"""The page to look at, as it is served; `tests/ui` of the project looks at it in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import resources

import pytest
import requests

from tests.servers import Server, token

FILES = {file.name: file.read_text() for file in resources.files("localpach").joinpath("page").iterdir()}
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# What makes markup or code of text, or asks elsewhere.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|srcdoc|style=|\bon\w+=|javascript:"
    r"|(?<!xmlns=\")https?://(?!www\.w3\.org/2000/svg\")"
)


@pytest.fixture
def origin(server: Server) -> str:
    return f"http://{json.loads((server.root / 'address').read_text())['json_address']}"


def test_every_file_is_served_to_who_has_no_token(origin: str) -> None:
    for name, text in FILES.items():
        answer = requests.get(f"{origin}/{name}", timeout=30)
        assert (answer.status_code, answer.text) == (200, text)
        assert answer.headers["Content-Type"] == f"{TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    assert requests.get(f"{origin}/?later=1", timeout=30).text == FILES["index.html"]


def test_all_that_the_page_refers_to_is_there() -> None:
    wanted = re.findall(r'(?:src|href)="([\w.]+)"', FILES["index.html"])
    for name, text in FILES.items():
        if name.endswith(".js"):
            wanted += re.findall(r'^import .* from "\./([\w.]+)";$', text, re.MULTILINE)
    assert {"index.html", *wanted} == FILES.keys()


def test_browsers_are_told_to_run_nothing_else(origin: str) -> None:
    headers = requests.get(origin, timeout=30).headers
    policy = dict(each.split(maxsplit=1) for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert {value for key, value in policy.items() if key != "default-src"} == {"'none'"}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not [name for name in headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("name", FILES)
def test_no_file_makes_markup_of_text_or_asks_elsewhere(name: str) -> None:
    assert not FORBIDDEN.findall(FILES[name])


@pytest.mark.parametrize("path", ["/token", "/../token", "/page/index.html", "/%2e%2e/token", "/api/"])
def test_nothing_else_is_served(origin: str, server: Server, path: str) -> None:
    request = requests.Request("GET", origin).prepare()
    request.url = origin + path
    answer = requests.Session().send(request, timeout=30)
    assert answer.status_code == 404
    assert token(server.root) not in answer.text


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_pages_of_other_sites_do_not_get_it(origin: str, headers: dict[str, str]) -> None:
    assert requests.get(origin, headers=headers, timeout=30).status_code == 403


def test_the_command_gives_a_link_that_logs_in_and_the_status_does_not(server: Server, origin: str) -> None:
    def printed(command: str) -> str:
        words = [sys.executable, "-m", "localpach", command, "--root", str(server.root)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    assert printed("page") == f"{origin}/#token={token(server.root)}\n"
    status = printed("status")
    assert f"{origin}/ " in status
    assert token(server.root) not in status


def luminance(colour: str) -> float:
    """As WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_stands_out_in_light_and_in_dark(scheme: int) -> None:
    root = re.findall(r":root \{(.*?)\}", FILES["style.css"], re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", root))
    pairs = [(text, back) for text in ("text", "soft", "link", "good", "bad", "busy") for back in ("back", "card")]
    pairs += [(kind, f"{kind}-back") for kind in ("good", "bad", "busy", "idle")]
    for text, back in pairs:
        dark, light = sorted((luminance(colours[text]), luminance(colours[back])))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{text} on {back}"
