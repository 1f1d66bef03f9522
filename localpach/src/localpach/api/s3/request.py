"""Requests, taken apart, and answers, before they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from http import HTTPStatus
from urllib.parse import unquote

from localpach.api.s3.errors import S3Error
from localpach.api.s3.xml import Content, document


@dataclass(frozen=True)
class Request:
    """A request without its body; `target` is what its first line asks for."""

    method: str
    target: str
    headers: Message

    @cached_property
    def path(self) -> str:
        """As it was sent, escaped."""
        return self.target.partition("?")[0]

    @cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """Names and values in the order in which they were sent. A `+` is itself: signatures know no other."""
        parts = [part.partition("=") for part in self.target.partition("?")[2].split("&") if part]
        return tuple((_unescaped(name), _unescaped(value)) for name, _, value in parts)

    @cached_property
    def arguments(self) -> dict[str, str]:
        return dict(self.query)

    @cached_property
    def bucket(self) -> str:
        """The bucket's name; empty where the request is about all of them."""
        return _unescaped(self.path[1:].partition("/")[0])

    @cached_property
    def key(self) -> str:
        """The object's key; empty where the request is about the bucket."""
        return _unescaped(self.path[1:].partition("/")[2])

    def header(self, name: str) -> str:
        """A header's value; empty where there is none."""
        return str(self.headers.get(name, ""))

    @property
    def has_body(self) -> bool:
        return bool(self.header("Transfer-Encoding")) or self.header("Content-Length") not in ("", "0")

    def number(self, name: str, default: int, least: int = 0) -> int:
        """An argument that is a number; 0 or more.

        Raises:
            S3Error: it is none, or less than `least`.
        """
        text = self.arguments.get(name) or str(default)
        if not (text.isascii() and text.isdecimal() and len(text) < 16 and int(text) >= least):
            raise S3Error("InvalidArgument", f"{name}: {text} is no number of {least} or more")
        return int(text)


@dataclass(frozen=True)
class Answer:
    """What a request is answered with: bytes, or `length` bytes that come piece by piece."""

    status: HTTPStatus = HTTPStatus.OK
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: Iterator[bytes] | None = None
    length: int = 0


def xml_answer(name: str, content: Content, headers: dict[str, str] | None = None) -> Answer:
    """An answer in XML."""
    return Answer(headers={"Content-Type": "application/xml"} | (headers or {}), body=document(name, content))


def _unescaped(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", f"{text} is not the UTF-8 of a text, escaped") from error
