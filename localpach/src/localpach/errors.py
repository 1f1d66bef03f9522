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


class LocalpachError(Exception):
    """One clear sentence."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(LocalpachError): ...


class AlreadyExists(LocalpachError): ...


class Refused(LocalpachError): ...


class Precondition(LocalpachError): ...


class Unavailable(LocalpachError): ...


class Exhausted(LocalpachError): ...


class Unimplemented(LocalpachError): ...


class Corrupt(LocalpachError): ...


class Malformed(LocalpachError): ...
