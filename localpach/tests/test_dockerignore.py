"""What `.dockerignore` leaves out, held against a second implementation, that of the `docker` library.

That one is not always right, and is asked only where it is. It hides a folder below a left out one from exceptions that
do not begin with its very name, as `!*/a`; it compares only so many folders above a path as a pattern has names, which is
wrong for `**` beside exceptions; it takes `..` out of the front of a pattern, `!` in a class for a negation, and a
backslash for itself; and it always takes in `Dockerfile` and `.dockerignore`, which Docker sends but does not copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from docker.utils import exclude_paths
from hypothesis import given
from hypothesis import strategies as st

from localpach.errors import Refused
from localpach.runtime.dockerignore import DockerIgnore

NAMES = ("a", "b.py", "ab", "a.b")
FOLDERS = ("", "a", "b", "a/b", "a/b/a", "b/ab")
PLAIN = st.sampled_from(("a", "b", "ab", "b.py", "a.b"))
WILD = st.sampled_from(("*", "a*", "*.py", "?", "a?b", "[ab]", "[a-c]*", "*b"))
ANY = st.lists(PLAIN | WILD | st.just("**"), min_size=1, max_size=4)
EXCEPTION = st.tuples(st.lists(PLAIN, max_size=2), PLAIN | WILD).map(lambda parts: [*parts[0], parts[1]])
EXCLUSION = st.lists(PLAIN | WILD, min_size=1, max_size=3)


def written(parts: list[str], start: str, end: str) -> str:
    return start + "/".join(parts) + end


STARTS, ENDS = st.sampled_from(("", "/", "./", " ")), st.sampled_from(("", "/", " "))
WITHOUT_EXCEPTIONS = st.lists(st.builds(written, ANY, STARTS, ENDS), max_size=4)
WITH_EXCEPTIONS = st.lists(
    st.builds(written, EXCLUSION, STARTS, ENDS) | st.builds(written, EXCEPTION, st.just("!"), ENDS), max_size=5
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("context")
    for folder in FOLDERS:
        for name in NAMES:
            (root / folder).mkdir(exist_ok=True, parents=True)
            if f"{folder}/{name}".strip("/") not in FOLDERS:
                (root / folder / name).touch()
    return root


def left(context: Path, text: str) -> set[str]:
    return {str(path) for path in DockerIgnore(text).walk(context, PurePosixPath())}


@given(WITHOUT_EXCEPTIONS | WITH_EXCEPTIONS)
def test_it_is_read_as_the_docker_library_reads_it(context: Path, lines: list[str]) -> None:
    theirs = exclude_paths(str(context), [line.strip() for line in lines])
    assert left(context, "\n".join(lines)) == theirs


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        # A comment begins where the line does.
        ("# all\n*\n!a.b", {"a.b"}),
        (" #\n*", set()),
        # Exceptions reach into folders that are left out, by wildcards, too; the last pattern that matches counts.
        ("*\n!*/b.py", {"a/b.py", "b/b.py"}),
        ("*\n!**/ab", {"ab", "a/ab", "a/b/ab", "a/b/a/ab", "b/ab", "b/ab/a", "b/ab/ab", "b/ab/b.py", "b/ab/a.b"}),
        ("*\n!b\nb/a*\n!b/ab/a.b", {"b", "b/b.py", "b/ab/a.b"}),
        # A folder takes what is in it along, however deep.
        ("**/b", {"a", "ab", "a.b", "b.py", "a/a", "a/ab", "a/a.b", "a/b.py"}),
        # Nothing above the folder is ever meant; a backslash quotes; ! in a class is itself.
        ("../a", None),
        ("\\*", None),
        ("*\n!a.[!b]", {"a.b"}),
        ("*\n!a.[^!]", {"a.b"}),
        (".", None),
        ("\ufeff*", set()),
    ],
)
def test_rules_of_docker(context: Path, text: str, taken: set[str] | None) -> None:
    assert left(context, text) == (left(context, "") if taken is None else taken)


@pytest.mark.parametrize("line", ["[a", "a\\", "!", "! ", "[]"])
def test_what_is_no_pattern_is_refused(line: str) -> None:
    with pytest.raises(Refused, match=r"^\.dockerignore: "):
        DockerIgnore(line)


def test_a_folder_that_nothing_can_be_taken_from_is_not_entered(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[str] = []
    list_folder = Path.iterdir

    def note(folder: Path) -> Iterator[Path]:
        entered.append(folder.name)
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", note)
    assert left(context, "*\n!a/b.py") == {"a/b.py"}
    assert entered == [context.name, "a"]
