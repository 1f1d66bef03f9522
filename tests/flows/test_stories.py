"""What each flow does in which order, told by its steps: each notes how it was called and gives what a step would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from prefect import Flow

from flows import docker_build, follow, input_data, parameters, rerun, retrain, teardown, train
from prefect_pachyderm.waits import stop_jobs
from tasks.corpus.corpus import Tarball
from tasks.gate import Verdict
from tasks.project import EVALUATE, GENERATE, TRAIN
from tasks.report.results import Results

TARBALL = Tarball(Path("/s.tar.gz"), "5" * 64, "file:///s.tar.gz")
SCRIPTS = {"a.txt": Path("/a.txt")}
JOBS = {"GoT_train": "1" * 32, "GoT_generate": "2" * 32}
RESULTS = Results(JOBS, {"test": 90.5}, "ANNA\nHello.", Path("/output/1"), [])
COMMIT = "c" * 32


class Story:
    """The steps that were taken."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.steps: list[Any] = []

    def of(self, module: ModuleType, **answers: Any) -> None:
        """Puts a step in place of each of these functions of a flow's module; a list has its answers in turn."""
        for name, answer in answers.items():
            self._patch.setattr(module, name, self._step(name, answer))

    def _step(self, name: str, answer: Any) -> Any:
        def step(*given: Any, **named: Any) -> Any:
            self.steps.append((name, *given, *([named] if named else [])))
            return answer.pop(0) if isinstance(answer, list) else answer

        return step

    @contextmanager
    def during(self, name: str, value: object = None) -> Iterator[Any]:
        """A step that lasts."""
        yield value
        self.steps.append(f"{name} is over")


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    story = Story(monkeypatch)
    start = {"find_pachyderm": None, "download": TARBALL, "extract": SCRIPTS}
    image = {"choose_builder": "builder", "build_image": "image:1"}
    story.of(train, **start, **image, turn=story.during("turn"), commit_scripts=COMMIT, create_pipelines=JOBS)
    progress = story.during("progress", SimpleNamespace(read="read"))
    story.of(train, name_run=None, Progress=progress, wait_for_job=None, fetch_results=RESULTS, report="a summary")
    story.of(retrain, **start, **image, train=RESULTS, name_run=None, wait_for_job=None, note=None, write_index=None)
    story.of(rerun, teardown=None, train=RESULTS)
    story.of(input_data, **start, turn=story.during("turn"), commit_scripts=COMMIT, name_run=None)
    return story


def begun(sha256: str | None = None, members: str | None = None) -> list[Any]:
    """How a run begins."""
    builder = [("find_pachyderm",), ("choose_builder",), ("download", "/s.tar.gz", sha256)]
    return [*builder, ("extract", TARBALL, members), ("build_image", "builder")]


def test_train(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"source": "/s.tar.gz", "sha256": "5" * 64, "members": "*.txt", "timeout_minutes": 2}
    run = {"model": "quick", "minutes": "", "image": "image:1", "seed": 3, "tokens": 700, "format": "play"}
    assert train.train.fn(model="quick", seed=3, tokens=700, format="play", **given) is RESULTS
    templates = [TRAIN.template(run), GENERATE.template(run)]
    assert story.steps == [
        *begun("5" * 64, "*.txt"),
        ("turn", templates),
        ("commit_scripts", SCRIPTS, "file:///s.tar.gz", "5" * 64),
        ("create_pipelines", templates),
        "turn is over",
        ("name_run", "train quick on GoT_scripts@ccccccc"),
        ("Progress", "GoT_train", "1" * 32),
        ("wait_for_job", "GoT_train", "1" * 32, 120, {"on_line": "read"}),
        "progress is over",
        ("wait_for_job", "GoT_generate", "2" * 32, 120),
        ("fetch_results", JOBS),
        ("report", "quick", RESULTS),
    ]
    assert capsys.readouterr().out == "a summary\n"


def test_train_for_some_minutes(story: Story) -> None:
    train.train.fn(source="/s.tar.gz", minutes=7.5)
    assert story.steps[:5] == begun()
    (templates,) = [step[1] for step in story.steps if step[0] == "create_pipelines"]
    assert templates[0].arguments["minutes"] == "7.5"
    assert ("name_run", "train 7.5-minute on GoT_scripts@ccccccc") in story.steps


def test_retrain_where_nothing_has_changed(story: Story) -> None:
    story.of(retrain, nothing_to_do="All is as it was.")
    state = retrain.retrain.fn(source="/s.tar.gz", tolerance=0.5)
    assert (state.type.name, state.name, state.message) == ("COMPLETED", "Skipped", "All is as it was.")
    templates = train.templates_of(parameters.TrainParameters(), "image:1")
    assert story.steps == [
        *begun(),
        ("nothing_to_do", SCRIPTS, templates, 0.5),
        ("name_run", "retrain test: nothing new"),
    ]


