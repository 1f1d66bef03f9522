"""Waiting: who waits is told in time, once something is durable, and not for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from localpach import clock, waiting
from localpach.waiting import Appointment, Bulletin, Cancelled, Deadline, Loop, Topic


class Call:
    """A client's call."""

    def __init__(self) -> None:
        self._active = True
        self._callbacks: list[Callable[[], None]] = []

    def is_active(self) -> bool:
        return self._active

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self._callbacks.append(callback)
        return self._active

    def end(self) -> None:
        self._active = False
        for callback in self._callbacks:
            callback()


class Waiter:
    """A wait in another thread, and how often it looked."""

    def __init__(self, bulletin: Bulletin, call: Call | None = None, timeout: float | None = None) -> None:
        self.found: list[str] = []
        self.answer: object = "none yet"
        self.looked = threading.Semaphore(0)
        self._wait = partial(bulletin.wait, Topic.JOBS, self._look, call, timeout)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _look(self) -> str | None:
        self.looked.release()
        return self.found[0] if self.found else None

    def _run(self) -> None:
        try:
            self.answer = self._wait()
        except Cancelled as error:
            self.answer = error

    def has_looked(self) -> bool:
        return self.looked.acquire(timeout=20)

    def end(self) -> object:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.answer


@pytest.fixture
def bulletin() -> Bulletin:
    """One on which nothing is ever being written."""
    return Bulletin(lambda call: call())


def test_a_deadline_is_over_when_its_seconds_have_passed() -> None:
    for seconds in (0, -1):
        assert (Deadline(seconds).left, Deadline(seconds).is_over) == (0, True)
    far = Deadline(50)
    assert far.left is not None
    assert 0 < far.left <= 50
    assert not far.is_over
    assert (Deadline(None).left, Deadline(None).is_over) == (None, False)


class Times:
    """Clocks that the test sets, in seconds."""

    wall = counted = 1000.0

    def time_ns(self) -> int:
        return int(self.wall * 10**9)

    def monotonic(self) -> float:
        return self.counted


def test_an_appointment_comes_by_whichever_clock_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    times = Times()
    monkeypatch.setattr(clock, "time", times)
    appointment = Appointment(50)
    assert (appointment.left, Appointment(None).left, Appointment(0).is_over) == (50, None, True)
    times.wall += 30
    assert appointment.left == 20
    times.counted += 45
    assert appointment.left == 5
    # Set back: what has passed has passed.
    times.wall -= 1000
    assert appointment.left == 5
    times.counted += 5
    assert appointment.is_over
    # However far it is, the clock is looked at in between.
    assert Appointment(10_000).left == waiting.LOOK_AT_CLOCK_SECONDS


def test_a_loop_sees_that_the_clock_was_set(bulletin: Bulletin, monkeypatch: pytest.MonkeyPatch) -> None:
    times = Times()
    monkeypatch.setattr(clock, "time", times)
    monkeypatch.setattr(waiting, "LOOK_AT_CLOCK_SECONDS", 0.01)
    steps = threading.Semaphore(0)

    def step() -> float:
        steps.release()
        return 3600.0

    loop = Loop(bulletin, Topic.WORK, step, "night watch")
    loop.start()
    try:
        assert steps.acquire(timeout=20)
        assert not steps.acquire(timeout=0.1)
        times.wall += 3600
        assert steps.acquire(timeout=20)
    finally:
        loop.close()


def test_a_wait_for_what_is_there_does_not_wait(bulletin: Bulletin) -> None:
    looks: list[int] = []

    def look() -> str:
        looks.append(1)
        return ""

    assert bulletin.wait(Topic.JOBS, look) == ""
    assert bulletin.wait(Topic.JOBS, look, timeout=0) == ""
    assert len(looks) == 2


