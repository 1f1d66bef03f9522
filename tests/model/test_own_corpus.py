"""Every example of the page on one's own corpus, read as the page says that it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from model.corpus import read_splits

PAGE = Path(__file__).parents[2] / "docs" / "own-corpus.md"
_EXAMPLE = re.compile(r"^`([\w.]+)`:?[^\n]*\n\n```text\n(.*?)```\n\n(`Read [^\n]*`)$", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[tuple[str, str, str]]:
    """Name and text of each example, and what the page says that the log says of it."""
    return [(name, text, said) for name, text, said in _EXAMPLE.findall(page)]


def told(name: str, text: str, folder: Path) -> str:
    """What the log says of a file."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / name).write_text(text)
    return f"`{next(read_splits(folder, seed=1).summary.log_lines())}`"


FOUND = examples(PAGE.read_text())


@pytest.mark.parametrize(("name", "text", "said"), FOUND, ids=[name for name, _, _ in FOUND])
def test_an_example_is_read_as_the_page_says(name: str, text: str, said: str, tmp_path: Path) -> None:
    assert told(name, text, tmp_path / "example") == said


def test_every_format_has_an_example() -> None:
    assert len(FOUND) >= 9
