"""`autottt demo`: the controller on real tasks of ARC-AGI that no training ever saw."""

from __future__ import annotations

import typer

# ARC-AGI-1, chosen from docs/results (bench.jsonl, controller-arc.jsonl): the vote is right on
# the first two and the sixth, where the controller stays with it or trains and keeps it; it has
# the next three wrong and training mends them; the last is lost.
DEMO_TASKS: tuple[str, ...] = (
    "arc:e133d23d",
    "arc:6d0aefbc",
    "arc:88a62173",
    "arc:bdad9b1f",
    "arc:66e6c45b",
    "arc:c9e6f938",
    "arc:f25ffba3",
)


def demo() -> None:
    """Solve a fixed list of real ARC tasks, deciding by itself when to train."""
    from rich.console import Console

    from autottt.cli.solving import Options, choose_tasks, load_solver, show_all

    tasks = [task for source in DEMO_TASKS for task in choose_tasks(source)]
    console = Console()
    code = show_all(load_solver(Options(), console), tasks, Options(), console)
    if code:
        raise typer.Exit(code)
