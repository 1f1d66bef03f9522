"""What is in a commit: who wrote which part of a file, what a copy and a delete touch, and what a child starts from."""

from __future__ import annotations

from functools import partial

import pytest

from localpach.proto import pfs_pb2, pps_pb2
from tests.client import Client, branch_of, commit_of, repo_of
from tests.helpers import content, last_job, pfs, pipeline, put, refused

Listing = list[tuple[str, str, int]]


@pytest.fixture
def repo(client: Client) -> Client:
    """A repo `a` of three files, two of them in a directory."""
    client.create_repo("a")
    put(client, "a", {"/d/x": b"1", "/d/y": b"22", "/f": b"333"})
    return client


def modify(client: Client, *changes: pfs_pb2.ModifyFileRequest, branch: str = "master") -> pfs_pb2.CommitInfo:
    """Changes on a branch of `a`; the commit that they make, once it is finished."""
    target = pfs_pb2.ModifyFileRequest(set_commit=commit_of(("a", branch)))
    client.pfs.ModifyFile(iter([target, *changes]))
    client.wait_commit(("a", branch))
    return client.inspect_commit(("a", branch))


def added(path: str, data: bytes, datum: str = "") -> pfs_pb2.ModifyFileRequest:
    change = pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, datum=datum))
    change.add_file.raw.value = data
    return change


def deleted(path: str, datum: str = "") -> pfs_pb2.ModifyFileRequest:
    return pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path, datum=datum))


def copied(source: str, target: str, append: bool = False) -> pfs_pb2.ModifyFileRequest:
    file = pfs_pb2.File(commit=commit_of(("a", "master")), path=source)
    return pfs_pb2.ModifyFileRequest(copy_file=pfs_pb2.CopyFile(src=file, dst=target, append=append))


def walked(client: Client, branch: str = "master", datum: str = "") -> Listing:
    """Path, datum and size of each file."""
    file = pfs_pb2.File(commit=commit_of(("a", branch)), path="/", datum=datum)
    infos = client.pfs.WalkFile(pfs_pb2.WalkFileRequest(file=file))
    return [(i.file.path, i.file.datum, i.size_bytes) for i in infos if i.file_type == pfs_pb2.FILE]


def test_a_directory_is_deleted_by_its_slash_and_a_file_without(repo: Client) -> None:
    before = walked(repo)
    modify(repo, deleted("/d"), deleted("/f/"), deleted("/nope"), deleted("/nope/"))
    assert walked(repo) == before
    modify(repo, deleted("/d/"))
    assert walked(repo) == [("/f", "default", 3)]
    modify(repo, deleted("/"))
    assert walked(repo) == []


def test_a_delete_touches_what_its_datum_wrote(repo: Client) -> None:
    modify(repo, added("/d/x", b"4444", "t"), deleted("/d/x"))
    assert walked(repo)[0] == ("/d/x", "t", 4)
    modify(repo, deleted("/d/", "t"))
    assert walked(repo) == [("/d/y", "default", 2), ("/f", "default", 3)]


def test_a_path_that_two_datums_wrote_is_told_twice_and_fails_its_commit(repo: Client) -> None:
    info = modify(repo, added("/f", b"4444", "t"))
    assert info.error == "duplicate path output by different datums (/f from default and /f from t)"
    assert walked(repo)[2:] == [("/f", "default", 3), ("/f", "t", 4)]
    assert walked(repo, datum="t") == [("/f", "t", 4)]
    both = partial(repo.get_file, ("a", "master"), "/f")
    assert refused(both) == ("UNKNOWN", "matched multiple files. Use GetFileTAR instead")
    file = pfs_pb2.File(commit=commit_of(("a", "master")), path="/f", datum="t")
    assert b"".join(each.value for each in repo.pfs.GetFile(pfs_pb2.GetFileRequest(file=file))) == b"4444"
    # Nothing of it goes on to the next commit.
    assert not modify(repo, added("/g", b"5")).error
    assert walked(repo)[2:] == [("/f", "default", 3), ("/g", "default", 1)]


