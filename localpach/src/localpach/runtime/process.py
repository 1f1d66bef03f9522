"""The process runtime: commands of this machine in sandboxes of bubblewrap, or as near to that as the kernel allows."""

from __future__ import annotations

import base64
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from localpach.disk import remove_tree
from localpach.errors import Refused
from localpach.runtime import bubblewrap, isolation, seccomp
from localpach.runtime.bubblewrap import Sandbox
from localpach.runtime.bundles import Bundle, Bundles
from localpach.runtime.command import Command
from localpach.runtime.dockerfile import USUAL_PATH
from localpach.runtime.environments import python_home
from localpach.runtime.interface import PROCESSES, OnLine, RunSpec
from localpach.runtime.isolation import NOBODY, Isolation
from localpach.runtime.launcher import STARTER, Launcher
from localpach.runtime.layout import HOME, Layout
from localpach.runtime.machine import ids_of, memory_of_machine
from localpach.runtime.pods import NETWORK, network_of
from localpach.runtime.starter import FIRST_FILE, READY

GPU = Path("/dev/nvidiactl")
CONNECT = [
    "slirp4netns",
    "--configure",
    "--mtu=65520",
    "--disable-host-loopback",
    "--enable-sandbox",
    "--enable-seccomp",
    f"--ready-fd={READY}",
    "PID",
    "tap0",
]
# What stands at these places is the sandbox's own.
OWN = ("dev", "home", "pfs", "proc", "sys", "tmp", "var")
# A command that the sandbox keeps from the data directory, its inputs and the machine's root.
PROBE = "test ! -e {token} && echo x >> /pfs/in/a && touch /pfs/out/x && ! touch /usr/x 2>/dev/null"

log = logging.getLogger("localpach")


