"""Projects and repos: made, changed, listed, deleted."""

from __future__ import annotations

from functools import partial
from typing import Any

from localpach.proto import pfs_pb2
from tests.client import Client, branch_of
from tests.helpers import pfs, pipeline, put, refused

ID = "1" * 12 + "4" + "1" * 19


def project(name: str) -> pfs_pb2.Project:
    return pfs_pb2.Project(name=name)


def repo(name: str, project_name: str = "default", type: str = "user") -> pfs_pb2.Repo:
    return pfs_pb2.Repo(name=name, type=type, project=project(project_name))


def projects(client: Client) -> list[tuple[str, str]]:
    return [(info.project.name, info.description) for info in client.pfs.ListProject(pfs_pb2.ListProjectRequest())]


def repos(client: Client, **fields: Any) -> list[str]:
    fields.setdefault("type", "user")
    request = pfs_pb2.ListRepoRequest(**fields)
    return [f"{info.repo.project.name}/{info.repo.name}" for info in client.pfs.ListRepo(request)]


def test_projects_come_and_go(client: Client) -> None:
    create = client.pfs.CreateProject
    for name in "ab":
        create(pfs_pb2.CreateProjectRequest(project=project(name), description=f"of {name}"))
    assert projects(client) == [("b", "of b"), ("a", "of a"), ("default", "")]
    again = pfs_pb2.CreateProjectRequest(project=project("a"), description="new")
    sentence = 'could not create project: project "a" already exists'
    assert refused(lambda: create(again)) == ("ALREADY_EXISTS", sentence)
    again.update = True
    create(again)
    info = client.pfs.InspectProject(pfs_pb2.InspectProjectRequest(project=project("a")))
    assert (info.project.name, info.description) == ("a", "new")
    client.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("r", "a")))
    delete = client.pfs.DeleteProject
    assert refused(lambda: delete(pfs_pb2.DeleteProjectRequest(project=project("a")))) == (
        "FAILED_PRECONDITION",
        "cannot delete project a: repo a/r still exists",
    )
    delete(pfs_pb2.DeleteProjectRequest(project=project("b")))
    assert projects(client) == [("a", "new"), ("default", "")]
    assert refused(lambda: delete(pfs_pb2.DeleteProjectRequest(project=project("b")))) == (
        "NOT_FOUND",
        'delete project "b": project "b" not found',
    )
    missing = pfs_pb2.InspectProjectRequest(project=project("b"))
    sentence = 'error getting project "b": project "b" not found'
    assert refused(lambda: client.pfs.InspectProject(missing)) == ("NOT_FOUND", sentence)


def test_repos_come_and_go(client: Client) -> None:
    create = client.pfs.CreateRepo
    client.create_project("p")
    for name, where in (("a", "default"), ("b", "default"), ("a", "p")):
        create(pfs_pb2.CreateRepoRequest(repo=repo(name, where), description=f"{where} {name}"))
    assert repos(client) == ["p/a", "default/b", "default/a"]
    assert repos(client, projects=[project("default")]) == ["default/b", "default/a"]
    assert repos(client, type="") == ["p/a", "default/b", "default/a"]
    assert repos(client, type="spec") == []
    again = pfs_pb2.CreateRepoRequest(repo=repo("a"), description="new")
    assert refused(lambda: create(again)) == ("ALREADY_EXISTS", "repo default/a already exists")
    again.update = True
    create(again)
    info = client.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo("a")))
    assert (info.description, info.repo.project.name) == ("new", "default")
    assert client.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo("a", "p"))).description == "p a"
    nowhere = pfs_pb2.CreateRepoRequest(repo=repo("a", "none"))
    sentence = 'cannot find project "none": project "none" not found'
    assert refused(lambda: create(nowhere)) == ("NOT_FOUND", sentence)
    client.delete_repo("a")
    client.delete_repo("a")
    assert repos(client) == ["p/a", "default/b"]
    missing = pfs_pb2.InspectRepoRequest(repo=repo("a"))
    assert refused(lambda: client.pfs.InspectRepo(missing)) == ("NOT_FOUND", "repo default/a not found")


