"""Files of a commit, laid out in a folder and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect_pachyderm.calls import PrefectPachydermError


def write_files(folder: Path, files: Mapping[str, Iterable[bytes]]) -> list[Path]:
    """Writes files (path in the repo → content) below a folder, and replaces what is there once all have come.

    Raises:
        PrefectPachydermError: a path can't be one below the folder, and nothing is written; or the folder can't be written to.
    """
    targets = [_target(folder, path, files) for path in files]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".download-") as beside:
            for number, content in enumerate(files.values()):
                with Path(beside, str(number)).open("wb") as file:
                    file.writelines(content)
            for number, target in enumerate(targets):
                target.parent.mkdir(parents=True, exist_ok=True)
                Path(beside, str(number)).replace(target)
    except OSError as error:
        raise PrefectPachydermError(
            f"Downloading to {folder} failed: {error.strerror}; make room there, or name another folder."
        ) from error
    return targets


def _target(folder: Path, path: str, paths: Iterable[str]) -> Path:
    """Where a file goes."""
    target = folder / path.removeprefix("/")
    reason = _what_refuses(folder.resolve(), path, paths)
    if reason:
        raise PrefectPachydermError(f"{path!r} can't be a file in {folder}: {reason}. Nothing was written.")
    return target


def _what_refuses(folder: Path, path: str, paths: Iterable[str]) -> str | None:
    names = path.removeprefix("/").split("/")
    if {"", ".", ".."}.intersection(names):
        return "it is no path below a folder"
    if any("/" + "/".join(names[:count]) in paths for count in range(1, len(names))):
        return "another file's path is a folder of it"
    target = folder.joinpath(*names)
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    for place in (*(there / name for name in names), target):
        try:
            place.lstat()
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            return str(getattr(error, "strerror", error))
    if not target.parent.resolve().is_relative_to(folder):
        return "a link there leads out of the folder"
    if target.is_dir() and not target.is_symlink():
        return "a folder of that name is there"
    return None
