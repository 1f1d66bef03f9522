"""One command for many datums (`datum_batching`): it asks for one after the other, and finds them in place of each other."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from localpach.disk import remove_tree
from localpach.errors import Refused
from localpach.pfs.outputs import OUT, Places
from localpach.pps.tools import ServeWorker, Tools
from localpach.runtime.interface import TIMED_OUT, WORKER_PORT, Ended, OnLine, Run, RunSpec, Runtime, Serving
from localpach.runtime.layout import HOME, BatchLayout, Layout
from localpach.waiting import Call, Deadline

# While the command goes on, nobody but a command of its own kind may read what it writes: it could put links there meanwhile.
TAKE = "mkdir /tmp/out && cp -a /pfs/out/. /tmp/out && find /pfs/out -mindepth 1 -delete"


class Batch:
    """The command, started again after each datum that fails."""

    def __init__(self, runtime: Runtime, work: Path, serve: ServeWorker) -> None:
        self._runtime = runtime
        self._serve = serve
        self._command: _Command | None = None
        self.layout = BatchLayout(Path(tempfile.mkdtemp(dir=work)))
        self.layout.begin_try()

    def run(
        self, spec: RunSpec, env: Mapping[str, str], on_line: OnLine, deadline: Deadline, begin: Callable[[Run], None]
    ) -> Ended:
        """Has the command of a spec process a datum, whose variables are `env`; `begin` is told of the command before.
        A datum's time goes from when the command gets it."""
        if self._command is None:
            self.layout.begin_try()
            self._command = _Command(self._runtime, spec, self._serve, on_line)
        command = self._command
        command.on_line = on_line
        begin(command.run)
        ended = command.asked(Deadline(None))
        if ended.code == 0:
            self.layout.write_env(env, HOME)
            self._runtime.hand_over(self.layout)
            command.give(env)
            ended = command.asked(deadline, has_datum=True)
        if ended.code != 0:
            self.stop()
        return ended

    def take(self, spec: RunSpec, layout: Layout, begin: Callable[[Run], None]) -> Places:
        """Moves what the command has written to a layout that it has no part in; gives where that lies."""
        layout.begin_try()
        layout.out = self.layout.out
        said: list[str] = []
        mover = replace(
            spec, cmd=["sh", "-c", TAKE], stdin="", layout=layout, working_dir="/", files={}, read_only=False
        )
        run = self._runtime.start(mover, said.append)
        begin(run)
        ended = run.wait()
        if ended.code != 0:
            raise Refused(f"{OUT} can't be read: {' '.join(said) or ended.problem or f'exit status {ended.code}'}")
        return {"/pfs": (self.layout.view,), OUT: (layout.tmp / "out",)}

    def stop(self) -> None:
        """Ends the command; the next datum starts it again."""
        if self._command is not None:
            self._command.stop()
            self._command = None

    def close(self) -> None:
        """Ends it for good."""
        self.stop()
        with suppress(OSError):
            remove_tree(self.layout.view.parent)


class Batches:
    """Those of a job: as many as datums are run at once."""

    def __init__(self, runtime: Runtime, tools: Tools) -> None:
        self._runtime = runtime
        self._tools = tools
        self._free: list[Batch] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self) -> Iterator[Batch]:
        """One that is free, or a new one."""
        with self._lock:
            batch = self._free.pop() if self._free else None
        batch = batch or Batch(self._runtime, self._tools.runtimes.work, self._tools.served.worker)
        try:
            yield batch
        finally:
            with self._lock:
                self._free.append(batch)

    def close(self) -> None:
        """Ends all."""
        while self._free:
            self._free.pop().close()


class _Command:
    """The command while it runs: what it asks, what it is given."""

    def __init__(self, runtime: Runtime, spec: RunSpec, serve: ServeWorker, on_line: OnLine) -> None:
        self.on_line = on_line
        self._changed = threading.Condition()
        # What it told of an error with the datum that it had, since it was given that.
        self._told: str | None = None
        # The variables of the datum that is its next one, until it has them.
        self._env: Mapping[str, str] | None = None
        self._ended: Ended | None = None
        self._serve_worker = serve
        spec = replace(spec, serve=self._serve, port=WORKER_PORT, timeout=None)
        self.run = runtime.start(spec, self._say)
        self._watcher = threading.Thread(target=self._watch, name="batch", daemon=True)
        self._watcher.start()

    def _serve(self, listener: socket.socket) -> Serving:
        return self._serve_worker(self._next, listener)

    def _say(self, line: str) -> None:
        self.on_line(line)

    def _watch(self) -> None:
        try:
            ended = self.run.wait()
        except Exception as error:
            # Whoever waits for it has a core.
            ended = Ended(problem=f"how it has ended can't be told: {error}")
        with self._changed:
            self._ended = ended
            self._changed.notify_all()

    def _next(self, error: str, call: Call) -> Mapping[str, str]:
        call.add_callback(self._look_again)
        with self._changed:
            if self._env is None:
                self._told = error
                self._changed.notify_all()
            # Who asks and goes away has not got the datum: the next one to ask has it.
            self._changed.wait_for(lambda: self._env is not None or self._ended is not None or not call.is_active())
            if self._env is None or not call.is_active():
                return {}
            env, self._env = self._env, None
            return env

    def _look_again(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def give(self, env: Mapping[str, str]) -> None:
        """Answers what the command has asked, or asks next."""
        with self._changed:
            self._told = None
            self._env = env
            self._changed.notify_all()

    def asked(self, deadline: Deadline, has_datum: bool = False) -> Ended:
        """Waits until the command asks for a datum: how what it had before has ended, if it had."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._told is not None or self._ended, deadline.left):
                return Ended(problem=TIMED_OUT)
            if self._told is not None:
                told = self._told if has_datum else ""
                return Ended(problem=f"it told of an error: {told}") if told else Ended(code=0)
            assert self._ended is not None
            code = self._ended.code
            return self._ended if code is None else Ended(problem=_early(code))

    def stop(self) -> None:
        """Ends it."""
        self.run.kill()
        self._watcher.join()


def _early(code: int) -> str:
    return (
        f"it ended with exit status {code} before it asked for the next datum (transform.datum_batching: ask in a loop,"
        " by pachctl next datum or batch_all_datums, until you are ended)"
    )
