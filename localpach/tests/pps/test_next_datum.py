"""What a command that asks for datum after datum is given, where it does not wait for the answer; a test plays the command."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from localpach.api import served
from localpach.pps.tools import NextDatum
from localpach.proto import pps_pb2
from localpach.runtime.interface import Ended, OnLine, RunSpec
from tests.pps.bench import Bench


class Asking:
    """A call by which a command asks; it may be given up."""

    def __init__(self) -> None:
        self._is_active = True
        self._callbacks: list[Callable[[], None]] = []

    def is_active(self) -> bool:
        return self._is_active

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self._callbacks.append(callback)
        return True

    def give_up(self) -> None:
        self._is_active = False
        for callback in self._callbacks:
            callback()


@pytest.mark.parametrize("before_the_first", [True, False])
def test_a_datum_is_not_done_that_nobody_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_the_first: bool
) -> None:
    asks: list[NextDatum] = []
    given_up = threading.Event()
    monkeypatch.setattr(served, "serve_worker", lambda next_datum, listener: asks.append(next_datum))
    bench = Bench(tmp_path)

    def act(spec: RunSpec, on_line: OnLine) -> Ended:
        if spec.serve is None:
            # What the command wrote is taken; its next datum comes after that.
            given_up.wait(20)
            shutil.copytree(spec.layout.out, spec.layout.tmp / "out")
            for file in spec.layout.out.iterdir():
                file.unlink()
        else:
            spec.serve(None)  # type: ignore[arg-type]  # Nobody listens there.
            command(spec, asks[-1])
        return Ended(code=0)

    def command(spec: RunSpec, next_datum: NextDatum) -> None:
        if before_the_first:
            call = Asking()
            call.give_up()
            next_datum("", call)
            given_up.set()
        for _ in range(2):
            name = Path(next_datum("", Asking())["in"]).name
            (spec.layout.out / name).write_text(f"done {name}")
            if not given_up.is_set():
                call = Asking()
                thread = threading.Thread(target=next_datum, args=("", call), daemon=True)
                thread.start()
                call.give_up()
                thread.join(20)
                given_up.set()
        last = Asking()
        threading.Thread(target=next_datum, args=("", last), daemon=True).start()
        bench.runtime.runs[0].killed.wait(20)
        last.give_up()

    bench.runtime.act = act
    bench.put("/a", "/b")
    batching = pps_pb2.Transform(datum_batching=True)
    job = bench.create(transform=batching, parallelism_spec=pps_pb2.ParallelismSpec(constant=1))
    assert (job.state, job.info.data_processed) == (pps_pb2.JOB_SUCCESS, 2), bench.said(job)
    assert bench.output() == {"/a": b"done a", "/b": b"done b"}
    bench.close()
