"""All that is installed is held by a hash; what each environment and the image are made of is written down."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tools import audit
from tools.locks import locks, problems

ROOT = Path(__file__).parents[1]
SUPPLY_PYTHON = ROOT / "tools" / ".venv" / "bin" / "python"
HASH = f"--hash=sha256:{'0a' * 32}"
DIGEST = f"@sha256:{'0a' * 32}"
LOCK = f"one==1.0 ; sys_platform == 'linux' \\\n    {HASH} \\\n    {HASH}\n    # via two\n"
TREE = {
    "requirements.txt": LOCK,
    "Makefile": "INSTALL := pip install --quiet\n\nenv:\n\t$(INSTALL) --require-hashes -r requirements.txt\n"
    "\t$(INSTALL) --no-deps --no-build-isolation --editable .\n\nlock:\n\tuv pip compile a.in -o requirements.txt\n",
    "Dockerfile": f"ARG BASE=python:3{DIGEST}\nFROM ${{BASE}}\nRUN pip install --require-hashes -r /code/requirements.txt\n",
    ".ci/run": "# curl is not used\napt-get install --yes chromium\nmake test\n",
}
# Each of these, in place of what stands there, is one problem.
BREACHES = [
    ("requirements.txt", "==1.0", ">=1.0", "is no version with the SHA-256"),
    ("requirements.txt", "==1.0", "==1.*", "is no version with the SHA-256"),
    ("requirements.txt", f" \\\n    {HASH} \\\n    {HASH}", "", "is no version with the SHA-256"),
    ("requirements.txt", HASH, "--hash=md5:0a0a", "is no version with the SHA-256"),
    ("requirements.txt", "one==", "--extra-index-url https://index.example/simple\none==", "is no version"),
    ("requirements.txt", "one==1.0 ;", "one @ https://index.example/one.whl ;", "is no version with the SHA-256"),
    ("Makefile", "-o requirements.txt", "-o other.txt", "`make lock` does not renew it"),
    ("Makefile", " --require-hashes", "", "installs what no hash holds"),
    ("Makefile", " --no-deps", "", "installs what no hash holds"),
    ("Makefile", " --no-build-isolation", "", "installs what no hash holds"),
    ("Makefile", "-r requirements.txt", "-r other.txt", "which is no lock of the project"),
    ("Dockerfile", DIGEST, "", "the base image python:3 has no digest"),
    ("Dockerfile", " --require-hashes", "", "installs what no hash holds"),
    ("Dockerfile", "FROM ${BASE}", "FROM other", "the base image other has no digest"),
    ("Dockerfile", "pip install --require-hashes", "pip3 --quiet install", "installs what no hash holds"),
    ("Dockerfile", "--require-hashes", "--require-hashes --index-url https://index.example", "takes from elsewhere"),
    (".ci/run", "make test", "npx something", "takes from elsewhere"),
    (".ci/run", "make test", "curl -O https://index.example/ruff", "takes from elsewhere"),
    (".ci/run", "make test", "git clone https://index.example/ruff", "takes from elsewhere"),
    (".ci/run", "make test", "uv tool install ruff", "takes from elsewhere"),
    (".ci/run", "make test", "python -m pip install ruff", "installs what no hash holds"),
]


def tree(folder: Path) -> Path:
    for name, text in TREE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_project_keeps_its_rules(tmp_path: Path) -> None:
    assert len(locks(ROOT)) == 11
    assert not list(problems(ROOT))
    assert not list(problems(tree(tmp_path)))


@pytest.mark.parametrize(("name", "before", "after", "problem"), BREACHES)
def test_each_breach_is_one_problem(name: str, before: str, after: str, problem: str, tmp_path: Path) -> None:
    path = tree(tmp_path) / name
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    (found,) = problems(tmp_path)
    assert found.startswith(f"{'requirements.txt' if 'renew' in problem else name}: ")
    assert problem in found


def answer(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


GOOD = {"name": "one", "version": "1.0", "vulns": []}
UNKNOWN = {"name": "one", "skip_reason": "Dependency not found"}
BAD = {**GOOD, "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.1", "2.0"]}]}


@pytest.mark.parametrize(
    ("said", "known", "expected"),
    [
        (answer(GOOD), "", "1 locks, 0 problems\n"),
        (answer(GOOD, UNKNOWN), "", "1 locks, 0 problems\n"),
        (answer(BAD), "", "requirements.txt: one 1.0 has PYSEC-1; without it: 1.1 or 2.0.\n1 locks, 1 problems\n"),
        (answer(BAD), '[CVE-1]\npackage = "one 1.0"', "1 locks, 0 problems\n"),
        (answer(BAD), '[PYSEC-1]\npackage = "one 1.0"', "1 locks, 0 problems\n"),
        (answer(UNKNOWN), "", "they were not looked up.\n1 locks, 0 problems\n"),
        ("", "", "they were not looked up.\n1 locks, 0 problems\n"),
        (answer(GOOD), '[CVE-1]\npackage = "one 0.9"', "no longer installed: take it out.\n1 locks, 1 problems\n"),
    ],
)
def test_what_the_index_knows_is_a_problem_unless_it_is_written_down(
    said: str,
    known: str,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "known.toml").write_text(known)
    (tmp_path / "pip-audit").write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 1\n")
    (tmp_path / "pip-audit").chmod(0o755)
    monkeypatch.setattr(audit, "ROOT", tree(tmp_path))
    monkeypatch.setattr(audit, "KNOWN", tmp_path / "known.toml")
    monkeypatch.setattr(audit, "PIP_AUDIT", tmp_path / "pip-audit")
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert capsys.readouterr().out.endswith(expected)
    assert ended.value.code == ("1 problems" in expected)


def locked_here(*names: str) -> dict[str, set[str]]:
    """Hashes by `name==version` of what locks install on this machine."""
    found = {}
    for name in names:
        for entry in (ROOT / name).read_text().replace(" \\\n", " ").splitlines():
            if entry.strip() and not entry.lstrip().startswith("#"):
                text, *hashes = entry.split(" --hash=sha256:")
                wanted = Requirement(text)
                if wanted.marker is None or wanted.marker.evaluate():
                    found[f"{wanted.name}{wanted.specifier}"] = {each.strip() for each in hashes}
    return found


def components(bom: dict[str, Any]) -> dict[str, set[str]]:
    """Hashes of the packages that a document names."""
    found = {}
    for part in bom["components"]:
        if part.get("purl", "").startswith("pkg:pypi/"):
            name = part["name"].lower().replace("_", "-").replace(".", "-")
            places = part["externalReferences"]
            found[f"{name}=={part['version']}"] = {
                each["content"] for place in places for each in place.get("hashes", ())
            }
    return found


@pytest.mark.slow
def test_the_documents_say_what_the_locks_install(tmp_path: Path) -> None:
    if not SUPPLY_PYTHON.exists() and not os.environ.get("CI"):
        pytest.skip("needs the environment that `make audit` makes")
    subprocess.run([sys.executable, "-m", "tools.sbom", tmp_path], cwd=ROOT, check=True)
    boms = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    validate = (
        "import sys, cyclonedx.schema as s, cyclonedx.validation.json as v\n"
        "print([v.JsonStrictValidator(s.SchemaVersion.V1_6).validate_str(open(f).read()) for f in sys.argv[1:]])"
    )
    valid = subprocess.run(
        [SUPPLY_PYTHON, "-c", validate, *tmp_path.iterdir()], capture_output=True, text=True, check=True
    )
    assert valid.stdout == "[None, None, None, None]\n"
    assert components(boms["flows"]) == locked_here("requirements.txt", "requirements-build.txt")
    assert components(boms["localpach"]) == locked_here(
        "localpach/requirements.txt", "localpach/requirements-build.txt"
    )
    assert components(boms["model"]) == components(boms["image"]) == locked_here("model/requirements.txt")
    for bom in boms.values():
        parts = [part["bom-ref"] for part in (*bom["components"], bom["metadata"]["component"])]
        assert sorted(parts) == sorted(each["ref"] for each in bom["dependencies"])
        needed = {ref for each in bom["dependencies"] for ref in each.get("dependsOn", ())}
        assert needed == set(parts) - {bom["metadata"]["component"]["bom-ref"]}
    files = {
        part["name"]: part["hashes"][0]["content"] for part in boms["image"]["components"] if part["type"] == "file"
    }
    assert {"/code/model/train.py", "/code/model/readers/film.py", "/code/model/requirements.txt"} <= set(files)
    for name, digest in files.items():
        assert digest == hashlib.sha256((ROOT / name.removeprefix("/code/")).read_bytes()).hexdigest()


@pytest.mark.slow
def test_the_same_locks_give_the_same_bytes(tmp_path: Path) -> None:
    if not SUPPLY_PYTHON.exists() and not os.environ.get("CI"):
        pytest.skip("needs the environment that `make audit` makes")
    from tools.sbom import environment_bom  # noqa: PLC0415

    assert json.dumps(environment_bom("localpach")) == json.dumps(environment_bom("localpach"))
