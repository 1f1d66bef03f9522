"""The server as a process: its token, its lock, signals, and what it finds again after a kill."""

from __future__ import annotations

import ctypes
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from localpach.__main__ import main
from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import content, last_job, pfs, pipeline, put, tell, until
from tests.servers import Server, ServerProcess


def test_what_is_written_outlives_a_killed_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.client.create_repo("data")
        kept = put(server.client, "data", {"/a": b"kept", "/big": b"x" * 200_000})
        server.client.start_commit("data", "open")
        server.kill()
        server.start()
        assert server.client.get_file(("data", kept), "/a") == b"kept"
        assert server.client.get_file(("data", kept), "/big") == b"x" * 200_000
        assert [info.branch.name for info in server.client.list_branch("data")] == ["open", "master"]


def test_a_missing_token_and_a_wrong_one_are_refused(server: Server) -> None:
    for token in (None, "wrong"):
        with pytest.raises(grpc.RpcError) as caught:
            list(Client(server.address, token).list_repo())
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_the_token_is_for_its_owner_alone(server: Server) -> None:
    assert (server.root / "token").stat().st_mode & 0o777 == 0o600


def test_a_job_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        client = server.client
        client.create_repo("in")
        put(client, "in", {"/a": b"1"})
        pipeline(client, "slow", "until test -e /tmp/again; do sleep 0.05; done; cp /pfs/in/a /pfs/out/", pfs("in"))
        until(lambda: client.list_job("slow")[0].state == pps_pb2.JOB_RUNNING)
        server.kill()
        server.start()
        until(lambda: list(tmp_path.glob("work/*/tmp")))
        tell(tmp_path, "again")
        job = last_job(server.client, "slow")
        assert (job.state, job.restart) == (pps_pb2.JOB_SUCCESS, 1)
        assert content(server.client, "slow", "/a") == b"1"


def test_env_is_good_in_any_folder(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(server.root.parent)
    monkeypatch.setattr(sys, "argv", ["localpach", "env", "--root", server.root.name])
    with pytest.raises(SystemExit, match="0"):
        main()
    exported = shlex.split(capsys.readouterr().out)[-1]
    assert exported == f"PACH_CONFIG={server.root / 'pachctl.json'}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *(
            (["serve", f"--{port}", text], "is no port from 0 to 65535")
            for port in ("port", "json-port")
            for text in ("65536", "-1", "x", "")
        ),
        *(
            ([*command, "--root", ""], "'' is no folder")
            for command in (["serve"], ["fsck"], ["state", "list"], ["image", "list"])
        ),
    ],
    ids=repr,
)
def test_options_that_can_not_be_are_told(
    tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["localpach", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_second_server_on_one_directory_is_refused(server: Server) -> None:
    command = [sys.executable, "-m", "localpach", "serve", "--root", str(server.root), "--port", "0"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (
        1,
        f"localpach: another localpach serves {server.root}; attach to it, or choose another --root\n",
    )
    assert json.loads((server.root / "address").read_text())["address"] == server.address


def test_stop_ends_no_stranger_who_got_the_number_of_a_killed_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.kill()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (tmp_path / "address").write_text(json.dumps({"address": server.address, "pid": stranger.pid}))
        for command in ("stop", "status"):
            told = subprocess.run(
                [sys.executable, "-m", "localpach", command, "--root", str(tmp_path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert (told.returncode, told.stderr) == (
                1,
                f"localpach: no localpach serves {tmp_path}; start one with `localpach serve --root {tmp_path}`\n",
            )
        assert stranger.poll() is None
        stranger.kill()


def test_a_signal_that_another_thread_is_given_ends_the_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert server.client.list_repo() == []
        pid = server.process.pid
        thread = max(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())
        assert thread != pid
        assert ctypes.CDLL(None).tgkill(pid, thread, signal.SIGTERM) == 0
        assert server.process.wait(20) == 0


def test_a_server_that_can_not_close_is_ended_all_the_same(tmp_path: Path) -> None:
    stuck = (
        "import sys, time; import localpach.__main__ as program; from localpach.api.server import Server;"
        "program.CLOSE_SECONDS = 1; Server.close = lambda self: time.sleep(1000); sys.argv[0] = 'localpach'; program.main()"
    )
    command = [sys.executable, "-c", stuck, "serve", "--root", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        until((tmp_path / "address").exists)
        stop = [sys.executable, "-m", "localpach", "stop", "--root", str(tmp_path)]
        assert subprocess.run(stop, check=False).returncode == 0
        assert server.wait(30) == -signal.SIGALRM
