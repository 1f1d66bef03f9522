"""Specifications of pipelines: read from files, and as Pachyderm is asked for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import python_pachyderm
import yaml
from google.protobuf import json_format
from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import PachydermError, pps

SPEC_HASH = "prefect-pachyderm/spec-sha256"
PARSERS: dict[str, Callable[[str], Any]] = {".json": json.loads, ".yaml": yaml.safe_load, ".yml": yaml.safe_load}


@dataclass(frozen=True)
class Template:
    """A pipeline's specification as a jsonnet file, and the arguments of the function that it holds."""

    file: Path
    arguments: Mapping[str, str]


def read_spec(
    path: Path, arguments: Mapping[str, str], connect: Callable[[], python_pachyderm.Client]
) -> dict[str, Any]:
    """The one specification in a file of JSON, YAML or jsonnet, which Pachyderm renders with the arguments.

    Raises:
        PachydermError: there is no such file, or something else is in it.
    """
    if path.suffix not in (*PARSERS, ".jsonnet"):
        raise PachydermError(f"The specification {path} is of no known kind; name it .json, .yaml, .yml or .jsonnet.")
    if arguments and path.suffix != ".jsonnet":
        raise PachydermError(f"The specification {path} takes no arguments; only one in jsonnet does.")
    try:
        text = path.read_text()
        spec = PARSERS[path.suffix](text) if path.suffix in PARSERS else _render(text, arguments, connect())
    except OSError as error:
        raise PachydermError(f"The specification {path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise PachydermError(f"The specification {path} can't be read: {_on_one_line(error)}.") from error
    if not isinstance(spec, dict):
        raise PachydermError(f"{path} holds no specification, or several; it has to hold one, a mapping.")
    try:
        request = request_of(spec)
    except PachydermError as error:
        raise PachydermError(f"{path}: {error}") from error
    if not request.pipeline.name:
        raise PachydermError(f"{path}: The pipeline's specification is not usable: it gives the pipeline no name.")
    return spec


def _on_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def request_of(spec: dict[str, Any]) -> pps_proto.CreatePipelineRequest:
    """What Pachyderm is asked for a pipeline of this specification, by whose hash it is known again.

    Raises:
        PachydermError: it is no specification.
    """
    try:
        request = json_format.ParseDict(spec, pps_proto.CreatePipelineRequest())
        canonical = json.dumps(spec, sort_keys=True).encode()
    except (json_format.ParseError, TypeError, ValueError) as error:
        raise PachydermError(f"The pipeline's specification is not usable: {_on_one_line(error)}.") from error
    request.metadata.annotations[SPEC_HASH] = hashlib.sha256(canonical).hexdigest()
    return request


def _render(text: str, arguments: Mapping[str, str], client: python_pachyderm.Client) -> Any:
    rendered = pps(client).RenderTemplate(pps_proto.RenderTemplateRequest(template=text, args=arguments))
    return json.loads(rendered.json)
