"""What Linux can give to a command, which a transform may ask too much of."""

from __future__ import annotations

from localpach.errors import Refused
from localpach.proto import pps_pb2

# Bytes of a word of a command, or of a variable with its name, without the zero at its end.
LONGEST_WORD = (1 << 17) - 1


def check(transform: pps_pb2.Transform) -> None:
    """Raises Refused for a command, a variable or a secret's place that can't be."""
    for field in ("cmd", "err_cmd"):
        for number, word in enumerate(getattr(transform, field)):
            if "\0" in word:
                raise Refused(f"transform.{field}[{number}]: there is a NUL character in it; leave it out")
            _check_length(f"transform.{field}[{number}]", word)
    for name, value in sorted(transform.env.items()):
        _check_variable("transform.env", name)
        _check_length(f"transform.env.{name}", f"{name}={value}")
    for number, mount in enumerate(transform.secrets):
        if mount.env_var:
            _check_variable(f"transform.secrets[{number}].env_var", mount.env_var)
        steps = mount.mount_path.split("/")
        if "\0" in mount.mount_path or not {".", ".."}.isdisjoint(steps) or not (mount.env_var or any(steps)):
            raise Refused(
                f"transform.secrets[{number}].mount_path: {mount.mount_path!r} is no path of a folder below /,"
                " without . and .. on its way"
            )


def _check_variable(field: str, name: str) -> None:
    if not name or "=" in name or "\0" in name:
        raise Refused(f"{field}: {name!r} can't be a variable's name: write one without = and NUL")


def _check_length(field: str, word: str) -> None:
    size = len(word.encode())
    if size > LONGEST_WORD:
        raise Refused(
            f"{field}: {size:,} bytes are more than the {LONGEST_WORD:,} that Linux hands to a command in one piece;"
            " put them into transform.stdin or a file"
        )
