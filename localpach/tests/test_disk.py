"""Deleting on disk, beside others who list the same folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localpach.disk import remove_tree


@pytest.mark.parametrize("name", ["spout-x", ".spout-x", "s" * 255], ids=["plain", "hidden", "long"])
def test_the_parts_of_a_folder_on_its_way_out_are_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name / "pfs" / "out" / "deep").mkdir(parents=True)
    (tmp_path / name / "file").touch()
    seen: set[str] = set()
    rmdir = os.rmdir

    def look(path: Path, **rest: int) -> None:
        seen.update(each.name for each in tmp_path.iterdir())
        rmdir(path, **rest)

    monkeypatch.setattr(os, "rmdir", look)
    remove_tree(tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert len(seen) == 4
    assert all(each.lstrip(".").startswith(name.lstrip(".")[:60]) for each in seen)
