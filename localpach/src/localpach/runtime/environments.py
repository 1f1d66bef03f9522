"""The Python environments of bundles: each is made once for what was asked for, and shared by all that ask the same."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from uv import find_uv_bin

from localpach.errors import Refused
from localpach.runtime import trees
from localpach.runtime.installs import Install

LAST_LINES = 10
# An environment without it was not finished.
MARK = "complete"
# What uv calls the settings of pip that say where packages come from.
UV_NAMES = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX"}


class Environments:
    """The environments in one folder, each named by the digest of what was asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, digest: str) -> Path:
        """Where an environment is, whether made or not: it can't be moved."""
        return self._folder / digest

    def make(self, asked: Sequence[tuple[Install, Path]]) -> str:
        """Makes the environment of some commands, each with a folder of the files that it names, unless it is there;
        gives its digest.

        Raises:
            Refused: one of them failed; nothing of the environment is left.
        """
        digest = _digest(asked)
        place = self.place(digest)
        if (place / MARK).exists() and (place / "bin" / "python").exists():
            return digest
        shutil.rmtree(place, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            uv = find_uv_bin()
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], {}, "making the Python environment")
            # Compiled as pip does: jobs can't write to it.
            install = [uv, "pip", "install", "--compile-bytecode", "--python", str(place / "bin" / "python")]
            for command, files in asked:
                words = [str(files / text.strip("/")) if is_path else text for text, is_path in command.arguments]
                _run([*install, *words], dict(command.env), f"RUN {command.said}")
            (place / MARK).touch()
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return digest

    def remove_but(self, wanted: set[str]) -> None:
        """Removes all environments but some, and what killed builds have left."""
        for place in self._folder.glob("*"):
            if place.name not in wanted or not (place / MARK).exists():
                shutil.rmtree(place)


def python_home(environment: Path) -> Path:
    """The folder of the Python that an environment was made with."""
    lines = (environment / "pyvenv.cfg").read_text().splitlines()
    settings = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    return Path(settings["home"]).parent


def _digest(asked: Sequence[tuple[Install, Path]]) -> str:
    """Of this machine's Python and platform, and the commands in order with the contents of all that they name."""
    words: list[object] = [platform.python_implementation(), platform.python_version(), sysconfig.get_platform()]
    words += [(command.arguments, command.env, trees.digest(files)) for command, files in asked]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _run(command: list[str], settings: dict[str, str], what: str) -> None:
    given = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    given |= settings
    # uv shall trust whom this machine trusts, as pip does.
    env = {"UV_SYSTEM_CERTS": "true"} | {UV_NAMES[name]: given[name] for name in UV_NAMES.keys() & given.keys()} | given
    # Away from any project's folder, whose settings uv would heed.
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        env=env,
        # It holds the lock of the bundles on, should we be killed.
        close_fds=False,
        check=False,
    )
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise Refused(f"{what} failed:\n{end}")
