"""What `make up` waits for, without the others: how long it waits, whom it believes, and what it says."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from httpx import ConnectError

from flows import deployments
from prefect_pachyderm import PachydermPipeline
from prefect_pachyderm.embedded import LocalpachError
from tasks.errors import ScriptwrightError
from tasks.image.image import RegistryCredentials

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Recorder:
    """Stands for Prefect's client: has answers for some methods, and notes the calls of all others."""

    def __init__(self, **answers: Any) -> None:
        self._answers, self.calls = answers, list[tuple[Any, ...]]()

    def __getattr__(self, name: str) -> Any:
        return self._answers.get(name, lambda *given, **named: self.calls.append((name, *given, *named.values())))


def use(patch: pytest.MonkeyPatch, client: Recorder) -> Recorder:
    patch.setattr(deployments, "get_client", lambda sync_client: nullcontext(client))
    return client


@pytest.mark.parametrize("after", [0, 3, 600])
def test_everybody_is_waited_for_for_five_minutes(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(deployments, "time", SimpleNamespace(monotonic=lambda: 7.0 + sum(pauses), sleep=pauses.append))
    deployments._until("the cook", lambda: len(pauses) == after)
    assert pauses == [0.5] * after
    with pytest.raises(ScriptwrightError, match="the cook has not answered for 300 s; its own lines above say why"):
        deployments._until("the cook", lambda: False)
    assert sum(pauses) - after / 2 == 300.5


@pytest.mark.parametrize(
    ("heartbeats", "answers"), [([], False), ([None, NOW], False), ([None, NOW + timedelta(seconds=1), NOW], True)]
)
def test_a_worker_of_an_earlier_time_does_not_count(
    monkeypatch: pytest.MonkeyPatch, heartbeats: list[datetime | None], answers: bool
) -> None:
    workers = {"scriptwright": [SimpleNamespace(last_heartbeat_time=each) for each in heartbeats]}
    use(monkeypatch, Recorder(read_workers_for_work_pool=workers.__getitem__))
    assert deployments._worker_has_answered(NOW) is answers


def test_who_can_not_be_asked_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ConnectError("away")

    def fail_to_run(*_: object) -> None:
        raise LocalpachError("away")

    use(monkeypatch, Recorder(read_workers_for_work_pool=fail, api_healthcheck=lambda: OSError("away")))
    assert not deployments._worker_has_answered(NOW)
    assert not deployments._server_answers()
    use(monkeypatch, Recorder(api_healthcheck=lambda: None))
    assert deployments._server_answers()
    monkeypatch.setattr(deployments, "run_localpach", fail_to_run)
    assert not deployments._localpach_answers()


def test_localpach_is_asked_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setenv("LOCALPACH_ROOT", "/somewhere")
    monkeypatch.setattr(deployments, "run_localpach", lambda *given: asked.extend(given))
    assert deployments._localpach_answers()
    assert asked == ["status", "--root", "/somewhere"]


def schedule(slug: str | None, active: bool, name: int = 1) -> Any:
    return SimpleNamespace(slug=slug, id=name, active=active, schedule=f"every {name}")


def test_what_somebody_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [
        schedule("nightly", True),
        schedule("weekly", False, 2),
        schedule("gone", True, 3),
        schedule(None, True, 4),
    ]
    now = [schedule("nightly", False, 5), schedule("weekly", False, 6)]
    ours = {"entrypoint": "flows/train.py:train", "parameter_openapi_schema": {"type": "object"}}
    lists = [
        [SimpleNamespace(id="d", schedules=before, paused=True)],
        [SimpleNamespace(id="d", schedules=now, **ours), SimpleNamespace(id="e", entrypoint="other/flow.py:flow")],
    ]
    client = use(monkeypatch, Recorder(read_deployments=lambda: lists.pop(0)))

    def deploy_all(command: list[str], **_: object) -> SimpleNamespace:
        client.calls.append(tuple(command[1:]))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("flows.deployments.subprocess.run", deploy_all)
    deployments.deploy()
    deployed, (_, name, update), *restored = client.calls
    assert deployed == ("-m", "prefect", "--no-prompt", "deploy", "--all")
    assert (name, update.parameter_openapi_schema) == ("d", {"type": "object", "additionalProperties": False})
    assert restored == [
        ("update_deployment_schedule", "d", 5, True),
        ("create_deployment_schedules", "d", [("every 4", True)]),
        ("pause_deployment", "d"),
    ]


def test_deployments_that_can_not_be_made_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Recorder(read_deployments=list))
    failed = SimpleNamespace(returncode=1, stdout="it ", stderr="is broken")
    monkeypatch.setattr("flows.deployments.subprocess.run", lambda *_, **__: failed)
    with pytest.raises(ScriptwrightError, match="deploy --all` failed:\nit is broken"):
        deployments.deploy()


@pytest.mark.parametrize("problem", [None, ScriptwrightError("It is broken; mend it.")])
def test_all_are_waited_for_and_then_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: Exception | None
) -> None:
    told = {
        "PREFECT_UI_URL": "http://ui",
        "SCRIPTWRIGHT_REPORTS_URL": "http://reports",
        "PREFECT_API_URL": "http://api",
    }
    told |= {"SCRIPTWRIGHT_PAGE_URL": "http://page", "LOCALPACH_ROOT": "/kept/here"}
    for name, value in (told | {"SCRIPTWRIGHT_OUTPUT": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    steps: list[object] = []

    def deploy() -> None:
        steps.append("deploy")
        if problem:
            raise problem

    monkeypatch.setattr(deployments, "_until", lambda who, answers: steps.extend((who, answers.__name__)))
    monkeypatch.setattr(deployments, "deploy", deploy)
    for block in (PachydermPipeline, RegistryCredentials):
        monkeypatch.setattr(block, "register_type_and_schema", partial(steps.append, block))
    if problem is not None:
        with pytest.raises(SystemExit) as ended:
            deployments.make_ready(steps.append)
        assert ended.value.code == "Error: It is broken; mend it."
    else:
        said = deployments.make_ready(steps.append)
        assert all(each in said for each in ("Everything answers.", *told.values()))
        assert (tmp_path / "index.html").exists()
    waits = ["Prefect's server", "_server_answers", "Prefect's worker", "<lambda>", "localpach", "_localpach_answers"]
    word = "All answer; making the deployments"
    assert steps == [*waits, word, PachydermPipeline, RegistryCredentials, "deploy"]