class ProcessRuntime:
    """Runs commands on this machine."""

    def __init__(
        self, root: Path, may_use_host: bool, network: str = "none", isolated: Isolation | None = None
    ) -> None:
        """`network` is for pipelines that don't say; `isolated` how commands are kept apart, by default as well as can be
        here."""
        self._root = root
        self._bundles = Bundles(root)
        self._may_use_host = may_use_host
        self._network = network
        self.work = root / "work"
        for folder in (self.work, root / "images"):
            folder.mkdir(parents=True, exist_ok=True)
            # Commands pass them on their way; who is not let into the data directory can't.
            folder.chmod(0o711)
        self._user = isolation.job_user()
        self._hidden = isolation.hidden(root)
        if isolated:
            self._try_on(isolated)
        else:
            self._try_best()
        if self.weakness:
            log.warning("%s", self.weakness)

    def _try_on(self, isolated: Isolation) -> None:
        self.isolation = isolated
        self._launcher = Launcher(self._stage() if isolated.namespaces and self._user else [])

    def _stage(self) -> list[str]:
        """Root's commands are somebody else, who gets at what they are given only there."""
        needed = [self.work, self._root / "images", *map(Path, isolation.pythons())]
        return isolation.stage([*needed, STARTER.parent, Path(bubblewrap.find()).parent])

    def _try_best(self) -> None:
        """Takes the strongest that works here, tried on a view; the last needs nothing."""
        for candidate in isolation.candidates():
            self._try_on(candidate)
            if not candidate.namespaces or self._works():
                return

    def _works(self) -> bool:
        folder = Path(tempfile.mkdtemp(dir=self.work))
        try:
            layout = Layout(folder)
            layout.begin_try()
            (layout.view / "in").mkdir()
            (layout.view / "in" / "a").touch()
            probe = PROBE.format(token=self._root / "token")
            spec = RunSpec(["sh", "-c", probe], "", {"PATH": os.defpath}, layout, "")
            ended = self.start(spec, lambda line: log.debug("%s", line)).wait()
            log.debug("probe %s", ended)
            unchanged = not (layout.view / "in" / "a").stat().st_size
            return ended.code == 0 and (layout.out / "x").exists() and unchanged == self.isolation.overlay
        except OSError as error:
            log.debug("probe %s", error)
            return False
        finally:
            remove_tree(folder)

    @property
    def weakness(self) -> str:
        """A sentence on what is missing of the sandbox; empty where nothing is."""
        return self.isolation.problem

    @property
    def may_link(self) -> bool:
        """With an overlay commands change copies."""
        return self.isolation.overlay

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

    def prepare(self, image: str, credentials: str, say: OnLine, is_stopped: Callable[[], bool]) -> None:
        """A bundle is here, and the host is."""

    def start(self, spec: RunSpec, on_line: OnLine) -> Command:
        """Starts a command; each line of its output goes to `on_line`, from another thread."""
        bundle = self._bundles.find(spec.image) if spec.image else None
        env = {"HOME": HOME, "LANG": "C.UTF-8"}
        env.update(bundle.env if bundle else {})
        env["PATH"] = _path_of(bundle) if bundle else _path_of_host()
        env.update(spec.env)
        box = Sandbox(
            layout=spec.layout,
            user=self._seen_user(spec, bundle),
            env=env,
            cwd=spec.working_dir or (bundle.working_dir if bundle else "/"),
            memory=spec.resources.memory or memory_of_machine() // 2,
            binds=_binds(bundle, spec),
            hidden=self._hidden,
            devices=[str(device) for device in Path("/dev").glob("nvidia*")] if spec.resources.gpus else [],
            overlay=self.isolation.overlay,
            network=network_of(spec.pod, self._network) != "none",
            read_only=spec.read_only,
        )
        if not self.isolation.namespaces:
            spec, box = _in_place(spec, box)
        spec.layout.write_env(box.env, HOME if self.isolation.namespaces else str(spec.layout.home))
        if (spec.serve or spec.reach) and not self.isolation.namespaces:
            raise Refused(
                "s3 inputs, s3_out, datum_batching, spouts and services need a sandbox, and this kernel gives commands none"
            )
        self.hand_over(spec.layout)
        if not self.isolation.namespaces:
            request = self._plain(spec.cmd, box)
        elif self.isolation.users:
            request = self._boxed(spec.cmd, box)
        else:
            request = self._boxed_by_root(spec.cmd, box)
        request["port"] = spec.port if spec.serve else None
        request["dial"] = spec.reach_port if spec.reach else None
        return Command(self._launcher, request, spec, on_line)

    def hand_over(self, layout: Layout) -> None:
        """Lets a running command have what was put into its layout since it started."""
        if self._user and self.isolation.namespaces:
            layout.hand_over(*self._user)

    def _seen_user(self, spec: RunSpec, bundle: Bundle | None) -> tuple[int, int]:
        """Whom the command takes itself for: the spec's user, the image's, or else who is root there as in a container."""
        name = spec.user or (bundle.user if bundle else "") or "0:0"
        return ids_of(name)

    def _boxed(self, cmd: list[str], box: Sandbox) -> dict[str, object]:
        """What the starter is asked for a command in a sandbox."""
        words = box.arguments()
        if any("\0" in word for word in words):
            raise Refused("transform: a NUL character in env, working_dir or a secret; leave it out")
        if box.network and not shutil.which(CONNECT[0]):
            raise Refused(f"{NETWORK}: a network of the command's own needs the program {CONNECT[0]}; install it")
        files = ["".join(f"{word}\0" for word in words).encode(), seccomp.program(), bubblewrap.RESOLVER.encode()]
        return {
            "argv": [bubblewrap.find(), "--args", str(FIRST_FILE), "--", *cmd],
            "env": {},
            "cwd": "/",
            "user": self._user,
            "processes": PROCESSES,
            "files": [base64.b64encode(data).decode() for data in files[: 3 if box.network else 2]],
            "boxed": True,
            "filter": "",
            "network": CONNECT if box.network else None,
        }

    def _boxed_by_root(self, cmd: list[str], box: Sandbox) -> dict[str, object]:
        """The same where only root can make one, without a namespace of users: the command becomes nobody within."""
        if box.network:
            raise Refused(
                f"{NETWORK}: this kernel gives no user namespaces, without which commands get no network here"
            )
        drop = [shutil.which("setpriv") or "", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        drop += ["--inh-caps=-all", "--bounding-set=-all", shutil.which("env") or ""]
        # Not before: the loader of programs heeds the environment.
        env = [f"{name}={value}" for name, value in box.env.items()]
        asked = self._boxed([*drop, *env, *cmd], replace(box, user=None, env={}))
        return asked | {"user": None}

    def _plain(self, cmd: list[str], box: Sandbox) -> dict[str, object]:
        """The same without one: as whom we are, without privileges."""
        return {
            "argv": cmd,
            "env": dict(box.env),
            "cwd": box.cwd,
            "user": None,
            "processes": PROCESSES,
            "files": [],
            "boxed": False,
            "filter": base64.b64encode(seccomp.program(box.network)).decode(),
            "network": None,
        }


def _path_of(bundle: Bundle) -> str:
    """The bundle's own programs before this machine's."""
    own = [str(bundle.environment / "bin")] if bundle.environment else []
    folders = ":".join([*own, bundle.env.get("PATH", USUAL_PATH), USUAL_PATH]).split(":")
    return ":".join(dict.fromkeys(folders))


def _path_of_host() -> str:
    """The server's own Python first, so that what is installed beside it can be imported."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _binds(bundle: Bundle | None, spec: RunSpec) -> dict[str, str]:
    """What a command has besides this machine's programs, by place: a Python with what is installed for it, the bundle's
    files, the spec's files."""
    if bundle is None:
        pythons = isolation.pythons()
    elif bundle.environment:
        pythons = [str(bundle.environment), str(python_home(bundle.environment))]
    else:
        pythons = []
    binds = {place: os.path.realpath(place) for place in pythons}
    # A Python is known by its real place, too.
    binds |= {real: real for real in binds.values()}
    binds = {place: real for place, real in binds.items() if place.split("/")[1] not in bubblewrap.SYSTEM}
    if bundle:
        binds |= {f"/{name}": str(bundle.root / name) for name in bundle.top_level}
    taken = {*bubblewrap.SYSTEM, *OWN, *(bundle.top_level if bundle else ())}
    for path, laid in spec.layout.lay_files(spec.files).items():
        top = path.split("/")[1]
        if top in taken:
            raise Refused(f"transform.secrets: /{top} is there already; mount it in a folder of its own")
        binds[f"/{top}"] = str(spec.layout.files / top) if path.count("/") > 1 else str(laid)
    return binds


def _in_place(spec: RunSpec, box: Sandbox) -> tuple[RunSpec, Sandbox]:
    """What to run where nothing can be put in the places it has in a sandbox: with the names of where it really is."""
    if spec.user and ids_of(spec.user) != (os.getuid(), os.getgid()):
        raise Refused(f'transform.user: this kernel lets nothing run as "{spec.user}"; leave it out')
    layout = spec.layout
    places = {**box.binds, "/pfs": str(layout.view)}
    env = {**box.env, "HOME": str(layout.home), "TMPDIR": str(layout.tmp)} | spec.env
    return (
        replace(spec, cmd=[_replace(word, places) for word in spec.cmd], stdin=_replace(spec.stdin, places)),
        replace(box, env={name: _replace(value, places) for name, value in env.items()}, cwd=_replace(box.cwd, places)),
    )


def _replace(text: str, places: dict[str, str]) -> str:
    """The text with each of the places, where a whole path begins with it, as the folder that it really is."""
    known = "|".join(re.escape(place) for place in places)
    return re.sub(rf"(?<![\w./-])({known})(?![\w.-])", lambda match: places[match[1]], text)
