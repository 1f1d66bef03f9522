"""How commands run: in a sandbox and without one, as whom, and that nothing of them is left."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from localpach.errors import Refused
from localpach.proto import pps_pb2
from localpach.runtime import isolation
from localpach.runtime.command import Command
from localpach.runtime.interface import Ended, RunSpec
from localpach.runtime.isolation import Isolation
from localpach.runtime.layout import Layout
from localpach.runtime.process import ProcessRuntime
from tests.helpers import last_job, pfs, pipeline, put, tell, until
from tests.servers import ServerProcess


def alive(mark: str) -> bool:
    """Whether a process has `mark` as an argument."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


class Bench:
    """A runtime with a view to run commands on."""

    def __init__(self, root: Path, isolated: Isolation | None = None) -> None:
        self.runtime = ProcessRuntime(root, may_use_host=True, isolated=isolated)
        self.layout = Layout(self.runtime.work / "datum")
        (self.layout.view / "in").mkdir(parents=True)
        (self.layout.view / "in" / "a").write_text("hello\n")
        self.said: list[str] = []

    def run(
        self,
        *cmd: str,
        stdin: str = "",
        timeout: float | None = None,
        user: str = "",
        env: dict[str, str] | None = None,
    ) -> Ended:
        self.layout.begin_try()
        spec = RunSpec(list(cmd), stdin, env or {}, self.layout, "", timeout=timeout, user=user)
        return self.runtime.start(spec, self.said.append).wait()


