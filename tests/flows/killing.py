"""Who is killed while flows run, and what stands after it as an ordinary machine would see to it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tests.flows.deployed import Deployed

# How often each is chosen: what takes long to come back is killed less often.
WEIGHTS = {"localpach": 12, "job": 4, "flow": 4, "worker": 2, "server": 2}
LONGEST_PAUSE_SECONDS = 2.0


def running() -> dict[int, tuple[int, str]]:
    """Number → parent and command line of each process of this machine."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if command:
                found[int(folder.name)] = parent, command
    return found


def is_of(pid: int, place: Path) -> bool:
    """Whether a process has anything of a folder: in its command line, environment, mounts, or as where it is."""
    folder, text = Path(f"/proc/{pid}"), str(place)
    seen = ""
    for name in ("cmdline", "environ", "mountinfo"):
        with suppress(OSError):
            seen += (folder / name).read_bytes().decode(errors="replace")
    with suppress(OSError):
        seen += str((folder / "cwd").readlink())
    return text in seen


class Killer:
    """Kills with SIGKILL whom and when a seed says."""

    def __init__(self, it: Deployed, seed: int) -> None:
        self.it = it
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.moments: Counter[str] = Counter()
        # Runs of whose end no worker tells.
        self.without_worker: set[UUID] = set()

    def __str__(self) -> str:
        kinds, moments = (
            ", ".join(f"{what} {count}" for what, count in counted.most_common())
            for counted in (self.kills, self.moments)
        )
        return f"{self.kills.total()} kills ({kinds}) while a run was {moments}"

    def strike(self, run_id: UUID) -> None:
        """Waits a moment and kills one of those that are there; who is started by others comes back by itself."""
        time.sleep(self.random.uniform(0, LONGEST_PAUSE_SECONDS))
        state = self.it.api.read_flow_run(run_id).state
        if state is None or state.is_final():
            return
        moment = str(state.name)
        candidates = {kind: pids for kind in WEIGHTS if (pids := self._find(kind, run_id))}
        kind = self.random.choices(list(candidates), [WEIGHTS[kind] for kind in candidates])[0]
        pid = self.random.choice(candidates[kind])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills[kind] += 1
            self.moments[moment] += 1
            print(f"{time.strftime('%X')} {kind} {moment}", flush=True)
        if kind == "server":
            with suppress(ProcessLookupError):
                os.killpg(self.it.server.pid, signal.SIGKILL)
            self.it.server.wait()
            self.it.start_server()
        if kind == "worker":
            self.without_worker.add(run_id)
            self.it.worker.wait()
            self.it.start_worker()

    def _find(self, kind: str, run_id: UUID) -> list[int]:
        """The processes of a kind that are there."""
        if kind in ("server", "worker"):
            return [getattr(self.it, kind).pid]
        if kind == "flow":
            pid = self.process_of(run_id)
            return [pid] if pid else []
        there = running()
        serving = f"serve --root {self.it.root} "
        (localpach, *_) = [pid for pid, (_, command) in there.items() if serving in command] or [0]
        if kind == "localpach":
            return [localpach] if localpach else []
        below, found = {localpach} if localpach else set(), -1
        while len(below) != found:
            found = len(below)
            below |= {pid for pid, (parent, _) in there.items() if parent in below}
        return sorted(below - {localpach})

    def process_of(self, run_id: UUID) -> int | None:
        """The process of a flow run, if it has one that is alive."""
        there = running()
        with suppress(ObjectNotFound):
            text = self.it.api.read_flow_run(run_id).infrastructure_pid
            pid = int(text.rpartition(":")[2]) if text else 0
            return pid if pid in there and "prefect" in there[pid][1] else None
        return None

    def mark_crashed(self, run_id: UUID) -> None:
        """Marks a run as crashed, as the project's automation does after three minutes without a sign of life."""
        self.it.api.set_flow_run_state(run_id, Crashed(message="No heartbeat"), force=True)
