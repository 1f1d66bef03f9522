"""Nodes of trees: what they are, which are kept, and how often they are read."""

from __future__ import annotations

import json
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from localpach.errors import Corrupt
from localpach.storage import trees as module
from localpach.storage.refs import digest
from localpach.storage.store import Store
from localpach.storage.trees import DEFAULT_DATUM, EMPTY, Dir, Entry, File, Trees
from tests.storage.files import blake, file_of, plain, ref_of

NAMES = [f"f{number:03}" for number in range(60)]


@pytest.fixture
def trees(store: Store) -> Trees:
    return Trees(store)


def test_leaves_end_after_the_names_that_hash_to_a_boundary(store: Store, trees: Trees) -> None:
    names = [f"n{number:04}" for number in range(1000)]
    here = trees.update(EMPTY, {name: plain(name.encode()) for name in names})
    with store.read() as connection:
        nodes = [json.loads(row["data"]) for row in connection.execute("SELECT data FROM nodes")]
    (root,) = (node for node in nodes if isinstance(node, dict))
    found = sorted(node for node in nodes if isinstance(node, list))
    assert [row[0] for leaf in found for row in leaf] == names
    ends = [leaf[-1][0] for leaf in found[:-1]]
    assert ends == [name for name in names[:-1] if zlib.crc32(name.encode()) % 128 == 0]
    assert [[leaf[0][0], sum(row[1] for row in leaf)] for leaf in found] == [
        [first, size] for first, _, size in root["leaves"]
    ]
    assert here.size == 5000


def test_nodes_have_the_keys_that_data_directories_know_them_by(store: Store, trees: Trees) -> None:
    few = trees.update(EMPTY, {"a": plain(b"1"), "b": file_of(("x", (b"2", b"3"))), "d/": Dir("ab" * 32, 7)})
    many = trees.update(EMPTY, {f"n{number:04}": plain(b"%d" % number) for number in range(1000)})
    assert few == Dir("5c585a0e0553019391789a8caa15d4a83304f5dd145a56fdbb552c21f65d590e", 10)
    assert many == Dir("02f2349dd6a460a1150f653e9b952e07d59e6cfb3419635991bf71e5e6995189", 2890)


def test_one_leaf_is_its_own_directory(store: Store, trees: Trees) -> None:
    here = trees.update(EMPTY, {"a": plain(b"1")})
    with store.read() as connection:
        (row,) = connection.execute("SELECT key, data FROM nodes").fetchall()
    assert (row["key"].hex(), json.loads(row["data"])) == (here.key, [["a", 1, blake(b"1").hex()]])


class Nested:
    """A tree with directories in it, built from paths."""

    def __init__(self, trees: Trees, files: dict[str, File]) -> None:
        self._trees = trees
        self.root = self._build(files)

    def _build(self, files: dict[str, File]) -> Dir:
        changes: dict[str, Entry | None] = {}
        folders: dict[str, dict[str, File]] = {}
        for path, file in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name + "/", {})[rest] = file
            else:
                changes[name] = file
        changes.update({name: self._build(below) for name, below in folders.items()})
        return self._trees.update(EMPTY, changes)


def test_paths_lead_through_directories(trees: Trees) -> None:
    files = {"a": plain(b"a"), "d/x": plain(b"x"), "d/e/y": plain(b"yy"), "both": plain(b"f"), "both/z": plain(b"z")}
    root = Nested(trees, files).root
    assert trees.find(root, "/") == trees.find_dir(root, "/") == root
    for path, file in files.items():
        if path != "both":
            assert trees.find(root, f"/{path}") == file
            assert trees.find_dir(root, f"/{path}") is None
    assert trees.find(root, "/both") == files["both"]
    assert trees.find_dir(root, "/both") == trees.update(EMPTY, {"z": files["both/z"]})
    assert trees.find(root, "/d") == trees.find_dir(root, "/d")
    assert trees.find(root, "/d/e") == trees.find_dir(root, "/d/e") == trees.update(EMPTY, {"y": files["d/e/y"]})
    for path in ("/none", "/d/none", "/none/x", "/a/x", "/d/e/y/z"):
        assert trees.find(root, path) is None
        assert trees.find_dir(root, path) is None
    assert trees.find(EMPTY, "/a") is None


