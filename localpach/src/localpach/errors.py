"""What a call can be refused with.

LocalpachError
├── NotFound        the named thing does not exist
├── AlreadyExists   a thing of that name exists
├── Refused         the request makes no sense here (Pachyderm answers most of these with UNKNOWN)
├── Precondition    right request, wrong moment
├── Unavailable     something must be finished first, or the disk fails
├── Exhausted       the disk is full
├── Unimplemented   a part of Pachyderm that one machine does without
├── Corrupt         what is on disk is not what was written
└── Malformed       what was sent is no message
"""

from __future__ import annotations

AUTH_IS_OFF = "the auth service is not activated"
# As much of a sentence is told from its beginning and its end, whatever a client has put into it.
HEAD, TAIL = 1500, 400


def shortened(text: str) -> str:
    """A text, without its middle where it is too long to be read."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} … {text[-TAIL:]}"


class LocalpachError(Exception):
    """One clear sentence."""

    def __init__(self, message: str) -> None:
        self.message = shortened(message)
        super().__init__(self.message)


class NotFound(LocalpachError): ...


class AlreadyExists(LocalpachError): ...


class Refused(LocalpachError): ...


class Precondition(LocalpachError): ...


class Unavailable(LocalpachError): ...


class Exhausted(LocalpachError): ...


class Unimplemented(LocalpachError): ...


class Corrupt(LocalpachError): ...


class Malformed(LocalpachError): ...
