"""Prefect's UI in a real browser, on a real `make up`: who has not logged in; one run, from the form to the report; then
Ctrl-C.

The tests tell one story and run in the order in which they stand. What they see is kept in `tests/ui/screenshots`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.ui.conftest import ROOT, SCREENSHOTS, Tab, Up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Artifacts = dict[str, dict[str, Any]]


def submit(tab: Tab, up: Up, model: str, name: str) -> str:
    """Fills in the form of the deployment `train/train-and-write` and submits it; returns the id of the flow run."""
    deployment = next(each for each in up.filter("deployments") if each["entrypoint"] == "flows/train.py:train")
    page = tab.page
    page.goto(f"{up.ui}/deployments/deployment/{deployment['id']}/run")
    page.get_by_label("Scripts").fill(str(up.folder / "plays.tar.gz"))
    page.get_by_label("Select model").click()
    page.get_by_role("option", name=model, exact=True).click()
    tab.picture(name)
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="View run").click()
    page.wait_for_url("**/runs/flow-run/*")
    return page.url.rpartition("/")[2].partition("?")[0]


@pytest.fixture(scope="module")
def run(up: Up) -> dict[str, str]:
    """The flow run that the form has made, for the tests after it."""
    return {}


@pytest.fixture
def artifacts(up: Up, run: dict[str, str]) -> Artifacts:
    """The run's artifacts by key, without what sets them apart from those of other projects."""
    listed = up.filter("artifacts", flow_runs={"id": {"any_": [run["id"]]}})
    return {(artifact["key"] or "").removeprefix("scriptwright-"): artifact for artifact in listed}


def test_the_login_is_for_its_owner_alone(up: Up) -> None:
    assert (ROOT / ".prefect-login").stat().st_mode & 0o777 == 0o600
    assert up.login not in up.log()


def test_programs_that_have_not_logged_in_are_refused(up: Up) -> None:
    for headers in ({}, {"Authorization": "Basic c2NyaXB0d3JpZ2h0Og=="}, {"Origin": "http://evil.example"}):
        for method, path in (("GET", "/admin/settings"), ("POST", "/flows/"), ("GET", "/csrf-token?client=me")):
            answer = httpx.request(method, up.api + path, headers=headers, json={"name": "planted"})
            assert answer.status_code in (401, 403), path
            assert "access-control-allow-origin" not in answer.headers
    login = httpx.BasicAuth(*up.login.split(":"))
    assert httpx.post(f"{up.api}/flows/", auth=login, json={"name": "planted"}).status_code == 403
    assert not up.filter("flows", flows={"name": {"any_": ["planted"]}})


