"""A machine that loses its power at any moment loses nothing that was acknowledged, whatever the disk had not synced."""

from __future__ import annotations

import os
import random
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from localpach.directory import Directory
from localpach.names import Branch, Commit, Repo
from localpach.pfs.service import Pfs
from localpach.pps.fsck import PpsFsck
from localpach.pps.logs import Logs
from localpach.proto import pps_pb2
from localpach.storage.store import Store
from localpach.waiting import Bulletin
from tests.client import Client
from tests.faults.power import Disk, Journal
from tests.helpers import last_job, pfs, pipeline
from tests.servers import ServerProcess

LOSSES = int(os.environ.get("LOSSES", "500"))
COMMITS = 25


@dataclass
class Load:
    """Commits of some clients; for each that was acknowledged, how long the journal was then."""

    journal: Journal
    acknowledged: list[tuple[int, Commit, dict[str, bytes]]] = field(default_factory=list)

    def run(self, client: Client, repo: str) -> None:
        chance = random.Random(repo)
        for number in range(COMMITS):
            data = chance.randbytes(chance.choice((10, 1000, 100_000)))
            with client.commit(repo, "master") as commit:
                client.put_file_bytes(commit, f"/f{number % 7}", data)
            done = Commit(Repo("default", repo), commit.id)
            self.acknowledged.append((self.journal.size, done, {f"/f{number % 7}": data}))

    def check(self, root: Path, at: int) -> None:
        """What was acknowledged by then is there, all is whole, and it goes on."""
        assert len(Directory(root).make_token()) == 64
        store = Store(root)
        try:
            bulletin = Bulletin(store.after_commit)
            parts = Pfs(store, bulletin)
            assert [*parts.fsck.check(read_data=True), *PpsFsck(store, parts).check()] == []
            for end, commit, files in self.acknowledged:
                if end <= at:
                    record = parts.commits.get(commit)
                    for path, data in files.items():
                        entry = parts.files.entry(record, path)
                        assert b"".join(parts.files.read(record, entry)) == data
            logs = Logs(root, bulletin)
            for log in (root / "logs").glob("*/*"):
                list(logs.read(int(log.parent.name), log.name))
                logs.write(int(log.parent.name), pps_pb2.LogMessage(job_id=log.name, message="goes on"))
                assert [message.message for message in logs.read(int(log.parent.name), log.name)][-1] == "goes on"
            if parts.repos.exists(Repo("default", "one")):
                self._go_on(parts)
        finally:
            store.close()

    def _go_on(self, parts: Pfs) -> None:
        head = parts.commits.head(Branch(Repo("default", "one"), "master"))
        if head is not None and head.finishing is None:
            parts.commits.finish(head.commit)
        commit = parts.commits.start(Branch(Repo("default", "one"), "master"))
        parts.writes.put(commit, "/more", b"more", "")
        parts.commits.finish(commit)
        parts.finisher.loop.turn()
        assert parts.commits.get(commit).finished is not None


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_power_loss(tmp_path: Path) -> None:
    root, chance = tmp_path / "root", random.Random("power")
    root.mkdir()
    journal = Journal(tmp_path, root)
    load = Load(journal)
    with ServerProcess(root, env=journal.env) as server:
        server.client.create_repo("one")
        server.client.create_repo("two")
        pipeline(server.client, "copy", "cp /pfs/*/* /pfs/out/", pfs("one"))
        ready = journal.size
        clients = [threading.Thread(target=load.run, args=(server.client, repo)) for repo in ("one", "two")]
        for client in clients:
            client.start()
        for client in clients:
            client.join(300)
        last_job(server.client, "copy")
    records = list(journal.records())
    late = [number for number, record in enumerate(records) if record.end > ready]
    moments = sorted(chance.choices(range(len(records) - len(late)), k=LOSSES // 10))
    moments = sorted(moments + chance.choices(late, k=LOSSES - len(moments)))
    disk = Disk()
    played = 0
    for moment in moments:
        for record in records[played : moment + 1]:
            disk.play(record)
        played = moment + 1
        left = tmp_path / "left"
        disk.lose_power(left, chance)
        load.check(left, records[moment].end)
        shutil.rmtree(left)
    print(f"{LOSSES} losses among {len(records)} changes, {len(load.acknowledged)} acknowledged commits")
