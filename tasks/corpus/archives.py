"""Reading archives that may be hostile: all of one is checked before any of it is handed out.

Known by their first bytes, not their names: zip, and tar as it is or compressed by gzip, bzip2 or xz.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from tasks.errors import ScriptwrightError

MAX_MEMBERS = 20_000
MAX_BYTES = 2 * 1024**3
MAX_RATIO = 100
# What unpacks to less than this does no harm, however well it was compressed.
RATIO_MATTERS_FROM = 16 * 1024**2
MAX_DEPTH = 20
MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
# tarfile reads a header's extension into memory in one go; an honest one is a few hundred bytes.
MAX_READ = 1024**2

COMPRESSIONS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),  # type: ignore[dict-item,return-value]
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
ZIPS = (b"PK\x03\x04", b"PK\x05\x06")
PLAIN_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
SPECIAL_TYPES = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
}


class ArchiveError(ScriptwrightError):
    """An archive is damaged, hostile, or none at all."""


@dataclass(frozen=True)
class Archive:
    """An archive file, and what messages call it."""

    path: Path
    name: str


@dataclass(frozen=True)
class _Entry:
    """One member as its archive tells it. `special` says what it is when neither file nor directory."""

    name: str
    size: int
    is_directory: bool
    special: str | None
    open: Callable[[], IO[bytes]]
    target: str | None = None  # of a link


@dataclass(frozen=True)
class Listing:
    """Size by name of each file, and why others, which could do no harm, are left out."""

    files: dict[str, int]
    left_out: dict[str, str]


def list_files(archive: Archive) -> Listing:
    """Every file in the archive, the whole of which has been checked.

    Raises:
        ArchiveError: the archive is no archive, damaged, empty, too big, or has a member that could do harm.
    """
    names = _Names(archive)
    files: dict[str, int] = {}
    left_out: dict[str, str] = {}
    allowed = _allowed_bytes(archive)
    total = count = 0
    with _damage_as_error(archive):
        for entry in _entries(archive, allowed):
            count += 1
            if count > MAX_MEMBERS:
                raise _refusal(archive, f"has more than {MAX_MEMBERS:,} members", "split it")
            if harmless := _why_harmless(entry):
                left_out[entry.name] = harmless
                continue
            if entry.special:
                raise _bad_member(archive, entry.name, f"is {entry.special}")
            total += entry.size
            if entry.size < 0 or total > allowed:
                raise _too_big(archive, allowed)
            name = names.add(entry.name, entry.is_directory)
            if name and not entry.is_directory:
                files[name] = entry.size
    if not files:
        why = "".join(f"; {name!r} {why}" for name, why in list(left_out.items())[:1])
        raise ArchiveError(f"Archive {archive.name} holds no files{why}; name one that holds scripts.")
    return Listing(files, left_out)


def _why_harmless(entry: _Entry) -> str | None:
    """Why a member is left out that others may stand beside: a link that stays inside, or a name as Windows writes it."""
    inside = entry.target is not None and _stays_inside(entry.target)
    if inside and _problem(entry.name) is None:
        return "is a link"
    if "\\" in entry.name and _stays_inside(entry.name.replace("\\", "/")) and not entry.special:
        return "has a name with backslashes, as only Windows has it"
    return None


def _stays_inside(path: str) -> bool:
    return not path.startswith("/") and ":" not in path and ".." not in path.split("/") and path.isprintable()


def read_files(archive: Archive, wanted: Collection[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Name and chunks of each wanted file, in the archive's order. Call `list_files` before."""
    with _damage_as_error(archive):
        for entry in _entries(archive, _allowed_bytes(archive)):
            name = entry.name.removeprefix("./")
            if not entry.is_directory and name in wanted:
                with entry.open() as content:
                    yield name, _chunks(archive, content)


def _chunks(archive: Archive, content: IO[bytes]) -> Iterator[bytes]:
    # Runs while the reader of the chunks does, so outside of what `read_files` guards.
    with _damage_as_error(archive):
        while chunk := content.read(64 * 1024):
            yield chunk


class _Names:
    """The names met so far, folded as a file system that ignores case or normalises Unicode would fold them."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._seen: dict[str, tuple[str, bool]] = {}

    def add(self, raw_name: str, is_directory: bool) -> str:
        """The usable name of a member; an empty one for the archive's own root."""
        name = raw_name.removeprefix("./").rstrip("/") if is_directory else raw_name.removeprefix("./")
        if is_directory and name in ("", "."):
            return ""
        problem = _problem(name)
        if problem:
            raise _bad_member(self._archive, raw_name, problem)
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            self._add_level("/".join(parts[:depth]), is_directory or depth < len(parts))
        return name

    def _add_level(self, path: str, is_directory: bool) -> None:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        before, was_directory = self._seen.get(folded, (None, False))
        if before is None:
            self._seen[folded] = path, is_directory
        elif before != path:
            raise _bad_member(self._archive, path, f"collides with {before!r} where case or accents are folded")
        elif not (is_directory and was_directory):
            raise _bad_member(self._archive, path, "stands in it twice")


