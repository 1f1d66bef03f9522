"""Logs: appended, read back, followed without a gap or a double, forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from localpach.pps.logs import Logs
from localpach.proto import pps_pb2
from localpach.waiting import Bulletin
from tests.test_waiting import Call


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path, Bulletin(lambda call: call()))


def say(logs: Logs, text: str, job: str = "j", pipeline: int = 1) -> None:
    logs.write(pipeline, pps_pb2.LogMessage(job_id=job, message=text))


def said(logs: Logs, job: str = "j", pipeline: int = 1) -> list[str]:
    return [message.message for message in logs.read(pipeline, job)]


def test_messages_come_back_in_their_order_with_their_time(logs: Logs) -> None:
    before = time.time_ns()
    for text in ("a", "", "c" * 5000):
        say(logs, text)
    say(logs, "other job", job="k")
    say(logs, "other pipeline", pipeline=2)
    assert said(logs) == ["a", "", "c" * 5000]
    assert (said(logs, "k"), said(logs, pipeline=2), said(logs, "none")) == (["other job"], ["other pipeline"], [])
    moments = [before, *(message.ts.ToNanoseconds() for message in logs.read(1, "j")), time.time_ns()]
    assert moments == sorted(moments)


def test_half_a_message_at_the_end_is_not_read(logs: Logs, tmp_path: Path) -> None:
    say(logs, "whole")
    say(logs, "half")
    file = tmp_path / "logs" / "1" / "j"
    data = file.read_bytes()
    for cut in range(1, 8):
        file.write_bytes(data[:-cut])
        assert said(logs) == ["whole"]


def test_half_a_message_is_cut_off_by_the_first_one_after_a_restart(logs: Logs, tmp_path: Path) -> None:
    say(logs, "whole")
    say(logs, "half")
    file = tmp_path / "logs" / "1" / "j"
    file.write_bytes(file.read_bytes()[:-3])
    again = Logs(tmp_path, Bulletin(lambda call: call()))
    for text in ("next", "and on"):
        say(again, text)
    assert said(again) == ["whole", "next", "and on"]


def test_what_power_loss_has_left_of_messages_is_left_out_and_the_log_goes_on(logs: Logs, tmp_path: Path) -> None:
    for text in ("whole", "damaged", "whole, too"):
        say(logs, text)
    file = tmp_path / "logs" / "1" / "j"
    data = bytearray(file.read_bytes())
    length = int.from_bytes(data[:4], "big")
    data[length + 8 : length + 11] = b"\xff\xff\xff"
    file.write_bytes(bytes(data) + bytes(600))
    assert said(logs) == ["whole", "whole, too"]
    again = Logs(tmp_path, Bulletin(lambda call: call()))
    say(again, "next")
    assert said(again) == ["whole", "whole, too", "next"]


class Follower:
    """Follows logs in another thread."""

    def __init__(self, logs: Logs, jobs: list[str], more: bool, is_over: Callable[[], bool]) -> None:
        self.call = Call()
        self.found: list[str] = []
        self._new = threading.Semaphore(0)
        self.thread = threading.Thread(target=self._read, args=(logs.follow(1, jobs, more, is_over, self.call),))
        self.thread.daemon = True
        self.thread.start()

    def _read(self, messages: Iterator[pps_pb2.LogMessage]) -> None:
        for message in messages:
            self.found.append(message.message)
            self._new.release()

    def until(self, count: int) -> list[str]:
        while len(self.found) < count:
            assert self._new.acquire(timeout=20)
        return self.found

    def end(self) -> list[str]:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.found


def test_following_goes_on_until_all_is_over_and_read(logs: Logs) -> None:
    over: list[bool] = []
    say(logs, "1")
    follower = Follower(logs, ["j"], False, lambda: bool(over))
    assert follower.until(1) == ["1"]
    say(logs, "2")
    say(logs, "of another job", job="k")
    say(logs, "of another pipeline", pipeline=2)
    say(logs, "3")
    assert follower.until(3) == ["1", "2", "3"]
    over.append(True)
    say(logs, "4")
    assert follower.end() == ["1", "2", "3", "4"]


def test_following_a_pipeline_takes_its_later_jobs(logs: Logs) -> None:
    say(logs, "1")
    say(logs, "not asked for", job="old")
    follower = Follower(logs, ["j"], True, lambda: False)
    follower.until(1)
    say(logs, "2", job="k")
    follower.until(2)
    say(logs, "of another pipeline", pipeline=2)
    say(logs, "3")
    assert follower.until(3) == ["1", "2", "3"]
    follower.call.end()
    assert follower.end() == ["1", "2", "3"]


def test_following_ends_with_its_call(logs: Logs) -> None:
    follower = Follower(logs, ["j"], False, lambda: False)
    say(logs, "1")
    follower.until(1)
    follower.call.end()
    follower.end()
    again = Call()
    again.end()
    assert list(logs.follow(1, ["j"], False, lambda: False, again)) == []


def test_a_forgotten_job_says_nothing_more(logs: Logs, tmp_path: Path) -> None:
    for job in ("j", "k"):
        say(logs, "1", job)
    logs.delete(1, "j")
    logs.delete(1, "never was")
    say(logs, "late")
    assert (said(logs), said(logs, "k")) == ([], ["1"])
    say(logs, "2", job="k")
    assert said(logs, "k") == ["1", "2"]
    assert [path.name for path in (tmp_path / "logs" / "1").iterdir()] == ["k"]


def test_a_forgotten_pipeline_says_nothing_more(logs: Logs, tmp_path: Path) -> None:
    for pipeline in (1, 2):
        for job in ("j", "k"):
            say(logs, "1", job, pipeline)
    logs.delete(1)
    say(logs, "late")
    say(logs, "late", job="new")
    assert [said(logs, job) for job in ("j", "k", "new")] == [[], [], []]
    assert (said(logs, "j", 2), said(logs, "k", 2)) == (["1"], ["1"])
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["2"]


def test_only_what_is_asked_for_is_kept(logs: Logs, tmp_path: Path) -> None:
    logs.keep_only({})
    for pipeline in (1, 2, 3):
        for job in ("j", "k"):
            say(logs, "1", job, pipeline)
    logs.keep_only({2: {"k"}})
    assert [path.relative_to(tmp_path / "logs").as_posix() for path in (tmp_path / "logs").rglob("*")] == ["2", "2/k"]
    assert said(logs, "k", 2) == ["1"]


def test_what_was_said_before_a_restart_is_read(logs: Logs, tmp_path: Path) -> None:
    say(logs, "1")
    again = Logs(tmp_path, Bulletin(lambda call: call()))
    say(again, "2")
    assert said(again) == ["1", "2"]


def test_what_is_forgotten_elsewhere_does_not_touch_who_follows(logs: Logs) -> None:
    """A message of another pipeline comes between a write and the look at what was written."""
    say(logs, "1")
    seen: list[str] = []
    call = Call()
    messages = logs.follow(1, ["j"], True, lambda: False, call)
    seen.append(next(messages).message)
    say(logs, "2", job="k")
    logs.delete(2)
    logs.delete(2, "j")
    seen.append(next(messages).message)
    call.end()
    assert (seen, list(messages)) == (["1", "2"], [])


class HalfFull(FileIO):
    """A file that takes three bytes of all that is written at once."""

    def write(self, data: Any) -> int:
        return super().write(data[:3])


def test_a_message_that_the_disk_does_not_take_is_told_of_by_the_next_one(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(logs, "before")
    with monkeypatch.context() as full:
        full.setattr(Path, "open", lambda path, *mode, **more: HalfFull(path, "ab"))
        for text in ("lost", "lost, too"):
            say(logs, text)
    assert said(logs) == ["before"]
    for text in ("after", "and on"):
        say(logs, text)
    assert said(logs) == [
        "before",
        "2 messages before this one are lost: the disk was full or failed",
        "after",
        "and on",
    ]
