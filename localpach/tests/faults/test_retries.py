"""A reply that is lost after its effect: what asking again does is what docs/reliability.md says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.client import Client
from tests.faults import all_operations
from tests.faults.all_operations import OPERATIONS
from tests.faults.operations import BIG
from tests.rpcs import Rpcs

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
ROW = re.compile(r"^\| `(\w+)` \| (?:`([A-Z_]+)`[^|]*|ok) \| ([^|]+) \|$", re.MULTILINE)
RPCS = PAGE.with_name("rpcs.md")
CHANGES = (
    *(
        "Activate",
        "Add",
        "Batch",
        "Clear",
        "Compose",
        "Create",
        "Delete",
        "Drop",
        "Edit",
        "Finish",
        "Forget",
        "Modify",
        "Put",
    ),
    *("Renew", "Rerun", "Restart", "Run", "Set", "Squash", "Start", "Stop"),
)
# What these do is done by others, for one at a time; or it is kept nowhere, or for a time only.
WITHOUT = {
    *("ComposeFileset", "RenewFileSet", "RenewFileset", "RestartDatum", "CreateDatum", "SetLogLevel"),
    # Answered, and without effect on one machine.
    *("ActivateAuth", "DeleteCluster"),
}
TABLE = {name: (code or "OK", after) for name, code, after in ROW.findall(PAGE.read_text())}


def test_the_table_has_each_operation() -> None:
    assert list(TABLE) == list(OPERATIONS)


def test_each_rpc_that_changes_something_has_an_operation(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[str] = set()
    find = Rpcs.__getattr__

    def record(rpcs: Rpcs, name: str) -> Any:
        called.add(name)
        return find(rpcs, name)

    monkeypatch.setattr(Rpcs, "__getattr__", record)
    for name, operation in OPERATIONS.items():
        run, _ = operation(client, f"{name}0")
        run()
    served = {
        name for line in RPCS.read_text().splitlines() for name in re.findall(r"/(\w+)` \| [\d.]+ \| implemented", line)
    }
    assert {name for name in served if name.startswith(CHANGES)} - called == WITHOUT


@pytest.mark.parametrize("name", OPERATIONS)
def test_asking_again(client: Client, name: str) -> None:
    run, is_done = OPERATIONS[name](client, name)
    run()
    assert is_done()
    code, after = TABLE[name]
    try:
        run()
    except grpc.RpcError as error:
        assert (error.code().name, bool(error.details())) == (code, True)
    else:
        assert code == "OK"
    if after == "the same":
        assert is_done()
    else:
        assert TWICE[name](client, name)


# That there is more than before, where the table says so.
TWICE: dict[str, Callable[[Client, str], bool]] = {
    "create_snapshot": lambda client, tag: len(all_operations.snapshots(client, tag)) == 2,
    "start_transaction": lambda client, tag: True,
    "append": lambda client, repo: client.get_file((repo, "master"), "/old") == b"old and new and new",
    "put_at_once": lambda client, repo: (
        len(client.list_commit(repo)) == 2 and client.get_file((repo, "master"), "/f") == BIG + repo.encode()
    ),
    "create_file_set": lambda client, repo: True,
    "compose_file_set": lambda client, repo: True,
    "create_fileset": lambda client, repo: True,
    "add_file_set": lambda client, repo: client.get_file((repo, "master"), "/f") == BIG * 2,
    "update_pipeline": lambda client, repo: client.inspect_pipeline(f"{repo}p").version == 3,
    "rerun_pipeline": lambda client, repo: len(client.list_job(f"{repo}p", history=-1)) == 3,
    "run_cron": lambda client, repo: len(client.list_commit(f"{repo}t")) == 2,
}