def test_a_wait_ends_when_it_is_told_of_what_it_looks_for(bulletin: Bulletin) -> None:
    waiter = Waiter(bulletin)
    assert waiter.has_looked()
    bulletin.tell(Topic.JOBS)
    assert waiter.has_looked()
    waiter.found.append("job")
    bulletin.tell(Topic.JOBS)
    assert waiter.end() == "job"


def test_all_who_wait_for_a_topic_are_told(bulletin: Bulletin) -> None:
    waiters = [Waiter(bulletin) for _ in range(3)]
    for waiter in waiters:
        assert waiter.has_looked()
        waiter.found.append("job")
    bulletin.tell(Topic.JOBS)
    assert [waiter.end() for waiter in waiters] == ["job"] * 3


def test_a_wait_looks_for_its_own_topic_only(bulletin: Bulletin) -> None:
    waiter = Waiter(bulletin)
    assert waiter.has_looked()
    for topic in set(Topic) - {Topic.JOBS}:
        bulletin.tell(topic)
    assert not waiter.looked.acquire(timeout=0.1)
    waiter.found.append("job")
    bulletin.tell(Topic.JOBS)
    assert waiter.end() == "job"


def test_what_is_told_while_looking_is_not_missed(bulletin: Bulletin) -> None:
    looks: list[int] = []

    def look() -> str | None:
        looks.append(1)
        if len(looks) < 3:
            bulletin.tell(Topic.JOBS)
            return None
        return "found"

    assert bulletin.wait(Topic.JOBS, look) == "found"


def test_a_wait_gives_up_at_its_timeout(bulletin: Bulletin) -> None:
    waiter = Waiter(bulletin, timeout=0.05)
    assert waiter.end() is None
    assert Waiter(bulletin, timeout=0).end() is None


def test_a_wait_ends_with_the_call_that_it_is_for(bulletin: Bulletin) -> None:
    call = Call()
    waiter = Waiter(bulletin, call)
    assert waiter.has_looked()
    bulletin.tell(Topic.JOBS)
    assert waiter.has_looked()
    call.end()
    assert isinstance(waiter.end(), Cancelled)


def test_a_wait_that_finds_something_does_not_mind_the_end_of_its_call(bulletin: Bulletin) -> None:
    call = Call()
    call.end()
    assert bulletin.wait(Topic.JOBS, lambda: "found", call) == "found"


def test_nobody_is_told_before_the_write_is_durable() -> None:
    later: list[Callable[[], None]] = []
    bulletin = Bulletin(later.append)
    before = {topic: bulletin.edition(topic) for topic in Topic}
    waiter = Waiter(bulletin)
    assert waiter.has_looked()
    waiter.found.append("job")
    bulletin.tell(Topic.JOBS)
    bulletin.tell(Topic.JOBS)
    assert not waiter.looked.acquire(timeout=0.1)
    assert {topic: bulletin.edition(topic) for topic in Topic} == before
    assert later[0] is later[1]
    later[0]()
    assert waiter.end() == "job"
    assert [topic for topic in Topic if bulletin.edition(topic) != before[topic]] == [Topic.JOBS]


def test_waiting_past_an_edition_ends_at_the_next_one_or_the_deadline(bulletin: Bulletin) -> None:
    old = bulletin.edition(Topic.WORK)
    bulletin.wait_past(Topic.WORK, old, Deadline(0.01))
    bulletin.tell(Topic.WORK)
    bulletin.wait_past(Topic.WORK, old, Deadline(None))
    thread = threading.Thread(
        target=bulletin.wait_past, args=(Topic.WORK, bulletin.edition(Topic.WORK), Deadline(None)), daemon=True
    )
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    bulletin.tell(Topic.WORK)
    thread.join(20)
    assert not thread.is_alive()


