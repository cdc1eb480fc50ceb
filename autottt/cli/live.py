"""What happens while a task is solved, shown as it happens.

On a terminal a progress bar moves below the lines already printed; elsewhere there is no bar. The
task itself is printed at the first sign of work, so that input which is refused leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from autottt.cli.show import answer_view, attempt_line, decision_view, task_view
from autottt.serialise import from_json
from autottt.types import Answer, Attempt, Decision, Task


class Bars:
    """Progress as `(what, done, total)` calls, one bar at a time; none without a terminal."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Elapsed())
        self._progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )
        self._bar: TaskID | None = None
        self._last = (0, 0)  # done, total

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

    def __call__(self, what: str, done: int, total: int) -> None:
        """Move the bar; a new total, or a smaller `done`, is a new piece of work."""
        if self._bar is None or total != self._last[1] or done < self._last[0]:
            if self._bar is not None:
                self._progress.remove_task(self._bar)
            self._bar = self._progress.add_task(what, total=total)
        self._last = (done, total)
        self._progress.update(self._bar, description=what, completed=done)


class Reporter:
    """Follows one task for a human: pass `progress` and `event` to `Solver.solve`."""

    def __init__(self, console: Console, task: Task, bars: Callable[[str, int, int], None]) -> None:
        self._console, self._task, self._bars = console, task, bars
        self._started = False
        self._decisions = 0
        self._attempts = 0

    def progress(self, what: str, done: int, total: int) -> None:
        """Move the bar."""
        self._start()
        self._bars(what, done, total)

    def event(self, kind: str, payload: dict[str, Any]) -> None:
        """Print a decision or an attempt as it is made; other kinds only show that work began."""
        self._start()
        if kind == "decision":
            self._decision(from_json(Decision, payload))
        elif kind == "attempt":
            self._attempt(from_json(Attempt, payload))

    def finish(self, answer: Answer) -> None:
        """Print what of the trace was not seen live, then the answer."""
        self._start()
        for attempt in answer.attempts[self._attempts :]:
            self._attempt(attempt)
        for decision in answer.decisions[self._decisions :]:
            self._decision(decision)
        self._print(answer_view(self._task, answer))

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._print(task_view(self._task))

    def _decision(self, decision: Decision) -> None:
        self._decisions += 1
        self._print(decision_view(decision, number=self._decisions))

    def _attempt(self, attempt: Attempt) -> None:
        self._attempts += 1
        self._print(attempt_line(attempt))

    def _print(self, shown: RenderableType) -> None:
        self._console.print(shown, highlight=False, markup=False)
