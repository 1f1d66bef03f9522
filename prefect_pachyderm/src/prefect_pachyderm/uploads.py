"""A task that commits files: those of a folder, those that match a pattern, or bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from prefect import get_run_logger, task

from prefect_pachyderm.calls import LIVE, PachydermError, PrefectPachydermError, readable
from prefect_pachyderm.commits import Content, commit_files, ensure_repo, has_exactly, head_of
from prefect_pachyderm.credentials import PachydermCredentials

WILDCARD = re.compile(r"[*?\[]")


@task(name="commit", task_run_name="commit to {repo}@{branch}", **LIVE)
def commit(
    repo: str,
    files: Path | str | Mapping[str, Content],
    branch: str = "master",
    description: str = "",
    credentials: PachydermCredentials | None = None,
) -> str:
    """Makes these files the whole content of a branch, in one commit; returns its id.

    Where they are that already, no commit is made, and it is the id of the branch's head. A commit that fails on the way is
    dropped. A repo that is not there is made.

    Args:
        repo: Where to.
        files: A file; a folder, with all files below it; a pattern as `data/**/*.csv`, whose files keep their paths below what comes
            before the first wildcard; or paths in the repo with what they are to hold, bytes or the path of a file.
        branch: Where to.
        description: What the commit says of itself.
        credentials: The Pachyderm; by default the one that the environment names.

    Raises:
        PrefectPachydermError: there are no such files, one can't be read, or is a link that leads out of the folder.
        PachydermError: somebody else is writing a commit there, or nobody answers.

    Example:
        Commit a folder, and go on with what is made of it:
        ```python
        from pathlib import Path

        from prefect import flow
        from prefect_pachyderm import PachydermPipeline, commit


        @flow
        def count_what_is_new():
            commit("texts", Path("texts"))
            PachydermPipeline.load("BLOCK_NAME").trigger().wait_for_completion()
        ```
    """
    found = dict(_given(files) if isinstance(files, Mapping) else _below(str(files)))
    if not found:
        raise PrefectPachydermError(f"There is nothing to commit to {repo}@{branch}: {files} names no file.")
    _check(found)
    client = (credentials or PachydermCredentials()).get_client()
    try:
        with readable(f"Committing {len(found)} files to {repo}@{branch}"):
            ensure_repo(client, repo)
            head = head_of(client, repo, branch)
            if head and not head.finishing.seconds and not head.finished.seconds:
                raise PachydermError(
                    f"Somebody is writing the commit {repo}@{head.commit.id}; finish it, or drop it, and run again."
                )
            if head and has_exactly(client, head, found):
                get_run_logger().info("%s@%s has these %d files already: no commit", repo, head.commit.id, len(found))
                return str(head.commit.id)
            commit_id = commit_files(client, repo, branch, found, description)
    except OSError as error:
        raise PrefectPachydermError(f"{error.filename or 'A file'} can't be committed: {error.strerror}.") from error
    get_run_logger().info("Committed %d files as %s@%s", len(found), repo, commit_id)
    return commit_id


def _check(found: Mapping[str, Content]) -> None:
    """Refuses what can't be sent: gRPC would log a traceback, and raise an error that names nothing."""
    for path, content in found.items():
        if not isinstance(content, (bytes, Path)):
            raise PrefectPachydermError(
                f"The content of {path} can't be committed: it is of the type {type(content).__name__}; give bytes or a Path."
            )
        # Of a file whose name is in another encoding.
        if re.search("[\ud800-\udfff]", path):
            raise PrefectPachydermError(f"The file {path!r} can't be committed: its name is no UTF-8; rename it.")


def _given(files: Mapping[str, Content]) -> Iterator[tuple[str, Content]]:
    for path, content in files.items():
        yield path.removeprefix("/"), content


def _below(files: str) -> Iterator[tuple[str, Content]]:
    """The files that a file's path, a folder or a pattern names, by their paths below the folder that `_split` gives."""
    folder, pattern = _split(files)
    try:
        paths = sorted(folder.glob(pattern))
    except ValueError as error:
        raise PrefectPachydermError(f"{files} can't be committed: {error}.") from error
    for path in paths:
        if path.is_symlink() and not path.is_file():
            raise PrefectPachydermError(f"{path} is a link to no file; put in its place what it stands for.")
        if path.is_file():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise PrefectPachydermError(f"{path} is a link that leads out of {folder}; put the file there itself.")
            yield path.relative_to(folder).as_posix(), path


def _split(files: str) -> tuple[Path, str]:
    """A folder, the one before the first wildcard or the file's own, and the pattern below it."""
    if Path(files).is_dir():
        return Path(files), "**/*"
    parts = Path(files).parts
    plain = next((number for number, part in enumerate(parts) if WILDCARD.search(part)), len(parts) - 1)
    return Path(*parts[:plain]), "/".join(parts[plain:])
