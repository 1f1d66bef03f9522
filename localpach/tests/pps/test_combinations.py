"""The datums of inputs, against a plain reading of what cross, union, join and group mean."""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localpach.errors import Refused
from localpach.names import Branch, Repo
from localpach.pfs.service import Pfs
from localpach.pps import combinations, inputs
from localpach.pps.combinations import datums
from localpach.proto import pps_pb2
from localpach.storage.store import Store
from localpach.waiting import Bulletin

# Each name is two keys; the repos share some.
FILES = {"a": ["1-x", "1-y", "2-x"], "b": ["1-x", "3-z"], "c": ["2-x", "2-y", "4-x"], "empty": []}
GLOBS = {"/(*)-(*)": None, "/1-*": "1-", "/*": ""}


@dataclass(frozen=True)
class File:
    """A file as an input brings it; `$1` and `$2` are its keys."""

    repo: str
    name: str
    keys: dict[str, str]
    outer: bool
    on: tuple[str, str]  # the templates of join and group

    def key(self, which: int) -> str:
        return self.keys.get(self.on[which], "")


Datum = tuple[File, ...]


@pytest.fixture(scope="module")
def pfs(tmp_path_factory: pytest.TempPathFactory) -> Pfs:
    store = Store(tmp_path_factory.mktemp("inputs"))
    pfs = Pfs(store, Bulletin(store.after_commit))
    for name, files in FILES.items():
        repo = Repo("default", name)
        pfs.repos.create(repo)
        commit = pfs.commits.start(Branch(repo, "master"))
        for file in files:
            pfs.writes.put(commit, f"/{file}", name.encode(), "")
    return pfs


LEAVES = st.builds(
    lambda repo, glob, join, group, outer: pps_pb2.Input(
        pfs=pps_pb2.PFSInput(repo=repo, name=repo, glob=glob, join_on=join, group_by=group, outer_join=outer)
    ),
    st.sampled_from(list(FILES)),
    st.sampled_from(list(GLOBS)),
    st.sampled_from(["$1", "$2"]),
    st.sampled_from(["$1", "$2"]),
    st.booleans(),
)
INPUTS = st.recursive(
    LEAVES,
    lambda below: st.builds(
        lambda kind, parts: pps_pb2.Input(**{kind: parts}),
        st.sampled_from(["cross", "union", "join", "group"]),
        st.lists(below, min_size=1, max_size=3),
    ),
    max_leaves=5,
)


def meaning(input: pps_pb2.Input) -> list[Datum]:
    """All datums, some more than once."""
    kind = next(
        kind for kind in ("pfs", "cross", "union", "join", "group") if kind in {f.name for f, _ in input.ListFields()}
    )
    if kind == "pfs":
        return [(file,) for file in _files(input.pfs)]
    parts = [meaning(each) for each in getattr(input, kind)]
    if kind == "union":
        return [datum for part in parts for datum in part]
    if kind == "cross":
        return [sum(choice, ()) for choice in itertools.product(*parts)]
    sides = [[file for datum in part for file in datum] for part in parts]
    if kind == "group":
        keys = dict.fromkeys(file.key(1) for side in sides for file in side)
        return [tuple(file for side in sides for file in side if file.key(1) == key) for key in keys]
    found: list[Datum] = []
    for key in dict.fromkeys(file.key(0) for side in sides for file in side):
        of_key = [[file for file in side if file.key(0) == key] for side in sides]
        present = [side for side in of_key if side]
        for choice in itertools.product(*present):
            kept = choice if len(present) == len(sides) else tuple(file for file in choice if file.outer)
            found += [kept] if kept else []
    return found


def _files(pfs: pps_pb2.PFSInput) -> list[File]:
    prefix = GLOBS[pfs.glob]
    return [
        File(
            pfs.repo,
            name,
            dict(zip(("$1", "$2"), name.split("-"), strict=True)) if prefix is None else {},
            pfs.outer_join,
            (pfs.join_on, pfs.group_by),
        )
        for name in FILES[pfs.repo]
        if name.startswith(prefix or "")
    ]


def id_of(datum: Datum) -> str:
    """Pachyderm's: each text is followed by its length."""
    hasher = hashlib.blake2b(digest_size=32)
    for file in datum:
        for text in (file.repo, file.repo, "master", f"/{file.name}"):
            hasher.update(text.encode())
            hasher.update(struct.pack(">q", len(text)))
    return hasher.hexdigest()


@given(INPUTS)
def test_datums_are_what_their_input_means(pfs: Pfs, input: pps_pb2.Input) -> None:
    found = datums(pfs.files, input, pfs.commits.head)
    assert [datum.id for datum in found] == sorted({id_of(datum) for datum in meaning(input)})
    by_id = {id_of(datum): datum for datum in meaning(input)}
    for datum in found:
        shown = [(each.name, each.entry.path, str(each.branch), each.record.commit.repo.name) for each in datum.inputs]
        assert shown == [(f.repo, f"/{f.name}", f"default/{f.repo}@master", f.repo) for f in by_id[datum.id]]


