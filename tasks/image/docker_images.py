"""Docker's daemon and the registry behind it: build, push, look up, with each failure as one sentence.

The daemon's classic builder is used. BuildKit can only be driven through the `docker` program with its buildx plugin,
which the `docker` library does not need and many machines lack; for this Dockerfile the two build the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import exclude_paths
from requests import RequestException

from tasks.errors import ScriptwrightError

ANSWER_SECONDS = 600
LAST_LINES = 10
Login = Mapping[str, str]
OnProgress = Callable[[str, float], None]


class ImageError(ScriptwrightError):
    """The image can't be built, pushed or seen by the target."""


class DockerUnavailable(ImageError):
    """No Docker daemon answers, or it does not let us in."""


def connect() -> APIClient:
    """The daemon that `DOCKER_HOST` names, or the usual one, once it has answered.

    Raises:
        DockerUnavailable: it did not.
    """
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        return docker.from_env(timeout=ANSWER_SECONDS).api
    except DockerException as error:
        if "Permission denied" in str(error):
            raise DockerUnavailable(
                f"Docker's daemon at {address} does not let you in (permission denied); join the group that its socket"
                " belongs to, often `docker`."
            ) from error
        raise DockerUnavailable(f"Docker's daemon does not answer at {address}; start it.") from error


def context_files(context: Path) -> list[str]:
    """What `.dockerignore` lets into the build, sorted."""
    patterns = (context / ".dockerignore").read_text().splitlines()
    found = exclude_paths(str(context), [line for line in patterns if line and not line.startswith("#")])
    return sorted(name for name in found if name != ".dockerignore" and (context / name).is_file())


def has_image(api: APIClient, name: str) -> bool:
    """Whether the daemon has an image of that name."""
    try:
        api.inspect_image(name)
    except ImageNotFound:
        return False
    return True


def build(api: APIClient, context: Path, name: str, arguments: Mapping[str, str], on_progress: OnProgress) -> None:
    """Builds the image; `on_progress` gets each line of the log and the part of the steps that is begun.

    Raises:
        ImageError: with the failing step and the end of its log; what was built until then is removed.
    """
    steps = _Steps(on_progress)
    try:
        events = api.build(path=str(context), tag=name, buildargs=dict(arguments), rm=True, forcerm=True, decode=True)
        for event in events:
            if "error" in event:
                raise ImageError(steps.failure(event["error"]))
            for line in event.get("stream", "").splitlines():
                steps.add(line)
    except RequestException as error:
        raise ImageError(steps.failure(_words(error))) from error
    except BaseException:
        _remove_unfinished(api, steps.newest)
        raise


class _Steps:
    """The log of a build, read line by line."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._part = 0.0
        self._step = ""
        self._lines: list[str] = []
        self.newest = ""

    def add(self, line: str) -> None:
        step = re.match(r"Step (\d+)/(\d+) : (.*)", line)
        layer = re.fullmatch(r" ---> ([0-9a-f]{12,})", line)
        if step:
            self._part, self._step, self._lines = (int(step[1]) - 1) / int(step[2]), line, []
        elif layer:
            self.newest = layer[1]
        elif line.strip() and not line.startswith((" ---> ", "Removing intermediate container ")):
            self._lines.append(line)
        if line.strip():
            self._on_progress(line, self._part)

    def failure(self, problem: str) -> str:
        problem = problem.strip().rstrip(".")
        if "no space left on device" in problem:
            return f"The image can't be built: {problem}. Free some space, for example with `docker system prune`."
        if not self._step:
            return f"Docker can't build the image: {problem}."
        if ": FROM " in self._step:
            return (
                f"The base image is not here and could not be pulled ({self._step}): {problem}. Set BASE_IMAGE to"
                " another one, or IMAGE_BUILDER=bundle where no cluster is used."
            )
        log = "".join(f"\n  {line}" for line in self._lines[-LAST_LINES:])
        return f"{self._step} failed: {problem}" + (f"\nThe end of its log:{log}" if log else "")


def _remove_unfinished(api: APIClient, newest: str) -> None:
    """Removes the layers of a build that failed, but for what other images use."""
    with suppress(APIError):
        if newest and not api.inspect_image(newest)["RepoTags"]:
            api.remove_image(newest)


def pushed_digest(api: APIClient, name: str, login: Login | None) -> str | None:
    """The digest under which the registry has an image; None if it has no such image.

    Raises:
        ImageError: the registry does not answer, or refuses the login.
    """
    with _registry_errors(name):
        try:
            return str(api.inspect_distribution(name, auth_config=login)["Descriptor"]["digest"])
        except NotFound:
            return None


def push(api: APIClient, name: str, login: Login | None, on_progress: OnProgress) -> str:
    """Pushes an image and gives its digest, which the registry was asked for again.

    Raises:
        ImageError: the push broke off, or the registry has something else now.
    """
    layers: dict[str, tuple[int, int]] = {}
    said: dict[str, str] = {}
    digest = ""
    with _registry_errors(name):
        for event in api.push(name, stream=True, decode=True, auth_config=login):
            if "error" in event:
                raise ImageError(_registry_failure(name, event["error"]))
            digest = (event.get("aux") or {}).get("Digest", digest)
            layer, status = event.get("id", ""), event.get("status", "")
            detail = event.get("progressDetail") or {}
            if detail.get("total"):
                layers[layer] = (min(detail.get("current", 0), detail["total"]), detail["total"])
            done, total = (sum(part) for part in zip(*layers.values(), strict=True)) if layers else (0, 1)
            line = f"{layer}: {status}".removeprefix(": ") if said.get(layer) != status else ""
            said[layer] = status
            on_progress(line, done / total)
    there = pushed_digest(api, name, login)
    if not digest or there != digest:
        raise ImageError(f"{name} was pushed as {digest or 'nothing'}, but the registry has {there}; run again.")
    return digest


@contextmanager
def _registry_errors(name: str) -> Iterator[None]:
    try:
        yield
    except RequestException as error:
        raise ImageError(_registry_failure(name, _words(error))) from error


def _registry_failure(name: str, problem: str) -> str:
    registry, problem = name.partition("/")[0], problem.strip()
    if re.search(r"unauthorized|authentication required|no basic auth|access denied|\bdenied:", problem, re.IGNORECASE):
        return (
            f"The registry {registry} refuses the login ({problem}): run `docker login {registry}`, or name a block with"
            " the right one in IMAGE_REGISTRY_BLOCK."
        )
    return f"The registry {registry} could not be used ({problem}): check IMAGE_REGISTRY and run again."


def _words(error: RequestException) -> str:
    """The daemon's own words where it has answered; the library's errors are those of requests."""
    return str(getattr(error, "explanation", None) or error).strip().rstrip(".")
