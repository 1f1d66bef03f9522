"""localpach's own page in a real browser: what it shows, to whom, and by keyboard, and that what it shows does nothing."""

from __future__ import annotations

import json
import random
import re
import struct
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Route, expect
from python_pachyderm.service import pps_proto

from tests.jobs import last_job, pfs, pipeline, put, until
from tests.servers import LOCALPACH, Server
from tests.ui.conftest import SCREENSHOTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# As a name, a description, a line of a log or a text: it runs if anything makes markup of it.
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
PICTURE = b"<svg xmlns='http://www.w3.org/2000/svg' onload=\"document.title='owned'\"/>"
FILE = "/<img src=x onerror=document.title='owned'>.html"
WAITING = "echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo second"


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A picture of 8-bit RGB pixels, row by row."""
    rows = b"".join(b"\0" + pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@dataclass
class Shown:
    """What there is to look at, and the link to it."""

    server: Server
    link: str

    @property
    def origin(self) -> str:
        return self.link.partition("/#")[0]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Two repos, four pipelines, of which one goes on for long and one fails."""
    server = Server(tmp_path_factory.mktemp("localpach"))
    server.start()
    client = server.client
    client.create_repo("texts", description=HOSTILE)
    client.create_repo("labels")
    put(client, "labels", {"/labels.csv": b"a,1\n", "/red.png": png(2, 1, b"\xff\0\0" + b"\0\0\xff")})
    put(client, "texts", {"/a.txt": b"one\ntwo\nthree\n", "/folder/b.txt": b"b\n"})
    pipeline(client, "copy", "cp -r /pfs/texts/* /pfs/out/; cat /pfs/texts/*.html || true", pfs("texts", "/"))
    both = pps_proto.Input(cross=[pfs("copy", "/"), pfs("labels", "/")])
    pipeline(client, "both", "ls /pfs/copy /pfs/labels > /pfs/out/listing", both, description=HOSTILE)
    pipeline(client, "broken", "echo about to fail; exit 3", pfs("both", "/"), datum_tries=1)
    pipeline(client, "slow", WAITING, pfs("labels", "/"))
    put(client, "texts", {"/a.txt": b"one\n2\nthree\nfour\n", FILE: HOSTILE.encode(), "/picture.svg": PICTURE})
    for name in ("copy", "both", "broken"):
        last_job(client, name)
    link = subprocess.run([LOCALPACH, "page", "--root", str(server.root)], capture_output=True, text=True, check=True)
    made = Shown(server, link.stdout.strip())
    yield made
    made.server.stop()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    made.set_default_timeout(30_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, shown: Shown) -> Iterator[Page]:
    """The page, logged in; nothing may go wrong in it but what the server answers with an error."""
    errors: list[str] = []
    made = context.new_page()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    made.on("console", note)
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("dialog", lambda dialog: errors.append(dialog.message))
    made.goto(shown.link)
    expect(made.locator("svg a")).not_to_have_count(0)
    yield made
    assert not errors


def visit(page: Page, *words: str) -> None:
    page.evaluate("words => { location.hash = '#/' + words.map(encodeURIComponent).join('/') }", list(words))


def rows(page: Page, section: str) -> Locator:
    """The rows of a section's table."""
    return page.locator("section", has=page.get_by_role("heading", name=section, exact=True)).locator("tbody tr")


def head(shown: Shown, repo: str) -> str:
    return str(next(iter(shown.server.client.list_branch(repo))).head.id)


def job_of(shown: Shown, name: str) -> str:
    return str(next(iter(shown.server.client.list_job(name))).job.id)


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"page-{name}.png", full_page=True)


def test_the_graph_shows_every_repo_and_pipeline_and_leads_to_them(page: Page) -> None:
    for name in ("copy", "both", "broken", "slow"):
        expect(page.locator(f'.graph a[href="#/pipeline/default/{name}"]')).to_be_visible()
        expect(page.locator(f'.graph a[href="#/repo/default/{name}"]')).to_be_visible()
    for name in ("texts", "labels"):
        expect(page.locator(f'.graph a[href="#/repo/default/{name}"]')).to_be_visible()
    assert page.locator(".edges path").count() == 5
    expect(page.locator('.graph [href="#/pipeline/default/broken"]')).to_contain_text("last job failure")
    picture(page, "graph")
    page.locator('.graph [href="#/pipeline/default/both"]').click()
    expect(page.get_by_role("heading", level=1)).to_have_text("both")
    for name in ("copy", "labels"):
        expect(page.locator("dl").get_by_role("link", name=name)).to_be_visible()


def test_a_job_shows_its_datums_and_their_logs(page: Page, shown: Shown) -> None:
    id = job_of(shown, "broken")
    visit(page, "job", "default", "broken", id)
    expect(page.locator(".log")).to_contain_text("about to fail")
    expect(page.locator("dl .badge")).to_have_text("failure")
    expect(page.locator("dl")).to_contain_text("1 of 1, 1 failed")
    datum = rows(page, "Datums")
    expect(datum).to_contain_text("failed")
    beside = rows(page, "Jobs of the same commit set")
    expect(beside.locator("td:first-child")).to_have_text(["copy", "both", "broken"])
    datum.locator(".id a").click()
    expect(page.get_by_role("heading", name="Log of one datum")).to_be_visible()
    expect(page.locator(".log")).to_contain_text("about to fail")


