"""`autottt evaluate`: policies side by side, from what every arm did on every task."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autottt.cli.exits import not_negative, unheard
from autottt.errors import InputError
from autottt.types import JSON

METRICS, REPORT = "metrics.json", "report.html"


def evaluate(
    logs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Outcome logs of `autottt sweep`, `collect` or `bench-model`; or one CSV of "
            "others' results with the columns task, arm, seed, accuracy, ..._seconds."
        ),
    ] = None,
    gate: Annotated[
        Path | None,
        typer.Option(
            help="The controller's gate; by default the shipped one, for another model none."
        ),
    ] = None,
    fitted_on: Annotated[
        Path | None,
        typer.Option(help="The log that the gate was fitted to; by default the shipped one's."),
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="What a second costs, in units of accuracy.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="Only tasks of groups that begin so, as arc-agi-1.")
    ] = "",
    base: Annotated[
        str | None, typer.Option(help="For a CSV: the arm that gains are counted from.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help=f"A folder for {METRICS} and {REPORT}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The metrics on stdout.")] = False,
    traces: Annotated[
        Path | None,
        typer.Option(help="Instead of logs: traces with feedback, to estimate a policy from."),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Also list the tasks that are fixed, broken or both.")
    ] = False,
) -> None:
    """Compare the controller with every fixed strategy, simpler rules and the oracle."""
    not_negative("--price", price)
    from autottt.controller.policy import PRICE

    price = PRICE if price is None else price
    if (traces is None) == (not logs):
        raise InputError("give outcome logs, or --traces FILE; one of the two")
    if traces is not None:
        given = {"--group": group, "--fitted-on": fitted_on, "--base": base, "--out": out}
        unheard("with --traces", {**given, "--names": names})
        typer.echo(json.dumps(_off_policy(traces, gate, price), indent=None if as_json else 2))
        return
    assert logs
    if any(path.suffix == ".csv" for path in logs):
        unheard("for a CSV", {"--group": group, "--fitted-on": fitted_on, "--gate": gate})
        found = _others(logs, base, price)
    elif base is not None:
        raise InputError("--base is for a CSV; in an outcome log gains count from icl-vote")
    else:
        found = _own(logs, gate, fitted_on, price, group)
    if out is not None:
        write_report(found, out, ", ".join(path.name for path in logs))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show_report(found, Console(), names=names)


def _own(
    logs: list[Path], gate: Path | None, fitted_on: Path | None, price: float, group: str
) -> JSON:
    from autottt.adapters.models.loading import SHIPPED
    from autottt.controller.difficulty import load_gate
    from autottt.controller.gate_file import read_gate_file
    from autottt.controller.outcomes import distinct, read_outcomes
    from autottt.controller.policy import Policy
    from autottt.evaluation.evaluate import evaluate as run
    from autottt.solver import GATE_FILE

    every = distinct(outcome for log in logs for outcome in read_outcomes(log))
    models = sorted({outcome.model for outcome in every})
    if len(models) > 1:
        raise InputError(f"the logs are of {len(models)} models ({', '.join(models)}); give one's")
    outcomes = [outcome for outcome in every if outcome.group.startswith(group)]
    if every and not outcomes:
        raise InputError(f"no task's group begins with {group!r}")
    model, shipped = outcomes[0].model if outcomes else "", SHIPPED["embedded"]
    if gate is None and model == read_gate_file(shipped / GATE_FILE)["model"]:
        gate, fitted_on = shipped / GATE_FILE, fitted_on or shipped / "outcomes.jsonl"
    elif gate is None:
        typer.echo(
            f"no gate is shipped for model {model}: the controller here is the default policy, "
            "with the log's training strategies in their order; for another give --gate",
            err=True,
        )
    fitted = None if gate is None else load_gate(gate, model=model)
    known = [] if fitted_on is None else read_outcomes(fitted_on)
    if both := {o.task_id for o in known} & {o.task_id for o in outcomes}:
        typer.echo(
            f"{len(both)} of these tasks (such as {min(both)}) are among those that the gate was "
            "fitted to: what follows is too good to be true of others",
            err=True,
        )
    return run(outcomes, fitted, Policy(price), fitted_on=known)


def _off_policy(traces: Path, gate: Path | None, price: float) -> JSON:
    from autottt.adapters.models.loading import SHIPPED
    from autottt.controller.difficulty import load_gate
    from autottt.controller.experience import read_traces
    from autottt.controller.policy import Policy
    from autottt.evaluation.off_policy import estimate
    from autottt.solver import GATE_FILE

    seen = read_traces(traces)
    path = gate if gate is not None else SHIPPED["embedded"] / GATE_FILE
    models = sorted({trace.model for trace in seen})
    if len(models) != 1:
        raise InputError(f"{traces} has answers of {len(models)} models; a gate is for one")
    fitted = load_gate(path, model=models[0])
    return asdict(estimate(seen, fitted, Policy(price)))


def _others(logs: list[Path], base: str | None, price: float) -> JSON:
    from autottt.evaluation.evaluate import evaluate_table
    from autottt.evaluation.table import from_csv

    if len(logs) > 1:
        raise InputError("a CSV is evaluated alone; give one file")
    table = from_csv(logs[0])
    if base is None:
        raise InputError(f"give --base, the arm to count from: one of {', '.join(table.arms)}")
    table.of(base)
    return evaluate_table(table, base, price)


def write_report(found: JSON, out: Path, title: str) -> None:
    """The metrics and the report of them, in a folder that is made where it is missing."""
    from autottt.controller.lines import write_whole
    from autottt.evaluation.html_report import html_report

    write_whole(out / METRICS, json.dumps(found, indent=1) + "\n")
    write_whole(out / REPORT, html_report(found, title))
    typer.echo(f"{out / METRICS} and {out / REPORT}", err=True)


def show_report(found: JSON, console: Console, *, names: bool = False) -> None:
    """A summary on a terminal."""
    from autottt.evaluation.repeats import sentences

    held = found["held_against"]
    title = f"{found['tasks']} tasks of {found['groups']} groups, price {found['price']:g}"
    shown = Table("policy", "accuracy", "seconds", f"{held} less this (95 %)", title=title)
    for row in found["policies"]:
        gap = row["held_minus_this"]
        interval = f"{gap['mean']:+.1%} ({gap['low']:+.1%} to {gap['high']:+.1%})"
        shown.add_row(row["policy"], f"{row['accuracy']:.1%}", f"{row['seconds']:.2f}", interval)
    console.print(shown)
    for name, head in found.get("heads", {}).items():
        auroc, ece = head.get("auroc"), head.get("ece")
        said = f"AUROC {'-' if auroc is None else f'{auroc:.2f}'}"
        console.print(f"{name}: {said}" + ("" if ece is None else f", ECE {ece:.3f}"))
    if found["oracle_gain_recovered"] is not None:
        share = found["seconds_of_best_fixed"]
        spent = "" if share is None else f", at {share:.0%} of {found['best_fixed']}'s seconds"
        console.print(
            f"{held} has {found['oracle_gain_recovered']:.0%} of the oracle's gain over "
            f"{found['base']}{spent}"
        )
    if found["repeats"] is not None:
        for line in sentences(found["repeats"]):
            console.print(line, highlight=False)
    for arm, table in found.get("two_by_two", {}).items():
        counts = ", ".join(f"{kind} {len(ids)}" for kind, ids in table.items())
        console.print(f"icl-vote against {arm}: {counts}")
        for kind in ("both", "fixed", "broken") if names else ():
            console.print(f"  {kind}: {' '.join(table[kind]) or '-'}")
