"""Egress: all of an output goes where the spec says, to S3 or to a folder that is allowed, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localpach.egress.bucket import Bucket
from localpach.egress.places import Place, allowed_place, place_of
from localpach.errors import LocalpachError
from localpach.names import Branch, Repo
from localpach.pfs.service import Pfs
from localpach.pps.egress import Egress
from localpach.pps.secrets import Secrets
from localpach.proto import pfs_pb2, pps_pb2
from localpach.storage.store import Store
from tests.client import Client
from tests.helpers import last_job, lines, pfs, pipeline, put, refused, shell, until
from tests.servers import Server, serving, token

COPY = "cp -r /pfs/in/. /pfs/out/; echo copied"
KEY, SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
PLANTED = "planted-secret-5d1c"
LOGIN = {KEY: PLANTED, SECRET: PLANTED, "AWS_SESSION_TOKEN": f"{PLANTED}-too", "AWS_DEFAULT_REGION": "eu-own"}


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("allowed") / "here"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, allowed: Path) -> Iterator[Server]:
    allowed.mkdir()
    with serving(tmp_path_factory.mktemp("root"), egress=[f"file://{allowed}", "s3://master.own/pre"]) as server:
        yield server


@pytest.fixture
def source(client: Client) -> Iterator[Client]:
    """A client of a server with a repo `in` and a login to S3."""
    client.create_repo("in")
    client.create_secret("s3", LOGIN)
    yield client
    client.delete_secret("s3")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another localpach, as an S3."""
    with serving(tmp_path_factory.mktemp("store")) as server:
        yield server


