"""Moments and lengths of time in requests: the wire can carry some that there are not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.errors import Malformed

# The system can wait no longer than three times that.
MAX_SECONDS = 100 * 366 * 24 * 3600


def check_times(message: Message) -> None:
    """Raises Malformed for a moment outside of the years 1 to 9999, or a length beyond a hundred years, by its field."""
    if not _may_hold_times(message.DESCRIPTOR):
        return
    for field, value in message.ListFields():
        for each in _messages(field, value):
            if isinstance(each, Timestamp | Duration):
                _check(field, each)
            else:
                check_times(each)


@cache
def _may_hold_times(kind: Descriptor) -> bool:
    seen: set[str] = set()
    left = [kind]
    while left:
        each = left.pop()
        if each in (Timestamp.DESCRIPTOR, Duration.DESCRIPTOR):
            return True
        if each.full_name not in seen:
            seen.add(each.full_name)
            left += [field.message_type for field in each.fields if field.message_type is not None]
    return False


def _messages(field: FieldDescriptor, value: Any) -> Iterable[Message]:
    """The messages that are a field's value."""
    kind = field.message_type
    if kind is None:
        return ()
    if kind.GetOptions().map_entry:
        return value.values() if kind.fields_by_name["value"].message_type is not None else ()
    return value if field.is_repeated else (value,)


def _check(field: FieldDescriptor, time: Timestamp | Duration) -> None:
    try:
        time.ToJsonString()
    except ValueError as error:
        raise Malformed(f"{field.full_name}: {error}") from error
    if isinstance(time, Duration) and abs(time.seconds) > MAX_SECONDS:
        raise Malformed(f"{field.full_name}: {time.seconds} seconds are more than a hundred years")
