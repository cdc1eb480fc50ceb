"""`autottt demo`: the controller on real tasks of ARC-AGI that no training ever saw."""

from __future__ import annotations

import typer

DEMO_TASKS: tuple[str, ...] = ("arc:3c9b0459", "arc:25d8a9c8")


def demo() -> None:
    """Solve a fixed list of real ARC tasks, deciding by itself when to train."""
    from rich.console import Console

    from autottt.cli.solve import Options, choose_tasks, load_solver, show_all

    tasks = [task for source in DEMO_TASKS for task in choose_tasks(source)]
    console = Console()
    code = show_all(load_solver("embedded", console=console), tasks, Options(), console)
    if code:
        raise typer.Exit(code)