def test_a_line_of_a_log_is_shown_when_it_comes(page: Page, shown: Shown) -> None:
    visit(page, "job", "default", "slow", job_of(shown, "slow"))
    expect(page.locator(".log")).to_contain_text("first")
    expect(page.locator("dl .badge")).to_have_text("running")
    assert "second" not in page.locator(".log").inner_text()
    for folder in shown.server.root.glob("work/*/tmp"):
        (folder / "go").touch()
    expect(page.locator(".log")).to_contain_text("second")
    expect(page.locator("dl .badge")).to_have_text("success")
    expect(page.get_by_text("The end of the log.")).to_be_visible()


def test_a_commit_shows_its_files_and_what_has_changed(page: Page, shown: Shown) -> None:
    visit(page, "repo", "default", "texts")
    page.locator("tbody .id a").first.click()
    files, changes = page.locator("section").all()
    for name in ("a.txt", "folder/", FILE[1:], "picture.svg"):
        expect(files.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(changes.locator("tbody tr")).to_have_count(3)
    expect(changes.get_by_role("row", name="changed /a.txt")).to_be_visible()
    files.get_by_role("link", name="folder/").click()
    page.get_by_role("link", name="b.txt").click()
    expect(page.locator("pre.content")).to_have_text("b\n")
    visit(page, "diff", "default", "texts", head(shown, "texts"), "/a.txt")
    expect(page.locator(".hunk > *")).to_have_text([" one", "− two", "+ 2", " three", "+ four", " "])
    picture(page, "diff")


def test_names_logs_and_files_are_text_and_run_nothing(page: Page, shown: Shown) -> None:
    id = head(shown, "texts")
    for words in (
        ("",),
        ("repo", "default", "texts"),
        ("pipeline", "default", "both"),
        ("job", "default", "copy", job_of(shown, "copy")),
        ("commit", "default", "texts", id),
        ("file", "default", "texts", id, FILE),
        ("diff", "default", "texts", id, FILE),
        ("file", "default", "texts", id, "/picture.svg"),
        ("repo", "default", HOSTILE),
    ):
        visit(page, *words)
        expect(page.get_by_text("<svg" if "picture" in words[-1] else "<img src=x onerror").first).to_be_visible()
        assert page.locator("main :is(img, script, iframe, object, style, [onerror])").count() == 0
        assert page.title() != "owned"


def test_the_policy_holds_even_where_markup_got_in(context: BrowserContext, shown: Shown) -> None:
    """Were a text made markup one day, the browser still would not run it."""
    page = context.new_page()
    page.goto(shown.link)
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate("html => document.body.append(document.createRange().createContextualFragment(html))", HOSTILE)
    assert page.title() != "owned"


def test_a_file_is_kept_as_it_is(page: Page, shown: Shown) -> None:
    visit(page, "file", "default", "texts", head(shown, "texts"), FILE)
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download").click()
    assert Path(caught.value.path()).read_text() == HOSTILE
    assert caught.value.suggested_filename.endswith(".html")


def test_a_picture_is_drawn(page: Page, shown: Shown) -> None:
    visit(page, "file", "default", "labels", head(shown, "labels"), "/red.png")
    drawn = page.get_by_role("img", name="Picture, 2 by 1")
    expect(drawn).to_be_visible()
    code = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 2, 1).data]"
    assert drawn.evaluate(code) == [255, 0, 0, 255, 0, 0, 255, 255]


def test_the_token_leaves_the_address_bar_and_stays_in_the_tab(page: Page, shown: Shown) -> None:
    assert "token" not in page.url
    page.reload()
    expect(page.locator("svg a")).not_to_have_count(0)
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []


def test_who_has_no_token_sees_nothing_and_can_give_it(context: BrowserContext, shown: Shown) -> None:
    page = context.new_page()
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if "/api/" in answer.url else None)
    page.goto(shown.origin)
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    assert set(answers) == {401}
    assert "texts" not in page.content()
    field.fill((shown.server.root / "token").read_text())
    page.keyboard.press("Enter")
    expect(page.locator("svg a")).not_to_have_count(0)


