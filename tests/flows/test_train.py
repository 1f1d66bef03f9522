"""The train flow on a small corpus, against a real embedded Pachyderm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from prefect import get_client
from prefect.flow_engine import run_flow
from python_pachyderm import Client
from python_pachyderm.service import pps_proto

from flows.input_data import input_data
from flows.rerun import rerun
from flows.teardown import teardown
from flows.train import train
from prefect_pachyderm import JobFailed, PachydermError
from prefect_pachyderm.credentials import connect
from tasks import project
from tasks.errors import ScriptwrightError
from tasks.report.reports import summary
from tasks.report.results import Results
from tests import corpora
from tests.jobs import until

CHAIN = tuple(pipeline.name for pipeline in project.CHAIN)


@pytest.fixture(scope="module")
def first(embedded: Path) -> Results:
    """What the first run returns."""
    return train(source=str(corpora.plays(embedded / "plays.tar.gz")), tokens=1200)


def shape(client: Client) -> tuple[list[str], list[str]]:
    """All commits and all jobs."""
    repos = [info.repo.name for info in client.list_repo()]
    commits = [f"{repo}@{info.commit.id}" for repo in repos for info in client.list_commit(repo)]
    return commits, [info.job.id for info in jobs_of(client)]


def jobs_of(client: Client) -> list[pps_proto.JobInfo]:
    """All jobs of our pipelines."""
    return [info for name in CHAIN for info in client.list_job(name)]


def output_of(folder: Path) -> Path:
    """The newest run's results."""
    return max((folder / "output").glob("*/report.html"), key=lambda path: path.stat().st_mtime).parent


def test_a_run_ends_with_perplexity_and_script(embedded: Path, first: Results) -> None:
    shown = summary("test", first)
    assert all(word in shown for word in ("train ", "valid ", "test ", "The new script begins", "GoT_generate@"))
    results = output_of(embedded)
    log = (results / "model-results").read_text()
    assert "Epoch: 1 of 1 Learning rate: 1\n" in log
    assert "Epoch: 1 Train Perplexity: " in log
    assert "Epoch: 1 Valid Perplexity: " in log
    metrics = json.loads((results / "metrics.json").read_text())
    assert f"Test Perplexity: {metrics['perplexity']['test']:.3f}" in log
    assert metrics["perplexity"]["test"] < metrics["vocabulary"]
    assert len((results / "new_script.txt").read_text().split()) > 600


def test_a_run_leaves_artifacts_and_a_report_page(embedded: Path, first: Results) -> None:
    with get_client(sync_client=True) as client:
        artifacts = {str(artifact.key): str(artifact.data) for artifact in client.read_latest_artifacts()}
    assert all(key.startswith("scriptwright-") for key in artifacts)
    artifacts = {key.removeprefix("scriptwright-"): data for key, data in artifacts.items()}
    assert artifacts.keys() >= {"perplexity", "learning-curve", "new-script", "datums", "lineage"}
    assert float(artifacts["progress-got-train"]) == 100
    assert "```mermaid" in artifacts["learning-curve"]
    assert "flowchart" in artifacts["lineage"]
    assert "plays.tar.gz" in artifacts["lineage"]
    assert artifacts["datums"].count('"success"') == 2
    page = (output_of(embedded) / "report.html").read_text()
    assert "plays.tar.gz" in page
    assert "GoT_generate, version 1" in page


def test_what_the_pipelines_leave_in_pfs(first: Results) -> None:
    client = connect()
    trained = {info.file.path for info in client.list_file(("GoT_train", "master"), "/")}
    assert trained >= {"/model-results", "/metrics.json", "/word_to_id.json", "/id_to_word.json", "/checkpoint"}
    assert [info.file.path for info in client.list_file(("GoT_generate", "master"), "/")] == [
        "/new_script.txt",
        "/script_facts.json",
    ]
    head = next(iter(client.inspect_commit(("GoT_scripts", "master"))))
    assert "plays.tar.gz sha256:" in head.description


def test_the_same_again_does_nothing(embedded: Path, first: Results) -> None:
    client = connect()
    before = shape(client)
    assert train(source=str(embedded / "plays.tar.gz"), tokens=1200) == first
    assert shape(client) == before


def test_a_problem_is_one_sentence_in_the_log_of_a_deployment(embedded: Path) -> None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(input_data, parameters={"source": "/no/such"})
        run_flow(cast(Any, input_data), flow_run=run, return_type="state")

        def logged() -> list[str]:
            query = {"logs": {"flow_run_id": {"any_": [str(run.id)]}}}
            return [each["message"] for each in client._client.post("/logs/filter", json=query).json()]

        until(lambda: any("Finished in state Failed" in message and "Flow run" in message for message in logged()))
        assert [message for message in logged() if "/no/such can't be read" in message]
        assert not [message for message in logged() if "\n" in message]


