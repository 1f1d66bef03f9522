"""What a job has made, read and laid out in a folder."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import JobResult, PachydermCredentials, PachydermError, PrefectPachydermError
from prefect_pachyderm.calls import readable
from prefect_pachyderm.commits import stream_file
from proxy import proxy
from server import Server

FILES = {"/a": b"one", "/d/e/b": b"two\n", "/none": b""}
BIG = 48 << 20


def commit(client: Client, files: dict[str, bytes]) -> str:
    """A commit of these files alone, as a job's output commit is one."""
    with client.commit("in", "master") as commit:
        client.delete_file(commit, "/")
        for path, content in files.items():
            client.put_file_bytes(commit, path, content)
    return str(commit.id)


def result_of(server: Server, commit_id: str, files: list[str], address: str | None = None) -> JobResult:
    credentials = PachydermCredentials(address=address or server.address, auth_token=SecretStr(server.token))
    return JobResult("in", commit_id, files, credentials)


@pytest.fixture
def result(server: Server, client: Client) -> JobResult:
    return result_of(server, commit(client, FILES), list(FILES))


def there(folder: Path) -> dict[str, bytes]:
    return {f"/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_iterated_and_downloaded(result: JobResult, tmp_path: Path) -> None:
    assert dict(result) == FILES
    folder = tmp_path / "new" / "folder"
    assert result.download(str(folder)) == [folder / path[1:] for path in FILES]
    assert there(folder) == FILES
    assert {path.name for path in folder.iterdir()} == {"a", "d", "none"}
    (folder / "a").write_bytes(b"longer than before")
    (folder / "mine").write_text("stays")
    result.download(folder)
    assert there(folder) == {**FILES, "/mine": b"stays"}


def test_the_asynchronous_twins(result: JobResult, tmp_path: Path) -> None:
    async def run() -> list[Any]:
        everything = {path: content async for path, content in result}
        # As other integrations do it.
        read, written = cast(Any, result.read("/a")), cast(Any, result.download(tmp_path))
        return [everything, await read, await written, await result.aread("/a"), await result.adownload(tmp_path)]

    paths = [tmp_path / path[1:] for path in FILES]
    assert asyncio.run(run()) == [FILES, b"one", paths, b"one", paths]


HOSTILE = [
    *("/../x", "/d/../../x", "/..", "/d/./x", "//etc/x", "/d//x", "/d/", "/"),
    *(f"/{'n' * 256}", f"/d/{'n' * 256}/x", f"/{'d/' * 4000}x", "/nul\0"),
    *("/a/x", "/link/x", "/loop/x", "/file/x", "/folder"),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_is_none_in_the_folder_is_refused_and_nothing_is_written(
    server: Server, tmp_path: Path, path: str
) -> None:
    folder = tmp_path / "mine"
    (folder / "folder").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    (folder / "loop").symlink_to("loop")
    (folder / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PrefectPachydermError, match=r"can't be a file in .*: .*\. Nothing was written\.$"):
        result_of(server, "any", ["/a", path]).download(folder)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_long_name_is_refused_in_a_folder_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PrefectPachydermError, match="too long"):
        result_of(server, "any", ["/" + "n" * 256]).download(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())


def test_a_link_of_a_files_name_is_replaced_itself(result: JobResult, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").symlink_to(tmp_path / "outside")
    result.download(tmp_path / "folder")
    assert there(tmp_path / "folder") == FILES
    assert (tmp_path / "outside").read_text() == "mine"


def test_a_file_in_place_of_the_folder_is_said_in_a_sentence(result: JobResult, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PrefectPachydermError, match=r"file: Not a directory\. |file failed: File exists; "):
        result.download(tmp_path / "file")


def test_a_download_that_fails_on_the_way_replaces_nothing(result: JobResult, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    gone = JobResult("in", result.job_id, [*FILES, "/gone"], result.credentials)
    with pytest.raises(PachydermError, match=r"^Downloading in@.* failed: .*/gone not found"):
        gone.download(tmp_path)
    assert there(tmp_path) == {"/a": b"before"}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def big(client: Client) -> str:
    """A commit with a file of many messages."""
    return commit(client, {"/big": bytes(BIG)})


def test_no_file_is_in_memory_as_a_whole(server: Server, big: str, tmp_path: Path) -> None:
    result = result_of(server, big, ["/big"])
    tracemalloc.start()
    try:
        result.download(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < BIG / 2
    finally:
        tracemalloc.stop()
    assert (tmp_path / "big").stat().st_size == BIG


def test_a_file_that_breaks_off_is_no_shorter_one(server: Server, big: str) -> None:
    with proxy(server.address, lambda name, number: False) as (address, _):
        client = result_of(server, big, ["/big"], address).credentials.get_client()
        pieces = stream_file(client, ("in", big), "/big")
        next(pieces)
    with pytest.raises(PachydermError) as caught, readable("Reading"):
        list(pieces)
    assert caught.value.transient