@pytest.fixture(params=isolation.candidates(), ids=lambda each: f"{each.namespaces:d}{each.users:d}{each.overlay:d}")
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Each way to keep commands apart that works here."""
    found = ProcessRuntime(tmp_path, may_use_host=True).isolation
    if found.problem and (request.param.namespaces, request.param.users) > (found.namespaces, found.users):
        pytest.skip(found.problem)
    return Bench(tmp_path, request.param)


def test_pfs_is_there_in_commands_stdin_and_environment(bench: Bench) -> None:
    assert bench.run(
        "sh", stdin="cd /pfs && cat in/a '/pfs/in/a' $X >/pfs/out/b\nls /pfs", env={"X": "/pfs/in/a"}
    ) == Ended(code=0)
    assert (bench.layout.out / "b").read_text() == "hello\n" * 3
    assert bench.said == ["in", "out"]


def test_the_environment_is_told_in_a_file_that_is_no_part_of_the_inputs(bench: Bench) -> None:
    env = {"X": "1", "Y": "a b"}
    target = bench.layout.view.parent / "target"
    target.touch()
    # As earlier commands may have left it.
    for folder in (bench.layout.view, bench.layout.home):
        folder.mkdir(exist_ok=True)
        (folder / ".env").symlink_to(target)
    assert bench.run("grep", "^[XY]=", "/pfs/.env", env=env) == Ended(code=0)
    assert (bench.said, target.read_text()) == (["X=1", "Y=a b"], "")
    bench.said.clear()
    assert bench.run("sh", "-c", "cd /pfs && find . -type f", env=env) == Ended(code=0)
    assert bench.said == ["./in/a"]


def test_ends_are_told_as_they_were(bench: Bench) -> None:
    assert bench.run("sh", "-c", "exit 7") == Ended(code=7)
    assert bench.run("sh", "-c", "kill -SEGV $$") == Ended(code=128 + signal.SIGSEGV)
    assert bench.run("no-such-program").code in (126, 127)
    assert len(bench.said) == 1
    assert re.search("no-such-program.*: (No such file or directory|Permission denied)", bench.said[0])


def test_nothing_is_left_of_a_command(bench: Bench) -> None:
    mark = f"600.{os.getpid()}{time.time_ns() % 10**6}"
    assert bench.run("sh", "-c", f"sleep {mark} & sleep 0.1") == Ended(code=0)
    assert not alive(mark)
    ended = bench.run("sh", "-c", f"sleep {mark} & sleep {mark}", timeout=0.3)
    assert ended.problem == "context deadline exceeded"
    assert not alive(mark)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_command_whose_keeper_ends_at_any_moment_of_its_start(tmp_path: Path, by: int) -> None:
    bench = Bench(tmp_path)
    mark = f"600.{os.getpid()}{time.time_ns() % 10**6}"
    spec = RunSpec(["sleep", mark], "", {}, bench.layout, "")
    for moment in range(150):
        bench.layout.begin_try()
        running = bench.runtime.start(spec, bench.said.append)
        assert isinstance(running, Command)
        time.sleep(moment * 0.00004)
        os.kill(running.pid, by)
        assert running.wait().problem
        assert not alive(mark), moment


def test_long_environments_and_inputs_pass(bench: Bench) -> None:
    long = {f"V{number}": "x" * 100_000 for number in range(4)}
    ended = bench.run("sh", stdin="echo ${#V0} ${#V3}\n# " + "y" * 300_000, env=long)
    assert (ended, bench.said) == (Ended(code=0), ["100000 100000"])


def test_a_command_is_given_nothing_but_its_three_streams(bench: Bench) -> None:
    # With the descriptor that its end is told through it could forge that.
    assert bench.run("sh", "-c", "ls /proc/$$/fd") == Ended(code=0)
    assert bench.said == ["0", "1", "2"]


def test_the_first_process_has_nothing_in_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    if bench.runtime.weakness:
        pytest.skip(bench.runtime.weakness)
    assert bench.run("sh", "-c", "cat /proc/1/environ; wc -c < /proc/1/environ", env={"A": "b"}) == Ended(code=0)
    assert bench.said == ["0"]


def test_a_killed_launcher_takes_its_commands_along_and_is_replaced(tmp_path: Path) -> None:
    mark = f"600.{os.getpid()}2"
    with ServerProcess(tmp_path) as server:
        server.client.create_repo("in")
        put(server.client, "in", {"/a": b"1"})
        pipeline(server.client, "p", f"test -e /tmp/mark || sleep {mark}", pfs("in"))
        until(lambda: alive(mark))
        tell(tmp_path, "mark")
        launcher = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
        os.kill(int(launcher), signal.SIGKILL)
        assert last_job(server.client, "p").state == pps_pb2.JOB_SUCCESS
        assert not alive(mark)


def test_the_processes_of_one_command_are_not_counted_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localpach.runtime.process.PROCESSES", 40)
    first, second = Bench(tmp_path / "1"), Bench(tmp_path / "2")
    if not first.runtime.isolation.users:
        pytest.skip(first.runtime.isolation.problem)
    script = "for i in $(seq {}); do sleep 600 & done; echo started; {}"
    first.layout.begin_try()
    spec = RunSpec(["sh", "-c", script.format(30, "wait")], "", {}, first.layout, "")
    command = first.runtime.start(spec, first.said.append)
    until(lambda: first.said == ["started"])
    assert second.run("sh", "-c", script.format(30, "exit 3")) == Ended(code=3)
    second.run("sh", "-c", script.format(50, "exit 3"))
    assert any("Cannot fork" in line for line in second.said)
    command.kill()
    command.wait()


def test_a_command_runs_as_the_user_it_names(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    if bench.runtime.weakness:
        pytest.skip(bench.runtime.weakness)
    ended = bench.run("sh", "-c", "id -u; id -g; cat /pfs/in/a > /pfs/out/b", user="4321:1234")
    assert (ended, bench.said) == (Ended(code=0), ["4321", "1234"])
    assert (bench.layout.out / "b").read_text() == "hello\n"
    with pytest.raises(Refused, match=r'transform\.user: "nobody-of-this-name" is not a user'):
        bench.run("true", user="nobody-of-this-name")


def test_a_killed_server_leaves_no_process(tmp_path: Path) -> None:
    mark = f"600.{os.getpid()}1"
    with ServerProcess(tmp_path) as server:
        server.client.create_repo("in")
        put(server.client, "in", {"/a": b"1"})
        pipeline(server.client, "p", f"setsid sleep {mark} & sleep {mark}", pfs("in"))
        until(lambda: alive(mark))
        server.kill()
        until(lambda: not alive(mark), 5)
