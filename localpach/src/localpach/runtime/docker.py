"""The Docker runtime: a container for each run of a command, on this machine's Docker daemon.

The `docker` library is imported, and the daemon asked, when an image first needs it: a server starts without either.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localpach.disk import walk
from localpach.errors import Precondition, Refused
from localpach.runtime import seccomp
from localpach.runtime.container import API_SECONDS, Container, sentence
from localpach.runtime.interface import PROCESSES, OnLine, RunSpec
from localpach.runtime.layout import HOME, Layout
from localpach.runtime.machine import memory_of_machine
from localpach.runtime.network import GATE, WAIT, make_gate
from localpach.runtime.pods import surroundings

if TYPE_CHECKING:
    from docker import APIClient

# Containers carry it with the data directory of their server as value.
LABEL = "localpach.root"
ASK_AGAIN_SECONDS = 2.0


class DockerRuntime:
    """Runs commands in containers, which end with their command and are removed then."""

    may_link = True
    weakness = ""

    def __init__(self, root: Path, network: str = "none") -> None:
        """`network` is for pipelines that don't say."""
        self._root = root
        self._network = network
        self._api: APIClient | None = None
        self._asked = float("-inf")
        self._silence = ""
        self._lock = threading.Lock()
        self._pulling = threading.Lock()

    def crash_reason(self, image: str, gpus: int) -> str:
        """Why a pipeline can't run here: no daemon answers, or it has no GPU to give."""
        try:
            api = self._connect()
            api.ping()
            if gpus and "nvidia" not in api.info()["Runtimes"]:
                return f"resource_limits.gpu asks for {gpus}, and this machine's Docker has no GPU to give"
        except Precondition as error:
            return (
                f'image "{image}" is not here, and {error.message}: start Docker, build the image with'
                f" `localpach image build --tag {image} FOLDER`, or serve with `--missing-image host` to use this"
                " machine's programs"
            )
        except OSError as error:
            return f"Docker's daemon does not answer: {sentence(error)}"
        return ""

    def prepare(self, image: str, credentials: str, say: OnLine, is_stopped: Callable[[], bool]) -> None:
        """Pulls the image unless it is here."""
        with self._pulling, _told(f'image "{image}" is not here and could not be pulled'):
            api = self._connect()
            if not _has(api, image):
                say(f"pulling image {image}")
                for event in _pull(api, image, credentials):
                    if "error" in event:
                        raise Precondition(f'image "{image}" is not here and could not be pulled: {event["error"]}')
                    if is_stopped():
                        return

    def start(self, spec: RunSpec, on_line: OnLine) -> Container:
        """Starts a container."""
        api = self._connect()
        with _told(f'image "{spec.image}" could not be run'):
            return Container(api, self._settings(api, spec), spec, on_line)

    def hand_over(self, layout: Layout) -> None:
        """As root: whoever the image runs as."""
        if os.getuid() == 0:
            _open_to_all(layout)

    def remove_leftovers(self) -> None:
        """Removes the containers of an earlier server on this data directory that was killed while they ran."""
        if any((self._root / "work").glob("*")):
            with contextlib.suppress(Precondition):
                self._connect()

    def _connect(self) -> APIClient:
        """The daemon that `DOCKER_HOST` names, or the usual one.

        Raises:
            Precondition: it does not answer, or not to us.
        """
        with self._lock:
            if self._api is not None:
                return self._api
            if time.monotonic() - self._asked < ASK_AGAIN_SECONDS:
                raise Precondition(self._silence)
            address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
            try:
                api = _open(address)
                for left in api.containers(all=True, filters={"label": f"{LABEL}={self._root}"}):
                    api.remove_container(left["Id"], force=True, v=True)
            except OSError as error:
                self._asked = time.monotonic()
                self._silence = f"Docker's daemon does not answer at {address} ({sentence(error)})"
                raise Precondition(self._silence) from error
            self._api = api
            return api

    def _settings(self, api: APIClient, spec: RunSpec) -> dict[str, Any]:
        """The container that a spec asks for, as the API's arguments."""
        from docker.types import DeviceRequest, LogConfig, Mount, Ulimit  # noqa: PLC0415

        layout = spec.layout
        limits, around = spec.resources, surroundings(spec.pod, self._network)
        requests = [DeviceRequest(driver="nvidia", count=limits.gpus, capabilities=[["gpu"]])] if limits.gpus else None
        user, env = spec.user, {"HOME": HOME, **spec.env}
        layout.write_env(env, HOME)
        if os.getuid() == 0:
            # Whoever the image runs as; nobody else gets as far as these folders.
            _open_to_all(layout)
        elif spec.user:
            raise Refused(
                f'transform.user: what "{spec.user}" writes we could not delete; leave it out, or serve as root'
            )
        else:
            user = f"{os.getuid()}:{os.getgid()}"
        own = {"/pfs/out": layout.out, "/tmp": layout.tmp, "/var/tmp": layout.tmp, HOME: layout.home}
        cmd, files = spec.cmd, layout.lay_files(spec.files)
        if spec.serve:
            make_gate(layout.gate)
            cmd, files = [*WAIT, *cmd], {**files, GATE: layout.gate}
        host = api.create_host_config(
            mounts=[
                Mount("/pfs", str(layout.view), type="bind", read_only=True) if spec.read_only else _inputs(layout),
                *(
                    Mount(place, str(source), type="bind")
                    for place, source in own.items()
                    if place not in around.scratch
                ),
                *(Mount(place, str(source), type="bind", read_only=True) for place, source in files.items()),
            ],
            network_mode=around.network,
            read_only=around.read_only,
            tmpfs=dict.fromkeys(around.scratch, "mode=1777"),
            mem_limit=limits.memory or memory_of_machine(),
            memswap_limit=limits.memory or memory_of_machine(),
            mem_reservation=limits.requested_memory,
            nano_cpus=int(min(limits.cpu, os.cpu_count() or 1) * 1e9) if limits.cpu else None,
            cpu_shares=max(2, int(limits.requested_cpu * 1024)) if limits.requested_cpu else None,
            device_requests=requests,
            cap_drop=["ALL"],
            pids_limit=PROCESSES,
            ulimits=[Ulimit(name="core", soft=0, hard=0)],
            security_opt=["no-new-privileges", f"seccomp={seccomp.docker_profile()}"],
            log_config=LogConfig(type="none"),
        )
        return {
            "image": spec.image,
            "entrypoint": cmd[:1],
            "command": cmd[1:],
            "environment": env,
            "user": user or None,
            "working_dir": spec.working_dir or None,
            "stdin_open": bool(spec.stdin),
            "labels": {LABEL: str(self._root)},
            "host_config": host,
        }


