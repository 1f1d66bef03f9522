"""Downloads and the package index, from a server that fails as servers do."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import resource
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import trustme
from prefect.logging import disable_run_logger

from tasks.corpus import corpus, fetch, package_index
from tasks.errors import ScriptwrightError
from tests.archives import tar_of
from tests.site import Site

pytestmark = pytest.mark.usefixtures("own_cache")
PLAY = "HAMLET. To be, or not to be: that is the question.\n" * 20_000
NOISE = hashlib.shake_256(b"seed").hexdigest(150_000)
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
ARCHIVE = tar_of({"hamlet.txt": PLAY, "noise.txt": NOISE})
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()


def test_a_url_is_downloaded_once_while_it_stays_the_same(site: Site, tmp_path: Path) -> None:
    site.files["/x.tgz"] = ARCHIVE
    url = site.url.replace("//", "//me:secret@") + "/x.tgz?token=secret"
    first = corpus.download.fn(url)
    assert first.sha256 == DIGEST and first.path.read_bytes() == ARCHIVE
    assert first.source == f"{site.url}/x.tgz"
    assert corpus.extract.fn(first)["hamlet.txt"].read_text() == PLAY
    assert corpus.download.fn(url) == first
    site.files["/x.tgz"], site.etag = tar_of({"new.txt": "new"}), '"v2"'
    assert corpus.download.fn(url).sha256 != DIGEST
    assert site.sent == [200, 304, 200]
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert not any(b"secret" in file.read_bytes() or "secret" in file.name for file in kept)


def test_a_known_checksum_needs_no_second_request(site: Site) -> None:
    site.files["/x.tgz"] = ARCHIVE
    first = corpus.download.fn(site.url + "/x.tgz", DIGEST)
    assert corpus.download.fn(site.url + "/x.tgz", DIGEST) == first
    first.path.write_bytes(b"bit rot")
    assert corpus.download.fn(site.url + "/x.tgz", DIGEST).path.read_bytes() == ARCHIVE
    assert site.sent == [200, 200]


@pytest.mark.parametrize(("etag", "last_modified"), [('"v1"', ""), ("", DATE), ('W/"v1"', DATE)])
def test_a_broken_download_goes_on_where_it_stopped(site: Site, etag: str, last_modified: str) -> None:
    site.files["/x.tgz"], site.drops, site.etag, site.last_modified = ARCHIVE, 1, etag, last_modified
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    assert site.asked == [None, f"bytes={len(ARCHIVE) // 2}-"] and site.sent == [200, 206]


@pytest.mark.parametrize(("ranges", "etag"), [(False, '"v1"'), (True, ""), (True, 'W/"v1"')])
def test_what_cannot_be_resumed_starts_again(site: Site, ranges: bool, etag: str) -> None:
    site.files["/x.tgz"], site.drops, site.ranges, site.etag = ARCHIVE, 1, ranges, etag
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    assert site.sent == [200, 200]


@pytest.mark.parametrize("told", ["bytes 1-{last}/{size}", ""])
def test_another_range_than_was_asked_for_is_not_taken(site: Site, told: str) -> None:
    site.files["/x.tgz"], site.drops, site.ranges_told = ARCHIVE, 1, told
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    assert site.sent == [200, 206, 200]


def test_a_server_that_always_stops_half_way_is_told_and_the_next_run_goes_on(site: Site) -> None:
    site.files["/x.tgz"], site.drops = ARCHIVE, 1000
    with pytest.raises(ScriptwrightError, match=r"broke off \(5 attempts\); [\d,]+ bytes are kept, run again to go on"):
        corpus.download.fn(site.url + "/x.tgz")
    site.drops = 0
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    assert site.asked[-1] and site.sent[-1] == 206


def test_halves_of_different_files_are_never_joined(site: Site) -> None:
    site.files["/x.tgz"], site.drops = tar_of({"old.txt": NOISE[::-1]}), 1000
    with pytest.raises(ScriptwrightError):
        corpus.download.fn(site.url + "/x.tgz")
    site.files["/x.tgz"], site.drops, site.etag = ARCHIVE, 0, '"v2"'
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST


def test_without_a_validator_the_checksum_tells_whether_halves_fit(site: Site) -> None:
    site.files["/x.tgz"], site.drops, site.etag = bytes(len(ARCHIVE)), 1000, ""
    with pytest.raises(ScriptwrightError, match="bytes are kept"):
        corpus.download.fn(site.url + "/x.tgz", DIGEST)
    site.files["/x.tgz"], site.drops = ARCHIVE, 0
    assert corpus.download.fn(site.url + "/x.tgz", DIGEST).path.read_bytes() == ARCHIVE
    assert site.sent[-2:] == [206, 200]


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_passing_troubles_of_a_server_are_retried(site: Site, code: int) -> None:
    site.files["/x.tgz"], site.failures = ARCHIVE, [code]
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    assert site.sent == [code, 200]


@pytest.mark.parametrize("code", [400, 401, 403, 409, 410, 424, 430, 499, 501, 505])
def test_what_another_attempt_does_not_mend_is_told_at_once(site: Site, code: int) -> None:
    site.files["/x.tgz"], site.failures = ARCHIVE, [code]
    with pytest.raises(ScriptwrightError, match=f"the server answered {code} .*; check the URL"):
        corpus.download.fn(site.url + "/x.tgz")
    assert site.sent == [code]


def test_a_missing_file_is_told_at_once(site: Site) -> None:
    with pytest.raises(
        ScriptwrightError, match=r"/x\.tgz can't be downloaded: the server answered 404 .*; check the URL"
    ):
        corpus.download.fn(site.url + "/x.tgz")
    assert site.sent == [404]


def test_a_wrong_checksum_keeps_nothing(site: Site, tmp_path: Path) -> None:
    site.files["/x.tgz"] = ARCHIVE
    with pytest.raises(ScriptwrightError, match=f"has SHA-256 {DIGEST}, not {'0' * 64}"):
        corpus.download.fn(site.url + "/x.tgz", "0" * 64)
    assert not list((tmp_path / "cache").glob("archives/*"))
    assert site.sent == [200]


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_download_is_as_big_as_the_limit_and_not_bigger(
    site: Site, own_cache: Path, monkeypatch: pytest.MonkeyPatch, tells_length: bool
) -> None:
    site.files["/x.tgz"], site.tells_length = ARCHIVE, tells_length
    monkeypatch.setattr(fetch, "MAX_BYTES", len(ARCHIVE))
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    monkeypatch.setattr(fetch, "MAX_BYTES", len(ARCHIVE) - 1)
    with pytest.raises(ScriptwrightError, match=r"is bigger than 0\.2 MB; name an archive of scripts only"):
        corpus.download.fn(site.url + "/x.tgz?another")
    assert {path.suffix for path in (own_cache / "partial").iterdir()} == {".lock"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:9/x.tgz", "nobody answers there"), ("http://no-such-host.invalid/x.tgz", "does not resolve")],
)
def test_an_unreachable_server_is_told(url: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(ScriptwrightError, match=f"{reason} .*; check the URL and the network"):
        corpus.download.fn(url)


def test_two_runs_at_once_download_once(site: Site) -> None:
    site.files["/x.tgz"] = ARCHIVE
    found: list[str] = []

    def fetch_it() -> None:
        with disable_run_logger():
            found.append(corpus.download.fn(site.url + "/x.tgz", DIGEST).sha256)

    threads = [threading.Thread(target=fetch_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DIGEST] * 4 and site.sent == [200]


def test_pauses_between_attempts_double(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(fetch, "time", SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic))
    site.failures = [503] * 5
    with pytest.raises(ScriptwrightError, match=r"answered 503 .* \(5 attempts\); check the URL and the network"):
        corpus.download.fn(site.url + "/x.tgz")
    assert [pause / pauses[0] for pause in pauses] == [1, 2, 4, 8]
    assert pauses[0] == fetch.PAUSE_SECONDS


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fetch, package_index):
        monkeypatch.setattr(module, "TIMEOUT", (10, 0.02))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ScriptwrightError, match=r"the server does not answer in time \(5 attempts\)"):
            corpus.download.fn(url + "/x.tgz")
        monkeypatch.setenv("PIP_INDEX_URL", url)
        with pytest.raises(ScriptwrightError, match="can't be reached; check the network and pip's index-url"):
            corpus.download.fn("pypi:my-plays==1.1")


@pytest.mark.parametrize(("etag", "last_modified"), [('"v1"', ""), ("", DATE), ('W/"v1"', "")])
def test_what_has_not_changed_is_not_sent_again(site: Site, etag: str, last_modified: str) -> None:
    site.files["/x.tgz"], site.etag, site.last_modified = ARCHIVE, etag, last_modified
    assert [corpus.download.fn(site.url + "/x.tgz").sha256 for _ in range(2)] == [DIGEST] * 2
    assert site.sent == [200, 304]


@pytest.mark.parametrize("record", ["", "{", "{}", '{"sha256": "0"}'])
def test_a_record_that_is_no_good_is_passed_over(site: Site, own_cache: Path, record: str) -> None:
    site.files["/x.tgz"] = ARCHIVE
    corpus.download.fn(site.url + "/x.tgz")
    (kept,) = (own_cache / "urls").iterdir()
    kept.write_text(record)
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    assert site.sent == [200, 200]


def test_a_kept_part_that_is_longer_than_the_file_is_dropped(site: Site) -> None:
    site.files["/x.tgz"], site.drops = bytes(3 * len(ARCHIVE)), 1000
    with pytest.raises(ScriptwrightError, match="bytes are kept"):
        corpus.download.fn(site.url + "/x.tgz")
    site.files["/x.tgz"], site.drops = ARCHIVE, 0
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST
    assert site.sent[-2:] == [416, 200]


def test_an_archive_that_is_called_encoded_stays_compressed(site: Site) -> None:
    site.files["/x.tgz"], site.encoding = ARCHIVE, "gzip"
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST


def test_a_download_is_on_the_disk_before_it_has_its_name(
    site: Site, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, int]] = []

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.relative_to(own_cache).parts[0], path.stat().st_size * path.is_file()))

    monkeypatch.setattr(os, "fsync", note)
    site.files["/x.tgz"] = ARCHIVE
    corpus.download.fn(site.url + "/x.tgz")
    assert synced == [("partial", len(ARCHIVE)), ("archives", 0)]


def test_a_disk_that_takes_no_more_is_told(site: Site, own_cache: Path) -> None:
    site.files["/x.tgz"] = ARCHIVE
    tarball = corpus.download.fn(site.url + "/x.tgz")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ScriptwrightError, match=r"x\.tgz can't be stored in .*: File too large; make room or set"):
            corpus.download.fn(site.url + "/x.tgz?another")
        with pytest.raises(
            ScriptwrightError, match=r"'hamlet\.txt' can't be written below .*: File too large; make room"
        ):
            corpus.extract.fn(tarball)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(own_cache.glob("scripts/*"))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the tasks log."""
    monkeypatch.setattr(corpus, "get_run_logger", lambda: logging.getLogger(__name__))
    caplog.set_level(logging.INFO, __name__)
    return caplog