def test_two_datums_of_a_job_that_write_one_path_fail_it(repo: Client) -> None:
    pipeline(repo, "p", "echo 1 > /pfs/out/same", pfs("a", "/*"))
    job = last_job(repo, "p")
    assert job.state == pps_pb2.JOB_FAILURE
    assert job.reason.startswith("duplicate path output by different datums (/same from ")
    assert job.reason == repo.inspect_commit(("p", "master")).error


def test_a_datum_of_a_later_job_must_not_write_what_a_skipped_one_wrote(repo: Client) -> None:
    pipeline(repo, "p", "echo 1 > /pfs/out/same", pfs("a", "/f"))
    assert last_job(repo, "p").state == pps_pb2.JOB_SUCCESS
    repo.create_repo("b")
    put(repo, "b", {"/f": b"1"})
    either = pps_pb2.Input(union=[pfs("a", "/f"), pfs("b", "/f")])
    pipeline(repo, "p", "echo 1 > /pfs/out/same", either, update=True)
    assert last_job(repo, "p").reason.startswith("duplicate path output by different datums (/same from ")


def test_a_file_and_a_directory_of_one_name_fail_their_commit(repo: Client) -> None:
    assert modify(repo, added("/d", b"1")).error == "file / directory path collision (/d/x)"
    assert modify(repo, added("/f/g", b"1")).error == "file / directory path collision (/f/g)"
    assert not modify(repo, added("/d", b"1"), deleted("/d/")).error


def test_a_copy_of_nothing_changes_nothing(repo: Client) -> None:
    before = walked(repo)
    modify(repo, copied("/nope", "/f"), copied("/nope", "/d"), copied("/nope", "/new"))
    assert walked(repo) == before


def test_a_copy_puts_files_in_place_of_those_there_or_after_them(repo: Client) -> None:
    modify(repo, copied("/f", "/d/x"), copied("/d", "/e"), copied("/f", "/e/z"))
    assert [(path, size) for path, _, size in walked(repo)] == [
        ("/d/x", 3),
        ("/d/y", 2),
        ("/e/x", 1),
        ("/e/y", 2),
        ("/e/z", 3),
        ("/f", 3),
    ]
    # What is in a directory beside what is copied stays.
    modify(repo, copied("/d", "/e"), copied("/f", "/f", append=True))
    assert {path: size for path, _, size in walked(repo)}["/e/z"] == 3
    assert content(repo, "a", "/f") == b"333333"


def test_no_file_is_without_a_name(repo: Client) -> None:
    before = walked(repo)
    for change in (added("/", b"1"), added("//", b"1"), copied("/f", "/")):
        code, sentence = refused(partial(modify, repo, change))
        assert (code, sentence) == (
            "UNKNOWN",
            "path (/) invalid: it names the directory of all files; put the file at a path below it",
        )
    assert walked(repo) == before
    modify(repo, copied("/d", "/"))
    assert [path for path, _, _ in walked(repo)] == ["/d/x", "/d/y", "/f", "/x", "/y"]
    assert list(repo.pfs.Fsck(pfs_pb2.FsckRequest())) == []


def test_a_commit_that_is_not_there_but_names_a_branch_stands_for_the_branch(repo: Client) -> None:
    missing = pfs_pb2.Commit(branch=branch_of("a", "master"), id="1" * 12 + "4" + "1" * 19)
    target = pfs_pb2.ModifyFileRequest(set_commit=missing)
    repo.pfs.ModifyFile(iter([target, added("/g", b"1")]))
    repo.wait_commit(("a", "master"))
    assert content(repo, "a", "/g") == b"1"
    missing.branch.name = ""
    code, _ = refused(lambda: repo.pfs.ModifyFile(iter([pfs_pb2.ModifyFileRequest(set_commit=missing)])))
    assert code == "NOT_FOUND"


def test_an_open_output_shows_what_its_base_holds(repo: Client) -> None:
    pipeline(repo, "p", "cp -r /pfs/a/* /pfs/out/", pfs("a", "/"))
    last_job(repo, "p")
    held = repo.start_commit("a", "master")
    assert [i.file.path for i in repo.list_file(("p", held.id), "/")] == ["/d/", "/f"]
    datums = repo.pps.ListDatum(pps_pb2.ListDatumRequest(input=pfs("p", "/*")))
    assert sorted(datum.data[0].file.path for datum in datums) == ["/d/", "/f"]
    repo.stop_job(held.id, "p")
    repo.finish_commit(held)
    repo.wait_commit(held.id)
    assert [i.file.path for i in repo.list_file(("p", "master"), "/")] == ["/d/", "/f"]


