"""Messages as the recordings have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

WIRE = Path(__file__).parents[1] / "wire-2.7.txt"
FIELDS = {line.split()[1] for line in WIRE.read_text().splitlines() if line.startswith("field ")}


def shown(message: Message) -> Any:
    """A message as JSON's values, with the names of its fields as they are in the proto files, as far as a client of 2.7
    sees it."""
    seen = type(message)()
    seen.CopyFrom(message)
    _forget(seen)
    return json_format.MessageToDict(seen, preserving_proto_field_name=True)


def _forget(message: Message) -> None:
    """Clears the fields that later versions brought."""
    for field, value in message.ListFields():
        if field.full_name.startswith("google.protobuf."):
            continue
        if field.full_name not in FIELDS:
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else (value,):
                _forget(each)
