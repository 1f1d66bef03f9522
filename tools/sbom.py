"""Writes what each environment and the image are made of, as CycloneDX documents: `make sbom`.

An environment is made anew from its locks: what it has beyond them is not in there. cyclonedx-py reads packages, licences and
who needs whom from it, and the hashes from the locks. The same locks give the same bytes, whenever and wherever they are written
on the same platform and Python.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tasks.image.docker_images import context_files
from tasks.image.image import IMAGE, build_input_hash

ROOT = Path(__file__).parents[1]
CYCLONEDX = ROOT / "tools" / ".venv" / "bin" / "cyclonedx-py"
ENVIRONMENTS = {
    "flows": ("requirements.txt", "requirements-build.txt"),
    "localpach": ("localpach/requirements.txt", "localpach/requirements-build.txt"),
    "model": ("model/requirements.txt",),
}
Bom = dict[str, Any]


def environment_bom(name: str) -> Bom:
    """What an environment's locks install here."""
    with tempfile.TemporaryDirectory() as folder:
        _run("uv", "venv", "--quiet", "--python", sys.executable, folder)
        locked = [word for lock in ENVIRONMENTS[name] for word in ("-r", lock)]
        _run("uv", "pip", "install", "--quiet", "--python", folder, "--require-hashes", *locked)
        bom = _cyclonedx("environment", folder)
    files = {}
    for lock in ENVIRONMENTS[name]:
        for component in _cyclonedx("requirements", lock)["components"]:
            files[_pin(component)] = component["externalReferences"]
    for component in bom["components"]:
        component.setdefault("externalReferences", []).extend(files[_pin(component)])
    return _of(bom, {"type": "application", "name": name, "version": _version(name)})


def image_bom(model: Bom) -> Bom:
    """The image: its base, the model's environment and the files of the model."""
    text = (ROOT / "Dockerfile").read_text()
    name, tag, digest = re.findall(r"^ARG BASE_IMAGE=(.+):(.+)@sha256:(.+)$", text, re.MULTILINE)[0]
    base = {"type": "container", "name": name, "version": tag, "purl": f"pkg:docker/{name}@sha256%3A{digest}?tag={tag}"}
    parts = [{**base, "bom-ref": "base-image", "hashes": [_sha256(digest)]}]
    for file in (name for name in context_files(ROOT) if name.startswith("model/")):
        content = hashlib.sha256((ROOT / file).read_bytes()).hexdigest()
        parts.append({"type": "file", "name": f"/code/{file}", "bom-ref": file, "hashes": [_sha256(content)]})
    bom = {**model, "components": [*model["components"], *parts], "dependencies": model["dependencies"][1:]}
    bom["dependencies"] += [{"ref": part["bom-ref"]} for part in parts]
    return _of(bom, {"type": "container", "name": IMAGE, "version": model["metadata"]["component"]["version"]})


def _of(bom: Bom, whole: dict[str, str]) -> Bom:
    """Makes it the document of a whole, which needs directly what nothing else in there needs."""
    needed = {ref for each in bom["dependencies"] for ref in each.get("dependsOn", ())}
    direct = sorted({each["ref"] for each in bom["dependencies"]} - needed)
    whole = {**whole, "bom-ref": whole["name"]}
    dependencies = [{"ref": whole["name"], "dependsOn": direct}, *bom["dependencies"]]
    return {**bom, "metadata": {**bom["metadata"], "component": whole}, "dependencies": dependencies}


def _pin(component: dict[str, str]) -> str:
    return f"{re.sub(r'[-_.]+', '-', component['name']).lower()}=={component['version']}"


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _version(name: str) -> str:
    if name == "model":
        return build_input_hash()
    project = ROOT / ("localpach" if name == "localpach" else "") / "pyproject.toml"
    return str(tomllib.loads(project.read_text())["project"]["version"])


def _cyclonedx(kind: str, source: str) -> Bom:
    bom: Bom = json.loads(_run(str(CYCLONEDX), kind, "--output-reproducible", "--no-validate", source))
    return bom


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Writes `NAME.cdx.json` of all into a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    boms = {name: environment_bom(name) for name in ENVIRONMENTS}
    boms["image"] = image_bom(boms["model"])
    for name, bom in boms.items():
        path = folder / f"{name}.cdx.json"
        path.write_text(json.dumps(bom, indent=2, ensure_ascii=False) + "\n")
        print(f"{path}: {len(bom['components'])} components")


if __name__ == "__main__":
    main()
