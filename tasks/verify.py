"""`make verify`: makes results again from their provenance and compares them byte by byte.

The jobs run as pipelines of other names, on the commits that the provenance names, in the image that it names, and are deleted
afterwards. Nothing is downloaded: where the scripts or the image are not there any more, it is said what to do.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import python_pachyderm
from google.protobuf import json_format
from python_pachyderm.service import pps_proto

from prefect_pachyderm.calls import readable, status_of
from prefect_pachyderm.commits import head_of, stream_file
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.names import written
from tasks.errors import USER_ERRORS, ScriptwrightError
from tasks.project import BRANCH
from tasks.report.provenance import BUILD_TYPE, PROVENANCE, Statement, digests, hash_of
from tasks.report.results import output_root

# Added to the names of pipelines; also the branch on the commits from outside.
AGAIN = "_verify"
# Logs and metrics tell how long things took, which is never the same.
TIMES = re.compile(rb'(?<=speed: )[\d,]+(?= wps)|(?<="(?:seconds|minutes)": )[\d.]+|(?<="words_per_second": )\d+')


def main() -> int:
    """Prints a sentence for each file that is not what its provenance says; 1 if there is any."""
    try:
        statement, directory = _read(sys.argv[1:])
        client = connect()
        with readable("Making the results again"):
            wrong = [*_changed(statement, directory), *verify(client, statement)]
    except USER_ERRORS as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; what ran again is deleted.", file=sys.stderr)
        return 130
    print("\n".join(wrong) or "All is as it was made.")
    return bool(wrong)


def verify(client: python_pachyderm.Client, statement: Statement) -> Iterator[str]:
    """Runs the jobs of a statement again; a sentence for each file that comes out otherwise.

    Raises:
        ScriptwrightError: what they were made of is not there, or a job fails.
    """
    build = statement["predicate"]["buildDefinition"]
    jobs = build["externalParameters"]["jobs"]
    branches = {
        each["name"]: _commit(client, each)
        for each in build["resolvedDependencies"]
        if "dirHash" in each.get("digest", ())
    }
    _tidy(client, jobs, branches)
    try:
        for repo, commit in branches.items():
            client.create_branch(repo, AGAIN, head_commit=(repo, commit))
        for job in jobs:
            print(f"Running {job['pipeline']} again", flush=True)
            _run(client, job, {each["pipeline"] for each in jobs})
        yield from _compare(client, statement)
    finally:
        _tidy(client, jobs, branches)


def _read(arguments: list[str]) -> tuple[Statement, Path]:
    """The provenance in a folder of results, by default the newest, and the folder."""
    found = sorted(output_root().glob(f"*/{PROVENANCE}"), key=lambda path: path.stat().st_mtime)
    path = Path(arguments[0]) / PROVENANCE if arguments else next(reversed(found), output_root() / PROVENANCE)
    try:
        statement: Statement = json.loads(path.read_text())
        if statement["predicate"]["buildDefinition"]["buildType"] == BUILD_TYPE:
            return statement, path.parent
    except FileNotFoundError as error:
        raise ScriptwrightError(f"There is no {path}: name a folder of results, as RESULTS=output/ID.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ScriptwrightError(f"{path} is no provenance any more: {error!r}.") from error
    raise ScriptwrightError(f"{path} is the provenance of something else.")


def _changed(statement: Statement, directory: Path) -> Iterator[str]:
    """A sentence for each result in a folder that is not the file that was made."""
    for name, digest in _subjects(statement).items():
        file = directory / Path(name).name
        if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            yield f"{file} is not the {name} that was made: it has been changed since."


def _subjects(statement: Statement) -> dict[str, str]:
    return {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}


def _commit(client: python_pachyderm.Client, wanted: dict[str, Any]) -> str:
    """The commit of a dependency, or where that is not there, the newest one, if its files are the same."""
    repo, digest = wanted["name"], wanted["digest"]["dirHash"]
    commit = wanted["uri"].rpartition("@")[2]
    try:
        next(iter(client.inspect_commit((repo, commit))))
    except grpc.RpcError as error:
        if status_of(error)[0] != grpc.StatusCode.NOT_FOUND:
            raise
        head = head_of(client, repo, BRANCH)
        commit = head.commit.id if head else None
    if commit is None or hash_of(digests(client, repo, commit)) != digest:
        raise ScriptwrightError(
            f"{wanted['uri']} is not there with the files that it had (dirHash {digest}): commit them with `make input-data`."
        )
    return str(commit)


def _run(client: python_pachyderm.Client, job: dict[str, Any], again: set[str]) -> None:
    """Runs a job's command again, on what others of these jobs have made again."""
    name = job["pipeline"] + AGAIN
    spec = {
        "pipeline": {"name": name},
        "transform": job["transform"],
        "input": _input(job["input"], again),
        "datumTries": 1,
    }
    client.create_pipeline_from_request(json_format.ParseDict(spec, pps_proto.CreatePipelineRequest()))
    head = client.inspect_branch(name, BRANCH).head.id
    (info,) = client.inspect_job(head, name, wait=True)
    if info.state != pps_proto.JOB_SUCCESS:
        raise ScriptwrightError(
            f"{job['pipeline']} did not run again in the image {job['transform']['image']}: {info.reason or 'it failed'}; "
            "`make docker-build` makes the image of this version of the project."
        )


