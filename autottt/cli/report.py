"""`autottt report`: what each strategy and the controller solve, replayed from an outcome log."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autottt.cli.exits import not_negative
from autottt.errors import InputError


def report(
    logs: Annotated[
        list[Path], typer.Argument(help="Outcome logs of `autottt sweep` or `collect`.")
    ],
    gate: Annotated[
        Path | None, typer.Option(help="The gate of the controller; by default the shipped one.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="What a second costs, in units of accuracy.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="Only tasks of groups that begin so, as arc-agi-1.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    names: Annotated[
        bool, typer.Option("--names", help="Also list the tasks that are fixed, broken or both.")
    ] = False,
) -> None:
    """Compare every strategy with the controller on tasks that all strategies were run on."""
    not_negative("--price", price)
    from autottt.adapters.models.huggingface import SHIPPED
    from autottt.controller.difficulty import load_gate
    from autottt.controller.outcomes import read_outcomes
    from autottt.controller.policy import PRICE, Policy
    from autottt.evaluation.replay import fixed_and_broken, replay
    from autottt.solver import GATE_FILE

    every = [outcome for log in logs for outcome in read_outcomes(log)]
    outcomes = [outcome for outcome in every if outcome.group.startswith(group)]
    if every and not outcomes:
        raise InputError(f"no task's group begins with {group!r}")
    path = gate if gate is not None else SHIPPED["embedded"] / GATE_FILE
    fitted = load_gate(path, model=outcomes[0].model if outcomes else "")
    rows = replay(outcomes, fitted, Policy(PRICE if price is None else price))
    table = fixed_and_broken(outcomes)
    if as_json:
        plain = {"policies": [asdict(row) for row in rows], "icl_vote_against_ttt": table}
        typer.echo(json.dumps(plain))
        return
    console = Console()
    shown = Table("policy", "right", "of", "accuracy", "mean seconds", "trained on")
    for row in rows:
        cells = (row.policy, row.right, row.tasks, f"{row.accuracy:.1%}", f"{row.seconds:.1f}")
        shown.add_row(*map(str, cells), str(row.trained))
    console.print(shown)
    console.print(
        "icl-vote against ttt: " + ", ".join(f"{kind} {len(ids)}" for kind, ids in table.items())
    )
    if names:
        for kind in ("both", "fixed", "broken"):
            console.print(f"{kind}: {' '.join(table[kind]) or '-'}")
