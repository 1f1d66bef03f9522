"""Directories as trees, against a dictionary."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localpach.storage import trees as module
from localpach.storage.store import Store
from localpach.storage.trees import DEFAULT_DATUM, EMPTY, Dir, Entry, Trees
from tests.storage.files import blake, file_of, plain

Model = dict[str, Entry]
NAMES = [f"f{number:03}" for number in range(60)] + [f"d{number:02}/" for number in range(20)]


DATA = st.binary(max_size=3)
FILES = (
    DATA.map(plain)
    | DATA.map(lambda data: file_of(("other", (data,))))
    | DATA.map(lambda data: file_of((DEFAULT_DATUM, (b"1", data))))
    | DATA.map(lambda data: file_of((DEFAULT_DATUM, (b"1",)), ("other", (data, b"2"))))
)
DIRS = st.binary(min_size=1, max_size=1).map(lambda data: Dir(blake(data).hex(), data[0]))


def entry_of(name: str) -> st.SearchStrategy[Entry]:
    return DIRS if name.endswith("/") else FILES


CHANGES = st.lists(st.sampled_from(NAMES), unique=True, max_size=25).flatmap(
    lambda names: st.fixed_dictionaries({name: st.none() | entry_of(name) for name in names})
)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trees]:
    """Trees whose leaves are short, so that a few names make many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEAF_ENTRIES", 4)
        store = Store(tmp_path_factory.mktemp("trees"))
        yield Trees(store)
        store.close()


def changed(model: Model, changes: dict[str, Entry | None]) -> Model:
    both = {**model, **changes}
    return {name: entry for name, entry in both.items() if entry is not None}


@given(st.lists(CHANGES, max_size=5), st.sampled_from(["", "a", "e", "f030", "f0305", "z", *NAMES[::7]]))
def test_a_directory_is_a_sorted_dictionary(trees: Trees, history: list[dict[str, Entry | None]], after: str) -> None:
    model: Model = {}
    here = EMPTY
    for changes in history:
        model = changed(model, changes)
        here = trees.update(here, changes)
    expected = sorted(model.items())
    assert list(trees.entries(here)) == expected
    assert list(trees.entries(here, reverse=True)) == expected[::-1]
    assert list(trees.entries(here, after)) == [item for item in expected if item[0] > after]
    if after:
        assert list(trees.entries(here, after, reverse=True)) == [item for item in expected if item[0] < after][::-1]
    for name in (*NAMES, "a", "f", "z"):
        assert trees.lookup(here, name) == model.get(name)
    assert here.size == sum(entry.size for entry in model.values())
    assert here == trees.update(EMPTY, dict(model))
    assert (here == EMPTY) == (not model)
    hashes = [trees_hash(entry) for _, entry in expected]
    if not any(isinstance(entry, Dir) for entry in model.values()):
        assert trees.hash(here) == blake(b"".join(hashes))


def trees_hash(entry: Entry) -> bytes:
    return b"" if isinstance(entry, Dir) else bytes.fromhex(entry.hash)


@given(CHANGES, CHANGES)
def test_changes_share_what_they_leave_alone(
    trees: Trees, first: dict[str, Entry | None], second: dict[str, Entry | None]
) -> None:
    """Whatever comes between, equal content is one node."""
    before = trees.update(EMPTY, first)
    between = trees.update(before, second)
    back = {name: changed({}, first).get(name) for name in second}
    assert trees.update(between, back) == before
    assert trees.update(before, {}) is before
    assert trees.update(before, dict.fromkeys(NAMES)) == EMPTY
