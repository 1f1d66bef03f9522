"""Archives at the edge of what is allowed: just within is taken, and a step further is refused."""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path

import pytest

from tasks.corpus import archives, corpus
from tasks.corpus.archives import Archive, ArchiveError, Listing, list_files
from tests.archives import Content, special, tar_of, tar_of_members, zip_of

pytestmark = pytest.mark.usefixtures("own_cache")
MAKERS = [tar_of, zip_of]


def listed(folder: Path, content: bytes) -> Listing:
    """What an archive of this content holds."""
    (folder / "x").write_bytes(content)
    return list_files(Archive(folder / "x", "x"))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("name", "longer", "problem"),
    [
        ("a" * 255, "a" * 256, "too long a name"),
        ("\u00e9" * 127 + "a", "\u00e9" * 128, "too long a name"),
        ("/".join(["a" * 204] * 5), "/".join(["a" * 204] * 5) + "a", "too long a name"),
        ("a/" * 19 + "b", "a/" * 20 + "b", "is nested deeper than 20 directories"),
    ],
)
def test_names_have_limits(tmp_path: Path, make: type, name: str, longer: str, problem: str) -> None:
    assert listed(tmp_path, make({name: "text"})) == Listing({name: 4}, {})
    with pytest.raises(ArchiveError, match=problem):
        listed(tmp_path, make({longer: "text"}))


@pytest.mark.parametrize("make", MAKERS)
def test_the_number_of_members_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: type) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    assert len(listed(tmp_path, make(dict.fromkeys("abc", "text"))).files) == 3
    with pytest.raises(ArchiveError, match="has more than 3 members; nothing was unpacked: split it"):
        listed(tmp_path, make(dict.fromkeys("abcd", "text")))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("limit", "why"), [("MAX_BYTES", r"2 MiB, the limit"), ("RATIO_MATTERS_FROM", "2 MiB, 100 times its own size")]
)
def test_the_content_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: type, limit: str, why: str
) -> None:
    monkeypatch.setattr(archives, limit, 2 * 1024**2)
    half = bytes(1024**2)
    assert len(listed(tmp_path, make({"a": half, "b": half})).files) == 2
    with pytest.raises(ArchiveError, match=f"would unpack to more than {why}; nothing was unpacked: name one"):
        listed(tmp_path, make({"a": half, "b": half + b"\0"}))


def test_directories_are_no_files_and_may_be_told_twice(tmp_path: Path) -> None:
    kinds = {"./": tarfile.DIRTYPE, "a/": tarfile.DIRTYPE, "./a/b": tarfile.DIRTYPE, "a/b/": tarfile.DIRTYPE}
    members = [tarfile.TarInfo(name) for name in (*kinds, "a/b/c.txt")]
    for member in members:
        member.type = kinds.get(member.name, tarfile.REGTYPE)
    assert listed(tmp_path, tar_of_members([(member, b"text") for member in members])) == Listing({"a/b/c.txt": 4}, {})
    assert listed(tmp_path, zip_of({"a/": "", "a/b/": "", "a/b/c.txt": "text"})) == Listing({"a/b/c.txt": 4}, {})
    with pytest.raises(ArchiveError, match="'a' stands in it twice"):
        listed(tmp_path, zip_of({"a/": "", "a": "text"}))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE])
def test_every_plain_kind_of_file_is_one(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a.txt")
    info.type = kind
    assert listed(tmp_path, tar_of_members([(info, b"text")])) == Listing({"a.txt": 4}, {})


def test_files_with_holes_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.txt")
    info.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": "4"}
    for content in (tar_of_members([(info, b"text")]), special(tarfile.GNUTYPE_SPARSE)):
        with pytest.raises(ArchiveError, match="is of an unknown kind"):
            listed(tmp_path, content)


def linked(kind: bytes | str, name: str, target: str) -> bytes:
    """An archive of the file a.txt and of a link."""
    if isinstance(kind, bytes):
        return special(kind, name, target)
    return zip_of({"a.txt": "a", name: target}, {name: 0o120777})


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, "zip"])
def test_links_that_stay_inside_are_left_out_and_others_refused(tmp_path: Path, kind: bytes | str) -> None:
    for target in ("a.txt", "d/a.txt"):
        assert listed(tmp_path, linked(kind, "d/x.txt", target)) == Listing({"a.txt": 1}, {"d/x.txt": "is a link"})
    for target in ("/a.txt", "../a.txt", "d/../../a.txt", "c:a.txt", "a\n.txt"):
        with pytest.raises(ArchiveError, match=r"member 'x\.txt' is a .*link"):
            listed(tmp_path, linked(kind, "x.txt", target))
    with pytest.raises(ArchiveError, match="link"):
        listed(tmp_path, linked(kind, "../x.txt", "a.txt"))