@given(INPUTS)
def test_leaves_are_the_inputs_that_read(input: pps_pb2.Input) -> None:
    text = [line.split('"')[1] for line in str(input).splitlines() if line.strip().startswith("repo:")]
    assert [leaf.pfs.repo for leaf in inputs.leaves(input)] == text
    info = pps_pb2.PipelineInfo(details=pps_pb2.PipelineInfo.Details(input=input))
    assert len(list(inputs.leaves_of(info))) == len(text)
    assert list(inputs.leaves_of(pps_pb2.PipelineInfo())) == []


def test_the_hash_of_a_datum_changes_with_all_that_it_holds(pfs: Pfs) -> None:
    defaults: dict[str, Any] = {"repo": "a", "name": "a", "glob": "/1-x"}

    def hashes(salt: str, **fields: Any) -> list[str]:
        leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(**defaults | fields))
        return [datum.hash(salt) for datum in datums(pfs.files, leaf, pfs.commits.head)]

    ways = [hashes("s"), hashes("t"), hashes("s", name="n"), hashes("s", repo="b"), hashes("s", glob="/1-y")]
    assert len({hash for (hash,) in ways}) == len(ways)
    assert hashes("s") == ways[0]
    assert hashes("s", glob="/") != ways[0]
    assert hashes("s", repo="empty", glob="/") == []


def test_a_directory_has_its_captured_keys_too(pfs: Pfs) -> None:
    repo = Repo("default", "dirs")
    pfs.repos.create(repo)
    commit = pfs.commits.start(Branch(repo, "master"))
    for path in ("/k1/f", "/k2/f"):
        pfs.writes.put(commit, path, b"1", "")
    leaf = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="dirs", glob="/(*)", join_on="$1"))
    (first, second) = datums(pfs.files, leaf, pfs.commits.head)
    keys = {each.inputs[0].expand("$1") for each in (first, second)}
    assert keys == {"k1", "k2"}
    (root,) = datums(pfs.files, pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="dirs", glob="/")), pfs.commits.head)
    assert (root.inputs[0].expand("$0"), root.inputs[0].name) == ("/", "dirs")


def test_a_cron_is_read_tick_by_tick(pfs: Pfs) -> None:
    cron = pps_pb2.Input(cron=pps_pb2.CronInput(name="tick", repo="a", project="default", spec="@never"))
    found = datums(pfs.files, cron, pfs.commits.head)
    assert sorted(each.inputs[0].entry.path for each in found) == [f"/{name}" for name in FILES["a"]]
    assert {each.inputs[0].name for each in found} == {"tick"}


def side(repo: str, **more: Any) -> pps_pb2.Input:
    return pps_pb2.Input(pfs=pps_pb2.PFSInput(repo=repo, name=repo, glob="/*", **more))


# Three files to the power of twelve, or of 36; the last two come to nothing.
ENDLESS = {
    "cross": pps_pb2.Input(cross=[side("a")] * 12),
    "a cross of crosses": pps_pb2.Input(cross=[pps_pb2.Input(cross=[side("a")] * 12)] * 3),
    "a union of crosses": pps_pb2.Input(union=[pps_pb2.Input(cross=[side("a")] * 8)] * 1000),
    "join": pps_pb2.Input(join=[side("a")] * 12),
    "a join that lacks a side": pps_pb2.Input(join=[*([side("a")] * 12), side("empty")]),
    "a cross with nothing": pps_pb2.Input(cross=[pps_pb2.Input(cross=[side("a")] * 12), side("empty")]),
}


@pytest.mark.parametrize("input", ENDLESS.values(), ids=ENDLESS)
def test_what_combines_without_end_is_refused(pfs: Pfs, input: pps_pb2.Input, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combinations, "MAX_INPUTS", 30_000)
    with pytest.raises(Refused, match="choose narrower globs, or cross less"):
        datums(pfs.files, input, pfs.commits.head)


def test_as_many_as_the_limit_are_found(pfs: Pfs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the sides count, too: they are held meanwhile."""
    cross = pps_pb2.Input(cross=[side("a"), side("b")])
    monkeypatch.setattr(combinations, "MAX_INPUTS", 3 + 2 + 2 * 6)
    assert len(datums(pfs.files, cross, pfs.commits.head)) == 6
    monkeypatch.setattr(combinations, "MAX_INPUTS", 3 + 2 + 2 * 6 - 1)
    with pytest.raises(Refused, match="more than 16 files"):
        datums(pfs.files, cross, pfs.commits.head)


@pytest.mark.parametrize("input", ENDLESS.values(), ids=ENDLESS)
def test_the_search_for_datums_can_be_stopped(pfs: Pfs, input: pps_pb2.Input) -> None:
    looks = itertools.count(1)

    def check() -> None:
        if next(looks) == 5:
            raise KeyError("stopped")

    with pytest.raises(KeyError, match="stopped"):
        datums(pfs.files, input, pfs.commits.head, check)


def test_an_input_has_one_kind() -> None:
    leaf = pps_pb2.PFSInput(repo="a", glob="/")
    for input, sentence in (
        (pps_pb2.Input(), "no input set"),
        (pps_pb2.Input(pfs=leaf, cron=pps_pb2.CronInput(name="t")), "multiple input types set"),
        (pps_pb2.Input(cross=[pps_pb2.Input()]), "no input set"),
    ):
        with pytest.raises(Refused) as caught:
            list(inputs.leaves(input))
        assert caught.value.message == sentence
