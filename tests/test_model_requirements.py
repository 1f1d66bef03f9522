"""What the image installs is what is locked for everything else."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def locked(path: Path) -> dict[str, set[str]]:
    """Hashes by `name==version` and marker."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in path.read_text().splitlines():
        if line and line[0].isalnum():
            name = line.rstrip(" \\")
            found[name] = set()
        elif "--hash=" in line:
            found[name].add(line.strip(" \\"))
    return found


def test_the_image_has_the_locked_versions() -> None:
    everything, of_model = locked(ROOT / "requirements.txt"), locked(ROOT / "model" / "requirements.txt")
    assert any(name.startswith("tensorflow-cpu==") for name in of_model)
    assert not any(name.startswith(("prefect", "python-pachyderm")) for name in of_model)
    names = {name.split("==")[0] for name in of_model}
    wanted = {name: hashes for name, hashes in everything.items() if name.split("==")[0] in names}
    assert {name.split(" ;")[0] for name in of_model} == {name.split(" ;")[0] for name in wanted}
    hashes = {name.split(" ;")[0]: value for name, value in wanted.items()}
    assert all(value == hashes[name.split(" ;")[0]] for name, value in of_model.items())
