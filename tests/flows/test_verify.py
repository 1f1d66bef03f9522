"""Results are made again from their provenance, and what differs is named."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.train import train
from prefect_pachyderm.credentials import connect
from tasks import project, verify
from tasks.report.provenance import PROVENANCE
from tasks.report.results import Results
from tests import corpora
from tests.flows import cheap

pytestmark = pytest.mark.slow
Verify = Callable[[Path], tuple[bool, str]]


@pytest.fixture(scope="module")
def made(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A run whose jobs are shell scripts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "SPECS", cheap.specs(tmp_path_factory.mktemp("specs"), seconds=0))
        return train(source=str(cheap.scripts(embedded / "scripts.tar.gz", 1, 50.0)), tokens=200)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """`make verify` on a folder of results: whether all is well, and what it says."""

    def verify_folder(folder: Path) -> tuple[bool, str]:
        monkeypatch.setattr(sys, "argv", ["verify", str(folder)])
        code = verify.main()
        said = capsys.readouterr()
        return not code, said.out + said.err

    return verify_folder


def copy(made: Results, folder: Path, change: Callable[[dict[str, Any]], None] = lambda statement: None) -> Path:
    """A copy of the results whose statement was changed."""
    for file in made.directory.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    statement = json.loads((folder / PROVENANCE).read_text())
    change(statement)
    (folder / PROVENANCE).write_text(json.dumps(statement))
    return folder


def test_the_statement_is_of_what_was_made(embedded: Path, made: Results) -> None:
    statement = json.loads((made.directory / PROVENANCE).read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    assert set(subjects) == {
        *("GoT_train/model-results", "GoT_train/metrics.json"),
        *("GoT_generate/new_script.txt", "GoT_generate/script_facts.json"),
    }
    for name, digest in subjects.items():
        assert hashlib.sha256((made.directory / Path(name).name).read_bytes()).hexdigest() == digest
    build = statement["predicate"]["buildDefinition"]
    assert [job["pipeline"] for job in build["externalParameters"]["jobs"]] == ["GoT_train", "GoT_generate"]
    commit, archive, image = build["resolvedDependencies"]
    client = connect()
    files = sorted(info.file.path for info in client.walk_file(("GoT_scripts", "master"), "/") if info.file.path != "/")
    contents = {path.removeprefix("/"): client.get_file(("GoT_scripts", "master"), path).read() for path in files}
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {path}\n" for path, content in contents.items())
    assert commit["digest"] == {"dirHash": hashlib.sha256(lines.encode()).hexdigest()}
    assert commit["uri"] == f"pachyderm:GoT_scripts@{client.inspect_branch('GoT_scripts', 'master').head.id}"
    assert archive["digest"] == {"sha256": hashlib.sha256((embedded / "scripts.tar.gz").read_bytes()).hexdigest()}
    assert image["uri"].startswith("tensor_flow_rnn_got:")


def test_the_same_comes_out_and_nothing_is_left(made: Results, run: Verify) -> None:
    client = connect()

    def there() -> list[str]:
        branches = [f"{info.repo.name}@{branch.name}" for info in client.list_repo() for branch in info.branches]
        return [*branches, *(info.pipeline.name for info in client.list_pipeline())]

    before = there()
    well, said = run(made.directory)
    assert well, said
    assert "All is as it was made." in said
    assert there() == before


def other_command(statement: dict[str, Any]) -> None:
    transform = statement["predicate"]["buildDefinition"]["externalParameters"]["jobs"][1]["transform"]
    transform["cmd"][3] = transform["cmd"][3].replace("cold", "warm")


def more_files(statement: dict[str, Any]) -> None:
    transform = statement["predicate"]["buildDefinition"]["externalParameters"]["jobs"][1]["transform"]
    transform["cmd"][3] += "\nmv /pfs/out/script_facts.json /pfs/out/facts.json"


def failing(statement: dict[str, Any]) -> None:
    statement["predicate"]["buildDefinition"]["externalParameters"]["jobs"][0]["transform"]["cmd"][3] = "exit 3"


def other_files(statement: dict[str, Any]) -> None:
    statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["dirHash"] = "0" * 64


def other_script(statement: dict[str, Any]) -> None:
    (script,) = (each for each in statement["subject"] if each["name"] == "GoT_generate/new_script.txt")
    script["digest"]["sha256"] = hashlib.sha256(b"ANNA\nAnother river.\n").hexdigest()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            other_command,
            ["GoT_generate/new_script.txt differs from byte 10 on: b'cold river.\\n' became b'warm river.\\n'."],
        ),
        (
            more_files,
            [
                "GoT_generate/facts.json was not made the first time.",
                "GoT_generate/script_facts.json was not made again.",
            ],
        ),
        (failing, ["GoT_train did not run again in the image tensor_flow_rnn_got:"]),
        (other_files, ["is not there with the files that it had (dirHash 000"]),
        (
            other_script,
            [
                "new_script.txt differs, and the first one is not there",
                "new_script.txt is not the GoT_generate/new_script.txt",
            ],
        ),
    ],
)
def test_what_is_otherwise_is_told(
    change: Callable[[dict[str, Any]], None], told: list[str], made: Results, run: Verify, tmp_path: Path
) -> None:
    well, said = run(copy(made, tmp_path, change))
    assert not well
    assert all(each in said for each in told), said
    assert not [info for info in connect().list_pipeline() if "verify" in info.pipeline.name]


def test_a_changed_file_is_named(made: Results, run: Verify, tmp_path: Path) -> None:
    folder = copy(made, tmp_path)
    (folder / "metrics.json").write_text((folder / "metrics.json").read_text().replace("50.0", "10.0"))
    well, said = run(folder)
    assert not well
    assert (
        said.splitlines()[-1]
        == f"{folder}/metrics.json is not the GoT_train/metrics.json that was made: it has been changed since."
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "name a folder of results"),
        ("{", "is no provenance any more"),
        ('{"predicate": 1}', "is no provenance any more"),
        ('{"predicate": {"buildDefinition": {"buildType": "urn:other"}}}', "is the provenance of something else"),
    ],
)
def test_a_statement_that_is_none(content: str | None, told: str, run: Verify, tmp_path: Path) -> None:
    if content:
        (tmp_path / PROVENANCE).write_text(content)
    well, said = run(tmp_path)
    assert not well
    assert told in said
    assert len(said.splitlines()) == 1


def test_an_interrupt_leaves_nothing(made: Results, run: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verify, "_compare", interrupted)
    well, said = run(made.directory)
    assert not well
    assert said.endswith("\nInterrupted; what ran again is deleted.\n")
    assert not [info for info in connect().list_pipeline() if "verify" in info.pipeline.name]


@pytest.mark.timeout(900)
def test_a_trained_model_comes_out_again(embedded: Path, run: Verify) -> None:
    results = train(source=str(corpora.plays(embedded / "plays.tar.gz")), tokens=200)
    subjects = [each["name"] for each in json.loads((results.directory / PROVENANCE).read_text())["subject"]]
    assert [name for name in subjects if "model.ckpt" in name]
    well, said = run(results.directory)
    assert well, said