@pytest.mark.parametrize("released", [True, False])
def test_retrain(story: Story, released: bool) -> None:
    """Another run releases its model meanwhile: the gate is asked again, and then there is nothing to compare with."""
    verdict = Verdict(released, "So it is.", "1" * 32, None)
    story.of(retrain, nothing_to_do=None, compare=["3" * 32, None], decide=[None, verdict])
    state = retrain.retrain.fn(source="/s.tar.gz", members="*.txt", timeout_minutes=2)
    outcome = "Released" if released else "Rejected"
    assert (state.type.name, state.name, state.message) == ("COMPLETED", outcome, "So it is.")
    run = parameters.TrainParameters(source="/s.tar.gz", members="*.txt", timeout_minutes=2, sha256="5" * 64)
    evaluation = EVALUATE.template({"image": "image:1"})
    assert story.steps[6:] == [
        ("train", run.model_dump()),
        ("compare", "1" * 32, evaluation),
        ("wait_for_job", "GoT_evaluate", "3" * 32, 120),
        ("decide", "1" * 32, "3" * 32, 0.02),
        ("compare", "1" * 32, evaluation),
        ("decide", "1" * 32, None, 0.02),
        ("note", Path("/output/1"), {"released": released}),
        ("write_index", Path("/output")),
        ("name_run", f"retrain test: {outcome.lower()} GoT_train@1111111"),
    ]


@pytest.mark.parametrize(("given", "model"), [({}, {"model": "small"}), ({"minutes": 5.0}, {})])
def test_rerun(story: Story, given: dict[str, Any], model: dict[str, str]) -> None:
    assert rerun.rerun.fn(**given) is RESULTS
    others = parameters.TrainParameters(**given).model_dump(exclude={"model"})
    assert story.steps == [("teardown",), ("train", {**others, **model})]


def test_input_data(story: Story) -> None:
    assert input_data.input_data.fn(source="/s.tar.gz", members="*.txt") == COMMIT
    assert story.steps == [
        ("find_pachyderm",),
        ("download", "/s.tar.gz", None),
        ("name_run", "scripts of file:///s.tar.gz"),
        ("extract", TARBALL, "*.txt"),
        ("turn", []),
        ("commit_scripts", SCRIPTS, "file:///s.tar.gz", "5" * 64),
        "turn is over",
    ]


@pytest.mark.parametrize(("commits", "count"), [(0, 3), (1, 1), (2, 2), (9, 3)])
def test_follow(story: Story, commits: int, count: int) -> None:
    infos = iter([SimpleNamespace(commit=SimpleNamespace(id=name)) for name in "abc"])
    story.of(follow, find_pachyderm=None, new_commits=infos, report_commit=None)
    assert follow.follow.fn(commits=commits) == count
    asked = ("new_commits", "GoT_scripts", "master", "Scripts that the language model is trained on.")
    assert story.steps == [
        ("find_pachyderm",),
        asked,
        *(("report_commit", "GoT_scripts", "master", name) for name in "abc"[:count]),
    ]


@pytest.mark.parametrize(("everything", "deletion"), [(False, "delete_project"), (True, "delete_everything")])
def test_teardown(story: Story, everything: bool, deletion: str) -> None:
    story.of(teardown, delete_project=None, delete_everything=None)
    teardown.teardown.fn(everything=everything)
    assert story.steps == [(deletion,)]


def test_docker_build(story: Story) -> None:
    story.of(docker_build, choose_builder="builder", build_image="image:1")
    assert docker_build.docker_build.fn() == "image:1"
    assert story.steps == [("choose_builder",), ("build_image", "builder")]


@pytest.mark.parametrize(
    ("flow", "name", "run_name", "stops_jobs"),
    [
        (train.train, "train", "train {model}", True),
        (retrain.retrain, "retrain", "retrain {model}", True),
        (rerun.rerun, "rerun", "rerun {model}", True),
        (input_data.input_data, "input-data", "scripts", False),
        (follow.follow, "follow", "follow GoT_scripts", False),
        (teardown.teardown, "teardown", "teardown", False),
        (docker_build.docker_build, "docker-build", None, False),
    ],
)
def test_what_prefect_knows_of_a_flow(flow: Flow[..., Any], name: str, run_name: str | None, stops_jobs: bool) -> None:
    assert (flow.name, flow.flow_run_name) == (name, run_name)
    assert (flow.on_cancellation_hooks == [stop_jobs]) is stops_jobs
    # What another flow calls is kept, so that a run that is retried goes on.
    assert bool(flow.persist_result) is (flow in (train.train, rerun.rerun))
    assert bool(flow.log_prints) is (flow is train.train)
