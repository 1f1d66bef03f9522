"""The XML of requests and answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Union
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from localpach.api.s3.errors import S3Error

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
# What is in an element: its text, or its children with their names.
Content = Union[str, "Sequence[tuple[str, Content]]"]
Node = tuple[str, Content]
# What XML can't hold, not even escaped.
_NO_CHARACTER = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(name: str, content: Content, namespace: str = NAMESPACE) -> bytes:
    """An answer's XML."""
    start = f'{name} xmlns="{namespace}"' if namespace else name
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{start}>{_render(content)}</{name}>'.encode()


def _render(content: Content) -> str:
    if isinstance(content, str):
        return escape(_NO_CHARACTER.sub("\ufffd", content))
    return "".join(f"<{name}>{_render(inner)}</{name}>" for name, inner in content)


def iso(microseconds: int) -> str:
    """A moment since 1970."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def parse(data: bytes, root: str) -> ElementTree.Element:
    """A request's XML, without its namespaces.

    Raises:
        S3Error: it is not an element called `root`, or has a document type, which could define entities without end.
    """
    try:
        text = data.decode()
        if "<!DOCTYPE" in text:
            raise S3Error("MalformedXML", "a document type has no place in a request")
        found = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise S3Error("MalformedXML", f"the body is no XML: {error}") from error
    for element in found.iter():
        element.tag = element.tag.rpartition("}")[2]
    if found.tag != root:
        raise S3Error("MalformedXML", f"the body is a {found.tag} in place of a {root}")
    return found
