"""Writes the table of clients in README.md: each does a day's work on a fresh localpach, in an environment of its own.

It needs the package index, curl and Chromium, and takes a minute: `python docs/try_clients.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import uv

from localpach.api.server import Server

ROOT = Path(__file__).parents[1]
DAYS = ROOT / "docs" / "clients"
SECONDS = 180
TABLE = re.compile("(?<=<!-- clients -->\n).*(?=<!-- end of clients -->)", re.DOTALL)


class Tried(NamedTuple):
    """A client, its version, the script of its day, and the packages that this needs."""

    client: str
    version: str
    script: str
    packages: tuple[str, ...] = ()


CLIENTS = (
    Tried("python-pachyderm", "7.6.0", "older.py", ("python-pachyderm==7.6.0",)),
    # It asks for pkg_resources, which later setuptools lack.
    Tried("pachyderm_sdk", "2.7.6", "sdk.py", ("pachyderm_sdk==2.7.6", "setuptools<81")),
    Tried("pachyderm_sdk", "2.12.2", "sdk.py", ("pachyderm_sdk==2.12.2",)),
    Tried("JupyterLab's extension", "2.12.2", "jupyterlab.py", ("jupyterlab-pachyderm==2.12.2",)),
    Tried("curl", "any", "curl.py"),
    Tried("boto3", "1.44.8", "s3_boto3.py", ("boto3==1.44.8",)),
    Tried("aws", "1.46.3", "s3_aws.py", ("awscli==1.46.3",)),
    # The last whose httpfs is packaged, too.
    Tried("DuckDB", "1.5.5", "s3_duckdb.py", ("duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5")),
    Tried("curl, S3", "any with `--aws-sigv4`", "s3_curl.py"),
    Tried("Chromium, by Playwright", "1.65.2", "browser.py", ("playwright==1.65.2",)),
)


def row(tried: Tried, env: dict[str, str]) -> str:
    """The table's line of a client."""
    packages = [argument for package in tried.packages for argument in ("--with", package)]
    command = [uv.find_uv_bin(), "run", "--quiet", "--no-project", "--python", sys.executable, *packages, "python"]
    done = subprocess.run(
        [*command, "-W", "ignore", str(DAYS / tried.script)],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    lines = done.stdout.splitlines()
    failed = [line.removeprefix("failed ") for line in lines if line.startswith("failed ")]
    if done.returncode:
        failed.append(done.stderr.strip().splitlines()[-1])
    passed = sum(line.startswith("ok ") for line in lines)
    why = "; ".join(failed).replace("|", "\\|") or "–"
    return f"| {tried.client} | {tried.version} | `docs/clients/{tried.script}` | {passed} | {len(failed)} | {why} |"


def table(root: Path) -> str:
    """All of it, by a server on a fresh directory."""
    server = Server(root, missing_image="host")
    server.start()
    try:
        published = json.loads((root / "address").read_text())
        token = (root / "token").read_text()
        contexts = {"localpach": {"pachd_address": f"grpc://{server.address}", "session_token": token}}
        config = root / "client.json"
        config.write_text(json.dumps({"v2": {"active_context": "localpach", "contexts": contexts}}))
        env = {
            "PACH_CONFIG": str(config),
            "JSON_ADDRESS": published["json_address"],
            "S3_ADDRESS": published["s3_address"],
            "TOKEN": token,
        }
        rows = [row(tried, env) for tried in CLIENTS]
    finally:
        server.close()
    head = [
        "| client | version | a day's work | steps that passed | failed | why |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = table(Path(folder))
    page = ROOT / "README.md"
    page.write_text(TABLE.sub(lambda _: made, page.read_text()))
