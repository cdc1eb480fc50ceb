"""`autottt demo`: the controller on real tasks of ARC-AGI that no training ever saw."""

from __future__ import annotations

import typer

# ARC-AGI-1. The vote has the first right and the others wrong but for the last, which training
# breaks: a failure, shown as it is. Chosen from docs/results/arc-small.jsonl.
DEMO_TASKS: tuple[str, ...] = (
    "arc:7b7f7511",
    "arc:3c9b0459",
    "arc:68b67ca3",
    "arc:bdad9b1f",
    "arc:e9afcf9a",
    "arc:a416b8f3",
)


def demo() -> None:
    """Solve a fixed list of real ARC tasks, deciding by itself when to train."""
    from rich.console import Console

    from autottt.cli.solve import Options, choose_tasks, load_solver, show_all

    tasks = [task for source in DEMO_TASKS for task in choose_tasks(source)]
    console = Console()
    code = show_all(load_solver("embedded", console=console), tasks, Options(), console)
    if code:
        raise typer.Exit(code)
