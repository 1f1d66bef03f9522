"""Files as text, in whichever encoding they are."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from charset_normalizer import from_bytes

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What scripts come in where they are not in Unicode; the commonest first, which a short text is taken for.
_ENCODINGS = (
    "cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "koi8_r", "mac_roman", "cp850", "cp866", "cp1255", "cp1256",
    "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr", "tis_620", "iso8859_15", "iso8859_2",
)  # fmt: skip
_SAMPLE = 200_000  # bytes that tell the encoding
_STRAY = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, as Python has it in a text
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")


class NotTextError(Exception):
    """A file is not text."""


def read_text(path: Path) -> tuple[str, str]:
    """A file's text and encoding.

    Raises:
        NotTextError: it is not text.
    """
    return decode(path.read_bytes())


def decode(data: bytes) -> tuple[str, str]:
    """Text and encoding of bytes: Unicode by its mark or by its rules, others by what makes a likely text.

    Raises:
        NotTextError: they are not text.
    """
    text, encoding = _decode(data)
    odd = sum(text.count(char) for char in map(chr, [*range(9), *range(14, 27), 0xFFFD]))
    if "\0" in text or odd * 100 > len(text):
        raise NotTextError("it is not text")
    return text, encoding


def _decode(data: bytes) -> tuple[str, str]:
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if data.startswith(mark)), "") or _guess_utf16(
        data
    )
    try:
        return data.decode(encoding or "utf-8"), (encoding or "utf-8").removesuffix("-sig")
    except UnicodeDecodeError as error:
        if encoding or b"\0" in data:
            raise NotTextError(f"it is not {(encoding or 'utf-8').removesuffix('-sig')} text") from error
    if text := _mend_utf8(data):
        return text, "utf-8"
    if not _has_many_letters(data):
        raise NotTextError("it is not text")
    found = from_bytes(data[:_SAMPLE], cp_isolation=list(_ENCODINGS)).best()
    encoding = _prefer_latin(data, found.encoding if found else "cp1252")
    return data.decode(encoding, errors="replace"), encoding


def _mend_utf8(data: bytes) -> str:
    """A text that is in UTF-8 but for some bytes, which are from files in Western European; empty where too few of it is."""
    text = data.decode(errors="surrogateescape")
    strays = len(_STRAY.findall(text))
    if 4 * strays > len(_BEYOND_ASCII.findall(text)):
        return ""
    return _STRAY.sub(lambda stray: stray[0].encode(errors="surrogateescape").decode("cp1252", "replace"), text)


def _guess_utf16(data: bytes) -> str:
    """UTF-16 without a mark: every other byte of a text in Latin letters is 0."""
    for encoding, zeros in (("utf-16-le", data[1:2000:2]), ("utf-16-be", data[0:2000:2])):
        if len(data) > 3 and zeros.count(0) * 10 > 7 * len(zeros):
            return encoding
    return ""


def _has_many_letters(data: bytes) -> bool:
    controls = sum(data.count(bytes([byte])) for byte in [*range(9), *range(14, 27)])
    return controls * 100 <= len(data)


def _prefer_latin(data: bytes, found: str) -> str:
    """A text of which few bytes are beyond ASCII is in Western European, where that makes letters of them."""
    beyond = [byte for byte in data[:_SAMPLE] if byte > 127]
    if len(beyond) * 5 > len(data[:_SAMPLE]):
        return found
    try:
        shown = bytes(beyond).decode("cp1252")
    except UnicodeDecodeError:
        return found
    usual = sum(
        char in "àâäáãåæçéèêëíìîïñóòôöõøœùúûüßÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÙÚÛÜ‘’“”„«»–—…¡¿°£§€\xa0" for char in shown
    )
    return "cp1252" if usual * 10 >= 9 * len(shown) else found
