"""The Docker runtime: a container for each run of a command, on this machine's Docker daemon.

The `docker` library is imported, and the daemon asked, when an image first needs it: a server starts without either.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localpach.errors import Precondition, Refused
from localpach.runtime.interface import TIMED_OUT, Ended, OnLine, RunSpec
from localpach.runtime.pods import surroundings

if TYPE_CHECKING:
    from docker import APIClient

# Containers carry it with the data directory of their server as value.
LABEL = "localpach.root"
API_SECONDS = 60
ASK_AGAIN_SECONDS = 2.0
LINE_BYTES = 1 << 20
KILLED = 137
NOT_RUN = 127

log = logging.getLogger("localpach")


class DockerRuntime:
    """Runs commands in containers, which end with their command and are removed then."""

    is_sandboxed = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._api: APIClient | None = None
        self._asked = 0.0
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
            return f"Docker's daemon does not answer: {_sentence(error)}"
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
            kind, _, place = address.partition("://")
            try:
                if kind == "unix":
                    _knock(place)
                import docker  # noqa: PLC0415

                api = docker.from_env(timeout=API_SECONDS).api
                for left in api.containers(all=True, filters={"label": f"{LABEL}={self._root}"}):
                    api.remove_container(left["Id"], force=True, v=True)
            except Exception as error:
                if not isinstance(error, OSError) and type(error).__name__ != "DockerException":
                    raise
                self._asked = time.monotonic()
                self._silence = f"Docker's daemon does not answer at {address} ({_sentence(error)})"
                raise Precondition(self._silence) from error
            self._api = api
            return api

    def _settings(self, api: APIClient, spec: RunSpec) -> dict[str, Any]:
        """The container that a spec asks for, as the API's arguments."""
        from docker.types import DeviceRequest, LogConfig, Mount  # noqa: PLC0415

        out = spec.view / "out"
        sources = {f"/pfs/{item.name}": item for item in spec.view.iterdir() if item.name != "out"}
        sources |= _lay_files(spec)
        limits, around = spec.resources, surroundings(spec.pod)
        requests = [DeviceRequest(driver="nvidia", count=limits.gpus, capabilities=[["gpu"]])] if limits.gpus else None
        user = spec.user
        if os.getuid() == 0:
            # Whoever the image runs as; nobody else gets as far as this folder.
            out.chmod(0o777)
        elif spec.user:
            raise Refused(
                f'transform.user: what "{spec.user}" writes we could not delete; leave it out, or serve as root'
            )
        else:
            user = f"{os.getuid()}:{os.getgid()}"
        host = api.create_host_config(
            mounts=[
                Mount("/pfs/out", str(out), type="bind"),
                *(Mount(place, str(source), type="bind", read_only=True) for place, source in sources.items()),
            ],
            network_mode=around.network,
            read_only=around.read_only,
            tmpfs=dict.fromkeys(around.scratch, "mode=1777"),
            mem_limit=limits.memory,
            memswap_limit=limits.memory,
            mem_reservation=limits.requested_memory,
            nano_cpus=int(min(limits.cpu, os.cpu_count() or 1) * 1e9) if limits.cpu else None,
            cpu_shares=max(2, int(limits.requested_cpu * 1024)) if limits.requested_cpu else None,
            device_requests=requests,
            security_opt=["no-new-privileges"],
            log_config=LogConfig(type="none"),
        )
        return {
            "image": spec.image,
            "entrypoint": spec.cmd[:1],
            "command": spec.cmd[1:],
            "environment": spec.env,
            "user": user or None,
            "working_dir": spec.working_dir or None,
            "stdin_open": bool(spec.stdin),
            "labels": {LABEL: str(self._root)},
            "host_config": host,
        }