def test_system_repos_stand_beside_one_of_a_user(client: Client) -> None:
    create = client.pfs.CreateRepo
    client.create_repo("a")
    create(pfs_pb2.CreateRepoRequest(repo=repo("a", type="spec")))
    create(pfs_pb2.CreateRepoRequest(repo=repo("a", type="meta")))
    orphan = pfs_pb2.CreateRepoRequest(repo=repo("b", type="meta"))
    assert refused(lambda: create(orphan)) == (
        "NOT_FOUND",
        "cannot create a system repo without a corresponding 'user' repo: repos default/b.user not found",
    )
    untyped = pfs_pb2.CreateRepoRequest(repo=repo("c", type=""))
    create(untyped)
    assert "default/c" in repos(client)
    meta = pfs_pb2.DeleteRepoRequest(repo=repo("a", type="meta"))
    client.pfs.DeleteRepo(meta)
    assert sorted((i.repo.name, i.repo.type) for i in client.list_repo("")) == [
        ("a", "spec"),
        ("a", "user"),
        ("c", "user"),
    ]


def test_names_of_repos_are_checked(client: Client) -> None:
    for name in ("", "a b", "a/b", "ä"):
        sentence = f"name ({name}) invalid: only alphanumeric characters, underscores, and dashes are allowed"
        assert refused(partial(client.create_repo, name)) == ("UNKNOWN", sentence)
    client.create_repo("a-b_9")


def test_a_repo_has_the_size_of_what_masters_newest_finished_commit_holds(client: Client) -> None:
    client.create_repo("a")

    def size() -> int:
        found = client.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo("a"))).details.size_bytes
        (listed,) = client.list_repo()
        assert listed.size_bytes_upper_bound == found
        assert not listed.HasField("details")
        return int(found)

    assert size() == 0
    put(client, "a", {"/x": b"12345"})
    put(client, "a", {"/x": b"1"}, branch="other")
    assert size() == 5
    commit = client.start_commit("a", "master")
    client.put_file_bytes(commit, "/y", b"more")
    assert size() == 0
    client.finish_commit(commit)
    client.wait_commit(commit)
    assert size() == 9
    info = client.pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=repo("a")))
    assert [branch.name for branch in info.branches] == ["master", "other"]


def test_what_a_pipeline_owns_goes_with_it_only(client: Client) -> None:
    client.create_repo("in")
    client.create_repo("aside")
    put(client, "in", {"/a": b"1"})
    pipeline(client, "p", "true", pfs("in"))
    owned = (
        'error checking whether repo "default/p" can be deleted: '
        "cannot delete a repo associated with a pipeline - delete the pipeline instead"
    )
    for force in (False, True):
        assert refused(partial(client.delete_repo, "p", force=force)) == ("UNKNOWN", owned)
    code, details = refused(partial(client.delete_repo, "in"))
    assert code == "UNKNOWN"
    assert details == (
        "delete branch default/in@master: branch master has [default/p.meta@master default/p@master] as subvenance,"
        " deleting it would break those branches"
    )
    request = pfs_pb2.DeleteReposRequest(projects=[project("other")])
    assert not client.pfs.DeleteRepos(request).repos
    gone = client.pfs.DeleteRepos(pfs_pb2.DeleteReposRequest(all=True, force=True)).repos
    assert sorted(each.name for each in gone) == ["aside", "in"]
    assert repos(client) == ["default/p"]
    client.delete_pipeline("p")
    assert client.list_repo("") == []


def test_repos_of_some_projects_are_deleted(client: Client) -> None:
    client.create_project("p")
    for where in ("default", "p"):
        client.pfs.CreateRepo(pfs_pb2.CreateRepoRequest(repo=repo("a", where)))
    gone = client.pfs.DeleteRepos(pfs_pb2.DeleteReposRequest(projects=[project("p")])).repos
    assert [(each.project.name, each.name) for each in gone] == [("p", "a")]
    assert repos(client) == ["default/a"]


def test_force_cuts_a_repo_out_of_what_came_from_it(client: Client) -> None:
    for name in ("up", "down", "aside"):
        client.create_repo(name)
    client.create_branch("down", "master", provenance=[branch_of("up", "master"), branch_of("aside", "master")])
    put(client, "up", {"/a": b"1"})
    client.finish_commit(("down", "master"))
    client.delete_repo("up", force=True)
    info = client.inspect_commit(("down", "master"))
    assert [each.repo.name for each in info.direct_provenance] == ["aside"]
    (branch,) = client.list_branch("down")
    assert [each.repo.name for each in branch.provenance] == ["aside"]
    assert not list(client.pfs.Fsck(pfs_pb2.FsckRequest()))


def test_everything_can_go(client: Client) -> None:
    client.create_project("p")
    for name in ("up", "down"):
        client.create_repo(name)
    client.create_branch("down", "master", provenance=[branch_of("up", "master")])
    put(client, "up", {"/a": b"1"})
    client.delete_all()
    assert (repos(client), projects(client)) == ([], [("default", "")])
    assert client.pfs.InspectProject(pfs_pb2.InspectProjectRequest(project=project("default"))).HasField("created_at")
