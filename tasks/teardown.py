"""Deleting pipelines and repos, while nobody else changes them. Jobs that are on end; who waits for them is told."""

from __future__ import annotations

from prefect import get_run_logger, task

from prefect_pachyderm import events
from prefect_pachyderm.calls import readable
from prefect_pachyderm.credentials import connect
from prefect_pachyderm.names import written
from tasks.project import ALL, CANDIDATE_REPO, LOCK_REPO, RELEASED_REPO, SCRIPTS_REPO
from tasks.turns import lock


@task(name="delete project")
def delete_project() -> None:
    """Deletes the project's pipelines, the last first, and then its repos."""
    client = connect()
    with lock(client), readable("Tearing down"):
        infos = {written(info.pipeline): info for info in client.list_pipeline()}
        pipelines = [pipeline.name for pipeline in ALL if pipeline.name in infos]
        for name in pipelines:
            client.delete_pipeline(name, force=True)
            events.pipeline_deleted(infos[name])
        there = {written(info.repo) for info in client.list_repo()}
        repos = [name for name in (SCRIPTS_REPO, CANDIDATE_REPO, RELEASED_REPO, LOCK_REPO) if name in there]
        for name in repos:
            client.delete_repo(name, force=True)
    get_run_logger().info(
        "Deleted the pipelines %s and the repos %s", ", ".join(pipelines) or "(none)", ", ".join(repos)
    )


@task(name="delete everything")
def delete_everything() -> None:
    """Deletes all pipelines and all repos, as `pachctl delete all` does."""
    client = connect()
    with lock(client), readable("Deleting everything"):
        infos = list(client.list_pipeline())
        client.delete_all()
    for info in infos:
        events.pipeline_deleted(info)
    get_run_logger().info("Deleted all pipelines and repos")