class Container:
    """One command running in a container."""

    def __init__(self, api: APIClient, settings: dict[str, Any], spec: RunSpec, on_line: OnLine) -> None:
        self._api = api
        self._timeout = spec.timeout
        self._memory = spec.resources.memory
        self._problem = ""
        self._is_killed = False
        self._id = api.create_container(**settings)["Id"]
        try:
            self._stream = api.attach(self._id, stream=True, demux=True)
            self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
            self._reader.start()
            if spec.stdin:
                pipe = api.attach_socket(self._id, params={"stdin": 1, "stream": 1})
                threading.Thread(target=_feed, args=(pipe, spec.stdin.encode()), daemon=True).start()
            self._failure = self._launch(on_line)
        except BaseException:
            self._remove()
            raise

    def _launch(self, on_line: OnLine) -> Ended | None:
        """Starts the container; gives the end of one whose command can't be run."""
        from docker.errors import APIError  # noqa: PLC0415

        try:
            self._api.start(self._id)
        except APIError as error:
            problem = re.search(r"exec: (\"?.*)", error.explanation or "")
            if problem is None:
                raise
            on_line(f"can't run {problem[1]}")
            return Ended(code=NOT_RUN)
        return None

    def kill(self) -> None:
        """Ends the command and all that it started."""
        self._is_killed = True
        with contextlib.suppress(OSError):
            self._api.kill(self._id)

    def wait(self) -> Ended:
        """Waits for the end and removes the container."""
        try:
            if self._failure is not None:
                return self._failure
            code = self._wait()
            self._reader.join()
            state = self._api.inspect_container(self._id)["State"]
            if self._problem:
                return Ended(problem=self._problem)
            if self._is_killed:
                return Ended(problem="it was killed before it ended")
            if state["OOMKilled"] and code:
                limit = f"its limit of {self._memory} bytes" if self._memory else "what this machine has"
                return Ended(problem=f"out of memory: it was killed for holding more than {limit}")
            if code == KILLED:
                return Ended(problem="its container was killed from outside")
            return Ended(code=code)
        except OSError as error:
            if getattr(getattr(error, "response", None), "status_code", None) == 404:
                return Ended(problem="its container was removed from outside")
            return Ended(problem=f"Docker's daemon does not answer any more: {_sentence(error)}")
        finally:
            self._remove()

    def _wait(self) -> int:
        from requests import ConnectionError, ReadTimeout  # noqa: PLC0415

        start = time.monotonic()
        try:
            return self._api.wait(self._id, timeout=self._timeout)["StatusCode"]
        except (ConnectionError, ReadTimeout):
            if self._timeout is None or time.monotonic() - start < self._timeout:
                raise
        self._problem = TIMED_OUT
        self.kill()
        return self._api.wait(self._id, timeout=API_SECONDS)["StatusCode"]

    def _read(self, on_line: OnLine) -> None:
        try:
            for line in _lines(self._stream):
                on_line(line)
        except OSError as error:
            log.warning("the log of a container breaks off: %s", error)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._api.remove_container(self._id, force=True, v=True)


def _lines(frames: Iterator[tuple[bytes | None, bytes | None]]) -> Iterator[str]:
    """The lines of both streams as they come; very long ones in pieces."""
    left = [b"", b""]
    for frame in frames:
        for number, data in enumerate(frame):
            *whole, rest = (left[number] + (data or b"")).split(b"\n")
            if len(rest) >= LINE_BYTES:
                whole, rest = [*whole, rest], b""
            left[number] = rest
            yield from (line.decode(errors="replace") for line in whole)
    yield from (line.decode(errors="replace") for line in left if line)


def _feed(pipe: Any, data: bytes) -> None:
    """Writes a container's input and ends it."""
    with contextlib.suppress(OSError), contextlib.closing(pipe):
        pipe._sock.sendall(data)
        pipe._sock.shutdown(socket.SHUT_WR)


def _lay_files(spec: RunSpec) -> dict[str, Path]:
    """Writes a spec's small files; gives them by where they shall be."""
    folder = spec.view.with_name("files")
    places = {}
    for path, text in spec.files.items():
        places[path] = folder / path.strip("/")
        places[path].parent.mkdir(parents=True, exist_ok=True)
        places[path].write_text(text)
    return places


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
    return api.pull(image, stream=True, decode=True, auth_config=login)


def _knock(place: str) -> None:
    """Whether somebody listens on a socket; to ask costs less than to import the library."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(place)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns what the library raises (all of it is an OSError) into a sentence."""
    try:
        yield
    except OSError as error:
        raise Precondition(f"{what}: {_sentence(error)}") from error


def _sentence(error: Exception) -> str:
    """The daemon's own words, or the system's."""
    text = getattr(error, "explanation", None) or getattr(error, "strerror", None) or str(error)
    return str(text).strip().splitlines()[-1]
