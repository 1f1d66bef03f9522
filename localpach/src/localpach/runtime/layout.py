"""Where what a datum's command has lies on this machine."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from localpach.disk import remove_tree, walk

HOME = "/home"


class Layout:
    """The folders of one datum: its inputs and `out`, which the command has as `/pfs`; its `/tmp` and home; its changes to
    its inputs, as overlayfs writes them; small files of its spec; the gate that it may have to wait at."""

    def __init__(self, folder: Path) -> None:
        self.view = folder / "pfs"
        self.out = self.view / "out"
        self.tmp = folder / "tmp"
        self.home = folder / "home"
        self.changes = folder / "changes"
        self.overlay = folder / "overlay"
        self.files = folder / "files"
        self.gate = folder / "gate"

    def clear(self) -> None:
        """Makes room for inputs."""
        remove_tree(self.view)
        self.view.mkdir()

    def begin_try(self) -> None:
        """An empty `/pfs/out`, and inputs without changes; what an earlier try has left elsewhere stays."""
        for fresh in (self.out, self.changes, self.overlay):
            remove_tree(fresh)
        for folder in (self.view, self.out, self.tmp, self.home, self.changes, self.overlay):
            folder.mkdir(parents=True, exist_ok=True)
        self.tmp.chmod(0o1777)

    def hand_over(self, user: int, group: int) -> None:
        """Lets a user change all of it."""
        for path, status in itertools.chain(walk(self.view), self._own()):
            if (status.st_uid, status.st_gid) != (user, group):
                os.chown(path, user, group, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IWUSR:
                Path(path).chmod(status.st_mode | stat.S_IWUSR)

    def _own(self) -> Iterator[tuple[str, os.stat_result]]:
        for folder in (self.view.parent, self.tmp, self.home, self.changes, self.overlay):
            yield str(folder), folder.lstat()

    @property
    def places(self) -> Mapping[str, tuple[Path, ...]]:
        """Where what the command saw at some places lies, the upper layer first; one without a sandbox saw the folder
        itself."""
        inputs = (self.changes, self.view)
        return {
            "/pfs": inputs,
            "/pfs/out": (self.out,),
            "/tmp": (self.tmp,),
            "/var/tmp": (self.tmp,),
            HOME: (self.home,),
            str(self.view): inputs,
            str(self.out): (self.out,),
        }

    def paths_of(self, name: str) -> tuple[str, str]:
        """Where the command saw an input; one without a sandbox saw the folder itself."""
        return f"/pfs/{name}", str(self.view / name)

    def write_env(self, env: Mapping[str, str], home: str) -> None:
        """Tells in `/pfs/.env`, a link to a file in what the command has as its `home`, what is in its environment."""
        link, place = self.view / ".env", self.home / ".env"
        for path in (link, place):
            # An earlier command may have put something there.
            remove_tree(path)
        place.write_text(_lines(env))
        place.chmod(0o644)
        link.symlink_to(Path(home) / place.name)

    def lay_files(self, files: Mapping[str, str]) -> dict[str, Path]:
        """Writes a spec's small files; gives them by where they shall be."""
        laid = {path: self.files / path.strip("/") for path in files}
        for path, place in laid.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(files[path])
        return laid


class BatchLayout(Layout):
    """Where what a command with one datum after the other has lies. It can't change its inputs, which change while it runs:
    so what it writes is in no folder that they are in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.out = folder / "out"

    def begin_try(self) -> None:
        """An empty `/pfs/out`."""
        super().begin_try()
        (self.view / "out").mkdir(exist_ok=True)

    def clear(self) -> None:
        """Takes the inputs away."""
        for item in self.view.iterdir():
            if item.name != "out":
                remove_tree(item)

    def write_env(self, env: Mapping[str, str], home: str) -> None:
        """Tells in `/pfs/.env` what is in its environment."""
        path = self.view / ".env"
        remove_tree(path)
        path.write_text(_lines(env))
        path.chmod(0o644)

    def _own(self) -> Iterator[tuple[str, os.stat_result]]:
        yield from super()._own()
        yield str(self.out), self.out.lstat()


def _lines(env: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in env.items())
