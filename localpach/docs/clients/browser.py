"""A day's look with Chromium at localpach's page, after a commit and a pipeline made by its scripts' own way to the RPCs."""

from __future__ import annotations

import base64
import json
import os
import shutil
from typing import Any

from playwright.sync_api import expect, sync_playwright
from steps import Steps, run

REPO = {"name": "browser_in", "type": "user"}
PIPELINE = {"name": "browser"}
SPEC = {
    "pipeline": PIPELINE,
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/browser_in/* /pfs/out/; echo said"]},
    "input": {"pfs": {"repo": "browser_in", "glob": "/*"}},
}
# Of the page's own modules, `call` sends one message; what an RPC takes a stream of goes by itself.
CALL = "async ([rpc, body]) => (await import('/api.js')).call(rpc, body)"
SEND = """async ([rpc, body, token]) => {
    const answer = await fetch(`/api/${rpc}`, { method: 'POST', body, headers: { 'authn-token': token } });
    return answer.json();
}"""

with sync_playwright() as playwright:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page()
    origin = f"http://{os.environ['JSON_ADDRESS']}"
    commits: list[str] = []

    def log_in() -> bool:
        page.goto(f"{origin}/#token={os.environ['TOKEN']}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        return "token" not in page.url

    def ask(rpc: str, body: Any) -> Any:
        return page.evaluate(CALL, [rpc, body])

    def create() -> None:
        ask("pfs_v2.API/CreateRepo", {"repo": REPO})
        commit = ask("pfs_v2.API/StartCommit", {"branch": {"repo": REPO, "name": "master"}})
        commits.append(commit["id"])
        raw = base64.b64encode(b"text\n").decode()
        body = json.dumps({"setCommit": commit}) + json.dumps({"addFile": {"path": "/a", "raw": raw}})
        page.evaluate(SEND, ["pfs_v2.API/ModifyFile", body, os.environ["TOKEN"]])
        ask("pfs_v2.API/FinishCommit", {"commit": commit})
        ask("pps_v2.API/CreatePipelineV2", {"createPipelineRequestJson": json.dumps(SPEC)})

    def visit(*words: str) -> None:
        page.evaluate("words => { location.hash = '#/' + words.map(encodeURIComponent).join('/') }", list(words))

    def see_graph() -> None:
        visit("")
        for kind, name in (("repo", "browser_in"), ("pipeline", "browser"), ("repo", "browser")):
            expect(page.locator(f'.graph a[href="#/{kind}/default/{name}"]')).to_be_visible()

    def see_job() -> None:
        visit("pipeline", "default", "browser")
        page.locator("tbody .id a").first.click()
        expect(page.locator("dl .badge")).to_have_text("success")
        expect(page.locator(".log")).to_contain_text("said")

    def see_output() -> None:
        page.locator("dl").get_by_role("link", name="browser@").click()
        page.get_by_role("link", name="a", exact=True).click()
        expect(page.locator("pre.content")).to_have_text("text\n")

    def see_changes() -> None:
        visit("diff", "default", "browser_in", commits[0], "/a")
        expect(page.locator("ins").first).to_have_text("+ text")

    def fit() -> bool:
        page.set_viewport_size({"width": 390, "height": 844})
        visit("")
        expect(page.locator(".graph svg")).to_be_visible()
        return bool(page.evaluate("document.documentElement.scrollWidth <= 390"))

    def delete() -> None:
        ask("pps_v2.API/DeletePipeline", {"pipeline": PIPELINE})
        ask("pfs_v2.API/DeleteRepo", {"repo": REPO})

    steps: Steps = {
        "log in by the link": log_in,
        "create a repo, a commit and a pipeline": create,
        "see the graph": see_graph,
        "see its job and the log": see_job,
        "read its output": see_output,
        "see what has changed": see_changes,
        "fit a phone": fit,
        "delete all of it": delete,
    }
    run(steps)
    browser.close()
