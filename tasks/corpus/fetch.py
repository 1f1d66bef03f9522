"""HTTP downloads into a cache named by content: streamed, resumed, retried, checked."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from tasks.errors import ScriptwrightError
from tasks.files import write_whole

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]

ATTEMPTS = 5
PAUSE_SECONDS = 0.5
TIMEOUT = (10, 30)
PROGRESS_SECONDS = 2.0
MAX_BYTES = 2 * 1024**3
CHUNK = 64 * 1024
# A login with the @ after it, or a query.
SECRET = re.compile(r"[^\s/?#]*@|\?[^\s')]*")
PASSING = {408, 425, 429, 500, 502, 503, 504}


class DownloadError(ScriptwrightError):
    """A source can't be had, or is not what it should be."""


class _BrokenOffError(Exception):
    """The transfer failed in a way that another attempt may mend."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()


def shown(url: str) -> str:
    """The URL without what may be secret: user, password, query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def without_secrets(text: object) -> str:
    """An error's text, without what may be secret in a URL: user, password, query."""
    return SECRET.sub("", str(text))


def cached(cache: Path, sha256: str) -> Path | None:
    """The cached file of this content, checked; a damaged one is dropped."""
    path = cache / "archives" / sha256
    if not path.exists():
        return None
    if sha256_of(path) != sha256:
        path.unlink()
        return None
    return path