def test_a_failed_output_holds_its_base_and_what_its_own_datums_wrote(repo: Client) -> None:
    script = "test ! -e /pfs/a/bad && cp /pfs/a/* /pfs/out/"
    pipeline(repo, "p", script, pfs("a", "/*"), datum_tries=1)
    assert last_job(repo, "p").state == pps_pb2.JOB_FAILURE
    modify(repo, deleted("/d/"))
    assert last_job(repo, "p").state == pps_pb2.JOB_SUCCESS
    modify(repo, added("/bad", b"1"), added("/good", b"1"), deleted("/f"))
    assert last_job(repo, "p").state == pps_pb2.JOB_FAILURE
    assert [i.file.path for i in repo.list_file(("p", "master"), "/")] == ["/f", "/good"]


def test_what_is_made_of_an_open_output_can_t_be_read(repo: Client) -> None:
    for name, source in (("b", "a"), ("c", "b")):
        repo.create_repo(name)
        repo.create_branch(name, "master", provenance=[branch_of(source, "master")])
    first = repo.inspect_commit(("b", "master")).commit.id
    put(repo, "a", {"/g": b"1"})
    newest = repo.inspect_commit(("b", "master")).commit.id
    assert refused(partial(repo.list_file, ("b", "master"), "/")) == (
        "UNKNOWN",
        f"base commit default/b@{first} for commit default/b@{newest} unfinished",
    )


def test_equal_contents_are_no_difference_whoever_wrote_them(repo: Client) -> None:
    pipeline(repo, "p", "cp -r /pfs/a/* /pfs/out/", pfs("a", "/"))
    last_job(repo, "p")
    assert repo.diff_file(("a", "master"), "/", ("p", "master"), "/") == []
    modify(repo, added("/f", b"4"))
    last_job(repo, "p")
    changed = repo.diff_file(("a", "master"), "/")
    assert [pair.new_file.file.path for pair in changed] == ["/", "/f"]


def test_a_page_from_the_end_says_how_long_it_is(repo: Client) -> None:
    file = pfs_pb2.File(commit=commit_of(("a", "master")), path="/")
    for call, request in (
        (repo.pfs.ListFile, pfs_pb2.ListFileRequest(file=file, reverse=True)),
        (repo.pfs.WalkFile, pfs_pb2.WalkFileRequest(file=file, reverse=True)),
    ):
        assert refused(partial(call, request)) == ("UNKNOWN", "number must be > 0 when reverse is true")
    request = pfs_pb2.ListFileRequest(file=file, reverse=True, number=1)
    assert [info.file.path for info in repo.pfs.ListFile(request)] == ["/f"]


def test_who_is_refused_while_sending_is_told_why(repo: Client) -> None:
    def changes() -> object:
        yield pfs_pb2.ModifyFileRequest(set_commit=commit_of(("a", "master")))
        yield added("/no\tname", b"1")
        for number in range(2000):
            yield added(f"/{number}", b"1" * 1000)
        sent.append("all")

    sent: list[str] = []
    code, sentence = refused(lambda: repo.pfs.ModifyFile(changes()))
    assert (code, sentence) == ("UNKNOWN", "path (/no\tname) invalid: only printable ASCII characters allowed")
    assert sent == ["all"]


def test_the_size_of_a_repo_is_that_of_its_last_good_commit(repo: Client) -> None:
    def size() -> int:
        info: pfs_pb2.RepoInfo = repo.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo_of("a")))
        return info.details.size_bytes

    assert size() == 6
    failed = repo.start_commit("a", "master")
    repo.pfs.FinishCommit(pfs_pb2.FinishCommitRequest(commit=failed, error="bad"))
    repo.wait_commit(failed)
    assert size() == 6
    repo.finish_commit(repo.start_commit("a", "master"))
    repo.wait_commit(("a", "master"))
    assert size() == 6
