"""Signatures of requests, version 4 and the older version 2, each in a header or in the URL. As in Pachyderm's gateway
the token is both the access key and the secret; where no token is asked for, any access key is its own secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from calendar import timegm
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from localpach.api.gate import NO_TOKEN, refusal_of
from localpach.api.s3.errors import S3Error
from localpach.api.s3.request import Request

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256().hexdigest()
ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 15 * 60
MOST_SECONDS = 7 * 24 * 3600
_HEADER = re.compile(ALGORITHM + r"\s+Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})")
_CREDENTIAL = re.compile(r"([^/]+)/((\d{8})/([^/]+)/(s3)/aws4_request)")
_HEADER_2 = re.compile(r"AWS ([^:\s]+):(\S+)")
# The parts of a query that a signature of version 2 covers.
_RESOURCES = frozenset(
    (
        *("acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy"),
        *("requestPayment", "response-cache-control", "response-content-disposition", "response-content-encoding"),
        *("response-content-language", "response-content-type", "response-expires", "restore", "tagging"),
        *("torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website"),
    )
)


class Seal(NamedTuple):
    """What a request's signature says of its body: its SHA-256, or that it is not signed, or how its pieces are; these go
    on from `signature` with `key`."""

    payload: str
    signature: str = ""
    key: bytes = b""
    moment: str = ""
    scope: str = ""


class _Claim(NamedTuple):
    """What a request says that it is signed by."""

    credential: str
    signed: str
    signature: str
    moment: str
    seconds: int | None


def check(request: Request, token: str | None) -> Seal:
    """What the signature says of the body.

    Raises:
        S3Error: who sent the request has not the token, or not signed it so.
    """
    authorization, arguments = request.header("Authorization"), request.arguments
    if authorization.startswith(ALGORITHM):
        return _check_4(request, token, _claim_of_header(request, authorization))
    if "X-Amz-Algorithm" in arguments:
        return _check_4(request, token, _claim_of_url(request))
    if authorization.startswith("AWS "):
        match = _HEADER_2.fullmatch(authorization)
        if match is None:
            raise S3Error("AuthorizationHeaderMalformed", "the Authorization header is not `AWS KEY:SIGNATURE`")
        _check_moment(_moment_2(request))
        return _check_2(request, token, match[1], match[2], request.header("Date"))
    if "Signature" in arguments and "AWSAccessKeyId" in arguments:
        expires = request.number("Expires", 0)
        _check_expiry(expires)
        return _check_2(request, token, arguments["AWSAccessKeyId"], arguments["Signature"], str(expires))
    if token is not None:
        raise S3Error("AccessDenied", f"{NO_TOKEN}: the request is not signed")
    return Seal(UNSIGNED)


def _claim_of_header(request: Request, authorization: str) -> _Claim:
    match = _HEADER.fullmatch(authorization)
    if match is None:
        raise S3Error("AuthorizationHeaderMalformed", f"the Authorization header is not of {ALGORITHM}'s form")
    return _Claim(match[1], match[2], match[3], request.header("X-Amz-Date"), None)


def _claim_of_url(request: Request) -> _Claim:
    try:
        credential, signed, signature, moment = (
            request.arguments[f"X-Amz-{name}"] for name in ("Credential", "SignedHeaders", "Signature", "Date")
        )
    except KeyError as error:
        raise S3Error("AuthorizationQueryParametersError", f"the URL has no {error.args[0]}") from error
    seconds = request.number("X-Amz-Expires", 0, least=1)
    if request.arguments["X-Amz-Algorithm"] != ALGORITHM or seconds > MOST_SECONDS:
        reason = f"a signed URL is of {ALGORITHM}, and good for at most {MOST_SECONDS} seconds"
        raise S3Error("AuthorizationQueryParametersError", reason)
    return _Claim(credential, signed, signature, moment, seconds)


def _check_4(request: Request, token: str | None, claim: _Claim) -> Seal:
    match = _CREDENTIAL.fullmatch(claim.credential)
    if match is None:
        raise S3Error("AuthorizationHeaderMalformed", "the credential is not KEY/DATE/REGION/s3/aws4_request")
    secret = _secret(match[1], token)
    scope, date, region, service = match.groups()[1:]
    try:
        began = timegm(time.strptime(claim.moment, "%Y%m%dT%H%M%SZ"))
    except ValueError as error:
        raise S3Error("AccessDenied", f"X-Amz-Date: {claim.moment} is not of the form 20261126T120000Z") from error
    if not claim.moment.startswith(date):
        raise S3Error("AuthorizationHeaderMalformed", f"the credential is of {date}, the request of {claim.moment}")
    if claim.seconds is None:
        _check_moment(began)
    else:
        _check_expiry(began + claim.seconds)
        if began > now() + SKEW_SECONDS:
            raise S3Error("AccessDenied", "the URL is not yet good")
    payload = _payload(request, claim)
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = mac(key, part)
    canonical = hashlib.sha256(_canonical(request, claim.signed.split(";"), payload)).hexdigest()
    expected = mac(key, f"{ALGORITHM}\n{claim.moment}\n{scope}\n{canonical}").hex()
    _compare({expected}, claim.signature)
    return Seal(payload, expected, key, claim.moment, scope)


def _payload(request: Request, claim: _Claim) -> str:
    given = request.header("X-Amz-Content-Sha256")
    if given:
        return given
    if claim.seconds is not None:
        return UNSIGNED
    if not request.has_body:
        return EMPTY
    raise S3Error("InvalidRequest", "a signed request with a body needs the header x-amz-content-sha256")


def _canonical(request: Request, names: list[str], payload: str) -> bytes:
    """What a signature of version 4 is made of."""
    for name in map(str.lower, request.headers):
        if name.startswith("x-amz-") and name not in names:
            raise S3Error("AccessDenied", f"the header {name} is not signed")
    if "host" not in names:
        raise S3Error("AccessDenied", "the header host is not signed")
    query = sorted((_escaped(name), _escaped(value)) for name, value in request.query if name != "X-Amz-Signature")
    headers = [f"{name}:{','.join(map(_trimmed, request.headers.get_all(name, [])))}\n" for name in names]
    lines = [
        request.method,
        quote(unquote_to_bytes(request.path), safe="/~"),
        "&".join(f"{name}={value}" for name, value in query),
        "".join(headers),
        ";".join(names),
        payload,
    ]
    # No header's name has a character that is none of these.
    return "\n".join(lines).encode("iso-8859-1", "replace")


def _check_2(request: Request, token: str | None, access_key: str, given: str, moment: str) -> Seal:
    secret = _secret(access_key, token)
    names = sorted({name.lower() for name in request.headers if name.lower().startswith("x-amz-")})
    if "x-amz-date" in names:
        moment = ""
    parts = [f"{name}={value}" if value else name for name, value in sorted(request.query) if name in _RESOURCES]
    lines = [
        request.method,
        request.header("Content-MD5"),
        request.header("Content-Type"),
        moment,
        *(f"{name}:{','.join(value.strip() for value in request.headers.get_all(name, []))}" for name in names),
        request.path + ("" if request.key or request.path.endswith("/") else "/"),
    ]
    # Some clients sign a bucket's path with a slash, whether they send one or not.
    text = "\n".join(lines)
    query = ("?" + "&".join(parts)).encode() if parts else b""
    texts = [each.encode("iso-8859-1") + query for each in (text, text.removesuffix("/"))]
    # Older than SHA-256.
    expected = [hmac.digest(secret.encode(), each, "sha1") for each in texts]
    _compare({base64.b64encode(each).decode() for each in expected}, given)
    return Seal(UNSIGNED)


def _moment_2(request: Request) -> float:
    text = request.header("X-Amz-Date") or request.header("Date")
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError) as error:
        raise S3Error("AccessDenied", f"the request's date is none: {text}") from error


def now() -> float:
    """Seconds since 1970."""
    return time.time()


def mac(key: bytes, text: str) -> bytes:
    """What a text is signed by in version 4."""
    return hmac.digest(key, text.encode(), "sha256")


def _secret(access_key: str, token: str | None) -> str:
    if token is not None and (reason := refusal_of(access_key, token)):
        raise S3Error("InvalidAccessKeyId", f"{reason}: the access key and the secret are both the token")
    return access_key


def _check_moment(moment: float) -> None:
    if abs(moment - now()) > SKEW_SECONDS:
        raise S3Error("RequestTimeTooSkewed", f"the request was signed more than {SKEW_SECONDS} seconds from now")


def _check_expiry(moment: float) -> None:
    if moment < now():
        raise S3Error("AccessDenied", "the URL was good until some time ago; sign a new one")


def _compare(expected: set[str], given: str) -> None:
    if not any(hmac.compare_digest(each.encode(), given.encode()) for each in expected):
        raise S3Error(
            "SignatureDoesNotMatch", "the signature is not that of this request by the token, which is the secret, too"
        )


def _trimmed(value: str) -> str:
    return " ".join(value.split())


def _escaped(text: str) -> str:
    return quote(text, safe="~")
