"""Another user of the machine, who knows all names and numbers, gets at nothing of a server's."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import pfs, pipeline, put, tell, until
from tests.servers import ServerProcess, token

SECRET = "what only its owner may read"


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that everybody may look into."""
    if os.getuid():
        pytest.skip("needs root, to become somebody else")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def attempts(root: Path, pid: int) -> list[str]:
    """Shell commands, each of which must fail."""
    paths = sorted([root, *root.rglob("*")])
    found = [f"ls {path}/" if path.is_dir() else f"cat {path}" for path in paths if not path.is_symlink()]
    found += [f"{change} {path}" for path in paths[:20] for change in ("touch", "chmod 777", "rm -r", "mv -t /tmp")]
    found += [f"cat /proc/{pid}/{name}" for name in ("environ", "maps", "mem", "io", "auxv")]
    found += [f"ls /proc/{pid}/{name}/" for name in ("cwd", "root", "fd", "map_files")]
    return [*found, f"kill -TERM {pid}", f"touch {root}/../new", f"ln {root}/token /tmp/{pid}"]


@pytest.mark.parametrize("before", [None, pytest.param(0o777, marks=pytest.mark.slow)])
def test_another_user_reads_and_changes_nothing(home: Path, before: int | None) -> None:
    root = home / "data"
    if before is not None:
        root.mkdir()
        root.chmod(before)

    def stranger(command: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", "-c", command], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout

    (home / "public").write_text("for all")
    assert stranger(f"cat {home}/public") == (0, "for all")
    with ServerProcess(root) as server:
        server.client.create_repo("in")
        put(server.client, "in", {"/small": SECRET.encode(), "/big": SECRET.encode() * 20_000})
        pipeline(server.client, "p", f"echo {SECRET}; until test -e /tmp/go; do sleep 0.05; done", pfs("in", "/"))
        until(lambda: list(root.glob("work/*/tmp")))
        done = {command: stranger(command) for command in attempts(root, server.pid)}
        tell(root, "go")
        assert len(done) > 100
        assert [command for command, (code, said) in done.items() if not code or SECRET in said] == []
        assert token(root) not in stranger("cat /proc/[0-9]*/cmdline")[1]
        assert server.client.get_file(("in", "master"), "/small") == SECRET.encode()
