"""`autottt demo`: the controller on real tasks of ARC-AGI that no training ever saw."""

from __future__ import annotations

import typer

# ARC-AGI-1, chosen from docs/results/controller-arc.jsonl: the vote is right on the first two and
# the sixth, where the controller stays with it or trains and is right too; it has the third and
# fourth wrong and training mends them; the fifth and the last are lost.
DEMO_TASKS: tuple[str, ...] = (
    "arc:9172f3a0",
    "arc:67a3c6ac",
    "arc:a85d4709",
    "arc:a79310a0",
    "arc:3af2c5a8",
    "arc:d037b0a7",
    "arc:46442a0e",
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
