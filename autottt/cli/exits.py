"""How a command ends: errors as one line on stderr, and the exit code that each kind has.

What is not an `AutotttError`, an interrupt or a failure of the operating system is a bug, and
keeps its traceback.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec

import typer

from autottt.adapters.tasks.printable import printable
from autottt.errors import AutotttError, InputError

P = ParamSpec("P")
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
MAX_SEED = 2**32 - 1
FORCED = "with --strategy, which leaves nothing to decide"


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command, with its errors turned into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:
            raise  # typer ends quietly when the reader of stdout is gone
        except InputError as error:
            say_error(error)
            raise typer.Exit(BAD_INPUT) from error
        except (AutotttError, OSError) as error:
            say_error(error)
            raise typer.Exit(FAILED) from error
        except KeyboardInterrupt as interrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from interrupt

    return run


def say_error(error: Exception, *, place: str = "") -> None:
    """One line on stderr, with the place where it happened if there is more than one."""
    where = f"{place}: " if place else ""
    typer.echo("error: " + printable(f"{where}{error}"), err=True)


def installed(packages: Sequence[str]) -> None:
    """Raises `InputError` unless all that the benchmark compares with is installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the benchmark needs {', '.join(missing)}, which is not installed: "
            "pip install 'autottt[bench]'"
        )


def positive(name: str, value: float | None) -> None:
    """Raises `InputError` unless the value is absent or a finite number above zero."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is a number above zero, not {value:g}")


def not_negative(name: str, value: float | None) -> None:
    """Raises `InputError` unless the value is absent or a finite number of zero or more."""
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is a number of zero or more, not {value:g}")


def unheard(where: str, options: Mapping[str, object]) -> None:
    """Raises `InputError` where one of the options was given, as nothing would hear it."""
    for name, given in options.items():
        if given not in (None, "") and given is not False and given != []:
            raise InputError(f"{name} means nothing {where}; leave it out")


def valid_seed(seed: int, name: str = "--seed") -> None:
    """Raises `InputError` unless every random generator in use takes the seed."""
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"{name} is a whole number from 0 to {MAX_SEED}, not {seed}")


def share(name: str, value: float) -> None:
    """Raises `InputError` unless the value is from 0 to 1."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is a number from 0 to 1, not {value:g}")


def writable(out: Path, *, whole: bool = False) -> None:
    """Raises `InputError` if a file cannot be made at that place, before any work is done.

    Nor one that is there be added to; `whole` says that another is to take its place.
    """
    if out.is_dir():
        raise InputError(f"{out} is a directory; give the name of a file")
    if out.exists() and not os.access(out, os.W_OK):
        raise InputError(f"{out} cannot be written to; set its permissions, or name another")
    if out.exists() and not whole:
        return
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(f"{above} cannot hold files; name another place")


def apart(out: Path, tasks: str) -> None:
    """Raises `InputError` where the results would lie among the tasks, to be read as some."""
    if out.is_dir() and out.resolve() == Path(tasks).resolve():
        raise InputError(f"{out} holds the tasks; give the results a folder of their own")


def parse_seeds(text: str) -> list[int]:
    """Distinct seeds from a list like "0,1,2"; raises `InputError`."""
    try:
        numbers = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise InputError(f"--seeds is whole numbers parted by commas, not {text!r}") from None
    for number in numbers:
        valid_seed(number)
    return numbers
