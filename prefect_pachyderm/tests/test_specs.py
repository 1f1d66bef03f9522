"""Specifications in files: each kind gives the same pipeline, and what is no specification is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from python_pachyderm import Client

from prefect_pachyderm import PachydermCredentials, PachydermError, PachydermPipeline
from server import Server

SPEC = {
    "pipeline": {"name": "copy"},
    "input": {"pfs": {"repo": "in", "glob": "/"}},
    "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/a /pfs/out/"]},
}
AS_JSON = (
    '{"pipeline": {"name": "copy"}, "input": {"pfs": {"repo": "in", "glob": "/"}},'
    ' "transform": {"image": "host", "cmd": ["sh"], "stdin": ["cp /pfs/in/a /pfs/out/"]}}'
)
AS_YAML = """
pipeline: {name: copy}
input:
  pfs: {repo: in, glob: /}
transform:
  image: host
  cmd: [sh]
  stdin:
  - cp /pfs/in/a /pfs/out/
"""
AS_JSONNET = "function(repo, name='copy') " + AS_JSON.replace('"in"', "repo").replace('"copy"', "name")


@pytest.fixture
def credentials(server: Server) -> PachydermCredentials:
    return PachydermCredentials(address=server.address, auth_token=SecretStr(server.token))


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(("name", "text"), [("a.json", AS_JSON), ("a.yaml", AS_YAML), ("a.yml", AS_YAML)])
def test_a_file_gives_its_specification_and_asks_nobody(name: str, text: str, tmp_path: Path) -> None:
    assert PachydermPipeline.from_file(written(tmp_path, name, text)).spec == SPEC
    assert PachydermPipeline.from_file(str(tmp_path / name)).spec == SPEC


def test_a_template_is_rendered_by_the_pachyderm_that_runs_the_pipeline(
    client: Client, credentials: PachydermCredentials, tmp_path: Path
) -> None:
    pipeline = PachydermPipeline.from_file(written(tmp_path, "a.jsonnet", AS_JSONNET), {"repo": "in"}, credentials)
    assert pipeline.spec == SPEC
    job = pipeline.trigger()
    job.wait_for_completion()
    assert job.fetch_result().read("/a") == b"one"


NO_SPECIFICATION = [
    ("a.txt", AS_JSON, "of no known kind; name it"),
    ("a.json", "{", "can't be read: Expecting"),
    ("a.json", "[" * 100_000, "can't be read: maximum recursion depth"),
    ("a.json", f"{AS_JSON}\n{AS_JSON}", "can't be read: Extra data"),
    ("a.json", f"[{AS_JSON}]", "holds no specification, or several"),
    ("a.json", "null", "holds no specification, or several"),
    ("a.json", "{}", "gives the pipeline no name"),
    ("a.json", '{"pipeline": {"name": "x"}, "cmd": 1}', 'has no field named "cmd"'),
    ("a.json", '{"pipeline": {"name": 3}}', "specification is not usable"),
    ("a.yaml", "a: b: c", "can't be read: mapping values"),
    ("a.yaml", f"{AS_YAML}---{AS_YAML}", "can't be read: expected a single document"),
    ("a.yaml", "- a", "holds no specification, or several"),
    ("a.yaml", "!!python/object/apply:os.getcwd []", "can't be read: could not determine a constructor"),
    ("a.yaml", "pipeline: {name: x}\ndescription: 2026-01-01", "specification is not usable"),
]


@pytest.mark.parametrize(("name", "text", "said"), NO_SPECIFICATION)
def test_what_is_no_specification_is_one_sentence(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(PachydermError) as caught:
        PachydermPipeline.from_file(path)
    message = str(caught.value)
    assert str(path) in message
    assert said in message
    assert "\n" not in message
    assert message.endswith(".")
    assert not message.endswith("..")


def test_what_can_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PachydermError, match=r"none\.json can't be read: No such file or directory\.$"):
        PachydermPipeline.from_file(tmp_path / "none.json")
    (tmp_path / "a.json").write_bytes(b"\xff")
    with pytest.raises(PachydermError, match=r"a\.json can't be read: 'utf-8' codec"):
        PachydermPipeline.from_file(tmp_path / "a.json")


def test_only_a_template_takes_arguments(tmp_path: Path) -> None:
    with pytest.raises(PachydermError, match="takes no arguments"):
        PachydermPipeline.from_file(written(tmp_path, "a.json", AS_JSON), {"repo": "in"})


@pytest.mark.parametrize(
    ("text", "said"), [(AS_JSONNET, "repo"), ("function(", "failed"), ("function(repo='') [{}, {}]", "or several")]
)
def test_a_template_that_gives_no_specification_is_one_sentence(
    text: str, said: str, client: Client, credentials: PachydermCredentials, tmp_path: Path
) -> None:
    path = written(tmp_path, "a.jsonnet", text)
    with pytest.raises(PachydermError) as caught:
        PachydermPipeline.from_file(path, credentials=credentials)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
