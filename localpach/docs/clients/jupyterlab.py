"""A day's work with JupyterLab's extension: its half in Jupyter's server, asked for what its half in the browser asks for."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs, pps
from steps import Steps, run

SECONDS = 120
TOKEN = secrets.token_hex(16)
CODE = ["from pathlib import Path\n", "Path('/pfs/out/written').write_text(Path('/pfs/lab_in/a').read_text() * 2)\n"]
INPUT = {"pfs": {"repo": "lab_in", "glob": "/*"}}
CONFIG = {"pipeline": {"name": "lab"}, "image": "host", "input_spec": "pfs: {repo: lab_in, glob: /a}"}
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"pachyderm_pps": {"version": "v1.0.0", "config": CONFIG}},
    "cells": [{"cell_type": "code", "id": "a", "metadata": {}, "source": CODE, "outputs": [], "execution_count": None}],
}

folder = Path(tempfile.mkdtemp())
notebooks, mounted = folder / "notebooks", folder / "pfs"
notebooks.mkdir()
(notebooks / "lab.ipynb").write_text(json.dumps(NOTEBOOK))
# The extension may write to it.
config = Path(shutil.copy(os.environ["PACH_CONFIG"], folder))
client = Client.from_config(config)
pipeline = pps.Pipeline(name="lab", project=pfs.Project(name="default"))


def start() -> tuple[subprocess.Popen[bytes], str]:
    """Jupyter's server, and where the extension is."""
    # It would not find notebooks in a home.
    own = {"HOME": folder / "home", "JUPYTER_RUNTIME_DIR": folder, "PACH_CONFIG": config, "PFS_MOUNT_DIR": mounted}
    settings = {
        "IdentityProvider.token": TOKEN,
        "ServerApp.allow_root": True,
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.jpserver_extensions": {"jupyterlab_pachyderm": True},
        "ServerApp.log_level": "CRITICAL",
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": notebooks,
    }
    words = [f"--{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-W", "ignore", "-m", "jupyter_server", *words]
    env = os.environ | {name: str(value) for name, value in own.items()}
    process = subprocess.Popen(command, env=env, cwd=notebooks)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, ValueError):
            told = json.loads((folder / f"jpserver-{process.pid}.json").read_text())
            urlopen(f"{told['url']}api").close()
            return process, f"{told['url']}pachyderm/v2"
        time.sleep(0.1)
    process.kill()
    raise SystemExit("Jupyter's server does not answer")


def ask(path: str, body: object = None, method: str = "PUT") -> Any:
    data = json.dumps(body).encode() if body is not None else b"" if method == "PUT" else None
    with urlopen(Request(base + path, data, {"Authorization": f"token {TOKEN}"}, method=method)) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def get(path: str) -> Any:
    return ask(path, method="GET")


def names(path: str) -> list[str]:
    return sorted(each["name"] for each in get(path)["content"])


def refuses_another_address() -> bool:
    try:
        ask("/config", {"pachd_address": "grpc://127.0.0.1:1"})
    except HTTPError as error:
        return error.code == 400
    return False


def commit_files() -> None:
    client.pfs.create_repo(repo=pfs.Repo.from_uri("lab_in"))
    with client.pfs.commit(branch=pfs.Branch.from_uri("lab_in@master")) as commit:
        for path in ("/a", "/d/b", "/d/c"):
            commit.put_file_from_bytes(path=path, data=path.encode())
    commit.wait()


def see_repos() -> bool:
    return [each["name"] for each in get("/repos")["default/lab_in"]["branches"]] == ["master"]


def next_page() -> bool:
    return names("/pfs/lab_in/d?number=1&pagination_marker=default/lab_in@master:/d/b") == ["c"]


def download() -> bool:
    ask("/download/explore/lab_in/a")
    ask("/download/explore/lab_in/d")
    return (notebooks / "a").read_text() == "/a" and {each.name for each in notebooks.rglob("*")} >= {"b", "c"}


def unmount() -> bool:
    ask("/explore/unmount")
    return names("/pfs") == []


def step_through_datums() -> bool:
    first = ask("/datums/_mount", {"input": INPUT})
    seen = [first, ask("/datums/_next"), ask("/datums/_prev")]
    return [each["idx"] for each in seen] == [0, 1, 0] and {each["num_datums_received"] for each in seen} == {2}


def see_datums() -> bool:
    state = get("/datums")
    return (state["idx"], state["all_datums_received"]) == (0, True) and json.loads(state["input"]) == INPUT


def download_datums() -> bool:
    found = set()
    for _ in range(2):
        ask("/datums/_download")
        found |= {each.name for each in mounted.rglob("*") if each.is_file()}
        found |= {each.name for link in mounted.iterdir() for each in link.rglob("*") if each.is_file()}
        ask("/datums/_next")
    return found == {"a", "b", "c"}


def spec() -> bool:
    made = get("/pps/_create/lab.ipynb")
    return bool(made["input"]["cross"][0] == {"pfs": {"repo": "lab_in", "glob": "/a"}})


def publish() -> None:
    changed = datetime.fromtimestamp((notebooks / "lab.ipynb").stat().st_mtime, UTC)
    ask("/pps/_create/lab.ipynb", {"last_modified_time": f"{changed.replace(tzinfo=None).isoformat()}Z"})


def job() -> bool:
    newest = next(iter(client.pps.list_job(pipeline=pipeline))).job
    return bool(client.pps.inspect_job(job=newest, wait=True).state == pps.JobState.JOB_SUCCESS)


def read_output() -> bool:
    ask("/explore/mount", {"commit_uri": "lab@master"})
    return bool(get("/pfs/lab/written")["content"] == "/a/a")


def delete() -> None:
    client.pps.delete_pipeline(pipeline=pipeline)
    for name in ("lab__context", "lab_in"):
        client.pfs.delete_repo(repo=pfs.Repo.from_uri(name))


steps: Steps = {
    "know the address": lambda: get("/config")["pachd_address"] == client.address,
    "be healthy": lambda: get("/health")["status"] == "HEALTHY_NO_AUTH",
    "refuse an address where nobody is": refuses_another_address,
    "commit files": commit_files,
    "see repos": see_repos,
    "mount a commit": lambda: ask("/explore/mount", {"commit_uri": "lab_in@master"}),
    "list a directory": lambda: names("/pfs/lab_in") == ["a", "d"],
    "list its next page": next_page,
    "read a file": lambda: get("/pfs/lab_in/a")["content"] == "/a",
    "download a file and a directory": download,
    "unmount it": unmount,
    "step through datums": step_through_datums,
    "see which datum it is": see_datums,
    "look into a datum": lambda: names("/view_datum/lab_in") in (["a"], ["d"]),
    "download datums": download_datums,
    "see a notebook's spec": spec,
    "publish the notebook": publish,
    "wait for its job": job,
    "read its output": read_output,
    "delete all of it": delete,
}
server, base = start()
try:
    run(steps)
finally:
    server.terminate()
    server.wait()
    shutil.rmtree(folder)