def test_a_page_of_another_origin_reads_nothing(context: BrowserContext, shown: Shown) -> None:
    """Not even with the token."""

    def answer(route: Route) -> None:
        route.fulfill(body="<title>evil</title>", content_type="text/html")

    context.route("http://evil.example/", answer)
    page = context.new_page()
    page.goto("http://evil.example/")
    code = "([url, options]) => fetch(url, options).then(answer => answer.type + answer.status, () => 'refused')"
    headers = {"authn-token": (shown.server.root / "token").read_text()}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/", {}),
        ("/main.js", {"mode": "no-cors"}),
        ("/api/pfs_v2.API/ListRepo", {"method": "POST", "body": "{}"}),
        ("/api/pfs_v2.API/ListRepo", {"method": "POST", "body": "{}", "headers": headers}),
        ("/api/pfs_v2.API/ListRepo", {"method": "POST", "body": "{}", "mode": "no-cors"}),
    ]
    for path, options in asked:
        assert page.evaluate(code, [shown.origin + path, options]) in ("refused", "opaque0"), path
    page.set_content(f'<iframe src="{shown.link}"></iframe>')
    frame = page.frames[-1]
    frame.wait_for_load_state()
    assert frame.locator("svg a").count() == 0


def tab_to(page: Page, wanted: Locator) -> None:
    """Presses Tab until something has the focus, which can be seen."""
    expect(wanted).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not get to {wanted}")


def test_all_can_be_reached_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, page.locator('.graph [href="#/pipeline/default/copy"]'))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("copy")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, page.locator("tbody .id a").first)
    page.keyboard.press("Enter")
    tab_to(page, page.locator(".log"))
    tab_to(page, page.locator("dl").get_by_role("link", name=re.compile("copy@")))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="a.txt", exact=True))
    page.keyboard.press("Enter")
    expect(page.locator("pre.content")).to_contain_text("four")
    tab_to(page, page.get_by_role("button", name="Download"))
    tab_to(page, page.locator("#crumbs").get_by_role("link", name="default"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Project default")


def test_what_has_the_focus_keeps_it_when_the_page_looks_again(page: Page, shown: Shown) -> None:
    link = page.locator('.graph [href="#/pipeline/default/both"]')
    link.focus()
    shown.server.client.create_repo("later")
    expect(page.locator('.graph [href="#/repo/default/later"]')).to_be_visible()
    expect(link).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Page, shown: Shown, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    id = head(shown, "texts")
    for name, *words in (
        ("home", ""),
        ("pipeline", "pipeline", "default", "both"),
        ("job", "job", "default", "copy", job_of(shown, "copy")),
        ("repo", "repo", "default", "texts"),
        ("commit", "commit", "default", "texts", id),
        ("file", "file", "default", "texts", id, FILE),
        ("diff", "diff", "default", "texts", id, "/a.txt"),
    ):
        visit(page, *words)
        expect(page.locator("main :is(table, pre, .diff)").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        picture(page, f"390-{scheme}-{name}")


def imported(page: Page, module: str, code: str, given: object) -> Any:
    """What a function of a module of the page gives."""
    return page.evaluate(f"async given => {{ const it = await import('/{module}'); return ({code})(given); }}", given)


def test_all_edges_lead_on_and_no_boxes_overlap(page: Page) -> None:
    dice = random.Random(7)
    code = "([keys, edges]) => { const {places, paths} = it.layered(keys, edges); const at = key => places.get(key);"
    code += " return [[...places.values()], paths.map(path => path.map(at))]; }"
    for size in (1, 2, 5, 12, 40, 40):
        keys = [f"n{each}" for each in range(size)]
        edges = [[keys[one], keys[other]] for other in range(size) for one in range(other) if dice.random() < 3 / size]
        places, paths = imported(page, "layout.js", code, [keys, edges])
        assert len(paths) == len(edges)
        for path in paths:
            layers = [place["layer"] for place in path]
            assert layers == list(range(layers[0], layers[-1] + 1))
            assert len(layers) >= 2
        for layer in {place["layer"] for place in places}:
            row = sorted(place["at"] for place in places if place["layer"] == layer)
            assert row[0] >= 0
            assert all(after - before >= 1 - 1e-6 for before, after in pairwise(row))


def longest_common(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for line in one:
        before = 0
        for at, each in enumerate(other):
            before, row[at + 1] = row[at + 1], before + 1 if line == each else max(row[at + 1], row[at])
    return row[-1]


def test_a_comparison_leads_from_one_text_to_the_other_by_the_fewest_lines(page: Page) -> None:
    dice = random.Random(3)
    for _ in range(30):
        one, other = ([dice.choice("abc") for _ in range(dice.randrange(9))] for _ in range(2))
        steps = imported(page, "lines.js", "([one, other]) => it.compared(one, other)", [one, other])
        assert [each["text"] for each in steps if each["kind"] != "added"] == one
        assert [each["text"] for each in steps if each["kind"] != "deleted"] == other
        assert sum(each["kind"] == "kept" for each in steps) == longest_common(one, other)


def test_a_server_that_comes_back_is_looked_at_again(page: Page, shown: Shown) -> None:
    port = shown.origin.rpartition(":")[2]
    shown.server.stop()
    expect(page.get_by_role("status")).to_have_text("localpach does not answer; trying again")
    again = Server(shown.server.root, ("--missing-image", "host", "--json-port", port))
    again.start()
    shown.server = again
    until(lambda: json.loads((again.root / "address").read_text())["json_address"].endswith(port))
    expect(page.locator("#notice")).to_be_empty()