def test_the_hash_of_a_directory_is_of_its_childrens(trees: Trees) -> None:
    files = {"a": plain(b"a"), "d/x": plain(b"x"), "d/e/y": plain(b"y")}
    root = Nested(trees, files).root
    below = blake(blake(bytes.fromhex(files["d/e/y"].hash)) + bytes.fromhex(files["d/x"].hash))
    for _ in range(2):
        assert trees.hash(root) == blake(bytes.fromhex(files["a"].hash) + below)
    assert trees.hash(EMPTY) == blake(b"")


def test_what_is_reachable_is_given_once(trees: Trees) -> None:
    files = {f"d{each}/{name}": plain(f"{each}{name}".encode()) for each in range(3) for name in NAMES}
    files["two"] = file_of((DEFAULT_DATUM, (b"1", b"2")), ("x", (b"3",)))
    first = Nested(trees, files).root
    second = Nested(trees, {**files, "d1/f000": plain(b"new")}).root
    seen: set[str] = set()
    refs = list(trees.reachable(first.key, seen))
    assert sorted(refs) == sorted(ref for file in files.values() for ref in file.refs)
    nodes = set(seen)
    assert first.key in nodes
    assert {trees.find_dir(first, f"/d{each}").key for each in range(3)} <= nodes  # type: ignore[union-attr]
    assert list(trees.reachable(first.key, seen)) == list(trees.reachable("", seen)) == []
    assert seen == nodes
    more = list(trees.reachable(second.key, seen))
    assert ref_of(b"new") in more
    assert len(more) < 60 + 5
    everything: set[str] = set()
    list(trees.reachable(second.key, everything))
    assert everything <= seen


def test_all_leaves_of_a_directory_are_reachable(store: Store, trees: Trees) -> None:
    entries: dict[str, Entry | None] = {f"{number:04}": plain(b"%d" % number) for number in range(2000)}
    whole = trees.update(EMPTY, entries)
    seen: set[str] = set()
    assert list(trees.reachable(whole.key, seen)) == [ref_of(b"%d" % number) for number in range(2000)]
    assert len(seen) > 2
    assert seen == keys(store).keys()


def keys(store: Store) -> dict[str, int]:
    with store.read() as connection:
        return {row["key"].hex(): len(row["data"]) for row in connection.execute("SELECT * FROM nodes")}


def test_only_the_nodes_that_are_asked_for_are_kept(store: Store, trees: Trees) -> None:
    assert trees.keep_only(set()) == 0
    kept = trees.update(EMPTY, {"a": plain(b"1")})
    trees.update(EMPTY, {"b": plain(b"1")})
    trees.update(EMPTY, {"c": file_of(("x", (b"1",)))})
    before = keys(store)
    assert len(before) == 3
    assert trees.keep_only({kept.key}) == sum(before.values()) - before[kept.key]
    assert list(keys(store)) == [kept.key]


def test_damaged_and_missing_nodes_are_named(store: Store, trees: Trees) -> None:
    good, bad, gone = (trees.update(EMPTY, {name: plain(b"1")}) for name in "abc")
    assert list(trees.damaged()) == []
    with store.write() as connection:
        connection.execute("UPDATE nodes SET data = x'5b5d' WHERE key = ?", (bytes.fromhex(bad.key),))
        connection.execute("DELETE FROM nodes WHERE key = ?", (bytes.fromhex(gone.key),))
    assert list(trees.damaged()) == [f"directory node {bad.key} is damaged"]
    with pytest.raises(Corrupt) as caught:
        trees.lookup(gone, "c")
    sentence = f"directory node {gone.key} is missing from the database; restore it from a backup"
    assert caught.value.message == sentence
    assert trees.lookup(good, "a") == plain(b"1")


def test_what_can_be_read_of_a_directory_is_salvaged(store: Store, trees: Trees) -> None:
    entries: dict[str, Entry | None] = {f"{number:04}": plain(b"1") for number in range(2000)}
    whole = trees.update(EMPTY, entries)
    assert trees.salvage(whole) == (entries, "")
    assert trees.salvage(EMPTY) == ({}, "")
    with store.read() as connection:
        data = connection.execute("SELECT data FROM nodes WHERE key = ?", (bytes.fromhex(whole.key),)).fetchone()[0]
    leaves = json.loads(data)["leaves"]
    (first, leaf, _), (after, _, _) = leaves[1:3]
    damage = "UPDATE nodes SET data = x'5b5d' WHERE key = ?"
    with store.write() as connection:
        connection.execute(damage, (bytes.fromhex(leaf),))
    rest = {name: entry for name, entry in entries.items() if not first <= name < after}
    sentence = "directory node {} is damaged; restore it from a backup"
    assert Trees(store).salvage(whole) == (rest, sentence.format(leaf))
    with store.write() as connection:
        connection.execute(damage, (bytes.fromhex(whole.key),))
    assert Trees(store).salvage(whole) == ({}, sentence.format(whole.key))
    trees.drop_damaged()
    assert keys(store).keys() == {key for _, key, _ in leaves} - {leaf}


