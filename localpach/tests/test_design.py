"""What the page on the design says of the way from a commit to a job is the way that one takes."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import FrameType

from tests.helpers import last_job, pfs, pipeline, put
from tests.servers import serving

ROOT = Path(__file__).parents[2]


def named_files() -> list[str]:
    """The files of the page's list, in order."""
    page = (ROOT / "docs" / "design.md").read_text()
    section = page.partition("## How a commit becomes a job")[2].partition("\n## ")[0]
    return re.findall(r"^\d\. `([^`]+)`", section, re.MULTILINE)


def test_a_commit_becomes_a_job_by_the_files_that_the_page_names(tmp_path: Path) -> None:
    names = named_files()
    assert len(names) == 7
    places = {str(ROOT / name): name for name in names}
    in_calls: dict[str, None] = {}
    in_others: dict[str, None] = {}
    recording = threading.Event()

    def enter(frame: FrameType, event: str, argument: object) -> None:
        name = places.get(frame.f_code.co_filename)
        if event == "call" and recording.is_set() and name is not None:
            (in_calls if threading.current_thread().name.startswith("call") else in_others).setdefault(name)

    threading.setprofile(enter)
    try:
        with serving(tmp_path / "root") as server:
            server.client.create_repo("in")
            pipeline(server.client, "copy", "cp /pfs/in/* /pfs/out/", pfs("in"))
            # The job of the branch's first, empty commit.
            last_job(server.client, "copy")
            recording.set()
            put(server.client, "in", {"/a": b"1"})
            last_job(server.client, "copy")
    finally:
        threading.setprofile(None)
    assert list(in_calls)[:4] == names[:4]
    assert set(names[4:]) <= in_others.keys()
