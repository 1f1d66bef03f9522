"""Names of pipelines and repos: one of another project than `default` is written PROJECT/NAME, as Pachyderm itself writes it."""

from __future__ import annotations

from python_pachyderm.pfs import commit_from
from python_pachyderm.service import pfs_proto, pps_proto

DEFAULT = "default"


def split(name: str) -> tuple[str, str]:
    """Project and name in it."""
    project, _, plain = name.rpartition("/")
    return project or DEFAULT, plain


def written(named: pps_proto.Pipeline | pfs_proto.Repo) -> str:
    """The name of a pipeline or repo that Pachyderm has told of."""
    project = named.project.name
    return str(named.name) if project in ("", DEFAULT) else f"{project}/{named.name}"


def pipeline_of(name: str) -> pps_proto.Pipeline:
    """A pipeline as requests name it."""
    project, plain = split(name)
    pipeline = pps_proto.Pipeline(name=plain)
    pipeline.project.name = project
    return pipeline


def job_of(pipeline: str, job_id: str) -> pps_proto.Job:
    """A job as requests name it."""
    return pps_proto.Job(pipeline=pipeline_of(pipeline), id=job_id)


def repo_of(name: str) -> pfs_proto.Repo:
    """A user's repo as requests name it."""
    project, plain = split(name)
    repo = pfs_proto.Repo(name=plain, type="user")
    repo.project.name = project
    return repo


def commit_of(repo: str, commit: str) -> pfs_proto.Commit:
    """The commit of an id, or the head of a branch, as requests name it."""
    message = commit_from((split(repo)[1], commit))
    message.branch.repo.project.name = split(repo)[0]
    return message
