"""Moments and lengths of time in requests: the wire can carry some that there are not."""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from localpach.api.nested import may_hold, messages_in
from localpach.errors import Malformed

# The system can wait no longer than three times that.
MAX_SECONDS = 100 * 366 * 24 * 3600


def check_times(message: Message) -> None:
    """Raises Malformed for a moment outside of the years 1 to 9999, or a length beyond a hundred years, by its field."""
    if not may_hold(message.DESCRIPTOR, Timestamp.DESCRIPTOR, Duration.DESCRIPTOR):
        return
    for field, each in messages_in(message):
        if isinstance(each, Timestamp | Duration):
            _check(field, each)
        else:
            check_times(each)


def _check(field: FieldDescriptor, time: Timestamp | Duration) -> None:
    try:
        time.ToJsonString()
    except ValueError as error:
        raise Malformed(f"{field.full_name}: {error}") from error
    if isinstance(time, Duration) and abs(time.seconds) > MAX_SECONDS:
        raise Malformed(f"{field.full_name}: {time.seconds} seconds are more than a hundred years")
