"""What a request is refused with: the codes of S3, and those that Pachyderm's gateway adds."""

from __future__ import annotations

from http import HTTPStatus

from localpach.errors import Corrupt, Exhausted, LocalpachError, NotFound, Unavailable, Unimplemented

STATUSES = {
    "AccessDenied": HTTPStatus.FORBIDDEN,
    "AuthorizationHeaderMalformed": HTTPStatus.BAD_REQUEST,
    "AuthorizationQueryParametersError": HTTPStatus.BAD_REQUEST,
    "BadDigest": HTTPStatus.BAD_REQUEST,
    "BucketAlreadyOwnedByYou": HTTPStatus.CONFLICT,
    "BucketNotEmpty": HTTPStatus.CONFLICT,
    "EntityTooSmall": HTTPStatus.BAD_REQUEST,
    "IncompleteBody": HTTPStatus.BAD_REQUEST,
    "InsufficientStorage": HTTPStatus.INSUFFICIENT_STORAGE,
    "InternalError": HTTPStatus.INTERNAL_SERVER_ERROR,
    "InvalidAccessKeyId": HTTPStatus.FORBIDDEN,
    "InvalidArgument": HTTPStatus.BAD_REQUEST,
    "InvalidBucketName": HTTPStatus.BAD_REQUEST,
    "InvalidDelimiter": HTTPStatus.BAD_REQUEST,
    "InvalidDigest": HTTPStatus.BAD_REQUEST,
    "InvalidFilePath": HTTPStatus.BAD_REQUEST,
    "InvalidPart": HTTPStatus.BAD_REQUEST,
    "InvalidPartOrder": HTTPStatus.BAD_REQUEST,
    "InvalidRange": HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "InvalidRequest": HTTPStatus.BAD_REQUEST,
    "InvalidURI": HTTPStatus.BAD_REQUEST,
    "MalformedXML": HTTPStatus.BAD_REQUEST,
    "MethodNotAllowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "NoSuchBucket": HTTPStatus.NOT_FOUND,
    "NoSuchKey": HTTPStatus.NOT_FOUND,
    "NoSuchUpload": HTTPStatus.NOT_FOUND,
    "NoSuchVersion": HTTPStatus.NOT_FOUND,
    "NotImplemented": HTTPStatus.NOT_IMPLEMENTED,
    "PreconditionFailed": HTTPStatus.PRECONDITION_FAILED,
    "RequestTimeTooSkewed": HTTPStatus.FORBIDDEN,
    "ServiceUnavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "SignatureDoesNotMatch": HTTPStatus.FORBIDDEN,
    "WriteToOutputBranch": HTTPStatus.BAD_REQUEST,
    "XAmzContentSHA256Mismatch": HTTPStatus.BAD_REQUEST,
}
# What PFS refuses a request with, where nothing more is known; the rest makes no sense here or now.
_CODES: dict[type[LocalpachError], str] = {
    Corrupt: "InternalError",
    Exhausted: "InsufficientStorage",
    NotFound: "NoSuchKey",
    Unavailable: "ServiceUnavailable",
    Unimplemented: "NotImplemented",
}


class S3Error(LocalpachError):
    """A code of S3's, with the sentence that says what was wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUSES[code]


def as_s3(error: LocalpachError) -> S3Error:
    """What PFS refuses a request with, as S3 has it."""
    return error if isinstance(error, S3Error) else S3Error(_CODES.get(type(error), "InvalidRequest"), error.message)
