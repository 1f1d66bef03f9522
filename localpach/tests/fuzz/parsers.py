"""The parsers that are ours: each gives what its rules say, or refuses."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path, PurePosixPath

from google.protobuf.timestamp_pb2 import Timestamp

from localpach.api import logql
from localpach.api.times import check_times
from localpach.directory import Directory
from localpach.names import Branch, Repo
from localpach.pfs import triggers
from localpach.pfs.globs import Glob
from localpach.pfs.queries import Page
from localpach.pfs.service import Pfs
from localpach.pfs.writes import Add
from localpach.pps import inputs, quantities, specs
from localpach.pps.defaults import Defaults
from localpach.pps.logs import Logs
from localpach.proto import pfs_pb2, pps_pb2
from localpach.runtime.dockerfile import Build
from localpach.runtime.dockerignore import DockerIgnore
from localpach.storage.store import Store
from localpach.waiting import Bulletin
from tests.fuzz import http_parsers
from tests.fuzz.refusals import Parser, folder, lines_of, refusal, text_of
from tests.pfs.test_globs import expression

BRANCH = Branch(Repo("default", "in"), "master")
MINUTE = 60_000_000


@cache
def store() -> Store:
    return Store(folder("store"))


@cache
def pfs() -> Pfs:
    """With three commits on a branch."""
    made = Pfs(store(), Bulletin(store().after_commit))
    made.repos.create(BRANCH.repo)
    for number in range(3):
        batch = made.writes.batch()
        made.writes.apply_to_branch(BRANCH, [Add(f"/{number}", "", (batch.add(b"x" * number),))], batch)
    return made


@cache
def context() -> Path:
    """A folder to build from."""
    made = folder("context")
    for name in ("a/b/c.py", "a/d.txt", "ab/.x", "requirements.txt"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("-r a/d.txt\n")
    return made


def glob(data: bytes) -> None:
    """What a simple second reading can read, both find the same in."""
    pattern, path, template = lines_of(data, 3)
    with refusal():
        found = Glob(pattern)
        matches = found.matches(path)
        assert (found.captures(path) is not None) == matches
        found.expand(template, path)
        if matches:
            assert path.startswith(found.prefix)
            assert found.literal in (None, path)
        if re.fullmatch(r"/(?!/)[ab./*?(|)@!+{},]{0,20}", found.pattern) and len(path) < 10:
            assert matches == bool(expression(found.pattern).fullmatch(path)), (found.pattern, path)


def quantity(data: bytes) -> None:
    with refusal():
        number = quantities.whole(text_of(data))
        assert number >= 0
        assert quantities.whole(str(number)) == number
        assert quantities.whole(f"{number}Ki") == min(1024 * number, quantities.MOST)


def schedule(data: bytes) -> None:
    """Each moment comes after the one before it."""
    spec, size, after = lines_of(data, 3)
    with refusal():
        triggers.check(pfs_pb2.Trigger(branch="master", size=size, cron_spec=spec))
        moment = int(after[-9:]) * MINUTE if spec and after[-9:].isdecimal() else None
        while spec and moment is not None and moment < 10**9 * MINUTE:
            due = triggers.next_time(spec, moment)
            assert due is None or due > moment, (spec, moment, due)
            moment = due and 3 * due


def log_query(data: bytes) -> None:
    query, line = lines_of(data, 2)
    with refusal():
        logql.parse(query)({"pipelineName": line, "job": "b"}, line)


def commit_name(data: bytes) -> None:
    """A name with steps is the commit that as many steps lead to."""
    name = text_of(data)
    with refusal():
        found = pfs().queries.resolve(BRANCH.repo, name)
        if re.fullmatch(r"master\^+", name):
            line = [*pfs().queries.page(BRANCH.repo, Page())]
            assert found == line[name.count("^")]


def docker_ignore(data: bytes) -> None:
    """What a folder is searched for is what, path by path, is not left out."""
    with refusal():
        found = DockerIgnore(text_of(data))
        paths = [PurePosixPath(path.relative_to(context())) for path in context().rglob("*")]
        assert {*found.walk(context(), PurePosixPath())} == {path for path in paths if not found.leaves_out(path)}


def docker_file(data: bytes) -> None:
    """Nothing is laid anywhere but where it belongs."""
    place = folder("bundle")
    file = place / "Dockerfile"
    file.write_bytes(data)
    (place / "aside").mkdir()
    with refusal():
        Build(context(), place / "files", place / "aside", {}, lambda line: None).perform(file)
    assert {path.name for path in place.iterdir()} <= {"Dockerfile", "files", "aside"}


def spec(data: bytes) -> None:
    """In JSON, up to what is kept of it, which can be asked for again."""
    with refusal():
        request = Defaults(store(), pfs()).spec(text_of(data)).request
        check_times(request)
        specs.check(request)
        if request.HasField("input"):
            inputs.check(request.input)
        info = specs.pipeline_info(request, 1, None, Timestamp())
        assert specs.pipeline_info(specs.request_of(info), 1, info, Timestamp()) == info


def log_file(data: bytes) -> None:
    """What is written behind what is left of a file is read, and all that could be read before."""
    root = folder("torn")
    file = root / "logs" / "1" / "job"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    logs = Logs(root, Bulletin(lambda call: call()))
    before = [*logs.read(1, "job")]
    logs.write(1, pps_pb2.LogMessage(job_id="job", message="next"))
    *after, last = logs.read(1, "job")
    assert after == before
    assert last.message == "next"


def address_file(data: bytes) -> None:
    (served().root / "address").write_bytes(data)
    with refusal():
        assert isinstance(served().server().address, str)


@cache
def served() -> Directory:
    directory = Directory(folder("served"))
    directory.lock()
    return directory


PARSERS = {
    "glob": Parser(
        glob,
        (
            b"/*(ab)@(x|y)\n/abx\n$1",
            b"/{a,b}/**/!(c)?.[a-z]\n/a/b/d.c\n${0}",
            b"[[:digit:]^x]\\*",
            b"*(*(a)|b)+(a)\n/ab",
        ),
    ),
    "quantity": Parser(
        quantity, (b"512Mi", b"1.5G", b"1e9", b"+128974848000m", b".5Ei", b"6" * 40 + b"m", b"9" * 5000)
    ),
    "schedule": Parser(
        schedule,
        (
            b"*/5 0-3,7 L * mon#1\n10MB\n28401120",
            b"@every 1h30m10.5s500ms\n1.5kib",
            b"@daily\n\n9",
            b"0 0 29 2 *\n\n999999999",
            b"@every 0.0001ms\n\n9",
            b"@every " + b"9" * 400 + b"h\n\n9",
            b"@never\n" + b"9" * 400 + b"PB",
        ),
    ),
    "log_query": Parser(
        log_query,
        (
            b'{pipelineName=~"e.*", job!="a"} |= "x" !~ `y+`\nx',
            b'{job="\\u0062"} |~ "(a+)+$" != "b"\n' + b"a" * 500 + b"b",
            b"{a=~`" + b"(" * 2000 + b"`}",
            b"{a=~`a{9999999999999}`}",
        ),
    ),
    "commit_name": Parser(
        commit_name,
        (b"master", b"master^^", b"master~1", b"master.2", b"0123456789abcdef" * 2, b"master^" + b"9" * 5000),
    ),
    "docker_ignore": Parser(
        docker_ignore,
        (b"# x\n*\n!a/**\n", b"**/[a-c]?\n!ab\\/.x", b"a/*/[^x].py\n./b/", b"*\n![a/b]c", b"a" + b"*a" * 40, b"[\xe9"),
    ),
    "docker_file": Parser(
        docker_file,
        (
            b'ARG A=1\nFROM x\nENV B=$A C=\'d e\'\nWORKDIR /w/${B:-x}\nCOPY a /w/\nADD ["a/d.txt", "/q"]\nUSER 1:0\n',
            b"FROM x\nCOPY requirements.txt a/ /code/\nRUN cd /code && pip install -r /code/requirements.txt x==1\n",
            b'RUN ["pip", "install", "-r/code/x", "."]\nENV a b\nENTRYPOINT x\\\n y\n',
            b"FROM \xff",
            b"FROM x\0",
            b"ENV",
            b"COPY a",
            b'COPY ["a", 1',
            b"COPY [1, {}]",
            b"COPY **a /w/",
            b'RUN ["pip", "install"',
            b"COPY a/d.txt /q\nWORKDIR /q/x",
            b"WORKDIR /" + b"w" * 300,
        ),
    ),
    "spec": Parser(
        spec,
        (
            b'{"pipeline": {"name": "p"}, "transform": {"image": "x", "cmd": ["a"], "secrets": [{"name": "s", "mountPath": "/s"}]},'
            b' "input": {"cross": [{"pfs": {"repo": "r", "glob": "/*"}}, {"cron": {"name": "c", "spec": "@every 10s"}}]},'
            b' "resourceLimits": {"memory": "1Gi", "cpu": 1.5}, "datumTimeout": "10s", "parallelismSpec": {"constant": 2}}',
            b'{"pipeline": {"name": "p", "project": {"name": "q"}}, "transform": {}, "podPatch": "[]", "metadata": {"labels": {"a": "b"}}}',
        ),
    ),
    "log_file": Parser(
        log_file,
        (
            b"\0\0\0\x04\x52\x02hi\0\0\0\x04\x52\x02ho\0\0\0\x09torn",
            b"\0\0\0\x01\xff\0\0\0\0",
            b"\xff\xff\xff\xff",
        ),
    ),
    "address_file": Parser(
        address_file,
        (
            b'{"address": "127.0.0.1:1", "pid": 1, "weakness": "", "json_address": "x", "s3_address": "y"}',
            b"{}",
            b"[]",
            b"\xff",
            b"[" * 2000,
        ),
    ),
    **http_parsers.parsers(pfs),
}
