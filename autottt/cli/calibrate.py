"""`autottt calibrate`: a gate for a model and a kind of task, from tasks with known answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autottt.cli.exits import apart, positive, valid_seed, writable
from autottt.cli.fit import JOBS
from autottt.cli.sources import (
    Device,
    DeviceMap,
    Dtype,
    Format,
    LoraTargets,
    Model,
    Quantize,
    TensorParallel,
    TrustRemoteCode,
    model_settings,
)
from autottt.errors import InputError

if TYPE_CHECKING:
    from autottt.controller.difficulty import Gate

ARMS = ("icl-vote", "ttt-fast+search", "ttt+experts")
FEWEST = 2  # groups to fit to, so that one can be left out


def calibrate(
    tasks: Annotated[
        str, typer.Option(help="Tasks with their answers: a file, a directory, arc:training, ...")
    ],
    out: Annotated[
        Path, typer.Option(help="A folder for outcomes, the gate and the report; to continue too.")
    ],
    model: Model = "embedded",
    hours: Annotated[
        float | None, typer.Option(help="Stop measuring after so long; run again to go on.")
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A strategy, given once each; without any those of the log so far, "
            f"or {', '.join(ARMS)}."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help=JOBS)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Run the strategies on tasks, fit a gate to most of them, and certify and report on the rest.

    Tasks are parted by groups: names that differ only in a number at the end are one group, unless
    that would be the only one.
    """
    positive("--hours", hours)
    positive("--jobs", jobs)
    valid_seed(seed)
    settings = model_settings(
        device=device,
        device_map=device_map,
        tensor_parallel=tensor_parallel,
        dtype=dtype,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
        prompts=prompts,
        lora_targets=lora_targets,
    )
    log, gate_file = out / "outcomes.jsonl", out / "gate.json"
    writable(log)
    from autottt.adapters.tasks.files import load_tasks
    from autottt.cli.evaluate import show_report, write_report
    from autottt.cli.fit import known_strategies
    from autottt.cli.live import Bars
    from autottt.controller.outcomes import ICL_VOTE, read_outcomes
    from autottt.controller.policy import Policy
    from autottt.evaluation.calibrate import calibrated, certifies, regrouped, split
    from autottt.evaluation.collect import group_of, sweep
    from autottt.evaluation.evaluate import evaluate

    begun = read_outcomes(log) if log.exists() else []
    names = known_strategies(strategy or (list(begun[0].arms) if begun else list(ARMS)))
    if begun and {*names, ICL_VOTE} != {*begun[0].arms}:
        raise InputError(
            f"{log} was begun with {', '.join(sorted(begun[0].arms))}, and a gate needs every task "
            "to be measured with the same; leave --strategy out, or name another --out"
        )
    apart(out, tasks)
    chosen = load_tasks(tasks, but=out)
    groups = {o.group for o in begun} | {group_of(task.id) for task in chosen}
    if len(groups) == 1:
        groups = {o.task_id for o in begun} | {task.id for task in chosen}
    fitting = sum(not certifies(group) for group in groups)
    if fitting < FEWEST:
        raise InputError(
            f"of the {len(groups)} groups of tasks in {tasks}, {fitting} would be fitted to, which "
            f"is fewer than {FEWEST}: nothing would be learnt; give more kinds of tasks"
        )
    until = None if hours is None else time.monotonic() + 3600 * hours
    with Bars(Console(stderr=True)) as bars:
        sweep(
            chosen,
            log,
            model=model,
            settings=settings,
            strategies=names,
            seed=seed,
            jobs=jobs,
            until=until,
            alone=True,
            progress=bars,
        )
    fitted, kept = split(regrouped(read_outcomes(log)))
    gate = calibrated(fitted, certify=kept, seed=seed)
    gate.save(gate_file)
    console = Console()
    for why, heads in _constant(gate).items():
        console.print(f"always the same, as {why}: {', '.join(heads)}")
    if not kept:
        console.print(
            f"all {len({o.group for o in fitted})} groups of tasks were fitted to, so nothing is "
            "reported or certified; give tasks of more kinds"
        )
    else:
        found = evaluate(kept, gate, Policy(), fitted_on=fitted)
        write_report(found, out, f"calibration on {tasks}")
        show_report(found, console)
    for risk in (0.05, 0.1, 0.2):
        least = None if gate.risk is None else gate.risk.threshold(risk)
        said = "not certified" if least is None else f"certified: gains below {least:.0%} are left"
        console.print(f"missing at most {risk:.0%} of what training finds: {said}")
    console.print(f"use it with `autottt solve --model {model} --gate {gate_file}`")


def _constant(gate: Gate) -> dict[str, list[str]]:
    """The heads that say the same of every task, by the reason."""
    found: dict[str, list[str]] = {}
    for name, report in gate.report.items():
        if report["kind"] == "constant":
            found.setdefault(report["why_constant"], []).append(name)
    return found
