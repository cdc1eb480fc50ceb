"""The command `autottt`: its subcommands, and nothing of what they do.

Each subcommand loads what it needs when it runs, so that `autottt --help` is quick.
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from autottt.cli.bench_adapt import bench_adapt
from autottt.cli.bench_large import bench_large
from autottt.cli.bench_model import bench_model
from autottt.cli.bench_pretrain import bench_pretrain
from autottt.cli.bench_scale import bench_scale
from autottt.cli.bench_serve import bench_serve
from autottt.cli.bench_text import bench_text
from autottt.cli.calibrate import calibrate
from autottt.cli.demo import demo
from autottt.cli.doctor import doctor
from autottt.cli.evaluate import evaluate
from autottt.cli.exits import guarded
from autottt.cli.fit import collect, feedback, fit, sweep
from autottt.cli.pretrain import pretrain
from autottt.cli.run import run
from autottt.cli.serve import serve
from autottt.cli.solve import solve
from autottt.cli.strategies import strategies

app = typer.Typer(
    name="autottt",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            number = version("autottt")
        except PackageNotFoundError:
            number = "(run from a source tree, not installed)"
        typer.echo(f"autottt {number}")
        raise typer.Exit


@app.callback()
def autottt(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Answer few-shot tasks, and train on them first where that is worth its cost.

    Exit codes: 0 answered (rightly or not), 1 failed, 2 the input cannot be used, 75 `run`
    hung or lost its model (start it again), 130 interrupted.
    """
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="{levelname}: {message}", style="{"
    )


COMMANDS = (
    solve,
    run,
    demo,
    doctor,
    strategies,
    serve,
    pretrain,
    collect,
    fit,
    feedback,
    sweep,
    evaluate,
    calibrate,
    bench_adapt,
    bench_large,
    bench_model,
    bench_pretrain,
    bench_text,
    bench_scale,
    bench_serve,
)
for command in COMMANDS:
    app.command()(guarded(command))
