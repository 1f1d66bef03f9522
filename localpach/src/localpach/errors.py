"""What a call can be refused with.

LocalpachError
├── NotFound        the named thing does not exist
├── AlreadyExists   a thing of that name exists
├── Refused         the request makes no sense here (Pachyderm answers most of these with UNKNOWN)
├── Precondition    right request, wrong moment
├── Unavailable     something must be finished first
├── Unimplemented   a part of Pachyderm that one machine does without
└── Corrupt         what is on disk is not what was written
"""

from __future__ import annotations

import grpc

AUTH_IS_OFF = "the auth service is not activated"


class LocalpachError(Exception):
    """One clear sentence and the gRPC code that carries it."""

    code = grpc.StatusCode.INTERNAL

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(LocalpachError):
    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(LocalpachError):
    code = grpc.StatusCode.ALREADY_EXISTS


class Refused(LocalpachError):
    code = grpc.StatusCode.UNKNOWN


class Precondition(LocalpachError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class Unavailable(LocalpachError):
    code = grpc.StatusCode.UNAVAILABLE


class Unimplemented(LocalpachError):
    code = grpc.StatusCode.UNIMPLEMENTED


class Corrupt(LocalpachError):
    code = grpc.StatusCode.DATA_LOSS
