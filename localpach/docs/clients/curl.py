"""A day's work with curl, by HTTP with JSON."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import Any

from steps import Steps, run

REPO = {"name": "curl_in", "type": "user"}
COMMIT = {"branch": {"repo": REPO, "name": "master"}}
PIPELINE = {"name": "curl"}
SPEC = {
    "pipeline": PIPELINE,
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/curl_in/* /pfs/out/; echo said"]},
    "input": {"pfs": {"repo": "curl_in", "glob": "/*"}},
}
FILE = {"commit": {"branch": {"repo": {"name": "curl", "type": "user"}, "name": "master"}}, "path": "/a"}


def ask(rpc: str, *bodies: object) -> list[Any]:
    """The messages that an RPC answers with."""
    url = f"http://{os.environ['JSON_ADDRESS']}/api/{rpc}"
    header = f"authn-token: {os.environ['TOKEN']}"
    # The header comes by a file, for others could read a command's line.
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--fail-with-body",
        "-H",
        "@-",
        "-d",
        "\n".join(map(json.dumps, bodies)),
    ]
    done = subprocess.run([*command, url], input=header, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stdout or done.stderr)
    values = [json.loads(line) for line in done.stdout.splitlines()]
    return [value["result"] if value.keys() == {"result"} else value for value in values]


def commit_files() -> bool:
    files = [{"addFile": {"path": f"/{name}", "raw": base64.b64encode(name.encode()).decode()}} for name in "ab"]
    return ask("pfs_v2.API/ModifyFile", {"setCommit": COMMIT}, *files) == [{}]


def newest() -> Any:
    return ask("pps_v2.API/ListJob", {"pipeline": PIPELINE, "number": 1})[0]["job"]


def delete() -> bool:
    ask("pps_v2.API/DeletePipeline", {"pipeline": PIPELINE, "mustExist": True})
    return ask("pfs_v2.API/DeleteRepo", {"repo": REPO}) == [{"deleted": True}]


steps: Steps = {
    "version": lambda: ask("versionpb_v2.API/GetVersion", {}),
    "create a repo": lambda: ask("pfs_v2.API/CreateRepo", {"repo": REPO}),
    "commit files": commit_files,
    "create a pipeline": lambda: ask("pps_v2.API/CreatePipelineV2", {"createPipelineRequestJson": json.dumps(SPEC)}),
    "wait for its job": lambda: (
        ask("pps_v2.API/InspectJob", {"job": newest(), "wait": True})[0]["state"] == "JOB_SUCCESS"
    ),
    "list its datums": lambda: len(ask("pps_v2.API/ListDatum", {"job": newest()})) == 2,
    "read its logs": lambda: "said" in [line["message"] for line in ask("pps_v2.API/GetLogs", {"job": newest()})],
    "read its output": lambda: ask("pfs_v2.API/GetFile", {"file": FILE}) == [base64.b64encode(b"a").decode()],
    "run it again": lambda: ask("pps_v2.API/RerunPipeline", {"pipeline": PIPELINE, "reprocess": True}),
    "delete all of it": delete,
}
run(steps)
