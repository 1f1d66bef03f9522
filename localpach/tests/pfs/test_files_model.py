"""Random changes to files, compared with a dictionary; and all ways to look at the outcome."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from localpach.proto import pfs_pb2
from tests.client import Changes, Client

Parts = dict[str, bytes]
Model = dict[str, Parts]  # what each datum has written, by path
PATHS = ["/a", "/a/b", "/a/b/c", "/d/x", "/d/y", "/d/z/deep", "/e"]
FOLDERS = ["/d/", "/d/z/", "/a/b/", "/none/", "/", "/d"]
HALF = b"h" * (40 << 10)  # two of these are too long for one small content


class Put(NamedTuple):
    path: str
    datum: str
    data: bytes


class Delete(NamedTuple):
    path: str
    datum: str


class Copy(NamedTuple):
    source: str
    target: str
    datum: str
    append: bool


Change = Put | Delete | Copy
DATUMS = st.sampled_from(["", "x", "y"])
CHANGES = st.lists(
    st.builds(Put, st.sampled_from(PATHS), DATUMS, st.sampled_from([b"", b"1", b"two", HALF, HALF * 2]))
    | st.builds(Put, st.sampled_from(PATHS[3:]), DATUMS, st.sampled_from([b"1", b"two"]))
    | st.builds(Delete, st.sampled_from([*PATHS, *FOLDERS]), DATUMS)
    | st.builds(
        Copy,
        st.sampled_from(["/", "/s", "/s/1", "/none"]),
        st.sampled_from(["/d", "/e", "/c/c"]),
        DATUMS,
        st.booleans(),
    ),
    max_size=12,
)
SOURCE: Model = {"/s/1": {"default": b"one"}, "/s/2": {"default": b"two"}, "/t": {"default": HALF * 2}}


def below(model: Model, path: str) -> list[str]:
    """The file at a path, or those below it."""
    return [path] if path in model else sorted(each for each in model if each.startswith(path.rstrip("/") + "/"))


def change(model: Model, changes: list[Change]) -> None:
    """What the changes mean."""
    for each in changes:
        match each:
            case Put(path, datum, data):
                _add(model, path, datum, data)
            case Delete(path, datum):
                for name in [name for name in model if name == path or (path[-1] == "/" and name.startswith(path))]:
                    model[name].pop(datum or "default", None)
                    if not model[name]:
                        del model[name]
            case Copy(source, target, datum, append):
                for name in below(SOURCE, source):
                    place = target + name.removeprefix(source.rstrip("/"))
                    if not append:
                        change(model, [Delete(place, datum)])
                    _add(model, place, datum, b"".join(SOURCE[name].values()))


def _add(model: Model, path: str, datum: str, data: bytes) -> None:
    parts = model.setdefault(path, {})
    parts[datum or "default"] = parts.get(datum or "default", b"") + data


def whole(parts: Parts) -> bytes:
    return b"".join(data for _, data in sorted(parts.items()))


def blake(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


def requests(source: pfs_pb2.Commit, changes: list[Change]) -> list[pfs_pb2.ModifyFileRequest]:
    messages = []
    for each in changes:
        message = pfs_pb2.ModifyFileRequest()
        match each:
            case Put(path, datum, data):
                message.add_file.path, message.add_file.datum, message.add_file.raw.value = path, datum, data
            case Delete(path, datum):
                message.delete_file.path, message.delete_file.datum = path, datum
            case Copy(path, target, datum, append):
                copy = message.copy_file
                copy.src.CopyFrom(pfs_pb2.File(commit=source, path=path))
                copy.dst, copy.datum, copy.append = target, datum, append
        messages.append(message)
    return messages


def problem(model: Model) -> str:
    """What is wrong with the first file that several datums wrote, or that stands first below another one's path."""
    wrong = {}
    for path in model:
        below = [each for each in model if each.startswith(path + "/")]
        if below:
            wrong[min(below)] = f"file / directory path collision ({min(below)})"
    for path, parts in model.items():
        if len(parts) > 1:
            first, second = sorted(parts)[:2]
            wrong[path] = f"duplicate path output by different datums ({path} from {first} and {path} from {second})"
    return wrong[min(wrong)] if wrong else ""