def _input(part: Any, again: set[str]) -> Any:
    """An input as a spec has it, with the repos and branches that stand in for those of the job."""
    if isinstance(part, list):
        return [_input(each, again) for each in part]
    if not isinstance(part, dict):
        return part
    if "repo" not in part:
        return {key: _input(value, again) for key, value in part.items()}
    repo = part["repo"]
    place = {"repo": repo + AGAIN, "branch": BRANCH} if repo in again else {"branch": AGAIN}
    return {key: value for key, value in part.items() if key != "commit"} | {"name": part.get("name") or repo} | place


def _compare(client: python_pachyderm.Client, statement: Statement) -> Iterator[str]:
    wanted = _subjects(statement)
    for job in statement["predicate"]["buildDefinition"]["externalParameters"]["jobs"]:
        pipeline, name = job["pipeline"], job["pipeline"] + AGAIN
        head = client.inspect_branch(name, BRANCH).head.id
        for path, digest in digests(client, name, head).items():
            before = wanted.pop(f"{pipeline}/{path}", None)
            if before is None:
                yield f"{pipeline}/{path} was not made the first time."
            elif before != digest:
                again = b"".join(stream_file(client, (name, head), path))
                yield from _difference(f"{pipeline}/{path}", _first(client, job, path, before), again)
    yield from (f"{name} was not made again." for name in wanted)


def _first(client: python_pachyderm.Client, job: dict[str, Any], path: str, digest: str) -> bytes | None:
    """A file as it was made the first time, if it is still there."""
    try:
        content = b"".join(stream_file(client, (job["pipeline"], job["job"]), path))
    except grpc.RpcError:
        return None
    return content if hashlib.sha256(content).hexdigest() == digest else None


def _difference(name: str, first: bytes | None, again: bytes) -> Iterator[str]:
    if first is None:
        yield f"{name} differs, and the first one is not there to say where."
        return
    first, again = TIMES.sub(b"", first), TIMES.sub(b"", again)
    if first != again:
        length = min(len(first), len(again))
        at = next((place for place in range(length) if first[place] != again[place]), length)
        yield f"{name} differs from byte {at + 1:,} on: {first[at : at + 20]!r} became {again[at : at + 20]!r}."


def _tidy(client: python_pachyderm.Client, jobs: list[dict[str, Any]], repos: dict[str, str]) -> None:
    """Deletes what was made to run the jobs again, also by a run of this that was broken off."""
    there = {written(info.pipeline) for info in client.list_pipeline()}
    for job in reversed(jobs):
        if job["pipeline"] + AGAIN in there:
            client.delete_pipeline(job["pipeline"] + AGAIN, force=True)
    for repo in repos:
        if AGAIN in {info.branch.name for info in client.list_branch(repo)}:
            client.delete_branch(repo, AGAIN)


if __name__ == "__main__":
    sys.exit(main())
