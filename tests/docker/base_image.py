"""Base images for the tests, made from Debian's packages and the locked wheels, since none can be relied on to be pulled.

`plain` has Python and a folder of wheels that its pip takes everything from; `full` has them installed, too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SUITE, PYTHON_VERSION = "bookworm", "3.11"
REQUIREMENTS = Path(__file__).parents[2] / "model" / "requirements.txt"
PIP_CONF = "[global]\nno-index = true\nfind-links = /wheels\n"


def cache_folder() -> Path:
    """Where the images of this recipe are kept between runs."""
    recipe = Path(__file__).read_bytes() + REQUIREMENTS.read_bytes()
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return home / "scriptwright" / hashlib.sha256(recipe).hexdigest()[:12]


def make_base_images(folder: Path) -> tuple[Path, Path]:
    """Tar files of `plain` and `full`."""
    root = folder / "root"
    _run("debootstrap", "--variant=minbase", "--include=python3,python3-pip", SUITE, str(root))
    for litter in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / litter)
    target = ("--python-version", PYTHON_VERSION, "--implementation", "cp", "--only-binary=:all:")
    wanted = ("--require-hashes", "--requirement", str(REQUIREMENTS))
    _run(sys.executable, "-m", "pip", "download", "--quiet", *target, *wanted, "--dest", str(root / "wheels"))
    (root / "etc/pip.conf").write_text(PIP_CONF)
    _pack(root, folder / "plain.tar")
    shutil.copy(REQUIREMENTS, root / "requirements.txt")
    install = ("pip", "install", "--quiet", "--break-system-packages", "--require-hashes", "-r", "/requirements.txt")
    _run("chroot", str(root), "env", "--ignore-environment", f"PATH={os.defpath}", "python3", "-m", *install)
    shutil.rmtree(root / "wheels")
    # A third less to push: nothing is compiled against TensorFlow here.
    for headers in root.glob("usr/local/lib/python3*/dist-packages/tensorflow/include"):
        shutil.rmtree(headers)
    _pack(root, folder / "full.tar")
    return folder / "plain.tar", folder / "full.tar"


def _pack(root: Path, tar: Path) -> None:
    _run("tar", "--create", "--one-file-system", "--directory", str(root), "--file", str(tar), ".")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} … failed:\n{(done.stdout + done.stderr)[-2000:]}")
