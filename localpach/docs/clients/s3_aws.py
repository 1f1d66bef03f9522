"""A day's work with the aws command, by S3."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from steps import Steps, run

BUCKET = "s3://master.aws"
BIG = os.urandom(20 << 20)
folder = Path(tempfile.mkdtemp())
env = {
    "AWS_ENDPOINT_URL": f"http://{os.environ['S3_ADDRESS']}",
    "AWS_ACCESS_KEY_ID": os.environ["TOKEN"],
    "AWS_SECRET_ACCESS_KEY": os.environ["TOKEN"],
    "AWS_DEFAULT_REGION": "us-east-1",
}


def aws(*words: str) -> str:
    """What the command says."""
    done = subprocess.run(["aws", "s3", *words], env=os.environ | env, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.decode())
    return done.stdout.decode()


def upload() -> None:
    (folder / "big").write_bytes(BIG)
    aws("cp", str(folder / "big"), f"{BUCKET}/big")


def download() -> bool:
    aws("cp", f"{BUCKET}/copy", str(folder / "copy"))
    return (folder / "copy").read_bytes() == BIG


def sync() -> bool:
    (folder / "tree" / "x").mkdir(parents=True)
    for name in ("a", "x/b"):
        (folder / "tree" / name).write_text(name)
    aws("sync", str(folder / "tree"), f"{BUCKET}/tree")
    aws("sync", f"{BUCKET}/tree", str(folder / "back"))
    return (folder / "back" / "x" / "b").read_text() == "x/b"


steps: Steps = {
    "make a bucket": lambda: aws("mb", BUCKET),
    "upload 20 MiB": upload,
    "copy them": lambda: aws("cp", f"{BUCKET}/big", f"{BUCKET}/copy"),
    "download the copy": download,
    "sync a folder there and back": sync,
    "sync it again, with nothing to do": lambda: aws("sync", str(folder / "tree"), f"{BUCKET}/tree") == "",
    "list all": lambda: (
        [line.split()[3] for line in aws("ls", "--recursive", BUCKET).splitlines()]
        == ["big", "copy", "tree/a", "tree/x/b"]
    ),
    "list a directory": lambda: "PRE tree/" in aws("ls", BUCKET),
    "delete all of it": lambda: aws("rb", "--force", BUCKET),
}
run(steps)