@pytest.mark.slow
def test_the_classic_layout_goes_through(embedded: Path, first: Results) -> None:
    classic = train(source=str(corpora.classic(embedded / "classic.tar.gz")), tokens=1000)
    assert set(classic.perplexity) == {"train", "valid", "test"}
    files = {info.file.path for info in connect().list_file(("GoT_scripts", "master"), "/")}
    assert {"/ptb.train.txt", "/ptb.valid.txt", "/ptb.test.txt"} <= files


def bad_sources(folder: Path) -> dict[str, tuple[dict[str, str], str]]:
    """Parameters of runs that can't be, and what their error names."""
    small = corpora.archive(folder / "small.tar.gz", {"a.txt": "ANNA.\nNo.\n"})
    binary = corpora.archive(folder / "binary.tar.gz", {"a.txt": bytes(range(256)) * 4})
    climbing = corpora.archive(folder / "climbing.tar.gz", {"../x.txt": "out"})
    (folder / "text.tar.gz").write_text("no archive")
    return {
        "no such file": ({"source": str(folder / "missing.tar.gz")}, "missing.tar.gz"),
        "no such host": ({"source": "http://no-such-host.invalid/x.tar.gz"}, "no-such-host.invalid"),
        "not an archive": ({"source": str(folder / "text.tar.gz")}, "text.tar.gz"),
        "wrong checksum": ({"source": str(small), "sha256": "0" * 64}, "0000"),
        "not text": ({"source": str(binary)}, "a.txt"),
        "path outside": ({"source": str(climbing)}, "../x.txt"),
    }


@pytest.mark.parametrize(
    "case", ["no such file", "no such host", "not an archive", "wrong checksum", "not text", "path outside"]
)
def test_bad_input_leaves_pfs_as_it_was(case: str, tmp_path: Path, first: Results) -> None:
    parameters, named = bad_sources(tmp_path)[case]
    before = shape(connect())
    with pytest.raises(ScriptwrightError) as caught:
        train(**parameters)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert shape(connect()) == before


def test_a_corpus_that_is_too_small_is_told_by_the_job(tmp_path: Path, first: Results) -> None:
    with pytest.raises(JobFailed, match="too small for the test model"):
        train(source=str(corpora.archive(tmp_path / "small.tar.gz", {"a.txt": "ANNA.\nNo.\n"})))


def test_an_unknown_model_is_refused_before_anything_runs(first: Results) -> None:
    before = shape(connect())
    with pytest.raises(Exception, match="model"):
        train(model="huge")
    assert shape(connect()) == before


@pytest.mark.slow
def test_an_address_where_nobody_listens(monkeypatch: pytest.MonkeyPatch, embedded: Path, first: Results) -> None:
    monkeypatch.setenv("PACHD_ADDRESS", "127.0.0.1:1")
    with pytest.raises(PachydermError, match="PACHD_ADDRESS"):
        train(source=str(embedded / "plays.tar.gz"))


def test_a_token_that_is_refused(monkeypatch: pytest.MonkeyPatch, embedded: Path, first: Results) -> None:
    address = json.loads((embedded / "localpach" / "address").read_text())["address"]
    monkeypatch.setenv("PACHD_ADDRESS", address)
    monkeypatch.setenv("PACH_PYTHON_AUTH_TOKEN", "wrong")
    with pytest.raises(PachydermError, match="PACH_PYTHON_AUTH_TOKEN"):
        train(source=str(embedded / "plays.tar.gz"))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["/no/such/program"], "can't run /no/such/program"),
        (["sh", "-c", "echo the last words; exit 3"], "the last words"),
        (["sh", "-c", "echo going; kill -9 $$"], "killed"),
    ],
)
def test_a_failed_job_fails_the_flow_with_its_words(
    command: list[str], told: str, tmp_path: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch, first: Results
) -> None:
    for name in CHAIN:
        spec = (project.SPECS / f"{name}.jsonnet").read_text()
        text = spec.replace("cmd: ['python3'", f"cmd: {json.dumps(command)} + ['python3'")
        (tmp_path / f"{name}.jsonnet").write_text(text)
    monkeypatch.setattr(project, "SPECS", tmp_path)
    with pytest.raises(JobFailed, match="JOB_FAILURE") as caught:
        train(source=str(embedded / "plays.tar.gz"))
    assert told in str(caught.value)


def test_rerun_tears_down_and_runs_again(embedded: Path, first: Results) -> None:
    old = {info.job.id for info in jobs_of(connect())}
    again = rerun(source=str(embedded / "plays.tar.gz"), model="test")
    assert set(again.perplexity) == {"train", "valid", "test"}
    jobs = jobs_of(connect())
    assert {info.job.pipeline.name for info in jobs} == set(CHAIN)
    assert not old & {info.job.id for info in jobs}
    assert all(info.state == pps_proto.JOB_SUCCESS for info in jobs)


def test_teardown_leaves_what_is_not_ours(first: Results) -> None:
    client = connect()
    client.create_repo("somebody_elses")
    teardown()
    assert [info.repo.name for info in client.list_repo()] == ["somebody_elses"]
    teardown(everything=True)
    assert not list(client.list_repo())
