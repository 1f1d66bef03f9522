"""`make status`: repos, commits and jobs as `pachctl list repo`, `list commit` and `list job` show them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import python_pachyderm
from python_pachyderm.service import pfs_proto, pps_proto

from prefect_pachyderm import PrefectPachydermError
from prefect_pachyderm.calls import readable
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.names import written


def main() -> int:
    """Prints the three tables."""
    try:
        client = connect()
        with readable("Listing"):
            repos = list(client.list_repo())
            shown = [(written(r.repo), _time(r.created), _size(r.size_bytes_upper_bound), r.description) for r in repos]
            _table(("REPO", "CREATED", "SIZE", "DESCRIPTION"), shown)
            commits = [c for r in repos for c in client.list_commit(r.repo.name, project_name=r.repo.project.name)]
            _table(("REPO", "BRANCH", "COMMIT", "FINISHED", "SIZE"), [_commit(commit) for commit in commits])
            jobs = [job for p in client.list_pipeline() for job in _jobs(client, p.pipeline)]
            _table(("PIPELINE", "JOB", "STARTED", "PROGRESS", "STATE"), [_job(job) for job in jobs])
    except PrefectPachydermError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _jobs(client: python_pachyderm.Client, pipeline: pps_proto.Pipeline) -> Iterator[pps_proto.JobInfo]:
    yield from client.list_job(pipeline.name, project_name=pipeline.project.name)


def _commit(info: pfs_proto.CommitInfo) -> Sequence[str]:
    # Since Pachyderm 2.11 a commit names no branch.
    repo, branch = written(info.commit.repo), info.commit.branch.name or "-"
    return (repo, branch, info.commit.id, _time(info.finished), _size(info.details.size_bytes))


def _job(job: pps_proto.JobInfo) -> Sequence[str]:
    state = pps_proto.JobState.Name(job.state).removeprefix("JOB_").lower()
    progress = f"{job.data_processed} + {job.data_skipped} / {job.data_total}"
    return (written(job.job.pipeline), job.job.id, _time(job.started), progress, f"{state} {job.reason}".strip())


def _time(stamp: object) -> str:
    return stamp.ToDatetime().strftime("%Y-%m-%d %H:%M:%S") if stamp.seconds else "-"  # type: ignore[attr-defined]


def _size(count: int) -> str:
    return f"{count / 1024:.1f}KiB" if count < 1024**2 else f"{count / 1024**2:.1f}MiB"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()


if __name__ == "__main__":
    sys.exit(main())