def test_a_page_of_another_origin_gets_and_does_nothing(chromium: Browser, up: Up, another_origin: str) -> None:
    """Neither for a stranger nor for a user who has logged in."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(up.ui)
    page.evaluate("login => localStorage.setItem('prefect-password', btoa(login))", up.login)
    page.goto(another_origin)
    page.wait_for_function("document.title")
    assert page.title() == "refused refused refused opaque0 opaque0 closed"
    assert not up.filter("flows", flows={"name": {"any_": ["planted"]}})
    context.close()


def test_the_ui_asks_for_the_login_once(chromium: Browser, up: Up) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(up.ui)
    page.locator("input[type=password]").fill(up.login)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Logout")).to_be_visible(timeout=60_000)
    page.goto(f"{up.ui}/deployments")
    expect(page.get_by_text("train").first).to_be_visible(timeout=60_000)
    assert not page.locator("input[type=password]").count()
    context.close()


def test_the_form_submits_a_run_with_small(up: Up, tab: Tab, run: dict[str, str]) -> None:
    run["id"] = submit(tab, up, "small", "deployment-form")
    parameters = up.filter("flow_runs", flow_runs={"id": {"any_": [run["id"]]}})[0]["parameters"]
    assert parameters["model"] == "small"
    assert parameters["source"].endswith("plays.tar.gz")

    def ended() -> bool:
        state = up.filter("flow_runs", flow_runs={"id": {"any_": [run["id"]]}})[0]["state"]
        assert state["type"] not in ("FAILED", "CRASHED", "CANCELLED"), f"{state['message']}\n{up.log()[-3000:]}"
        return bool(state["type"] == "COMPLETED")

    up.until(ended, 400, "the run")
    assert not tab.errors


def test_the_run_page_shows_graph_logs_and_artifacts(up: Up, tab: Tab, run: dict[str, str]) -> None:
    page = tab.page
    page.goto(f"{up.ui}/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed").first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    page.get_by_role("tab", name="Logs").click()
    expect(page.get_by_text("Committed 4 scripts").first).to_be_visible()
    page.wait_for_timeout(2000)  # The graph's bars come in one by one.
    tab.picture("run-logs")
    page.get_by_role("tab", name="Artifacts").click()
    for key in ("perplexity", "learning-curve", "new-script", "datums", "lineage", "report"):
        expect(page.get_by_text(f"scriptwright-{key}", exact=True).first).to_be_visible()
    tab.picture("run-artifacts")
    assert not tab.errors


@pytest.mark.parametrize("key", ["learning-curve", "lineage"])
def test_a_diagram_is_drawn(key: str, up: Up, tab: Tab, artifacts: Artifacts) -> None:
    page = tab.page
    page.goto(f"{up.ui}/artifacts/artifact/{artifacts[key]['id']}")
    drawing = page.locator("svg[id^=mermaid]").first
    expect(drawing).to_be_visible()
    told = {"learning-curve": ("perplexity", "train", "valid"), "lineage": ("plays.tar.gz", "GoT_train version 1")}[key]
    for text in told:
        expect(drawing).to_contain_text(re.compile(r"\s*".join(map(re.escape, text.split()))))
    if key == "learning-curve":
        assert drawing.locator("path[d]").count() >= 2
    tab.picture(f"artifact-{key}")
    assert not page.get_by_text("Failed to render").count()
    assert broken_pictures(tab) == []
    assert not tab.errors


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("perplexity", ["train", "valid", "test"]),
        ("datums", ["GoT_train", "GoT_generate", "success"]),
        ("new-script", ["ANNA"]),
        ("report", ["The report page"]),
    ],
)
def test_an_artifact_is_shown(key: str, told: list[str], up: Up, tab: Tab, artifacts: Artifacts) -> None:
    page = tab.page
    page.goto(f"{up.ui}/artifacts/artifact/{artifacts[key]['id']}")
    for text in told:
        expect(page.get_by_text(text).first).to_be_visible()
    tab.picture(f"artifact-{key}")
    assert broken_pictures(tab) == []
    assert not tab.errors


def broken_pictures(tab: Tab) -> list[str]:
    """Sources of the images that the page could not show."""
    code = "all => all.filter(one => one.complete && !one.naturalWidth).map(one => one.src)"
    sources: list[str] = tab.page.eval_on_selector_all("img", code)
    return sources


@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_fits_the_screen(width: int, tab: Tab, artifacts: Artifacts) -> None:
    link = re.search(r"\((http[^)]+)\)", artifacts["report"]["data"])
    assert link
    page = tab.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(link[1])
    expect(page.get_by_role("heading", name="A New Script")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("svg polyline").count() == 2
    tab.picture(f"report-{width}")
    assert [url for url in asked if not url.startswith("data:")] == [link[1]]
    assert not tab.errors


@pytest.mark.parametrize("width", [390, 1280])
def test_the_index_of_reports_fits_the_screen(width: int, tab: Tab, artifacts: Artifacts) -> None:
    link = re.search(r"\((http[^)]+/)[^/]+/report.html\)", artifacts["report"]["data"])
    assert link
    page = tab.page
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(link[1])
    expect(page.get_by_text("plays.tar.gz").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tab.picture(f"reports-{width}")
    assert not tab.errors


def test_the_report_prints(tab: Tab, artifacts: Artifacts) -> None:
    link = re.search(r"\((http[^)]+)\)", artifacts["report"]["data"])
    assert link
    tab.page.goto(link[1])
    paper = tab.page.pdf(prefer_css_page_size=True, path=SCREENSHOTS / "report.pdf")
    pages = len(re.findall(rb"/Type\s*/Page\b", paper))
    assert 3 <= pages <= 12


def test_a_second_make_up_leaves_the_first_one_alone(up: Up) -> None:
    """Whatever ports it has: it would stop the server of the data."""
    address = (up.folder / "localpach" / "address").read_text()
    done = subprocess.run(
        ["make", "up"],
        cwd=ROOT,
        env={**up.env, "PREFECT_SERVER_API_PORT": "4999"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert f"make up is on already with the data in {up.folder / 'localpach'}: end it" in done.stderr
    assert up.process.poll() is None
    assert (up.folder / "localpach" / "address").read_text() == address


def test_ctrl_c_ends_all_in_the_middle_of_a_run(up: Up, tab: Tab, run: dict[str, str]) -> None:
    """Last: it ends what the others look at. The worker is held up, so that the run sees its Pachyderm end first."""
    jobs = up.log().count("JOB_RUNNING")
    submit(tab, up, "test", "deployment-form-again")
    up.until(lambda: up.log().count("JOB_RUNNING") > jobs, 120, "the job")
    found = re.search(r"worker\.1 started \(pid=(\d+)\)", up.log())
    assert found
    worker = int(found[1])
    os.kill(worker, signal.SIGSTOP)
    threading.Timer(2.5, os.kill, (worker, signal.SIGCONT)).start()
    up.end()
    assert up.processes() == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{up.api}/health")


def test_no_token_is_printed(up: Up) -> None:
    token = (up.folder / "localpach" / "token").read_text().strip()
    assert len(token) > 20
    assert token not in up.log()


def test_what_make_up_prints_to_try_is_there(up: Up) -> None:
    printed = up.log()
    assert f"http://127.0.0.1:{up.port}" in printed
    assert printed.count("prefect deployment run ") == 2
    assert "make status" in printed
