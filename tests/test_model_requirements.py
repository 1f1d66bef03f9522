"""The model is tested with what its image installs."""

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


def test_the_tests_have_the_images_versions() -> None:
    of_image, of_tests = (locked(ROOT / "model" / name) for name in ("requirements.txt", "requirements-dev.txt"))
    assert any(name.startswith("tensorflow-cpu==") for name in of_image)
    # Where a marker is wider, since a test's package needs the same, the version and its hashes are no others.
    versions = {name.split(" ;")[0]: hashes for name, hashes in of_tests.items()}
    assert {name: versions.get(name.split(" ;")[0]) for name in of_image} == of_image