class Stub:
    """An S3 that answers a PUT with the next of `answers`, or with 200, once `go_on` is set."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.paths: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                stub.headers.append(dict(self.headers))
                stub.paths.append(self.path)
                stub.go_on.wait(60)
                self.answer(stub.answers.pop(0) if stub.answers else 200)

            def do_POST(self) -> None:
                self.answer(
                    200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
                )

            def do_DELETE(self) -> None:
                stub.paths.append(f"not {self.path}")
                self.answer(204)

            def answer(self, status: int, body: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", "1")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """What boto3 takes for S3."""
    stub = Stub()
    monkeypatch.setenv("AWS_ENDPOINT_URL", stub.url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield stub
    stub.go_on.set()
    stub.http.shutdown()
    stub.http.server_close()


def to_s3(client: Client, name: str, url: str, secret: str = "s3", variables: Iterable[str] = LOGIN) -> None:
    """A pipeline that copies `in`, and has a login to S3."""
    mounts = [pps_pb2.SecretMount(name=secret, key=each, env_var=each) for each in variables]
    egress = pps_pb2.Egress(object_storage=pfs_pb2.ObjectStorageEgress(url=url))
    client.create_pipeline(name, transform=shell(COPY, secrets=mounts), input=pfs("in"), egress=egress)


def to_folder(client: Client, name: str, url: str, script: str = COPY, **more: Any) -> None:
    pipeline(client, name, script, pfs("in"), egress=pps_pb2.Egress(URL=url), **more)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_all_of_the_output_goes_to_s3(source: Client, remote: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    address = json.loads((remote.root / "address").read_text())["s3_address"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
    files = {"/a": b"1", "/b/c d": b"2" * 70_000, "/b/empty": b"", "/big": os.urandom((8 << 20) + 1)}
    put(source, "in", files)
    for repo in ("out", "own"):
        remote.client.create_repo(repo)
        remote.client.create_branch(repo, "master")
    source.create_secret("remote", dict.fromkeys((KEY, SECRET), token(remote.root)))
    to_s3(source, "p", "s3://master.out/some/where/", "remote", (KEY, SECRET))
    job = last_job(source, "p")
    assert (job.state, job.reason) == (pps_pb2.JOB_SUCCESS, "")
    for path, data in files.items():
        assert remote.client.get_file(("out", "master"), f"/some/where{path}") == data
    shown = source.pps.InspectJob(pps_pb2.InspectJobRequest(job=job.job, details=True)).details.egress
    assert shown.object_storage.url == "s3://master.out/some/where/"
    # Of the next commit, most of whose datums are skipped, all is sent again.
    remote.client.delete_file(("out", "master"), "/some")
    put(source, "in", {"/a": b"changed", "/d": b"4"})
    assert last_job(source, "p").data_skipped == 2
    sent = {
        each.file.path for each in remote.client.glob_file(("out", "master"), "**") if each.file_type == pfs_pb2.FILE
    }
    assert sent == {f"/some/where{path}" for path in (*files, "/d")}
    assert remote.client.get_file(("out", "master"), "/some/where/a") == b"changed"
    # Where it is allowed, the server has a login of its own.
    for name in (KEY, SECRET):
        monkeypatch.setenv(name, token(remote.root))
    to_folder(source, "own", "s3://master.own/pre/x")
    assert last_job(source, "own").state == pps_pb2.JOB_SUCCESS
    assert remote.client.get_file(("own", "master"), "/pre/x/d") == b"4"


def test_all_of_the_output_goes_to_a_folder(source: Client, allowed: Path) -> None:
    put(source, "in", {"/a": b"1", "/b/c": b"2" * 70_000})
    target = allowed / "new" / "of p"
    to_folder(source, "p", f"file://{allowed}/new/of%20p/")
    job = last_job(source, "p")
    assert (job.state, job.reason) == (pps_pb2.JOB_SUCCESS, "")
    assert files_of(target) == {"a": b"1", "b/c": b"2" * 70_000}
    (target / "kept").write_bytes(b"of others")
    put(source, "in", {"/a": b"changed"})
    last_job(source, "p")
    assert files_of(target) == {"a": b"changed", "b/c": b"2" * 70_000, "kept": b"of others"}
    messages = source.get_job_logs("p", job.job.id, master=True)
    assert [each.message for each in messages][-2:] == [
        f"{begun} processing job egressing" for begun in ("started", "finished")
    ]


def test_nothing_is_sent_of_an_output_that_fails(source: Client, allowed: Path) -> None:
    put(source, "in", {"/a": b"1", "/b": b"2"})
    for name, script in (("fails", "exit 1"), ("collides", "echo > /pfs/out/same")):
        to_folder(source, name, f"file://{allowed}/{name}", script, datum_tries=1)
        assert last_job(source, name).state == pps_pb2.JOB_FAILURE
        assert not (allowed / name).exists()


REFUSED = [
    ("file:///etc", "may not write to file:///etc; who serves allows a folder with localpach serve --egress"),
    ("file://{allowed}/../x", "the URL's path must have no step . or .., nor %2F or %00 in one"),
    ("file://{allowed}/%2e%2e/x", "the URL's path must have no step"),
    ("file://{allowed}/a%2Fb", "the URL's path must have no step"),
    ("file://{allowed}er", "may not write"),
    ("file:///pre", "may not write"),
    ("s3://bucket{allowed}", "there is no login"),
    ("file://host{allowed}", "after file: the URL must have three slashes and the path of a folder"),
    ("file:x", "after file: the URL must have three slashes"),
    ("s3:///x", "after s3:// the URL must have the name of a bucket"),
    ("s3://bucket/x", "there is no login for s3://bucket/x; give the pipeline a secret's AWS_ACCESS_KEY_ID and"),
    ("s3://master.own/prefix", "there is no login"),
    (f"s3://key:{PLANTED}@bucket", "neither a login nor"),
    (f"s3://bucket?key={PLANTED}", "neither a login nor"),
    ("file://{allowed}/a#b", "neither a login nor"),
    ("http://[", "can't be read"),
    *((f"{scheme}://key:{PLANTED}@x/y", "only s3://bucket/prefix and file:///folder") for scheme in ("gs", "wasb")),
    ("", "only s3://"),
]


STEPS = st.text(min_size=1).filter(lambda step: step not in (".", "..") and not {"/", "\0"} & set(step))


@given(st.sampled_from(["", "bucket"]), st.lists(STEPS))
def test_a_place_is_read_as_it_is_written(bucket: str, steps: list[str]) -> None:
    place = Place(bucket, tuple(steps))
    assert place_of(str(place)) == place
    assert place.holds(place)
    assert place.holds(Place(bucket, (*steps, "more")))
    assert not Place(bucket, (*steps, "more")).holds(place)


@given(st.text() | st.text().map("s3://{}".format) | st.text().map("file://{}".format))
def test_any_other_url_is_refused_with_a_sentence(url: str) -> None:
    try:
        place = place_of(url)
    except LocalpachError as error:
        assert error.message.startswith("egress: ")
    else:
        assert place_of(str(place)) == place


def test_a_spec_whose_output_may_not_go_there_is_refused(source: Client, allowed: Path) -> None:
    for url, sentence in REFUSED:
        _, text = refused(partial(to_folder, source, "p", url.format(allowed=allowed)))
        assert text.startswith("egress: ")
        assert sentence in text, url
        assert PLANTED not in text
    database = pps_pb2.Egress(sql_database=pfs_pb2.SQLDatabaseEgress(url=f"postgres://x:{PLANTED}@y/z"))
    code, text = refused(partial(pipeline, source, "p", "true", pfs("in"), egress=database))
    assert (code, PLANTED in text, "databases" in text) == ("UNIMPLEMENTED", False, True)
    for kind in ({"spout": pps_pb2.Spout()}, {"service": pps_pb2.Service(internal_port=80), "input": pfs("in")}):
        egress = pps_pb2.Egress(URL=f"file://{allowed}")
        assert refused(partial(source.create_pipeline, "p", transform=shell("true"), egress=egress, **kind)) == (
            "UNIMPLEMENTED",
            "egress: here neither spouts nor services have it; leave it out",
        )
    assert "there is no login" in refused(partial(to_s3, source, "p", "s3://bucket", variables=(KEY,)))[1]
    assert not source.list_pipeline()


def test_without_boto3_a_spec_with_s3_says_what_to_install(source: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    to_s3(source, "before", "s3://bucket")
    monkeypatch.setattr("localpach.pps.egress.find_spec", lambda name: None)
    code, text = refused(partial(to_s3, source, "p", "s3://bucket"))
    assert code == "FAILED_PRECONDITION"
    assert "pip install 'localpach[s3]'" in text
    put(source, "in", {"/a": b"1"})
    assert last_job(source, "before").reason == text


def test_links_in_a_folder_lead_nowhere(source: Client, allowed: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"kept")
    target = allowed / "links"
    target.mkdir()
    (target / "a").symlink_to(outside / "file")
    (target / "b").symlink_to(outside)
    put(source, "in", {"/a": b"1"})
    to_folder(source, "file", f"file://{target}")
    assert last_job(source, "file").state == pps_pb2.JOB_SUCCESS
    assert not (target / "a").is_symlink()
    put(source, "in", {"/b/file": b"2"})
    for name, url in (("step", f"file://{target}"), ("root", f"file://{target}/b/c")):
        to_folder(source, name, url)
        job = last_job(source, name)
        assert (job.state, job.reason.startswith(f"egress to {url}: /")) == (pps_pb2.JOB_FAILURE, True)
        assert job.reason.endswith("can't be written: Not a directory")
    assert files_of(outside) == {"file": b"kept"}


def test_what_a_killed_server_has_left_of_a_file_gives_way(source: Client, allowed: Path) -> None:
    target = allowed / "left"
    target.mkdir()
    to_folder(source, "p", f"file://{target}")
    with source.commit("in", "master") as commit:
        source.put_file_bytes(commit, "/a", b"1")
        left = {name: target / f".default.{name}.{commit.id}.egress" for name in ("p", "other")}
        for file in left.values():
            file.write_bytes(b"half")
    assert source.inspect_job(commit.id, "p", wait=True).state == pps_pb2.JOB_SUCCESS
    # Another pipeline may be writing to the same folder.
    assert files_of(target) == {"a": b"1", left["other"].name: b"half"}


def test_what_can_not_be_written_leaves_nothing(source: Client, allowed: Path) -> None:
    target = allowed / "taken"
    (target / "a").mkdir(parents=True)
    put(source, "in", {"/a": b"1"})
    to_folder(source, "p", f"file://{target}")
    job = last_job(source, "p")
    assert (job.state, job.reason) == (
        pps_pb2.JOB_FAILURE,
        f"egress to file://{target}: /a can't be written: Is a directory",
    )
    assert [each.name for each in target.iterdir()] == ["a"]
    until(lambda: source.inspect_commit(job.output_commit).error == job.reason)


@pytest.mark.parametrize(("status", "said"), [(403, "403 (403)"), (503, "503 (503)")])
def test_a_store_that_refuses_fails_the_job(source: Client, stub: Stub, status: int, said: str) -> None:
    stub.answers = [status]
    put(source, "in", {"/a": b"1"})
    to_s3(source, "p", "s3://bucket/x")
    job = last_job(source, "p")
    assert job.state == pps_pb2.JOB_FAILURE
    assert job.reason == f"egress to s3://bucket/x: the store answers {said} to /a"
    assert not [each for each in lines(source, "p", job) if PLANTED in each]
    (sent,) = stub.headers
    assert sent["X-Amz-Security-Token"] == LOGIN["AWS_SESSION_TOKEN"]
    assert f"Credential={PLANTED}/" in sent["Authorization"]
    assert "/eu-own/s3/" in sent["Authorization"]


def test_a_store_that_is_gone_fails_the_job(source: Client, stub: Stub) -> None:
    stub.http.shutdown()
    stub.http.server_close()
    put(source, "in", {"/a": b"1"})
    to_s3(source, "p", "s3://bucket/x")
    job = last_job(source, "p")
    host = stub.url.removeprefix("http://")
    assert job.reason == f"egress to s3://bucket/x: {host} can't be reached (EndpointConnectionError)"


def test_what_boto3_can_not_be_set_up_with_is_not_repeated(source: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"no url {PLANTED}")
    put(source, "in", {"/a": b"1"})
    to_s3(source, "p", "s3://bucket/x")
    assert "boto3 can't be set up (ValueError); see the AWS variables" in last_job(source, "p").reason


def test_a_job_that_is_stopped_sends_no_more(source: Client, stub: Stub) -> None:
    stub.go_on.clear()
    put(source, "in", {"/a": b"1", "/b": b"2"})
    to_s3(source, "p", "s3://bucket")
    until(lambda: stub.paths, 60)
    id = source.list_job("p")[0].job.id
    assert source.inspect_job(id, "p").state == pps_pb2.JOB_EGRESSING
    source.stop_job(id, "p", "enough")
    job = source.inspect_job(id, "p", wait=True)
    assert (job.state, job.reason) == (pps_pb2.JOB_KILLED, "enough")
    stub.go_on.set()
    next_id = put(source, "in", {"/c": b"3"})
    assert source.inspect_job(next_id, "p", wait=True).state == pps_pb2.JOB_SUCCESS
    assert stub.paths == ["/bucket/a", "/bucket/a", "/bucket/b", "/bucket/c"]


@pytest.mark.slow
def test_a_job_that_is_stopped_leaves_no_parts(source: Client, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localpach.egress.bucket.PART_BYTES", 5 << 20)
    stub.go_on.clear()
    put(source, "in", {"/a": bytes((5 << 20) + 1)})
    to_s3(source, "p", "s3://bucket")
    until(lambda: stub.paths, 60)
    source.stop_job(source.list_job("p")[0].job.id, "p")
    stub.go_on.set()
    until(lambda: stub.paths[1:] == ["not /bucket/a?uploadId=1"], 60)


@pytest.mark.slow
def test_a_big_file_has_no_more_parts_than_s3_takes(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localpach.egress.bucket.MAX_PARTS", 2)
    size = (16 << 20) + 1
    login = {"aws_access_key_id": PLANTED, "aws_secret_access_key": PLANTED}
    Bucket(Place("bucket", ()), login, lambda: None).put("/a", size, [bytes(1 << 20)] * 16 + [b"1"])
    assert len(stub.paths) == 2


def test_a_copy_that_is_ended_leaves_nothing(pfs: Pfs, store: Store, allowed: Path) -> None:
    target = allowed / "ended"
    target.mkdir()
    commit = pfs.commits.start(Branch(Repo("default", "in"), "master"))
    pfs.writes.put(commit, "/a", bytes(3 << 20), "")
    egress = Egress(pfs, Secrets(store), [allowed_place(f"file://{target}")])
    details = pps_pb2.PipelineInfo.Details(egress=pps_pb2.Egress(URL=f"file://{target}"))
    seen: list[int] = []

    def end_with_second() -> None:
        seen.extend(file.stat().st_size for file in target.iterdir())
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        egress.send(details, commit, end_with_second)
    assert len(seen) == 2
    assert not list(target.iterdir())
    egress.send(details, commit, lambda: None)
    assert files_of(target) == {"a": bytes(3 << 20)}


def test_egress_goes_on_after_a_restart(tmp_path: Path, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "100")
    stub.answers = [503] * 100
    with serving(tmp_path) as server:
        server.client.create_repo("in")
        put(server.client, "in", {"/a": b"1"})
        server.client.create_secret("s3", LOGIN)
        to_s3(server.client, "p", "s3://bucket")
        until(lambda: stub.paths, 60)
    stub.answers = [503]
    stub.paths.clear()
    with serving(tmp_path) as server:
        job = last_job(server.client, "p")
        assert (job.state, job.restart) == (pps_pb2.JOB_SUCCESS, 0)
        assert lines(server.client, "p", job).count("copied") == 1
    assert stub.paths == ["/bucket/a"] * 2


@pytest.mark.slow
def test_a_folder_that_is_allowed_has_to_be_there(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "localpach", "serve", "--root", str(tmp_path), "--port", "0"]
    ended = subprocess.run(
        [*serve, "--egress", "file:///none"], capture_output=True, check=False, text=True, timeout=60
    )
    sentence = "localpach: --egress file:///none: there is no such folder; make one, for pipelines' output alone\n"
    assert (ended.returncode, ended.stderr) == (1, sentence)