def test_a_link_of_a_zip_may_lead_to_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    content = zip_of({"a.txt": "a", "x.txt": b"\xff.txt"}, {"x.txt": 0o120777})
    assert listed(tmp_path, content) == Listing({"a.txt": 1}, {"x.txt": "is a link"})


@pytest.mark.parametrize("make", MAKERS)
def test_names_with_backslashes_are_left_out_if_they_stay_inside(tmp_path: Path, make: type) -> None:
    why = "has a name with backslashes, as only Windows has it"
    assert listed(tmp_path, make({"a.txt": "a", "d\\x.txt": "x"})) == Listing({"a.txt": 1}, {"d\\x.txt": why})
    for name in ("\\x.txt", "..\\x.txt", "d\\..\\..\\x.txt", "c:\\x.txt", "d\\\n.txt"):
        with pytest.raises(ArchiveError, match="has a backslash or a control character in its name"):
            listed(tmp_path, make({"a.txt": "a", name: "x"}))


def test_an_archive_of_nothing_but_what_is_left_out_says_why(tmp_path: Path) -> None:
    links = [tarfile.TarInfo(name) for name in ("x.txt", "y.txt")]
    for link in links:
        link.type, link.linkname = tarfile.SYMTYPE, "z.txt"
    with pytest.raises(ArchiveError, match=r"holds no files; 'x\.txt' is a link; name one that holds scripts"):
        listed(tmp_path, tar_of_members([(link, b"") for link in links]))


def test_what_is_left_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(corpus, "get_run_logger", lambda: logging.getLogger(__name__))
    (tmp_path / "x.tar").write_bytes(special(tarfile.SYMTYPE, "link.txt", "a.txt"))
    corpus.extract.fn(corpus.download.fn(str(tmp_path / "x.tar")))
    source = (tmp_path / "x.tar").as_uri()
    assert caplog.messages == [f"link.txt is left out of {source}: it is a link"]


def with_field(content: bytes, places: tuple[int, int], value: int) -> bytes:
    """A zip of one file, with another number in both of its headers."""
    changed = bytearray(content)
    for start, place in zip((0, content.index(b"PK\x01\x02")), places, strict=True):
        changed[start + place] = value
    return bytes(changed)


def test_a_zip_that_this_python_cannot_unpack_is_told(tmp_path: Path) -> None:
    plain = zip_of({"a.txt": "text"})
    with pytest.raises(ArchiveError, match=r"is refused: its member 'a\.txt' is encrypted"):
        listed(tmp_path, with_field(plain, (6, 8), 1))
    (tmp_path / "x.zip").write_bytes(with_field(plain, (8, 10), 99))
    with pytest.raises(
        ArchiveError, match=r"can't be unpacked \(.+\); nothing was unpacked: pack it again as \.tar\.gz"
    ):
        corpus.extract.fn(corpus.download.fn(str(tmp_path / "x.zip")))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"Archive x can't be read: Is a directory\."):
        list_files(Archive(tmp_path, "x"))


@pytest.mark.parametrize("name", ["x.tar", "x.gz", "x.tgz", "x.bz2", "x.xz", "x.ZIP", "x.7z", "x.rar", "x.tar.zst"])
def test_what_is_called_an_archive_has_to_be_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("ANNA.\nHello.\n")
    with pytest.raises(ArchiveError, match="is not an archive that can be read"):
        corpus.extract.fn(corpus.download.fn(str(tmp_path / name)))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("missing", ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"])
def test_a_part_of_the_classic_layout_is_any_layout(tmp_path: Path, make: type, missing: str) -> None:
    files: Content = {name: name for name in ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt", "other.txt")}
    del files[missing]
    (tmp_path / "x").write_bytes(make(files))
    assert set(corpus.extract.fn(corpus.download.fn(str(tmp_path / "x")))) == set(files)


def test_hints_name_a_few(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"some of: a, b, c\.$"):
        corpus.choose("x", list("dcba"), "*.txt")
    classic = [f"{folder}/{name}" for folder in "abc" for name in corpus.CLASSIC]
    with pytest.raises(ArchiveError, match=r"has ptb\.train\.txt in a and b; say by MEMBERS"):
        corpus.choose("x", classic, None)


def test_the_cache_is_where_it_is_said_to_be_or_in_the_folder_that_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRIPTWRIGHT_CACHE", "kept")
    assert corpus.cache_root() == tmp_path / "kept"
    monkeypatch.delenv("SCRIPTWRIGHT_CACHE")
    monkeypatch.setattr(corpus, "lasting_folder", lambda: tmp_path / "folder")
    assert corpus.cache_root() == tmp_path / "folder" / ".cache"
