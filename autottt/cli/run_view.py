"""A run as it is seen: a bar with accuracy, cost and time left, and a table at the end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from autottt.adapters.tasks.printable import printable
from autottt.runner.folder import RESULTS
from autottt.runner.tally import Tally


class Screen:
    """Shows a `Tally` on the console; without a terminal only the table at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        self._progress = Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        )
        self._bar = self._progress.add_task("solving", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, tally: Tally) -> None:
        """Move the bar."""
        self._progress.update(
            self._bar,
            description=description(tally),
            completed=tally.done,
            total=tally.done + tally.waiting,
        )

    def summary(self, tally: Tally, out: Path) -> None:
        """Print the table of the run, and why tasks are left where some are."""
        title = Text(printable(f"results in {out / RESULTS}"))
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column("")
        table.add_column("", justify="right")
        for name, value in summary_rows(tally):
            table.add_row(name, value)
        self._console.print(table)
        if tally.stopped is not None:
            self._console.print(
                f"stopped ({tally.stopped}); {tally.waiting} tasks wait for the next start",
                markup=False,
                highlight=False,
            )


def description(tally: Tally) -> str:
    """Accuracy, cost and time left, as far as they are known."""
    parts = [] if tally.accuracy is None else [f"{tally.accuracy:.1%} right"]
    parts.append(f"{_time(tally.seconds)} spent")
    if tally.seconds_left is not None:
        parts.append(f"about {_time(tally.seconds_left)} left")
    return ", ".join(parts)


def summary_rows(tally: Tally) -> list[tuple[str, str]]:
    """The rows of the table at the end."""
    rows = [("answered", str(tally.answered)), ("failed", str(tally.failed))]
    rows.append(("waiting", str(tally.waiting)))
    if tally.accuracy is not None:
        rows.append(("right", f"{tally.right} of {tally.judged} ({tally.accuracy:.1%})"))
    if tally.answered:
        rows.append(("seconds a task", f"{tally.seconds / tally.answered:.2f}"))
    rows += [("seconds", f"{tally.seconds:.1f}"), ("tokens", str(tally.tokens))]
    rows += [(f"by {name}", str(n)) for name, n in tally.strategies.most_common()]
    return rows


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
