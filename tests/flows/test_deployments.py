"""The deployments on a real server and worker, as people use them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Scheduled
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from tests.flows import cheap
from tests.flows.deployed import Deployed, deployed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DEPLOYMENTS = (
    "train/train-and-write",
    "retrain/retrain-and-release",
    "rerun/start-over",
    "teardown/delete-project",
    "follow/report-commits",
)


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("deployed")) as it:
        yield it


@pytest.fixture
def source(it: Deployed) -> Path:
    """An archive of scripts, at a place where another version of it may be put."""
    return cheap.scripts(it.folder / "scripts.tar.gz", 1, 50.0)


def jobs(client: Client, pipeline: str) -> list[pps_proto.JobInfo]:
    return list(client.list_job(pipeline, history=-1))


def told(it: Deployed, *events: str) -> set[str]:
    """The resources of these events."""
    return {each["resource"]["prefect.resource.id"] for each in it.events(*events)}


def head(client: Client, repo: str, branch: str) -> str:
    return str(client.inspect_branch(repo, branch).head.id)


def known(moment: datetime | None) -> datetime:
    assert moment
    return moment


def test_each_is_made_with_a_form_and_a_limit(it: Deployed) -> None:
    for name in DEPLOYMENTS:
        found = it.api.read_deployment_by_name(name)
        assert found.enforce_parameter_schema
        assert found.global_concurrency_limit and found.global_concurrency_limit.limit == 1
        schema = found.parameter_openapi_schema or {}
        for field in schema["properties"].values():
            assert field["description"].endswith(".")
            assert field["title"][0].isupper()
    schema = it.api.read_deployment_by_name("train/train-and-write").parameter_openapi_schema or {}
    assert schema["properties"]["timeout_minutes"]["title"] == "Time-out in minutes"
    assert schema["properties"]["model"]["enum"] == ["test", "quick", "small", "medium", "best", "large"]
    (schedule,) = it.api.read_deployment_by_name("retrain/retrain-and-release").schedules
    assert not schedule.active


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ("model=huge", "huge"),
        ("tokens=5", "minimum"),
        ("seed=-1", "minimum"),
        ("source=ftp://x/y", "ftp"),
        ("nonsense=1", "not found"),
    ],
)
def test_nonsense_is_rejected_before_a_run_is_made(parameter: str, told: str, it: Deployed) -> None:
    before = len(it.api.read_flow_runs())
    printed = it.cli("deployment", "run", "train/train-and-write", "-p", parameter, check=False)
    assert told in printed
    assert len(it.api.read_flow_runs()) == before


def test_a_parameter_that_a_flow_lacks_is_told_in_a_sentence(it: Deployed) -> None:
    """Through the API, where `prefect deploy` alone has made the deployment."""
    run_id = it.start("train/train-and-write", nonsense=1)
    assert it.wait(run_id).state_name == "Crashed"
    it.until(lambda: "The run has a parameter that its flow lacks." in it.log_of(run_id))
    assert "nonsense" in it.log_of(run_id)
    assert "Traceback" not in it.log_of(run_id) + (it.folder / "worker.log").read_text()


def test_a_login_in_a_source_is_stored_nowhere(it: Deployed) -> None:
    source = "source=https://ann:planted-9f3a@example/x.tar"
    printed = it.cli("deployment", "run", "train/train-and-write", "-p", source, check=False)
    assert "does not match" in printed
    kept = {file: file.read_bytes() for file in (it.folder / "prefect").rglob("*") if file.is_file()}
    assert any(content.startswith(b"SQLite") for content in kept.values())
    assert [file for file, content in kept.items() if b"planted-9f3a" in content] == []


def test_train_from_the_command_line_to_its_end(it: Deployed, source: Path) -> None:
    printed = it.cli(
        "deployment",
        "run",
        "train/train-and-write",
        "-p",
        "model=small",
        "-p",
        f"source={source}",
        "-p",
        "tokens=200",
        "--watch",
    )
    assert "Completed" in printed
    scripts = head(it.pachyderm, "GoT_scripts", "master")
    newest = max(it.api.read_flow_runs(), key=lambda run: known(run.created))
    assert newest.name == f"train small on GoT_scripts@{scripts[:7]}"
    it.until(
        lambda: (
            f"pachyderm.job.GoT_train@{head(it.pachyderm, 'GoT_train', 'master')}"
            in told(it, "pachyderm.job.succeeded")
        )
    )
    events = it.events("pachyderm.job.succeeded")
    (event,) = [
        each for each in events if each["resource"]["prefect.resource.id"].startswith("pachyderm.job.GoT_train@")
    ]
    related = {each["prefect.resource.role"]: each["prefect.resource.id"] for each in event["related"]}
    assert related["input-commit"] == f"pachyderm.commit.GoT_scripts@{scripts}"
    assert {"flow-run", "deployment", "pipeline", "output-commit"} <= related.keys()


def test_a_cancelled_run_stops_its_job_and_leaves_no_process(it: Deployed, source: Path) -> None:
    slow = cheap.specs(it.project / "pipeline_specs", seconds=100)
    try:
        run_id = it.start("train/train-and-write", source=str(source), seed=7)
        it.until(lambda: "JOB_RUNNING" in it.log_of(run_id), 200)
        pid = it.pid_of(run_id)
        it.cli("flow-run", "cancel", str(run_id))
        asked = time.monotonic()
        it.until(lambda: jobs(it.pachyderm, "GoT_train")[0].state == pps_proto.JOB_KILLED, 60)
        assert time.monotonic() - asked < 10
        assert it.wait(run_id).state_name == "Cancelled"
        it.until(lambda: not Path(f"/proc/{pid}").exists(), 30)
        killed = f"pachyderm.job.GoT_train@{jobs(it.pachyderm, 'GoT_train')[0].job.id}"
        it.until(lambda: killed in told(it, "pachyderm.job.killed"), 30)
    finally:
        cheap.specs(slow)
    assert it.run("train/train-and-write", source=str(source), seed=7).state_name == "Completed"


def test_a_commit_that_anybody_makes_is_followed(it: Deployed, source: Path) -> None:
    assert it.run("train/train-and-write", source=str(source)).state_name == "Completed"
    following = it.start("follow/report-commits", commits=1)
    it.until(lambda: it.wait(following, "Running").state_name == "Running")
    it.until(lambda: "Following" in it.log_of(following))
    client = it.pachyderm
    with client.commit("GoT_scripts", "master") as commit:
        client.put_file_bytes(commit, "/quality.txt", b"49.0\n", append=False)
    assert it.wait(following).state_name == "Completed"
    expected = {f"pachyderm.commit.GoT_scripts@{commit.id}"}
    expected |= {f"pachyderm.job.{name}@{commit.id}" for name in ("GoT_train", "GoT_generate")}
    it.until(lambda: expected <= told(it, "pachyderm.commit.finished", "pachyderm.job.succeeded"))


def deployment(it: Deployed, name: str) -> DeploymentResponse:
    return it.api.read_deployment_by_name(name)


@pytest.fixture
def automations(it: Deployed) -> Iterator[None]:
    """Those of the project, that act the first time and sooner. What they have paused goes on afterwards."""
    text = (it.project / "automations.yaml").read_text()
    hasty = it.folder / "automations.yaml"
    hasty.write_text(text.replace("threshold: 3", "threshold: 1").replace("within: 180", "within: 60"))
    it.cli("automation", "create", "--from-file", str(hasty))
    yield
    for each in it.api._client.post("/automations/filter", json={}).json():
        it.cli("--no-prompt", "automation", "delete", "--id", each["id"])
    it.cli("--no-prompt", "deploy", "--all")


def executed(it: Deployed, automation: str) -> list[str]:
    """What an automation has changed. (A run's heartbeat that comes in after its end starts one in vain: Prefect refuses it.)"""
    return [
        related["prefect.resource.id"]
        for event in it.events("prefect.automation.action.executed")
        if event["resource"]["prefect.resource.name"] == automation
        for related in event["related"]
        if related["prefect.resource.role"] == "target"
    ]


def test_the_automations_act(it: Deployed, source: Path, automations: None) -> None:
    """Each for what it is there for, and for nothing else."""
    it.run("teardown/delete-project")
    assert it.run("retrain/retrain-and-release", source=str(source)).state_name == "Released"
    skipped = it.start("retrain/retrain-and-release", source=str(source))
    assert it.wait(skipped).state_name == "Skipped"
    cheap.scripts(source, 2, 90.0)
    assert it.run("retrain/retrain-and-release", source=str(source)).state_name == "Rejected"
    retrain = f"prefect.deployment.{deployment(it, 'retrain/retrain-and-release').id}"
    it.until(lambda: executed(it, "Pause retraining when new models keep being rejected") == [retrain], 60)
    assert deployment(it, "retrain/retrain-and-release").paused
    it.api.resume_deployment(deployment(it, "retrain/retrain-and-release").id)

    spec = it.project / "pipeline_specs" / "GoT_train.jsonnet"
    good = spec.read_text()
    try:
        spec.write_text(good.replace("'-e', '-c', \"", "'-e', '-c', \"exit 3; "))
        assert it.run("retrain/retrain-and-release", source=str(source), seed=31).state_name == "Failed"
    finally:
        spec.write_text(good)
    it.until(lambda: executed(it, "Pause a deployment whose jobs keep failing") == [retrain], 60)
    assert deployment(it, "retrain/retrain-and-release").paused
    it.api.resume_deployment(deployment(it, "retrain/retrain-and-release").id)

    slow = cheap.specs(it.project / "pipeline_specs", seconds=200)
    try:
        run_id = it.start("train/train-and-write", source=str(source), seed=32)
        it.until(lambda: "JOB_RUNNING" in it.log_of(run_id), 200)
        # The worker would tell of its end.
        it.worker.send_signal(signal.SIGSTOP)
        os.kill(it.pid_of(run_id), signal.SIGKILL)
        run = it.wait(run_id, "Crashed")
        assert run.state and run.state.message and run.state.message.startswith("No heartbeat")
    finally:
        it.worker.send_signal(signal.SIGCONT)
        cheap.specs(slow)
        # The job is on, for the next run to go on with.
        it.run("teardown/delete-project")
    it.until(lambda: bool(executed(it, "Mark runs whose process is gone as crashed")), 30)
    assert executed(it, "Mark runs whose process is gone as crashed") == [f"prefect.flow-run.{run_id}"]
    assert it.api.read_flow_run(skipped).state_name == "Skipped"


def test_deploying_again_leaves_the_schedules_as_they_are_set(it: Deployed) -> None:
    """As `make up` does."""
    it.cli("--no-prompt", "deployment", "schedule", "resume", "--all")
    it.cli("deployment", "schedule", "create", "retrain/retrain-and-release", "--cron", "30 5 * * 1")
    it.api.pause_deployment(deployment(it, "retrain/retrain-and-release").id)
    try:
        command = [sys.executable, "-c", "from flows.deployments import deploy; deploy()"]
        subprocess.run(command, cwd=it.project, env=it.env, check=True, capture_output=True)
        found = deployment(it, "retrain/retrain-and-release")
        assert found.paused
        # The command line refuses what is not in the form; asked through the API, the server does.
        with pytest.raises(PrefectHTTPStatusError, match="409"):
            it.start("train/train-and-write", nonsense=1)
        set_to = {(str(schedule.schedule.cron), schedule.active) for schedule in found.schedules}  # type: ignore[union-attr]
        assert set_to == {("0 3 * * *", True), ("30 5 * * 1", True)}
    finally:
        it.cli("--no-prompt", "deploy", "--all")
    found = deployment(it, "retrain/retrain-and-release")
    assert not found.paused
    assert [schedule.active for schedule in found.schedules] == [False]


def test_rerun_and_teardown_to_their_ends(it: Deployed, source: Path) -> None:
    assert it.run("rerun/start-over", source=str(source)).state_name == "Completed"
    assert it.run("teardown/delete-project").state_name == "Completed"
    assert not {"GoT_scripts", "GoT_train", "GoT_lock"} & {info.repo.name for info in it.pachyderm.list_repo()}


@pytest.mark.timeout(1500)
def test_retraining_by_a_schedule(it: Deployed, source: Path) -> None:
    """Every minute: the first model is released, an unchanged source skipped, a worse model rejected, a better released."""
    it.run("teardown/delete-project")
    found = it.api.read_deployment_by_name("retrain/retrain-and-release")
    it.api._client.patch(f"/deployments/{found.id}", json={"parameters": {"source": str(source)}}).raise_for_status()
    (schedule,) = found.schedules
    every = IntervalSchedule(interval=timedelta(minutes=1), anchor_date=datetime.now(UTC))
    it.api.update_deployment_schedule(found.id, schedule.id, active=True, schedule=every)
    seen = outcomes(it)

    def decisions() -> tuple[int, int]:
        return len(it.events("model.rejected")), len(it.events("model.released"))

    rejected, released_before = decisions()

    def next_outcome() -> str:
        """The next outcome that is another one than Skipped, or Skipped twice in a row."""
        it.until(lambda: len(outcomes(it)) > len(seen), 240)
        seen[:] = outcomes(it)[: len(seen) + 1]
        return seen[-1]

    try:
        assert next_outcome() == "Released"
        first = head(it.pachyderm, "GoT_train", "released")
        commits = len(list(it.pachyderm.list_commit("GoT_scripts")))
        assert next_outcome() == "Skipped"
        assert len(list(it.pachyderm.list_commit("GoT_scripts"))) == commits
        for number, quality, outcome in ((2, 90.0, "Rejected"), (3, 40.0, "Released")):
            cheap.scripts(source, number, quality)
            while (found_outcome := next_outcome()) == "Skipped":
                pass
            assert found_outcome == outcome
            newest, released = head(it.pachyderm, "GoT_train", "master"), head(it.pachyderm, "GoT_train", "released")
            assert (newest == released) == (outcome == "Released")
            assert (released == first) == (outcome == "Rejected")
    finally:
        it.api.update_deployment_schedule(found.id, schedule.id, active=False)
    it.until(lambda: decisions() == (rejected + 1, released_before + 2), 60)


def outcomes(it: Deployed) -> list[str]:
    """How the runs of `retrain` have ended, oldest first, without those that were cancelled because another was on."""
    runs = [run for run in it.api.read_flow_runs() if run.deployment_id and run.name.startswith("retrain")]
    over = sorted(
        (run for run in runs if run.state and run.state.is_final()), key=lambda run: known(run.end_time or run.created)
    )
    return [str(run.state_name) for run in over if run.state_name != "Cancelled"]


def test_missed_firings_do_not_pile_up(it: Deployed, source: Path) -> None:
    """Five runs that are late start at the same moment: one runs, the others are dropped."""
    found = it.api.read_deployment_by_name("retrain/retrain-and-release")
    late = [
        it.api.create_flow_run_from_deployment(
            found.id,
            parameters={"source": str(source)},
            state=Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=minutes)),
        ).id
        for minutes in range(5, 0, -1)
    ]
    ended = [it.wait(run_id).state_name for run_id in late]
    assert ended.count("Cancelled") >= 3
    assert set(ended) <= {"Cancelled", "Released", "Rejected", "Skipped"}