def _problem(name: str) -> str | None:
    """What makes a name unusable."""
    parts = name.split("/")
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    problems = {
        "has an absolute path": name.startswith("/"),
        "has a '..' in its path": ".." in parts,
        "has a backslash or a control character in its name": any(
            char == "\\" or unicodedata.category(char) == "Cc" for char in name
        ),
        "has an empty part in its path": "" in parts or "." in parts,
        f"is nested deeper than {MAX_DEPTH} directories": len(parts) > MAX_DEPTH,
        "has too long a name": longest > MAX_PART_BYTES or len(name.encode()) > MAX_NAME_BYTES,
    }
    return next((problem for problem, found in problems.items() if found), None)


def _entries(archive: Archive, allowed: int) -> Iterator[_Entry]:
    with archive.path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if not start:
            raise ArchiveError(f"Archive {archive.name} is an empty file; get it again.")
        if start.startswith(ZIPS):
            yield from _zip_entries(file)
            return
        opener = next((opener for magic, opener in COMPRESSIONS.items() if start.startswith(magic)), None)
        # Room for the headers of as many members as there may be, on top of their content.
        limit = allowed + MAX_MEMBERS * 2 * tarfile.BLOCKSIZE
        stream = _Bounded(opener(file) if opener else file, lambda: _too_big(archive, allowed), limit)
        yield from _tar_entries(archive, stream)


def _zip_entries(file: IO[bytes]) -> Iterator[_Entry]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            special = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "a link or a device"
            if info.flag_bits & 1:
                special = "encrypted"
            # zipfile cuts a name at NUL and rewrites separators; the name as it stands is the one to judge.
            is_directory = info.orig_filename.endswith("/")
            target = (
                archive.read(info).decode(errors="replace")
                if kind == stat.S_IFLNK and info.file_size < MAX_NAME_BYTES
                else None
            )
            yield _Entry(info.orig_filename, info.file_size, is_directory, special, partial(archive.open, info), target)


def _tar_entries(archive: Archive, stream: _Bounded) -> Iterator[_Entry]:
    try:
        tar = tarfile.open(fileobj=stream, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115
    except tarfile.ReadError as error:
        raise ArchiveError(
            f"{archive.name} is not an archive that can be read: name a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip."
        ) from error
    with tar:
        for member in tar:
            special = SPECIAL_TYPES.get(member.type, "of an unknown kind")
            if member.isdir() or (member.type in PLAIN_TYPES and not member.issparse()):
                special = ""
            size = 0 if member.isdir() else member.size
            target = member.linkname if member.issym() or member.islnk() else None
            content = partial(tar.extractfile, member)
            yield _Entry(member.name, size, member.isdir(), special, content, target)
        _check_end(stream, tar.offset)


def _check_end(stream: _Bounded, offset: int) -> None:
    """tarfile takes a damaged header and a missing end for the end; a compressed stream has a checksum behind it."""
    stream.seek(offset)
    block = stream.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise EOFError
    if any(block):
        raise tarfile.ReadError("damaged header")
    while stream.read(64 * 1024):
        pass


class _Bounded:
    """The part of a file object that tarfile uses, ending in a refusal when more is asked for than is allowed."""

    def __init__(self, file: IO[bytes], refusal: Callable[[], ArchiveError], limit: int) -> None:
        self._file = file
        self._refusal = refusal
        self._limit = limit
        self.tell = file.tell
        self.close = file.close

    def read(self, size: int) -> bytes:
        """At most `size` bytes."""
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        if self._file.tell() > self._limit:
            raise self._refusal()
        return self._file.read(size)

    def seek(self, position: int) -> int:
        """Goes to a position counted from the start."""
        if position > self._limit:
            raise self._refusal()
        if position < 0:
            raise tarfile.ReadError("a member of negative size")
        return self._file.seek(position)


def _allowed_bytes(archive: Archive) -> int:
    return min(MAX_BYTES, max(RATIO_MATTERS_FROM, MAX_RATIO * archive.path.stat().st_size))


@contextmanager
def _damage_as_error(archive: Archive) -> Iterator[None]:
    """One sentence for the many ways in which the decompressors report damage."""
    try:
        yield
    except EOFError as error:
        raise ArchiveError(f"Archive {archive.name} is truncated; get it again.") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RecursionError, ValueError) as error:
        raise _damaged(archive, error) from error
    except (NotImplementedError, RuntimeError) as error:
        raise _refusal(archive, f"can't be unpacked ({error})", "pack it again as .tar.gz") from error
    except OSError as error:
        # Decompressors report bad data as an OSError without a number.
        if error.errno is None:
            raise _damaged(archive, error) from error
        raise ArchiveError(f"Archive {archive.name} can't be read: {os.strerror(error.errno)}.") from error


def _damaged(archive: Archive, error: Exception) -> ArchiveError:
    return ArchiveError(f"Archive {archive.name} is truncated or damaged ({error}); get it again.")


def _bad_member(archive: Archive, name: str, problem: str) -> ArchiveError:
    return _refusal(archive, f"is refused: its member {name!r} {problem}", "pack it again without that member")


def _too_big(archive: Archive, allowed: int) -> ArchiveError:
    why = "the limit" if allowed == MAX_BYTES else f"{MAX_RATIO} times its own size"
    size = f"{allowed / 1024**2:,.0f} MiB"
    return _refusal(archive, f"would unpack to more than {size}, {why}", "name one that holds scripts only")


def _refusal(archive: Archive, problem: str, remedy: str) -> ArchiveError:
    return ArchiveError(f"Archive {archive.name} {problem}; nothing was unpacked: {remedy}.")
