"""Every RPC is asked what nobody would ask: no answer is an accident, and the server is as well as before."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from localpach.errors import AUTH_IS_OFF
from tests.client import Client
from tests.faults.messages import Messages
from tests.helpers import pfs, pipeline, put
from tests.rpcs import Metadata
from tests.servers import ServerProcess, token
from tests.test_stubs import SERVICES

SEED = int(os.environ.get("FUZZ_SEED", "1"))
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000"))
# After so many, there is something again to ask for.
ROUND = 200
# Calls of these may wait for what never comes, or for as long as they are told to.
WAITING = re.compile(r"/(Subscribe\w+|Inspect(Commit|CommitSet|Job|JobSet)|GetLogs|Profile|Watch|ListTask)$")
WAITS_SECONDS, ANSWERS_SECONDS = 0.05, 60.0
LONGEST_TEXT = 2000
# What the server may hold more of at the end than when it was warm.
MORE_BYTES = 64 << 20
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}
# What deletes leaves nothing to ask for; of the others, those that keep something are asked more often.
WEIGHTS = [0.3 if "/Delete" in path else 4 if path.startswith("/p") else 1 for path in METHODS]


def prepare(client: Client) -> None:
    """Something to ask for: files, a pipeline that has run, a secret."""
    client.delete_all()
    client.create_repo("in")
    put(client, "in", {"/a": b"1", "/d/b": b"2"})
    pipeline(client, "copy", "cp -r /pfs/in/* /pfs/out/", pfs("in"))
    with suppress(grpc.RpcError):
        client.delete_secret("secret")
    client.create_secret("secret", {"token": "planted"})


class Fuzzer:
    """Sends requests, and notes what went wrong."""

    def __init__(self, client: Client, metadata: Metadata) -> None:
        self._channel = client.channel
        self._metadata = metadata
        self._chance = random.Random(SEED)
        self._messages = Messages(self._chance)
        self._weights = dict(zip(METHODS, WEIGHTS, strict=True))
        self.wrong: list[str] = []

    def ask(self) -> None:
        (path,) = self._chance.choices(list(self._weights), list(self._weights.values()))
        method = METHODS[path]
        count = self._chance.randint(0, 5) if method.client_streaming else 1
        sent = [self._messages.body(method.input_type) for _ in range(count)]
        metadata = self._metadata
        if self._messages.ids and self._chance.random() < 0.05:
            metadata = (*metadata, ("pach-transaction", self._chance.choice(self._messages.ids)))
        problem = self._call(path, method, sent, metadata)
        if problem:
            self.wrong.append(f"{path} {problem[:3000]} on {[each.hex() for each in sent]} with {metadata[1:]}")

    def _call(self, path: str, method: MethodDescriptor, sent: list[bytes], metadata: Metadata) -> str:
        """What is wrong with the answer."""
        seconds = WAITS_SECONDS if WAITING.search(path) else ANSWERS_SECONDS
        rpc: Callable[..., Iterator[bytes]] = self._channel.stream_stream(path)
        try:
            for answer in rpc(iter(sent), metadata=metadata, timeout=seconds):
                found = [text.decode() for text in re.findall(rb"\b[0-9a-f]{32}\b", answer)]
                self._messages.ids = [*self._messages.ids, *found][-50:]
        except grpc.RpcError as error:
            if (error.details() or "").startswith((f"{method.name} ", AUTH_IS_OFF)):
                self._weights[path] = max(self._weights[path] / 2, 0.1)
            return _problem(error.code(), error.details() or "", waits=seconds == WAITS_SECONDS)
        return ""


def _problem(code: grpc.StatusCode, text: str, waits: bool) -> str:
    accident = code == grpc.StatusCode.INTERNAL or not text or text.startswith("Exception ") or "Traceback" in text
    late = code == grpc.StatusCode.DEADLINE_EXCEEDED and not waits
    return f"{code.name}: {text}" if accident or late or len(text) > LONGEST_TEXT else ""


def resident(pid: int) -> int:
    """The bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_request_is_answered_by_accident_or_harms_the_server(tmp_path: Path) -> None:
    print(f"FUZZ_SEED={SEED}")
    log, root = tmp_path / "log", tmp_path / "root"
    with ServerProcess(root, log=log) as server:
        fuzzer = Fuzzer(server.client, (("authn-token", token(root)),))
        warm = 0
        for number in range(REQUESTS):
            if number % ROUND == 0:
                prepare(server.client)
            if number == REQUESTS // 4:
                warm = resident(server.pid)
            fuzzer.ask()
            assert server.process.poll() is None, f"the server ended, FUZZ_SEED={SEED}, request {number}"
        prepare(server.client)
        print(f"{warm >> 20} MiB, then {resident(server.pid) >> 20} MiB")
        assert resident(server.pid) < warm + MORE_BYTES, f"FUZZ_SEED={SEED}"
        assert not fuzzer.wrong, f"FUZZ_SEED={SEED}\n" + "\n".join(fuzzer.wrong)
    assert "Traceback" not in log.read_text(), f"FUZZ_SEED={SEED}\n{log.read_text()[-5000:]}"
    check = [sys.executable, "-m", "localpach", "fsck", "--root", str(root), "--read-data"]
    assert subprocess.run(check, capture_output=True, text=True, check=False).stdout == "all is well\n", (
        f"FUZZ_SEED={SEED}"
    )
    with ServerProcess(root) as server:
        prepare(server.client)
