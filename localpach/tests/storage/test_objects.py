"""Contents: named by their bytes, written once, small ones in the database and big ones as synced files."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from localpach.errors import Corrupt
from localpach.storage import big as big_module
from localpach.storage.big import READ_BYTES
from localpach.storage.objects import BATCH_BYTES, INLINE_BYTES, Batch, Objects
from localpach.storage.refs import Ref, digest
from localpach.storage.store import Store

SMALL, BIG = b"s" * INLINE_BYTES, b"b" * (INLINE_BYTES + 1)
SIZES = [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, READ_BYTES, READ_BYTES + 1, 2 * READ_BYTES + 5]


def blake(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def ref_of(data: bytes) -> Ref:
    return Ref(blake(data), len(data))


def written(objects: Objects, batch: Batch, data: bytes, piece: int = 50_000) -> Ref:
    """Data that a writer was given in pieces."""
    writer = objects.writer(batch)
    for start in range(0, len(data), piece):
        writer.write(memoryview(data)[start : start + piece])
    ref = writer.close()
    batch.flush()
    return ref


def rows(store: Store) -> list[str]:
    with store.read() as connection:
        return [row["hash"].hex() for row in connection.execute("SELECT hash FROM contents ORDER BY hash")]


def files(store: Store) -> list[Path]:
    return sorted(path for path in (store.root / "objects").rglob("*") if path.is_file())


def aside(store: Store) -> list[Path]:
    return list((store.root / "tmp").iterdir())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_limits_are_those_of_the_documents() -> None:
    assert (INLINE_BYTES, READ_BYTES, BATCH_BYTES) == (64 << 10, 1 << 20, 4 << 20)
    assert digest(b"x").hex() == blake(b"x")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["write", "write at once", "take", "share"])
def test_contents_come_back_whatever_their_size(
    store: Store, objects: Objects, batch: Batch, tmp_path: Path, size: int, way: str
) -> None:
    data = random.Random(size).randbytes(size)
    source = tmp_path / "source"
    source.write_bytes(data)
    match way:
        case "take":
            ref = objects.take(source, batch)
            batch.flush()
        case "share":
            ref = objects.share(source, batch)
            batch.flush()
        case _:
            ref = written(objects, batch, data, 50_000 if way == "write" else max(size, 1))
    assert ref == ref_of(data)
    assert b"".join(objects.read(ref)) == data
    is_big = size > INLINE_BYTES
    place = store.root / "objects" / ref.hash[:2] / ref.hash[2:]
    assert objects.big.path(ref) == place
    assert files(store) == ([place] if is_big else [])
    assert rows(store) == ([ref.hash] if 0 < size <= INLINE_BYTES else [])
    assert aside(store) == []
    assert (way == "take" and is_big) != source.exists()
    if way == "share":
        assert source.read_bytes() == data
    if is_big:
        assert place.read_bytes() == data
        assert place.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("size", SIZES)
def test_reading_begins_where_it_is_told_to(objects: Objects, batch: Batch, size: int) -> None:
    data = random.Random(size).randbytes(size)
    ref = written(objects, batch, data)
    for offset in {0, 1, size // 2, max(size - 1, 0), size, size + 10}:
        chunks = list(objects.read(ref, offset))
        assert b"".join(chunks) == data[offset:]
        assert all(0 < len(chunk) <= READ_BYTES for chunk in chunks)


def test_equal_contents_are_kept_once(store: Store, objects: Objects, batch: Batch, tmp_path: Path) -> None:
    for data in (SMALL, BIG):
        (tmp_path / "again").write_bytes(data)
        assert written(objects, batch, data) == written(objects, batch, data, 7000)
        assert objects.take(tmp_path / "again", batch) == ref_of(data)
    batch.flush()
    assert rows(store) == [blake(SMALL)]
    assert [path.name for path in files(store)] == [blake(BIG)[2:]]
    assert aside(store) == []


def test_a_big_content_is_synced_before_it_has_its_name_and_the_folders_after(
    store: Store, objects: Objects, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, ...]] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(handle: int) -> None:
        steps.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))
        fsync(handle)

    def record_replace(source: Path, target: Path) -> None:
        assert Path(source).read_bytes() == BIG
        steps.append(("rename", str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    place = objects.big.path(written(objects, batch, BIG))
    temporary = steps[0][1]
    assert Path(temporary).parent == store.root / "tmp"
    assert steps == [
        ("sync", temporary),
        ("rename", temporary, str(place)),
        ("sync", str(place.parent)),
        ("sync", str(store.root / "objects")),
    ]


def test_a_content_given_up_leaves_nothing(store: Store, objects: Objects, batch: Batch) -> None:
    assert rows(store) == []
    before = open_files()
    for data in (b"", SMALL, BIG):
        writer = objects.writer(batch)
        writer.write(data)
        writer.abandon()
        writer.abandon()
    batch.flush()
    assert (files(store), rows(store), aside(store)) == ([], [], [])
    assert open_files() == before


def test_a_file_that_can_not_be_shared_leaves_nothing(
    store: Store, objects: Objects, batch: Batch, tmp_path: Path
) -> None:
    with pytest.raises(OSError):
        objects.share(tmp_path, batch)
    assert aside(store) == []


def test_giving_up_what_was_kept_changes_nothing(store: Store, objects: Objects, batch: Batch) -> None:
    before = open_files()
    writer = objects.writer(batch)
    writer.write(BIG)
    ref = writer.close()
    writer.abandon()
    assert b"".join(objects.read(ref)) == BIG
    assert open_files() == before


def test_a_batch_goes_with_the_write_that_names_it(store: Store, batch: Batch) -> None:
    ref = batch.add(b"data")
    assert (batch.get(ref), rows(store)) == (b"data", [])
    assert batch.get(ref_of(b"other")) is None
    with pytest.raises(KeyError), store.write():
        batch.flush()
        raise KeyError
    assert (batch.get(ref), rows(store)) == (None, [])
    assert batch.add(b"data") == ref
    batch.flush()
    batch.flush()
    assert rows(store) == [ref.hash]


def test_a_batch_that_grows_is_written_on_the_way(store: Store, batch: Batch) -> None:
    pieces = BATCH_BYTES // INLINE_BYTES
    count = 0
    for cycle in (b"first", b"second"):
        for number in range(pieces):
            for _ in range(2):
                batch.add(cycle + number.to_bytes(4, "big") + SMALL[len(cycle) + 4 :])
        assert len(rows(store)) == count
        batch.add(cycle[:1])
        count += pieces + 1
        assert len(rows(store)) == count


def test_nothing_is_no_content(store: Store, objects: Objects, batch: Batch) -> None:
    ref = batch.add(b"")
    batch.flush()
    assert ref == ref_of(b"")
    assert (objects.read_inline(ref), list(objects.read(ref)), rows(store)) == (b"", [], [])


def test_what_is_stored_is_listed(objects: Objects, batch: Batch) -> None:
    refs = [written(objects, batch, data) for data in (SMALL, BIG, b"x", BIG + b"x")]
    assert sorted(objects.stored()) == sorted(refs)


def test_missing_contents_are_named(store: Store, objects: Objects) -> None:
    with pytest.raises(Corrupt) as caught:
        list(objects.read(ref_of(SMALL)))
    assert (
        caught.value.message
        == f"content {blake(SMALL)} is missing from the database; put the file again, or restore it from a backup"
    )
    with pytest.raises(Corrupt) as caught:
        list(objects.read(ref_of(BIG)))
    folder = store.root / "objects"
    assert (
        caught.value.message
        == f"content {blake(BIG)} is missing from {folder}; put the file again, or restore it from a backup"
    )


def damage(store: Store, objects: Objects, ref: Ref, data: bytes) -> None:
    """Puts other bytes where a content is."""
    if ref.size > INLINE_BYTES:
        objects.big.path(ref).chmod(0o600)
        objects.big.path(ref).write_bytes(data)
    else:
        with store.write() as connection:
            connection.execute("UPDATE contents SET data = ? WHERE hash = ?", (data, bytes.fromhex(ref.hash)))


def test_damage_is_found(store: Store, objects: Objects, batch: Batch) -> None:
    small, big, nothing = (written(objects, batch, data) for data in (SMALL, BIG, b""))
    for ref in (small, big, nothing):
        assert objects.problem(ref, True) is None
        assert objects.problem(ref, False) is None
    damage(store, objects, small, b"x" * small.size)
    damage(store, objects, big, b"x" * big.size)
    assert objects.problem(big, True) == f"content {big.hash} is damaged"
    in_database = f"content {small.hash} is damaged in the database; put the file again, or restore it from a backup"
    assert objects.problem(small, False) == objects.problem(small, True) == in_database
    assert objects.problem(big, False) is None
    wrong = f"content {big.hash}: {objects.big.path(big)} is missing or has another length than {big.size}"
    damage(store, objects, big, b"x" * (big.size - 1))
    assert objects.problem(big, False) == objects.problem(big, True) == wrong
    objects.big.path(big).unlink()
    assert objects.problem(big, False) == objects.problem(big, True) == wrong
    with store.write() as connection:
        connection.execute("DELETE FROM contents")
    assert objects.problem(small, False) == (
        f"content {small.hash} is missing from the database; put the file again, or restore it from a backup"
    )


def test_a_damaged_content_is_written_anew_when_it_comes_again(store: Store, objects: Objects, batch: Batch) -> None:
    ref = written(objects, batch, BIG)
    damage(store, objects, ref, b"x" * ref.size)
    assert written(objects, batch, BIG) == ref
    assert b"".join(objects.read(ref)) == BIG
    assert list((store.root / "quarantine").iterdir()) == []


def test_a_bounded_number_of_contents_is_known_to_be_whole(
    objects: Objects, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(big_module, "KNOWN_VERIFIED", 2)
    refs = [written(objects, batch, BIG + end) for end in (b"1", b"2", b"3")]
    for ref in refs:
        path = objects.big.path(ref)
        before = path.stat()
        path.chmod(0o600)
        path.write_bytes(b"x" * ref.size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    # What is known looks as it did.
    objects.check(refs[2])
    for ref in refs[:2]:
        with pytest.raises(Corrupt):
            objects.check(ref)


def test_only_what_is_asked_for_is_kept_once_that_is_durable(store: Store, objects: Objects, batch: Batch) -> None:
    kept = [written(objects, batch, data) for data in (b"kept", BIG)]
    dead = [written(objects, batch, data) for data in (b"dead", BIG + b"dead")]
    hashes = {ref.hash for ref in kept}
    with pytest.raises(KeyError), store.write():
        objects.keep_only(hashes)
        raise KeyError
    assert sorted(objects.stored()) == sorted(kept + dead)
    with store.write():
        assert objects.keep_only(hashes) == 4 + len(BIG) + 4
        assert len(files(store)) == 2
    assert sorted(objects.stored()) == sorted(kept)
    objects.big.path(kept[1]).unlink()
    assert objects.keep_only(hashes) == 0


def test_folders_are_there_at_the_next_start(store: Store, batch: Batch) -> None:
    ref = written(Objects(store), batch, BIG)
    again = Objects(store)
    assert b"".join(again.read(ref)) == BIG
    other = written(again, batch, BIG + b"x")
    assert b"".join(again.read(other)) == BIG + b"x"


def test_two_contents_of_one_folder(objects: Objects, batch: Batch) -> None:
    """Hashes with equal first digits meet in one folder."""
    first = BIG
    second = next(d for n in range(100_000) if blake(d := BIG + b"%d" % n)[:2] == blake(first)[:2])
    refs = [written(objects, batch, data) for data in (first, second)]
    assert [b"".join(objects.read(ref)) for ref in refs] == [first, second]


def test_a_file_has_the_hash_of_its_pieces(objects: Objects, batch: Batch) -> None:
    def of(*pieces: bytes) -> str:
        return objects.hash_of([written(objects, batch, piece) for piece in pieces], batch)

    whole = b"x" * READ_BYTES
    inline = [whole[:INLINE_BYTES]] * (READ_BYTES // INLINE_BYTES)
    assert of() == of(b"") == of(b"", b"") == blake(b"")
    assert of(b"a") == of(b"", b"a") == blake(digest(b"a"))
    assert of(BIG) == blake(digest(BIG))
    assert of(b"a", b"b") == of(b"a", b"", b"b") == blake(digest(b"ab"))
    assert of(SMALL, b"b") == blake(digest(SMALL + b"b"))
    assert of(*inline) == blake(digest(whole))
    assert of(*inline, b"y") == blake(b"".join(map(digest, [*inline, b"y"])))
    assert of(BIG, b"b") == blake(digest(BIG) + digest(b"b"))
    assert of(b"b", BIG) == blake(digest(b"b") + digest(BIG))
    waiting = [batch.add(b"not yet"), batch.add(b"written")]
    assert objects.hash_of(waiting, batch) == blake(digest(b"not yetwritten"))


def test_a_write_that_takes_a_part_only_goes_on(
    objects: Objects, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[: len(data) // 2 + 1])))
    assert objects.big.path(written(objects, batch, BIG)).read_bytes() == BIG


def test_a_file_with_another_name_is_copied(objects: Objects, batch: Batch, tmp_path: Path) -> None:
    source, other = tmp_path / "source", tmp_path / "other"
    source.write_bytes(BIG)
    other.hardlink_to(source)
    ref = objects.take(source, batch)
    other.write_bytes(b"changed")
    assert b"".join(objects.read(ref)) == BIG