def test_a_node_that_two_read_at_once_is_kept_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_ENTRIES", 3)
    trees = Trees(store)
    both, other = (trees.update(EMPTY, dict.fromkeys(names, plain(b"1"))) for names in (("a", "b"), ("c",)))
    together, checked = threading.Barrier(2), digest

    def meet(data: bytes) -> bytes:
        together.wait(20)
        return checked(data)

    monkeypatch.setattr(module, "digest", meet)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: trees.lookup(both, "a"), range(2))) == [plain(b"1")] * 2
    monkeypatch.setattr(module, "digest", checked)
    # Counted twice, it would leave no room for another.
    reads = Reads(store)
    for _ in range(2):
        assert trees.lookup(other, "c") == trees.lookup(both, "a") == plain(b"1")
    assert reads.taken() == 1


class Reads:
    """Counts the nodes that are read from the database."""

    def __init__(self, store: Store) -> None:
        self._statements: list[str] = []
        with store.read() as connection:
            connection.set_trace_callback(self._statements.append)

    def taken(self) -> int:
        """How many since the last time."""
        count = sum("FROM nodes" in statement for statement in self._statements)
        self._statements.clear()
        return count


def test_nodes_looked_at_lately_are_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_ENTRIES", 30)
    monkeypatch.setattr(module, "LEAF_ENTRIES", 1 << 30)
    trees = Trees(store)
    folders = [trees.update(EMPTY, {f"{each}.{name}": plain(b"1") for name in "abcde"}) for each in range(8)]
    reads = Reads(store)

    def look(number: int) -> int:
        assert trees.lookup(folders[number], f"{number}.a") is not None
        return reads.taken()

    assert [look(number) for number in range(6)] == [1] * 6
    assert [look(number) for number in range(6)] == [0] * 6
    assert [look(0), look(6), look(0), look(1)] == [0, 1, 0, 1]
    assert [look(number) for number in (3, 4, 5, 6, 0, 1)] == [0] * 6
    assert look(2) == 1


def test_a_node_that_is_longer_than_all_that_is_kept_is_kept_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED_ENTRIES", 3)
    trees = Trees(store)
    folders = [trees.update(EMPTY, {f"{each}.{name}": plain(b"1") for name in "abcdef"}) for each in range(2)]
    reads = Reads(store)
    counts = []
    for number in (0, 0, 1, 1, 0):
        assert trees.lookup(folders[number], f"{number}.a") is not None
        counts.append(reads.taken())
    assert counts == [1, 0, 1, 0, 1]


def test_hashes_of_some_directories_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_ENTRIES", 3)
    trees = Trees(store)
    folders = [trees.update(EMPTY, {name: plain(b"1")}) for name in "abcd"]
    reads = Reads(store)

    def hashed(number: int) -> int:
        """How many nodes were read for it."""
        assert trees.hash(folders[number]) == blake(bytes.fromhex(plain(b"1").hash))
        return reads.taken()

    assert [hashed(number) for number in (0, 1, 2, 3)] == [1] * 4
    assert [hashed(number) for number in (1, 2, 3)] == [0] * 3
    assert hashed(0) == 1


def test_a_trees_file_is_as_it_was_put(trees: Trees) -> None:
    for file in (
        plain(b""),
        plain(b"1"),
        file_of(("x", (b"1",))),
        file_of((DEFAULT_DATUM, (b"1", b"2"))),
        file_of(("a", (b"1",)), ("b", (b"2", b"3"))),
        file_of((DEFAULT_DATUM, ())),
    ):
        assert trees.lookup(trees.update(EMPTY, {"f": file}), "f") == file
        assert file.datum == file.parts[0][0]


def test_nodes_are_written_with_the_rest_of_a_write(store: Store, trees: Trees) -> None:
    with pytest.raises(KeyError), store.write():
        trees.update(EMPTY, {"a": plain(b"1")})
        raise KeyError
    assert keys(store) == {}
