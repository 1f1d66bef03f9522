"""A pipeline's `egress`: whether its output may go where the spec says, and sending it there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from typing import Protocol

from localpach.egress.folder import Folder
from localpach.egress.places import Place, place_of
from localpach.errors import Precondition, Refused, Unimplemented
from localpach.names import Commit
from localpach.pfs.service import Pfs
from localpach.pps.secrets import Secrets
from localpach.proto import pps_pb2

# As boto3 names what these variables give.
LOGIN = {
    "AWS_ACCESS_KEY_ID": "aws_access_key_id",
    "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
    "AWS_SESSION_TOKEN": "aws_session_token",
    "AWS_DEFAULT_REGION": "region_name",
}
NEEDED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class Target(Protocol):
    """What takes files."""

    def put(self, path: str, size: int, content: Iterable[bytes]) -> None: ...

    def close(self) -> None: ...


class Egress:
    """Sends output to places. A bucket takes a login that the pipeline has of a secret, or else has to be `allowed` as a
    folder has: then it is the server's own."""

    def __init__(self, pfs: Pfs, secrets: Secrets, allowed: Sequence[Place]) -> None:
        self._pfs = pfs
        self._secrets = secrets
        self._allowed = allowed

    def check(self, request: pps_pb2.CreatePipelineRequest) -> None:
        """Raises what a spec is refused with whose output can't, or may not, go where it says."""
        if not request.HasField("egress"):
            return
        if request.HasField("spout") or request.HasField("service"):
            raise Unimplemented("egress: here neither spouts nor services have it; leave it out")
        place = place_of(_url(request.egress))
        if not place.bucket:
            self._holder(place)
            return
        _check_installed()
        self._login(place, request.transform)

    def send(self, details: pps_pb2.PipelineInfo.Details, commit: Commit, check_stop: Callable[[], None]) -> None:
        """Writes all files of a commit; what is there of the same name is written over, and nothing is deleted. `check_stop`
        is called all along, and ends it by what it raises."""
        record, files = self._pfs.commits.get(commit), self._pfs.files
        if self._pfs.commits.conflicts(record):
            # It can't be finished, and that is what its job ends with.
            return
        with closing(self._target(details, commit, check_stop)) as target:
            for entry in files.walk(record, "/"):
                if not entry.is_dir:
                    target.put(entry.path, entry.size, _heeding(check_stop, files.read(record, entry)))

    def _target(self, details: pps_pb2.PipelineInfo.Details, commit: Commit, check_stop: Callable[[], None]) -> Target:
        place = place_of(_url(details.egress))
        if place.bucket:
            _check_installed()
            # Only who sends to S3 needs boto3.
            from localpach.egress.bucket import Bucket  # noqa: PLC0415

            return Bucket(place, self._login(place, details.transform), check_stop)
        # Commits of one set have one id, and their pipelines may share a folder.
        return Folder(place, self._holder(place), f"{commit.repo.project}.{commit.repo.name}.{commit.id}")

    def _holder(self, place: Place) -> Place:
        """The allowed place that a folder is beneath."""
        found = self._allowing(place)
        if found is None:
            raise Refused(
                f"egress: this server may not write to {place}; who serves allows a folder with localpach serve --egress"
            )
        return found

    def _allowing(self, place: Place) -> Place | None:
        return next((each for each in self._allowed if each.holds(place)), None)

    def _login(self, place: Place, transform: pps_pb2.Transform) -> dict[str, str]:
        env = self._secrets.environment(transform)
        if all(map(env.get, NEEDED)):
            return {LOGIN[name]: value for name, value in env.items() if name in LOGIN}
        if self._allowing(place) is None:
            raise Refused(
                f"egress: there is no login for {place}; give the pipeline a secret's {' and '.join(NEEDED)} by"
                " transform.secrets with env_var, or have who serves allow it with localpach serve --egress"
            )
        return {}


def _check_installed() -> None:
    if find_spec("boto3") is None:
        raise Precondition(
            "egress: boto3, which sends files to S3, is not installed; say pip install 'localpach[s3]' where the server runs"
        )


def _url(egress: pps_pb2.Egress) -> str:
    target = egress.WhichOneof("target")
    if target == "sql_database":
        raise Unimplemented(
            "egress.sql_database: nothing is written to databases here; egress to s3:// or file://, and load it from there"
        )
    return egress.object_storage.url if target else egress.URL


def _heeding(check_stop: Callable[[], None], chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        check_stop()
        yield chunk
