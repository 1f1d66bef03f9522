"""What a spec's `pod_spec`, `pod_patch` and annotations say about a container's surroundings.

Pachyderm merges `pod_spec` into the pod of a pipeline's worker and then applies `pod_patch`, a JSON Patch (RFC 6902);
the user's container is the pod's first. Of what they can say a container here heeds `readOnlyRootFilesystem` and mounts
of `emptyDir` volumes. The annotation asks for a network, and names the Docker network to join: a pod always has one, a
command here only then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jsonpatch

from localpach.errors import Refused
from localpach.runtime.interface import Pod

NETWORK = "localpach/network"


@dataclass(frozen=True)
class Surroundings:
    """The network to join, whether the root filesystem is read-only, and where empty folders in memory are."""

    network: str
    read_only: bool
    scratch: tuple[str, ...]


def network_of(asked: Pod, otherwise: str) -> str:
    """The network that a pipeline's annotation asks for, or `otherwise`; `none` is none.

    Raises:
        Refused: it would lead to this machine's own services.
    """
    name = asked.annotations.get(NETWORK, otherwise)
    if name == "host" or name.startswith("container:"):
        raise Refused(
            f'metadata.annotations: {NETWORK} "{name}" would let the command reach what listens on this machine alone;'
            ' "bridge" leads out without that'
        )
    return name


def surroundings(asked: Pod, otherwise: str) -> Surroundings:
    """What a pipeline's pod would have around the user's container; `otherwise` is the network where it names none.

    Raises:
        Refused: the patch does not fit the pod, or mounts what is not an `emptyDir`, or the network is this machine's.
    """
    user: dict[str, Any] = {"name": "user", "volumeMounts": [], "securityContext": {}}
    pod: dict[str, Any] = {"containers": [user, {"name": "storage", "volumeMounts": []}], "volumes": []}
    pod.update(json.loads(asked.spec or "{}"))
    try:
        pod = jsonpatch.apply_patch(pod, json.loads(asked.patch or "[]"))
        container = pod["containers"][0]
        empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        mounts = [(mount["name"], mount["mountPath"]) for mount in container.get("volumeMounts", [])]
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, LookupError, TypeError) as error:
        raise Refused(f"pod_patch does not fit the pod of a pipeline: {error}") from error
    for name, path in mounts:
        if name not in empty:
            raise Refused(f'pod_patch mounts the volume "{name}" at {path}: only volumes of kind emptyDir exist here')
    return Surroundings(
        network=network_of(asked, otherwise),
        read_only=(container.get("securityContext") or {}).get("readOnlyRootFilesystem", True),
        scratch=tuple(path for _, path in mounts),
    )