def tree(model: Model) -> dict[str, tuple[int, bytes]]:
    """Size and hash of all files and directories; a small file's hash is of the hash of its bytes."""
    found = {}
    for path, parts in model.items():
        data = whole(parts)
        found[path] = (len(data), blake(blake(data)) if data else blake(b""))
    folders = {"/".join(path.split("/")[:count]) + "/" for path in model for count in range(1, path.count("/") + 1)}
    for folder in sorted({*folders, "/"}, key=lambda path: -path.count("/")):
        children = [each for each in sorted(found) if each != folder and each.startswith(folder)]
        direct = [each for each in children if "/" not in each[len(folder) :].rstrip("/")]
        found[folder] = (sum(found[each][0] for each in direct), blake(b"".join(found[each][1] for each in direct)))
    return found


def is_small(model: Model) -> bool:
    return all(len(part) <= 64 << 10 for parts in model.values() for part in parts.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=CHANGES, second=CHANGES)
@example([Put("/a/b", "", b"1")], [Put("/a", "", b"2"), Put("/a/b/c", "", b"3")])
@example([Put("/a/b/c", "", b"1"), Put("/a", "", b"2")], [Delete("/a", "")])
@example([Put("/e", "x", b"1"), Put("/e", "y", HALF), Put("/e", "y", HALF)], [Delete("/e", "y"), Put("/e", "", b"")])
def test_changes_make_what_the_dictionary_says(client: Client, first: list[Change], second: list[Change]) -> None:
    client.delete_all()
    client.create_repo("source")
    client.create_repo("in")
    with client.commit("source", "master") as source:
        client.pfs.ModifyFile(iter([*Changes(source).requests, *requests(source, _puts(SOURCE))]))
    model: Model = {}
    good: Model = {}
    broken = False
    for changes in (first, second):
        commit = client.start_commit("in", "master")
        half = len(changes) // 2
        for part in (changes[:half], changes[half:]):
            client.pfs.ModifyFile(iter([*Changes(commit).requests, *requests(source, part)]))
            change(model, part)
        client.finish_commit(commit)
        client.wait_commit(commit)
        error = problem(model)
        assert client.inspect_commit(commit).error == error
        if error:
            broken = True
            model = {path: dict(parts) for path, parts in good.items()}
        else:
            look(client, commit, model)
            if not broken:
                compare(client, commit, model, good)
            good = {path: dict(parts) for path, parts in model.items()}


def _puts(model: Model) -> list[Change]:
    return [Put(path, datum, data) for path, parts in model.items() for datum, data in parts.items()]


def look(client: Client, commit: pfs_pb2.Commit, model: Model) -> None:
    """By every call that reads files."""
    expected = tree(model)
    names = sorted(expected)
    walked = list(client.pfs.WalkFile(pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=commit, path="/"))))
    globbed = client.glob_file(commit, "/**")
    assert [info.file.path for info in walked] == names
    assert [info.file.path for info in globbed] == names[1:]
    for info in walked:
        path = info.file.path
        assert info.size_bytes == expected[path][0]
        assert (info.file_type == pfs_pb2.DIR) == path.endswith("/")
        if is_small(model):
            assert info.hash == expected[path][1], path
        if path in model:
            assert client.get_file(commit, path) == whole(model[path])
            assert info.file.datum == min(model[path])
        request = pfs_pb2.InspectFileRequest(file=pfs_pb2.File(commit=commit, path=path))
        assert client.pfs.InspectFile(request) == info
        listed = [each.file.path for each in client.list_file(commit, path)]
        below = [each for each in names if each.startswith(path) and "/" not in each[len(path) :].rstrip("/")]
        assert listed == ([path] if path in model else [each for each in below if each != path])
    if model:
        with tarfile.open(fileobj=io.BytesIO(client.get_file_tar(commit, "/"))) as tar:
            held = {member.name: tar.extractfile(member) for member in tar}
            files = {"/" + name.strip("/"): file.read() for name, file in held.items() if file}
        assert files == {path: whole(parts) for path, parts in model.items()}


def compare(client: Client, commit: pfs_pb2.Commit, new: Model, old: Model) -> None:
    """The difference to the parent: what has another size or hash on both sides, and nothing that is equal."""
    here, there = tree(new) if new else {}, tree(old) if old else {}
    pairs = [(diff.new_file.file.path, diff.old_file.file.path) for diff in client.diff_file(commit, "/")]
    told = [max(pair) for pair in pairs]
    assert told == sorted(told)
    assert pairs == [(path if path in here else "", path if path in there else "") for path in told]
    if is_small(new) and is_small(old):
        assert set(told) >= {path for path in {*here, *there} if here.get(path) != there.get(path)}
    assert all(new.get(path) != old.get(path) for path in told if not path.endswith("/"))
