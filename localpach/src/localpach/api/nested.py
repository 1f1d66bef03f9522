"""What a message holds, however deep."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message


@cache
def may_hold(kind: Descriptor, *wanted: Descriptor) -> bool:
    """Whether a message of a kind is, or can hold, one of the wanted kinds."""
    seen: set[str] = set()
    left = [kind]
    while left:
        each = left.pop()
        if each in wanted:
            return True
        if each.full_name not in seen:
            seen.add(each.full_name)
            left += [field.message_type for field in each.fields if field.message_type is not None]
    return False


def messages_in(message: Message) -> Iterator[tuple[FieldDescriptor, Message]]:
    """The messages that are values of a message's fields, each with its field."""
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is None:
            continue
        if kind.GetOptions().map_entry:
            values = value.values() if kind.fields_by_name["value"].message_type is not None else ()
        else:
            values = value if field.is_repeated else (value,)
        for each in values:
            yield field, each