def test_what_is_done_is_said(site: Site, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PROGRESS_SECONDS", float("inf"))
    site.files["/x.tgz"], site.drops = ARCHIVE, 1
    url, size = site.url + "/x.tgz", f"{len(ARCHIVE) / 1e6:.1f} MB"
    tarball = corpus.download.fn(url)
    corpus.download.fn(url)
    corpus.download.fn(url, DIGEST)
    corpus.extract.fn(tarball)
    assert said.messages == [
        f"Downloading {url} ({size})",
        f"{url}: the connection broke off; trying again",
        f"Downloading {url} ({size}, from byte {len(ARCHIVE) // 2:,})",
        f"Downloaded {url}, {size}, SHA-256 {DIGEST}",
        f"{url} has not changed since it was downloaded",
        f"{url} is in the cache",
        f"Unpacked 2 scripts, {(len(PLAY) + len(NOISE)) / 1e6:.1f} MB",
    ]


def test_a_long_download_says_how_far_it_is(
    site: Site, said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PROGRESS_SECONDS", 0)
    monkeypatch.setattr(fetch, "CHUNK", 50_000)
    site.files["/x.tgz"] = ARCHIVE
    corpus.download.fn(site.url + "/x.tgz")
    sizes = [*range(50_000, len(ARCHIVE), 50_000), len(ARCHIVE)]
    assert said.messages[1:-1] == [f"{size / 1e6:.1f} MB of {len(ARCHIVE) / 1e6:.1f} MB" for size in sizes]
    site.tells_length = False
    corpus.download.fn(site.url + "/x.tgz?another")
    assert f"Downloading {site.url}/x.tgz (unknown size)" in said.messages


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://[::1/x", r"leads to what is no URL \(.+\); check it\.$"),
        ("/x", r"[^.]\.$"),
        ("file:///etc/passwd", r"file:///etc/passwd'\.$"),
    ],
)
def test_a_redirection_that_leads_nowhere_is_told(site: Site, own_cache: Path, to: str, said: str) -> None:
    site.leads["/x"] = to
    with pytest.raises(ScriptwrightError, match=rf"^{re.escape(site.url)}/x can't be downloaded: .*{said}"):
        corpus.download.fn(site.url + "/x")
    assert [kept.suffix for kept in (own_cache / "partial").iterdir()] == [".lock"]


