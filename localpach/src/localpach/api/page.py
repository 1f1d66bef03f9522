"""The page to look at: files of the package that hold none of the data; a client of the RPCs as others are."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from elsewhere, nothing written into the page, and no page around it.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class File(NamedTuple):
    """A file of the page."""

    type: str
    data: bytes


@cache
def files() -> dict[str, File]:
    """All files by the path that they are asked for with."""
    found = {}
    for file in resources.files("localpach").joinpath("page").iterdir():
        kind = TYPES[file.name[file.name.rindex(".") :]]
        found[f"/{file.name}"] = File(f"{kind}; charset=utf-8", file.read_bytes())
    return found | {"/": found["/index.html"]}