class Fetch:
    """One download of a URL into the cache. `expected` is the SHA-256 that the content must have, if known."""

    def __init__(self, url: str, cache: Path, expected: str | None, logger: Logger) -> None:
        self._url = url
        self._cache = cache
        self._expected = expected
        self._logger = logger
        key = hashlib.sha256(url.encode()).hexdigest()[:32]
        self._part = cache / "partial" / key
        self._part_validator = self._part.with_suffix(".validator")
        # What the URL gave the last time, so that an unchanged file is not sent again.
        self._record = cache / "urls" / f"{key}.json"

    def run(self) -> tuple[Path, str]:
        """Path in the cache and SHA-256 of the content.

        Raises:
            DownloadError: the source can't be had, or its content is not the expected one.
        """
        try:
            with self._locked():
                if self._expected and (path := cached(self._cache, self._expected)):
                    self._logger.info("%s is in the cache", shown(self._url))
                    return path, self._expected
                return self._with_retries()
        except OSError as error:
            if isinstance(error, requests.RequestException):
                raise DownloadError(
                    f"{shown(self._url)} can't be downloaded: {without_secrets(error).rstrip('.')}."
                ) from error
            raise DownloadError(
                f"{shown(self._url)} can't be stored in {self._cache}: {error.strerror}; "
                "make room or set SCRIPTWRIGHT_CACHE."
            ) from error
        except ValueError as error:
            raise DownloadError(
                f"{shown(self._url)} can't be downloaded: it leads to what is no URL ({without_secrets(error)}); check it."
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two runs that want the same URL take turns; the second finds it in the cache."""
        self._part.parent.mkdir(parents=True, exist_ok=True)
        with self._part.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _with_retries(self) -> tuple[Path, str]:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt()
            except _BrokenOffError as error:
                if attempt == ATTEMPTS:
                    kept = self._part_size()
                    remedy = f"{kept:,} bytes are kept, run again to go on" if kept else "check the URL and the network"
                    raise DownloadError(
                        f"{shown(self._url)} can't be downloaded: {error} ({ATTEMPTS} attempts); {remedy}."
                    ) from error
                self._logger.warning("%s: %s; trying again", shown(self._url), error)
                time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("every attempt returns or raises")

    def _attempt(self) -> tuple[Path, str]:
        offset = self._part_size()
        record = self._usable_record()
        try:
            with requests.get(
                self._url, headers=self._headers(offset, record), stream=True, timeout=TIMEOUT
            ) as response:
                if response.status_code == requests.codes.not_modified and record:
                    self._logger.info("%s has not changed since it was downloaded", shown(self._url))
                    return self._cache / "archives" / record["sha256"], record["sha256"]
                resumed = self._check_status(response, offset)
                self._receive(response, offset if resumed else 0)
                return self._keep(response, resumed)
        except requests.exceptions.SSLError as error:
            raise DownloadError(f"{shown(self._url)} is not trusted: {_tls_reason(error)}.") from error
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            raise _BrokenOffError(_reason(error)) from error

    def _headers(self, offset: int, record: dict[str, str] | None) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        validator = self._part_validator.read_text() if self._part_validator.exists() else ""
        if offset:
            headers["Range"] = f"bytes={offset}-"
            # Without a validator only a known checksum can tell that both halves are of one file.
            if validator:
                headers["If-Range"] = validator
        elif record:
            asked = {"If-None-Match": record.get("etag"), "If-Modified-Since": record.get("last_modified")}
            headers |= {name: value for name, value in asked.items() if value}
        return headers

    def _check_status(self, response: requests.Response, offset: int) -> bool:
        """Whether the response goes on at `offset`."""
        status = response.status_code
        if status == requests.codes.requested_range_not_satisfiable:
            self._drop_part()
            raise _BrokenOffError("the kept part does not fit")
        if status in PASSING:
            raise _BrokenOffError(f"the server answered {status} {response.reason}")
        if status not in (requests.codes.ok, requests.codes.partial_content):
            raise DownloadError(
                f"{shown(self._url)} can't be downloaded: "
                f"the server answered {status} {response.reason}; check the URL."
            )
        if status == requests.codes.ok:
            return False
        if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            self._drop_part()
            raise _BrokenOffError("the server sent another range than was asked for")
        return True

    def _receive(self, response: requests.Response, offset: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdigit() else None
        if not offset:
            self._part_validator.write_text(_validator(response))
        size = offset
        reported = time.monotonic()
        self._logger.info(
            "Downloading %s (%s%s)", shown(self._url), _size(total), f", from byte {offset:,}" if offset else ""
        )
        with self._part.open("ab" if offset else "wb") as part:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                part.write(chunk)
                size += len(chunk)
                if size > MAX_BYTES or (total or 0) > MAX_BYTES:
                    break
                if time.monotonic() - reported >= PROGRESS_SECONDS:
                    reported = time.monotonic()
                    self._logger.info("%s of %s", _size(size), _size(total))
            part.flush()
            os.fsync(part.fileno())
        if size > MAX_BYTES or (total or 0) > MAX_BYTES:
            self._drop_part()
            raise DownloadError(
                f"{shown(self._url)} is bigger than {_size(MAX_BYTES)}; name an archive of scripts only."
            )
        if total is not None and size != total:
            raise _BrokenOffError(f"the connection ended after {size:,} of {total:,} bytes")

    def _keep(self, response: requests.Response, resumed: bool) -> tuple[Path, str]:
        """Moves the complete part to its place in the cache."""
        digest = sha256_of(self._part)
        if self._expected and digest != self._expected:
            self._drop_part()
            if resumed:
                raise _BrokenOffError("the kept part was of another file")
            raise DownloadError(
                f"{shown(self._url)} has SHA-256 {digest}, not {self._expected}; "
                "check the source, or the SHA256 that you gave."
            )
        target = self._cache / "archives" / digest
        target.parent.mkdir(parents=True, exist_ok=True)
        self._part.replace(target)
        _sync_directory(target.parent)
        self._part_validator.unlink(missing_ok=True)
        self._record.parent.mkdir(parents=True, exist_ok=True)
        etag, last_modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
        write_whole(self._record, json.dumps({"sha256": digest, "etag": etag, "last_modified": last_modified}))
        self._logger.info("Downloaded %s, %s, SHA-256 %s", shown(self._url), _size(target.stat().st_size), digest)
        return target, digest

    def _usable_record(self) -> dict[str, str] | None:
        if self._expected:
            return None
        try:
            record: dict[str, str] = json.loads(self._record.read_text())
            return record if cached(self._cache, record["sha256"]) else None
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _part_size(self) -> int:
        """How much of an earlier attempt can be gone on with."""
        validated = self._part_validator.exists() and self._part_validator.read_text()
        if not self._part.exists() or not (validated or self._expected):
            return 0
        return self._part.stat().st_size

    def _drop_part(self) -> None:
        self._part.unlink(missing_ok=True)
        self._part_validator.unlink(missing_ok=True)


def _validator(response: requests.Response) -> str:
    """What names these very bytes to their server, so that a part can be gone on with; a weak ETag does not."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _reason(error: Exception) -> str:
    if "NameResolution" in repr(error):
        return "the host's name does not resolve"
    if isinstance(error, requests.Timeout):
        return "the server does not answer in time"
    if "NewConnectionError" in repr(error):
        return "nobody answers there"
    return "the connection broke off"


def _tls_reason(error: BaseException) -> str:
    """What OpenSSL says; the errors around it name the URL."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "its TLS can't be used"


def _size(count: int | None) -> str:
    return "unknown size" if count is None else f"{count / 1e6:.1f} MB"


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
