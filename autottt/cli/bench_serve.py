"""`autottt bench-serve`: a server under load, every answer compared with the solver's own."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from autottt.cli.exits import FAILED, positive, valid_seed
from autottt.cli.serve import require


def bench_serve(
    clients: Annotated[int, typer.Option(help="Clients at once.")] = 32,
    requests: Annotated[int, typer.Option(help="Requests of all clients together.")] = 500,
    tasks: Annotated[int, typer.Option(help="Different tasks that are asked.")] = 16,
    replicas: Annotated[int, typer.Option(help="Processes that answer without training.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the tasks and of what is asked when.")] = 0,
) -> None:
    """Load a server of its own on the loopback interface, and print what was found as JSON.

    Fails if an answer is not the solver's, or a base model is not what it was.
    """
    for name, value in (("--clients", clients), ("--requests", requests), ("--tasks", tasks)):
        positive(name, value)
    positive("--replicas", replicas)
    valid_seed(seed)
    require("serve")
    import torch

    from autottt.evaluation.bench_serve import Load, ask_directly, draw_tasks, run_load
    from autottt.solver import Solver

    torch.set_num_threads(1)  # as the workers, so that sums are rounded alike
    questions = ask_directly(Solver(), draw_tasks(tasks, seed), seed)
    load = Load(clients=clients, requests=requests, tasks=tasks, seed=seed)
    found = run_load(questions, load, serve=["--replicas", str(replicas)])
    typer.echo(json.dumps(found, indent=1))
    if found["wrong"]:
        raise typer.Exit(FAILED)
