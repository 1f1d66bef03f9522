"""Messages as the recordings have them."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message


def shown(message: Message) -> Any:
    """A message as JSON's values, with the names of its fields as they are in the proto files."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
