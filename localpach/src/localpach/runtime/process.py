"""The process runtime: starts the user's command in a sandbox, reads what it says, ends it when asked."""

from __future__ import annotations

import logging
import os
import re
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from localpach.errors import Refused
from localpach.runtime.bundles import Bundle, Bundles
from localpach.runtime.dockerfile import USUAL_PATH
from localpach.runtime.environments import python_home
from localpach.runtime.interface import TIMED_OUT, Ended, OnLine, RunSpec
from localpach.runtime.launcher import Launcher
from localpach.runtime.machine import ids_of, memory_below

POLL_SECONDS = 0.1
LINE_BYTES = 1 << 20
GPU = Path("/dev/nvidiactl")
# How long to read on, without a namespace, where something the command left behind holds its output open.
DRAIN_SECONDS = 5.0

log = logging.getLogger("localpach")


class ProcessRuntime:
    """Runs commands on this machine."""

    def __init__(self, root: Path, may_use_host: bool) -> None:
        self._bundles = Bundles(root)
        self._may_use_host = may_use_host
        self._launcher = Launcher()
        self._new_root = root / "new-root"
        self._new_root.mkdir(exist_ok=True)
        self.is_sandboxed = self._probe(root)
        if not self.is_sandboxed:
            log.warning("this kernel gives us no namespaces: /pfs in commands is replaced by a scratch folder")

    def _probe(self, root: Path) -> bool:
        """Whether the sandbox works here, read-only inputs included."""
        with tempfile.TemporaryDirectory(dir=root) as folder:
            view = Path(folder)
            (view / "in").mkdir()
            (view / "out").mkdir()
            cmd = ["sh", "-c", "! touch /pfs/in/x 2>/dev/null && touch /pfs/out/x"]
            self.is_sandboxed = True
            spec = RunSpec(cmd, "", {"PATH": os.defpath}, view, "")
            ended = self.start(spec, lambda line: None).wait()
            return ended.code == 0 and (view / "out" / "x").exists()

    def has(self, image: str) -> bool:
        """Whether a bundle of that name was built."""
        return self._bundles.find(image) is not None

    def crash_reason(self, image: str, gpus: int) -> str:
        """Why a pipeline can't run here; empty when it can."""
        if gpus and not GPU.exists():
            return f"resource_limits.gpu asks for {gpus}, and this machine has no GPU"
        if self._may_use_host or self.has(image):
            return ""
        return (
            f'image "{image}" is not here: build it with `localpach image build --tag {image} FOLDER`,'
            " or serve with `--missing-image host` to use this machine's programs"
        )

    def _lay_files(self, spec: RunSpec) -> dict[str, str]:
        """Writes a spec's small files; gives where their top-level folders are."""
        folder = spec.view.with_name("files")
        places = {}
        for path, text in spec.files.items():
            if (Path("/") / _top(path).strip("/")).exists():
                raise Refused(
                    f"transform.secrets: {_top(path)} exists on this machine; mount it in a folder of its own"
                )
            place = folder / path.strip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            places[_top(path)] = str(folder / _top(path).strip("/"))
        return places

    def prepare(self, image: str, credentials: str, say: OnLine, is_stopped: Callable[[], bool]) -> None:
        """A bundle is here, and the host is."""

    def start(self, spec: RunSpec, on_line: OnLine) -> Process:
        """Starts a command; each line of its output goes to `on_line`, from another thread."""
        bundle = self._bundles.find(spec.image) if spec.image else None
        env = {"HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
        env.update(bundle.env if bundle else {})
        env["PATH"] = _path_of(bundle) if bundle else _path_of_host()
        env.update(spec.env)
        cwd = spec.working_dir or (bundle.working_dir if bundle else "/")
        places = {"/pfs": str(spec.view)}
        if bundle:
            places.update({f"/{name}": str(bundle.root / name) for name in bundle.top_level})
        places.update(self._lay_files(spec))
        user = self._user(spec, bundle.user if bundle else "")
        request: dict[str, object] = {
            "cmd": spec.cmd,
            "env": env,
            "cwd": cwd,
            "user": user,
            "new_root": None,
            "covers": [],
            "binds": [],
        }
        stdin = spec.stdin
        if self.is_sandboxed:
            binds: list[tuple[str, str, bool]] = [(str(spec.view), "/pfs", False)]
            names = [item.name for item in spec.view.iterdir() if item.name != "out"]
            binds += [(str(spec.view / name), f"/pfs/{name}", True) for name in names]
            binds += [(source, place, True) for place, source in places.items() if place != "/pfs"]
            covers, needed = _reach(bundle.environment) if bundle and bundle.environment else ([], [])
            binds += [(path, path, True) for path in needed]
            request |= {"new_root": str(self._new_root), "covers": covers, "binds": binds}
        else:
            request |= {
                "cmd": [_replace(part, places) for part in spec.cmd],
                "env": {key: _replace(value, places) for key, value in env.items()},
                "cwd": _replace(cwd, places),
            }
            stdin = _replace(stdin, places)
        return Process(self._launcher, request, stdin, on_line, spec.timeout, spec.resources.memory)

    def _user(self, spec: RunSpec, default: str) -> list[int] | None:
        """Who the command runs as, who may then write to `/pfs/out`: the spec's user, or the image's where this kernel
        lets us; None is whoever we are."""
        name = spec.user or (default if self.is_sandboxed else "")
        if not name:
            return None
        user = ids_of(name)
        if user == [os.getuid(), os.getgid()]:
            return None
        if not self.is_sandboxed:
            raise Refused(f'transform.user: this kernel lets nothing run as "{spec.user}"; leave it out')
        if os.getuid() == 0:
            os.chown(spec.view / "out", *user)
        return user


def _top(path: str) -> str:
    return "/" + path.split("/")[1]


def _path_of(bundle: Bundle) -> str:
    """The bundle's own programs before this machine's."""
    own = [str(bundle.environment / "bin")] if bundle.environment else []
    folders = ":".join([*own, bundle.env.get("PATH", USUAL_PATH), USUAL_PATH]).split(":")
    return ":".join(dict.fromkeys(folders))


def _path_of_host() -> str:
    """The server's own Python first, so that what is installed beside it can be imported."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _reach(environment: Path) -> tuple[list[str], list[str]]:
    """How any user gets at an environment and its Python: which folders to cover, since not everybody may pass them, and
    what to bind, there or to be read only."""
    covers, binds = set(), [str(environment.resolve())]
    for path in (environment, python_home(environment)):
        closed = [folder for folder in path.parents if not folder.stat().st_mode & stat.S_IXOTH]
        if closed:
            cover = closed[-1].resolve()
            covers.add(str(cover))
            binds.append(str(cover / path.relative_to(closed[-1])))
    return sorted(covers), binds


def _replace(text: str, places: dict[str, str]) -> str:
    """The text with each of the places, where a whole path begins with it, as the folder that it really is."""
    known = "|".join(re.escape(place) for place in places)
    return re.sub(rf"(?<![\w./-])({known})(?![\w.-])", lambda match: places[match[1]], text)


class Process:
    """One running command."""

    def __init__(
        self,
        launcher: Launcher,
        request: dict[str, object],
        stdin: str,
        on_line: OnLine,
        timeout: float | None,
        memory: int | None,
    ) -> None:
        self._timeout = timeout
        self._memory = memory
        self._problem = ""
        self._may_leak = not request["new_root"]
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self._status, status = os.pipe()
        try:
            self._sandbox = launcher.start(request, theirs_in, theirs_out, status)
        except BaseException:
            for descriptor in (ours_in, ours_out, self._status):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (theirs_in, theirs_out, status):
                os.close(descriptor)
        self._feeder = threading.Thread(target=_feed, args=(ours_in, stdin.encode()), daemon=True)
        self._reader = threading.Thread(target=_read, args=(ours_out, on_line), daemon=True)
        self._feeder.start()
        self._reader.start()

    def kill(self) -> None:
        """Ends the command and all that it started."""
        self._sandbox.kill()

    def wait(self) -> Ended:
        """Waits for the end; a command past its time or memory is ended."""
        start = time.monotonic()
        while True:
            left = None if self._timeout is None else self._timeout - (time.monotonic() - start)
            if left is not None and left <= 0:
                self._end(TIMED_OUT)
                continue
            if self._sandbox.wait(POLL_SECONDS if self._memory else left):
                break
            if self._memory and memory_below(self._sandbox.pid) > self._memory:
                self._end(f"out of memory: it held more than its limit of {self._memory} bytes")
        self._sandbox.close()
        self._reader.join(DRAIN_SECONDS if self._may_leak else None)
        with os.fdopen(self._status) as stream:
            status = stream.read()
        if self._problem:
            return Ended(problem=self._problem)
        if not status:
            return Ended(problem="it was killed before it ended")
        code = os.waitstatus_to_exitcode(int(status))
        return Ended(code=code) if code >= 0 else Ended(signal=_signal_name(-code))

    def _end(self, problem: str) -> None:
        self._problem = problem
        self._timeout = None
        self._memory = None
        self.kill()


def _signal_name(number: int) -> str:
    name = (signal.strsignal(number) or str(number)).lower()
    return f"{name} (out of memory?)" if number == signal.SIGKILL else name


def _feed(descriptor: int, data: bytes) -> None:
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
    except BrokenPipeError:
        return


def _read(descriptor: int, on_line: Callable[[str], None]) -> None:
    with open(descriptor, "rb") as stream:
        while line := stream.readline(LINE_BYTES):
            try:
                on_line(line.decode(errors="replace").rstrip("\n"))
            except OSError as error:
                # A full disk loses lines of the log; the command must not stand still for it.
                log.warning("a line of a log is lost: %s", error)