def _inputs(layout: Layout) -> Any:
    """The inputs, of which the container changes a view of its own."""
    from docker.types import DriverConfig, Mount  # noqa: PLC0415

    layers = f"lowerdir={layout.view},upperdir={layout.changes},workdir={layout.overlay}"
    driver = DriverConfig("local", {"type": "overlay", "device": "overlay", "o": layers})
    return Mount("/pfs", None, type="volume", driver_config=driver, no_copy=True)


def _open_to_all(layout: Layout) -> None:
    for path, status in walk(layout.view):
        if stat.S_ISLNK(status.st_mode):
            continue
        Path(path).chmod(0o777 if stat.S_ISDIR(status.st_mode) else status.st_mode | 0o666)
    for folder in (layout.home, layout.changes, layout.out):
        folder.chmod(0o777)


def _has(api: APIClient, image: str) -> bool:
    from docker.errors import ImageNotFound  # noqa: PLC0415

    try:
        api.inspect_image(image)
    except ImageNotFound:
        return False
    return True


def _pull(api: APIClient, image: str, credentials: str) -> Iterator[dict[str, Any]]:
    """Pulls an image; without credentials those of Docker's own configuration are used."""
    from docker import auth  # noqa: PLC0415

    login = None
    if credentials:
        config = json.loads(credentials)
        for entry in config["auths"].values():
            if "auth" not in entry:
                entry["auth"] = b64encode(f"{entry.get('username')}:{entry.get('password')}".encode()).decode()
        registry, _ = auth.resolve_repository_name(image)
        login = auth.AuthConfig.load_config(None, config).resolve_authconfig(registry)
    events: Iterator[dict[str, Any]] = api.pull(image, stream=True, decode=True, auth_config=login)
    return events


def _open(address: str) -> APIClient:
    """A client of a daemon that has answered; raises OSError for one that has not."""
    kind, _, place = address.partition("://")
    if kind == "unix":
        # To knock costs less than to import the library.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(place)
    import docker  # noqa: PLC0415

    try:
        return docker.from_env(timeout=API_SECONDS).api
    except docker.errors.DockerException as error:
        raise ConnectionError(str(error)) from error


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns what the library raises (all of it is an OSError) into a sentence."""
    try:
        yield
    except OSError as error:
        raise Precondition(f"{what}: {sentence(error)}") from error
