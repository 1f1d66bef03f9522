"""The filters of lists, in the language of jq."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jq
from google.protobuf import json_format

from localpach.errors import Refused


def jq_filter(program: str) -> Callable[[Any], bool]:
    """A predicate of a jq filter, which keeps what its first result is for: anything but `false` and `null`."""
    if not program:
        return lambda info: True

    try:
        compiled = jq.compile(program)
    except ValueError as error:
        raise Refused(f"jqFilter: {error}") from error

    def keep(info: Any) -> bool:
        shown = json_format.MessageToDict(info, preserving_proto_field_name=True)
        first = next(iter(compiled.input_value(shown)), None)
        return first is not None and first is not False

    return keep
