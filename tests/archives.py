"""Archives as they may be: well made, odd, and hostile."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from types import MappingProxyType

Content = dict[str, bytes | str]
WITH_CONTENT = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.XHDTYPE)


def tar_of(files: Content, mode: str = "w:gz") -> bytes:
    """A tar of these files."""
    return tar_of_members([(tarfile.TarInfo(name), _bytes(text)) for name, text in files.items()], mode)


def tar_of_members(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> bytes:
    """A tar of these members, of whichever kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for info, content in members:
            if info.type not in WITH_CONTENT:
                tar.addfile(info)
                continue
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: Content, modes: Mapping[str, int] = MappingProxyType({})) -> bytes:
    """A zip of these files, some with a Unix mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = modes.get(name, 0) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return buffer.getvalue()


def special(kind: bytes, name: str = "x.txt", target: str = "/etc/passwd") -> bytes:
    """A tar of a file and of a member of another kind."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return tar_of_members([(tarfile.TarInfo("a.txt"), b"a"), (info, b"")])


def with_size_field(size: bytes) -> bytes:
    """A tar whose only member claims another size than it has."""
    block = bytearray(tar_of({"a.txt": "a"}, "w")[:1024])
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    return bytes(block) + bytes(1024)


def huge_header() -> bytes:
    """A tar with a header of 14 MiB."""
    info = tarfile.TarInfo("header")
    info.type = tarfile.XHDTYPE
    return tar_of_members([(tarfile.TarInfo("a.txt"), b"a"), (info, bytes(14 * 1024**2))])


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
