"""Messages made up from their descriptors: what fits, what hardly fits, and bytes that are no message at all."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

# What texts may be: names that there are, what refers to something, what is nearly right, and what is not right at all.
TEXTS = [
    *(
        "",
        "in",
        "copy",
        "out",
        "default",
        "user",
        "spec",
        "meta",
        "master",
        "staging",
        "master^",
        "master.1",
        "^",
        "a=b",
    ),
    *(
        "/",
        "/a",
        "/d/b",
        "d/",
        "/d/",
        "/none",
        "/*",
        "/**",
        "/(*)",
        "/{a,d/b}",
        "[z-a]",
        "/{a",
        "((",
        "$1",
        "../a",
        "//",
    ),
    *("0" * 32, "f" * 31, "00000000-0000-4000-8000-000000000000", "secret", "token", "true", "sh", "host", "none:1"),
    *(
        "@every 1s",
        "@never",
        "* * * * *",
        "61 * * * *",
        "100Mi",
        "1",
        "-1",
        "1e400",
        "0.5x",
        "{}",
        "[1",
        '{"a": 1}',
        "null",
    ),
    *("é", "\0", "a\nb", "x" * 300, "/x" * 300, "http://127.0.0.1:1/x", "file:///etc/passwd", "s3://b/k", ".data", "."),
    *(
        "function(a) {}",
        "local f(x) = f(x); f(1)",
        "error 'no'",
        "(.*)*$",
        "-inf",
        "1970-01-01T00:00:00Z",
        "commit",
        "2GB",
    ),
]
# What there is, for fields of these names; `ids` stands for what the server has told of.
FITTING: dict[str, list[Any]] = {
    "Repo.name": ["in", "copy", "in", "other"],
    "Repo.type": ["user"] * 6 + ["", "spec", "meta"],
    "Project.name": ["", "default", "default", "default", "default", "other"],
    "Branch.name": ["master", "master", "staging", ""],
    "Commit.id": ["", "ids"],
    "CommitSet.id": ["ids"],
    "Job.id": ["ids"],
    "JobSet.id": ["ids"],
    "Datum.id": ["ids", ""],
    "Transaction.id": ["ids"],
    "AddFileSetRequest.file_set_id": ["ids"],
    "RenewFileSetRequest.file_set_id": ["ids"],
    "ShardFileSetRequest.file_set_id": ["ids"],
    "ComposeFileSetRequest.file_set_ids": ["ids"],
    "Pipeline.name": ["copy", "copy", "more"],
    "File.path": ["/a", "/d/b", "/", "/d/", "/*"],
    "File.datum": ["", "", "ids"],
    "AddFile.path": ["/a", "/d/b", "/new"],
    "AddFile.datum": ["", "x"],
    "DeleteFile.path": ["/a", "/d/", "/new"],
    "CopyFile.dst": ["/copied", "/a"],
    "GlobFileRequest.pattern": ["/*", "/**", "/{a,d/b}"],
    "PFSInput.repo": ["in"],
    "PFSInput.branch": ["master", ""],
    "PFSInput.repo_type": ["user", ""],
    "PFSInput.commit": [""],
    "PFSInput.glob": ["/*", "/", "/(*)"],
    "PFSInput.s3": [0],
    "CronInput.spec": ["@never", "@every 1s"],
    "CronInput.name": ["tick"],
    "Transform.cmd": ["true", "sh"],
    "Transform.image": ["host"],
    "Secret.name": ["secret"],
    "GetFileRequest.URL": [""],
    "CreatePipelineRequest.update": [False, True],
    "CreatePipelineRequest.pod_spec": [""],
    "CreatePipelineRequest.pod_patch": [""],
    "Duration.seconds": [0, 1, 1000],
    "Duration.nanos": [0, 1],
    "Timestamp.seconds": [0, 1_700_000_000],
    "Timestamp.nanos": [0, 1],
}
# Fields without which most requests say nothing.
NEEDED = {
    "repo",
    "branch",
    "commit",
    "file",
    "new_file",
    "pipeline",
    "job",
    "project",
    "commit_set",
    "job_set",
    "datum",
} | {
    *("transaction", "transform", "input", "pfs", "src", "set_commit", "add_file", "raw", "commits"),
}
NUMBERS = [
    0,
    1,
    2,
    3,
    7,
    100,
    1 << 16,
    (1 << 31) - 1,
    -1,
    -(1 << 31),
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    -(1 << 63),
]
BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
DEPTH = 6


class Messages:
    """Makes requests. `ids` are those that the server has told of."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.ids: list[str] = []
        # How often a field is there that needs not be, and one is right that has to be.
        self._usual, self._care = 0.5, 0.9

    def body(self, kind: Descriptor) -> bytes:
        """A message as bytes; now and then changed a little, or garbage."""
        way = self._chance.random()
        if way < 0.05:
            return self._chance.randbytes(self._chance.choice((1, 10, 1000)))
        self._usual, self._care = self._chance.choice(((0.02, 1.0), (0.02, 1.0), (0.2, 0.9), (0.7, 0.7)))
        data = self._message(kind, 0).SerializeToString()
        return self._changed(bytearray(data)) if way < 0.25 and data else data

    def _changed(self, data: bytearray) -> bytes:
        for _ in range(self._chance.randint(1, 4)):
            place = self._chance.randrange(len(data) + 1)
            way = self._chance.randrange(4)
            if way == 0:
                data[place:place] = self._chance.randbytes(self._chance.randint(1, 8))
            elif way == 1:
                del data[place : place + self._chance.randint(1, 8)]
            elif way == 2 and place < len(data):
                data[place] ^= 1 << self._chance.randrange(8)
            else:
                data[place:place] = data[place : place + 20]
        return bytes(data)

    def _message(self, kind: Descriptor, depth: int) -> Message:
        message = GetMessageClass(kind)()
        for field in kind.fields:
            # What is deep down is seldom there, so that messages end.
            often = self._care if _name(field) in FITTING or field.name in NEEDED else self._usual
            if depth < DEPTH and self._chance.random() < often:
                self._fill(message, field, depth)
        return message

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        place: Any = getattr(message, field.name)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            value = entry.fields_by_name["value"]
            for _ in range(self._chance.randint(1, 2)):
                key = self._value(entry.fields_by_name["key"])
                if value.message_type is not None:
                    place[key].CopyFrom(self._message(value.message_type, depth + 1))
                else:
                    place[key] = self._value(value)
        elif field.is_repeated:
            for _ in range(self._chance.randint(1, 3)):
                place.append(self._message(entry, depth + 1) if entry is not None else self._value(field))
        elif entry is not None:
            place.SetInParent()
            place.CopyFrom(self._message(entry, depth + 1))
        else:
            setattr(message, field.name, self._value(field))

    def _value(self, field: FieldDescriptor) -> Any:
        kind = field.cpp_type
        if _name(field) in FITTING and self._chance.random() < self._care:
            fit = self._chance.choice(FITTING[_name(field)])
            return self._chance.choice(self.ids or [""]) if fit == "ids" else fit
        if kind == FieldDescriptor.CPPTYPE_STRING:
            text = self._text()
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self._chance.random() < 0.5
        if field.enum_type is not None:
            return self._chance.choice([*(value.number for value in field.enum_type.values), 77, -1])
        if kind in BOUNDS:
            low, high = BOUNDS[kind]
            return self._chance.choice([number for number in NUMBERS if low <= number <= high])
        return self._chance.choice([0.0, 0.5, -1.0, 1e30, float("inf"), float("nan")])

    def _text(self) -> str:
        if self.ids and self._chance.random() < 0.15:
            return self._chance.choice(self.ids)
        return self._chance.choice(TEXTS)


def _name(field: FieldDescriptor) -> str:
    return ".".join(field.full_name.split(".")[-2:])
