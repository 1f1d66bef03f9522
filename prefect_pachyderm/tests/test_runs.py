"""What becomes of the jobs of a flow run that is cancelled, terminated or killed, whatever waits for them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from prefect import flow, get_client, runtime, task
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Cancelling, Crashed
from pydantic import SecretStr
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from prefect_pachyderm import JobFailed, PachydermCredentials, PachydermPipeline
from prefect_pachyderm.runs import noted_jobs
from prefect_pachyderm.waits import stop_jobs, wait_for_job
from server import Server


@pytest.fixture(autouse=True)
def named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names the server."""
    monkeypatch.setenv("PACHD_ADDRESS", server.address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", server.token)


def pipeline(name: str = "p", **fields: Any) -> PachydermPipeline:
    """One whose job takes long."""
    transform = {"image": "host", "cmd": ["sleep", "300"]}
    spec = {"pipeline": {"name": name}, "input": {"pfs": {"repo": "in", "glob": "/"}}, "transform": transform}
    return PachydermPipeline(spec=spec, **fields)


def states(client: Client) -> list[int]:
    return [job.state for info in client.list_pipeline() for job in client.list_job(info.pipeline.name)]


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def name_of(task_run_id: UUID) -> str | None:
    """The name of a task run's state, as the server has it by now."""
    with get_client(sync_client=True) as api, suppress(ObjectNotFound):
        return api.read_task_run(task_run_id).state_name
    return None


def cancel_when_it_runs(client: Client, flow_run_id: UUID) -> None:
    """As `prefect flow-run cancel` does."""
    until(lambda: states(client) == [pps_proto.JOB_RUNNING])
    with get_client(sync_client=True) as api:
        api.set_flow_run_state(flow_run_id, Cancelling())


@task
def run_block() -> None:
    pipeline().trigger().wait_for_completion()


@task
async def run_block_asynchronously() -> None:
    job = await cast(Any, pipeline().trigger())
    await job.wait_for_completion()


@task
def run_by_name() -> None:
    wait_for_job("p", pipeline().trigger().job_id)


@flow
def submit(waits: Any) -> None:
    """The commonest idiom: a submitted task waits, and the flow for the task."""
    future = waits.submit()
    cancel_when_it_runs(PachydermCredentials().get_client(), UUID(runtime.flow_run.id))
    future.result()


@flow
def nest(waits: Any) -> None:
    """A flow within: it is the outer one that is cancelled."""
    root = UUID(runtime.flow_run.id)
    cancelling = threading.Thread(target=cancel_when_it_runs, args=(PachydermCredentials().get_client(), root))
    cancelling.start()

    @flow
    def inner() -> None:
        waits.submit().result()

    inner()


@flow
def nest_and_cancel_within(waits: Any) -> None:
    """A flow within, as another deployment's: it is this one that is cancelled."""

    @flow
    def inner() -> None:
        submit.fn(waits)

    inner()


@flow
def call(waits: Any) -> None:
    """In the main thread, without a worker that would tell it."""
    root = UUID(runtime.flow_run.id)
    threading.Thread(target=cancel_when_it_runs, args=(PachydermCredentials().get_client(), root)).start()
    waits()


@flow
async def gather(waits: Any) -> None:
    """Within an event loop."""
    client, root = PachydermCredentials().get_client(), UUID(runtime.flow_run.id)
    cancelling = asyncio.create_task(asyncio.to_thread(cancel_when_it_runs, client, root))
    await asyncio.gather(waits(), cancelling)


@pytest.mark.parametrize(
    ("way", "waits"),
    [
        (submit, run_block),
        pytest.param(submit, run_by_name, marks=pytest.mark.slow),
        pytest.param(nest, run_block, marks=pytest.mark.slow),
        pytest.param(nest_and_cancel_within, run_block, marks=pytest.mark.slow),
        (call, run_block),
        (gather, run_block_asynchronously),
    ],
)
def test_a_cancelled_flow_run_stops_the_job_that_any_thread_waits_for(
    way: Callable[..., Any], waits: Any, prefect: None, client: Client
) -> None:
    with pytest.raises(JobFailed, match="JOB_KILLED: the flow run was cancelled"):
        ran = way(waits)
        if asyncio.iscoroutine(ran):
            asyncio.run(ran)


SECONDS = 2


@task(timeout_seconds=SECONDS)
def wait_a_little() -> None:
    pipeline().trigger().wait_for_completion()


@task(timeout_seconds=SECONDS)
async def wait_a_little_asynchronously() -> None:
    await cast(Any, (await cast(Any, pipeline().trigger())).wait_for_completion())


@flow
def call_task() -> None:
    wait_a_little()


@flow
def submit_task() -> None:
    wait_a_little.submit().result()


@flow
async def await_task() -> None:
    await wait_a_little_asynchronously()


@flow(timeout_seconds=SECONDS)
def call_flow() -> None:
    pipeline().trigger().wait_for_completion()


@flow(timeout_seconds=SECONDS)
def submit_in_flow() -> None:
    """The main thread is the one that the time-out ends; the job is another's."""
    run_block.submit().result()


@flow(timeout_seconds=SECONDS)
def call_flow_within() -> None:
    flow(run_block.fn)()


@flow(timeout_seconds=SECONDS)
async def await_flow() -> None:
    await cast(Any, (await cast(Any, pipeline().trigger())).wait_for_completion())


@pytest.mark.parametrize(
    "way",
    [
        call_task,
        await_flow,
        submit_in_flow,
        *(pytest.param(way, marks=pytest.mark.slow) for way in (submit_task, await_task, call_flow, call_flow_within)),
    ],
)
def test_a_time_out_of_prefect_stops_the_job(way: Callable[..., Any], prefect: None, client: Client) -> None:
    with pytest.raises(TimeoutError):
        ran = way()
        if asyncio.iscoroutine(ran):
            asyncio.run(ran)
    assert states(client) == [pps_proto.JOB_KILLED]


def test_a_flow_run_that_is_deleted_is_not_cancelled(
    prefect: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)

    @flow
    def start() -> None:
        job = pipeline().trigger()
        with get_client(sync_client=True) as api:
            api.delete_flow_run(UUID(runtime.flow_run.id))
        threading.Timer(3, job.stop, ["enough"]).start()
        with pytest.raises(JobFailed, match="JOB_KILLED: enough"):
            job.wait_for_completion()

    # Prefect may say that there is no such run.
    with suppress(Exception):
        start()
    assert states(client) == [pps_proto.JOB_KILLED]
    assert not died


def test_what_a_killed_flow_run_has_started_is_known_to_who_ends_it(prefect: None, client: Client) -> None:
    """By block, by name or by another Pachyderm's block, waited for or not, several of a pipeline, in a flow within another."""
    ids: list[FlowRun] = []

    def note_run() -> None:
        with get_client(sync_client=True) as api:
            ids.append(api.read_flow_run(UUID(runtime.flow_run.id)))

    @flow
    def inner() -> None:
        note_run()
        pipeline("q").trigger()

    @flow
    def start() -> None:
        note_run()
        pipeline().trigger()
        pipeline(reprocess=True).trigger()
        inner()

    start()
    run, within = ids
    assert [name for name, _, _ in noted_jobs(within.id)] == ["q"]
    assert sorted(name for name, _, _ in noted_jobs(run.id)) == ["p", "p", "q"]
    stop_jobs(start, run, Crashed())
    assert set(states(client)) == {pps_proto.JOB_KILLED}


def test_a_job_of_a_block_is_stopped_where_the_block_says(
    prefect: None, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = PachydermCredentials(address=server.address, auth_token=SecretStr(server.token))
    stored.save("mine", overwrite=True)
    monkeypatch.delenv("PACHD_ADDRESS")
    monkeypatch.delenv("PACH_PYTHON_AUTH_TOKEN")
    ids: list[FlowRun] = []

    @flow
    def start() -> None:
        with get_client(sync_client=True) as api:
            ids.append(api.read_flow_run(UUID(runtime.flow_run.id)))
        pipeline(credentials=PachydermCredentials.load("mine")).trigger()

    start()
    assert states(client) != [pps_proto.JOB_KILLED]
    stop_jobs(start, ids[0], Crashed())
    assert states(client) == [pps_proto.JOB_KILLED]


SCRIPT = """
from prefect import flow
from test_runs import run_block

@flow
def waits():
    run_block.submit().result()

waits()
"""


@pytest.fixture
def process(prefect: None, client: Client) -> Iterator[subprocess.Popen[bytes]]:
    """A flow run in a process of its own, once the job that a submitted task waits for runs."""
    here = Path(__file__).parent
    api = str(get_current_settings().api.url)
    env = {**os.environ, "PREFECT_API_URL": api, "PYTHONPATH": f"{here}:{here / 'helpers'}"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=env)
    until(lambda: pps_proto.JOB_RUNNING in states(client) or process.poll() is not None, 120)
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_process_stops_the_job_of_a_submitted_task(
    number: int, process: subprocess.Popen[bytes], client: Client
) -> None:
    process.send_signal(number)
    process.wait(60)
    assert states(client) == [pps_proto.JOB_KILLED]


def test_who_waits_for_a_job_is_waiting_for_pachyderm(prefect: None, client: Client) -> None:
    """As the server shows it; a run is never failed by it, and its next state is Prefect's own."""

    @flow
    def run() -> UUID:
        job = pipeline().trigger()
        future = wait_for_job.submit("p", job.job_id)
        until(lambda: name_of(future.task_run_id) == "Waiting for Pachyderm")
        assert states(client) == [pps_proto.JOB_RUNNING]
        job.stop("it was seen")
        with pytest.raises(JobFailed):
            future.result()
        return future.task_run_id

    task_run_id = run()
    until(lambda: name_of(task_run_id) == "Failed")
    with get_client(sync_client=True) as api:
        history = api.read_task_run_states(task_run_id)
    assert [state.name for state in sorted(history, key=lambda state: state.timestamp)] == [
        "Pending",
        "Running",
        "Waiting for Pachyderm",
        "Failed",
    ]