def test_a_flow_run_that_is_killed_is_gone_on_with_by_the_next(it: Deployed, source: Path) -> None:
    slow = cheap.specs(it.project / "pipeline_specs", seconds=3)
    try:
        first = it.start("train/train-and-write", source=str(source), seed=11)
        it.until(lambda: "JOB_RUNNING" in it.log_of(first), 200)
        os.kill(it.pid_of(first), signal.SIGKILL)
        assert it.wait(first).state_name == "Crashed"
        before = [job.job.id for job in jobs(it.pachyderm, "GoT_train")]
        assert it.run("train/train-and-write", source=str(source), seed=11).state_name == "Completed"
        assert [job.job.id for job in jobs(it.pachyderm, "GoT_train")] == before
    finally:
        cheap.specs(slow)


def test_a_run_that_hangs_is_cancelled_and_its_job_stopped(it: Deployed, source: Path) -> None:
    """Its process does not answer; once Prefect has killed it, the worker stops the job in its place."""
    slow = cheap.specs(it.project / "pipeline_specs", seconds=200)
    try:
        run_id = it.start("train/train-and-write", source=str(source), seed=12)
        it.until(lambda: "JOB_RUNNING" in it.log_of(run_id), 200)
        os.kill(it.pid_of(run_id), signal.SIGSTOP)
        it.cli("flow-run", "cancel", str(run_id))
        it.until(lambda: jobs(it.pachyderm, "GoT_train")[0].state == pps_proto.JOB_KILLED, 120)
        assert it.wait(run_id).state_name == "Cancelled"
        killed = f"pachyderm.job.GoT_train@{jobs(it.pachyderm, 'GoT_train')[0].job.id}"
        it.until(lambda: killed in told(it, "pachyderm.job.killed"), 30)
    finally:
        cheap.specs(slow)