def test_a_redirection_is_followed(site: Site) -> None:
    site.leads["/x.tgz"], site.files["/y"] = "/y", ARCHIVE
    assert corpus.download.fn(site.url + "/x.tgz").sha256 == DIGEST


@pytest.mark.parametrize(
    "to",
    [
        "file://me:SECRET@host/x?token=SECRET",
        "http://me:SECRET@127.0.0.1:99999/x?token=SECRET",
        "http://me:SECRET@[::1/x?token=SECRET",
        "http://me:SECRET@a\u2100b/x?token=SECRET",
        "http://me:SECRET@127.0.0.1:1/x?token=SECRET",
    ],
)
@pytest.mark.parametrize("redirected", [True, False])
def test_no_login_and_no_query_is_told(site: Site, said: pytest.LogCaptureFixture, to: str, redirected: bool) -> None:
    site.leads["/x"] = quote(to, safe="/:?=@[]")
    with pytest.raises(ScriptwrightError) as caught:
        corpus.download.fn(site.url + "/x" if redirected else to)
    assert "SECRET" not in f"{caught.value} {said.messages}"


def test_a_certificate_that_is_not_trusted_is_told_without_the_query(own_cache: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with suppress(OSError), context.wrap_socket(server.accept()[0], server_side=True):
                pass

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}/x.tgz"
        with pytest.raises(ScriptwrightError, match=rf"^{url} is not trusted: unable to get local issuer[\w ]+\.$"):
            corpus.download.fn(url + "?token=SECRET")
        thread.join()
