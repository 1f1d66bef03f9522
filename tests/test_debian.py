"""A fresh Debian 13, whose Python is 3.13, and nothing but python3 and make on it: `make all` does the rest."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_readme import LEFT_BEHIND

ROOT = Path(__file__).parents[1]
PACKAGES = "python3,python3-venv,make,ca-certificates"
# How this machine reaches the package index, and whom it trusts.
SHARED = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
PASSED_ON = ("PIP_", "UV_", "SSL_", "REQUESTS_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")
# Root becomes the file system's root, so that what runs there may have namespaces of its own.
ENTER = """
mount --make-rprivate / && mount --bind "$0" "$0" && mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc"
cd "$0" && mkdir -p before && pivot_root . before && umount -l before && cd /project && exec make all
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_make_all_on_a_fresh_debian(tmp_path: Path) -> None:
    if (os.getuid() or shutil.which("debootstrap") is None) and not os.environ.get("CI"):
        pytest.skip("needs root and debootstrap")
    root = tmp_path / "root"
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", str(root)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copytree(ROOT, root / "project", ignore=LEFT_BEHIND)
    env = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    certificates = [value for value in env.values() if value.startswith("/") and Path(value).is_file()]
    for name in (*SHARED, *certificates):
        _share(Path(name), root)
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", ENTER, str(root)],
        capture_output=True,
        text=True,
        check=False,
        env=env | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "Perplexity (test):" in done.stderr
    for environment in (".venv", "localpach/.venv"):
        assert "3.13" in (root / "project" / environment / "pyvenv.cfg").read_text()


def _share(path: Path, root: Path) -> None:
    """Copies a file of this machine, if it has it, to the same place there."""
    place = root / str(path).lstrip("/")
    if path.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        shutil.copyfile(path, place)
