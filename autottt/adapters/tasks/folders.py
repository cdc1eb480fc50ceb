"""The files of a folder of tasks: all of them, or an error, and none left out unseen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from autottt.errors import TaskError

ENDING = ".json"


def unreadable(path: object, error: OSError) -> TaskError:
    """What to raise for a file or folder that the system refuses."""
    return TaskError(f"{path} cannot be read: {error.strerror}; check it and its permissions")


def json_files(top: Path, *, but: Path | None = None) -> list[Path]:
    """Every JSON file below a folder, also behind links to folders, in the order of their paths.

    What lies in the folder `but` is left out, unless `top` lies in it too. A folder that can be
    reached in several ways is looked into once, by its own path where that is below `top`. Raises
    `TaskError` for a folder that cannot be read, and for a link to a file that is not there.
    """
    try:
        return sorted(_found(top, _outside(top, but)))
    except OSError as error:
        raise unreadable(error.filename or top, error) from error


def _outside(top: Path, but: Path | None) -> Path | None:
    if but is None:
        return None
    outside = Path(os.path.realpath(but))
    return None if Path(os.path.realpath(top)).is_relative_to(outside) else outside


def _found(top: Path, but: Path | None) -> list[Path]:
    found, seen = [], set[str]()
    waiting = [str(top)]
    while waiting:
        for folder, below, names in os.walk(waiting.pop(0), onerror=_refuse):
            real = os.path.realpath(folder)
            if real in seen or (but is not None and Path(real).is_relative_to(but)):
                below.clear()
                continue
            seen.add(real)
            # after all that is there without links, which may lead there too, or back to above
            waiting += [str(path) for path in _paths(folder, below) if path.is_symlink()]
            found += [path for path in _paths(folder, names) if _is_task(path)]
    return found


def _paths(folder: str, names: list[str]) -> list[Path]:
    return [Path(folder, name) for name in sorted(names)]


def _is_task(path: Path) -> bool:
    if not path.name.lower().endswith(ENDING):
        return False
    if path.is_symlink() and not path.exists():
        raise TaskError(f"{path} is a link to a file that is not there; mend it, or remove it")
    return path.is_file()


def _refuse(error: OSError) -> NoReturn:
    raise error