class Steps:
    """The step of a loop, which does what the test says."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self._answers = list(answers)
        self.taken = threading.Semaphore(0)
        self.count = 0

    def __call__(self) -> float | None:
        self.count += 1
        answer = self._answers.pop(0) if self._answers else None
        self.taken.release()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def one_more(self) -> bool:
        return self.taken.acquire(timeout=20)

    def none_more(self) -> bool:
        return not self.taken.acquire(timeout=0.1)


def test_a_loop_takes_a_step_at_once_and_whenever_it_is_told(bulletin: Bulletin) -> None:
    steps = Steps()
    loop = Loop(bulletin, Topic.WORK, steps, "worker of the test")
    assert steps.none_more()
    loop.start()
    assert any(thread.name == "worker of the test" and thread.daemon for thread in threading.enumerate())
    assert steps.one_more()
    assert steps.none_more()
    bulletin.tell(Topic.WORK)
    assert steps.one_more()
    bulletin.tell(Topic.JOBS)
    assert steps.none_more()
    loop.close()
    assert not any(thread.name == "worker of the test" for thread in threading.enumerate())
    bulletin.tell(Topic.WORK)
    assert steps.none_more()


def test_a_loop_takes_a_step_when_the_last_one_said(bulletin: Bulletin) -> None:
    steps = Steps(0.01, 0, 1000)
    loop = Loop(bulletin, Topic.WORK, steps, "loop")
    loop.start()
    for _ in range(3):
        assert steps.one_more()
    assert steps.none_more()
    loop.close()
    assert steps.count == 3


def test_what_is_told_during_a_step_makes_for_another(bulletin: Bulletin) -> None:
    taken = threading.Semaphore(0)
    told = iter([True])

    def step() -> None:
        if next(told, False):
            bulletin.tell(Topic.WORK)
        taken.release()

    loop = Loop(bulletin, Topic.WORK, step, "loop")
    loop.start()
    assert taken.acquire(timeout=20)
    assert taken.acquire(timeout=20)
    assert not taken.acquire(timeout=0.1)
    loop.close()


def test_a_step_that_fails_is_logged_and_taken_again(
    bulletin: Bulletin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(waiting, "RETRY_SECONDS", 0.01)
    steps = Steps(ValueError("broken"), KeyError("again"))
    loop = Loop(bulletin, Topic.WORK, steps, "test's loop")
    with caplog.at_level(logging.ERROR, "localpach"):
        loop.start()
        for _ in range(3):
            assert steps.one_more()
        assert steps.none_more()
        loop.close()
    assert [record.getMessage() for record in caplog.records] == ["unexpected error in the test's loop; it goes on"] * 2
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]] == [
        ("broken",),
        ("again",),
    ]
    caplog.clear()


def test_a_loop_that_ends_says_nothing_of_what_that_broke(bulletin: Bulletin, caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Event()
    loop: Loop

    def step() -> None:
        begun.set()
        while not loop.is_closing:
            time.sleep(0.001)
        raise ValueError

    loop = Loop(bulletin, Topic.WORK, step, "loop")
    loop.start()
    assert begun.wait(20)
    loop.close()
    assert not caplog.records


def test_a_loop_that_never_began_can_be_closed(bulletin: Bulletin) -> None:
    steps = Steps()
    Loop(bulletin, Topic.WORK, steps, "loop").close()
    assert steps.count == 0
    assert waiting.RETRY_SECONDS == 1


def test_a_loop_ends_whenever_it_is_closed() -> None:
    """Also when that comes between its look at whether it is, and at what was told of."""

    class Late(Bulletin):
        def edition(self, topic: Topic) -> int:
            if threading.current_thread() is not threading.main_thread():
                closing.set()
                closed.wait(10)
            return super().edition(topic)

        def tell(self, topic: Topic) -> None:
            super().tell(topic)
            closed.set()

    closing, closed = threading.Event(), threading.Event()
    loop = Loop(Late(lambda call: call()), Topic.WORK, lambda: None, "loop")
    loop.start()
    assert closing.wait(10)
    ending = threading.Thread(target=loop.close, daemon=True)
    ending.start()
    ending.join(10)
    assert not ending.is_alive()
