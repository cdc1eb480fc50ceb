"""`autottt collect`, `sweep`, `fit`, `feedback`: outcomes, and the gate that learns from them."""

from __future__ import annotations

import json
import random
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from autottt.cli.exits import positive, valid_seed, writable
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
from autottt.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from autottt.controller.outcomes import Outcome

STRATEGY = "A strategy to run, given once each; without any: icl, icl-vote, ttt."
TASKS_SEED = "Seed of which tasks, where not --seed: the same tasks under other seeds tell luck."
JOBS = "Processes of one thread each; 1 works in this process with all threads."


def collect(
    out: Annotated[Path, typer.Option(help="The outcome log to write or to continue.")],
    families: Annotated[
        str,
        typer.Option(
            help="Names of families parted by commas, or a group of them: pretraining, "
            "calibration (never in pretraining), all (both), or test (for reports alone)."
        ),
    ] = "all",
    tasks_per_family: Annotated[int, typer.Option(help="Generated tasks of each family.")] = 2,
    sample: Annotated[
        int | None, typer.Option(help="So many of the families, drawn at random by the seed.")
    ] = None,
    max_cells: Annotated[
        int, typer.Option(help="Cells in all grids of a task, at most: about its tokens.")
    ] = 900,
    strategy: Annotated[list[str] | None, typer.Option(help=STRATEGY)] = None,
    jobs: Annotated[int, typer.Option(help=JOBS)] = 1,
    model: Model = "embedded",
    seed: Annotated[int, typer.Option(help="Seed of the tasks and of the strategies.")] = 0,
    tasks_seed: Annotated[int | None, typer.Option(help=TASKS_SEED)] = None,
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Run strategies on generated tasks and log how each did, for `autottt fit`."""
    positive("--tasks-per-family", tasks_per_family)
    draw = seed if tasks_seed is None else tasks_seed
    valid_seed(seed)
    valid_seed(draw, "--tasks-seed")
    writable(out)
    positive("--sample", sample)
    positive("--max-cells", max_cells)
    positive("--jobs", jobs)
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
    names = known_strategies(strategy)
    chosen = choose_families(families)
    if sample is not None:
        chosen = tuple(random.Random(draw).sample(chosen, min(sample, len(chosen))))
    from autottt.cli.live import Bars
    from autottt.evaluation.collect import collect as run

    with Bars(Console(stderr=True)) as bars:
        count = run(
            out,
            model=model,
            settings=settings,
            families=chosen,
            tasks_per_family=tasks_per_family,
            strategies=names,
            seed=seed,
            tasks_seed=draw,
            max_cells=max_cells,
            jobs=jobs,
            progress=bars,
        )
    typer.echo(f"{count} outcomes in {out}", err=True)


def known_strategies(names: list[str] | None) -> list[str]:
    """Those named, or the default ones; raises `UnknownNameError`."""
    from autottt.evaluation.collect import STRATEGIES
    from autottt.strategies.registry import get

    for name in names or ():
        get(name)
    return names or list(STRATEGIES)


def choose_families(text: str) -> tuple[str, ...]:
    """The families of a group, or those that are named; raises `UnknownNameError`."""
    from autottt.pretraining.families import FAMILIES
    from autottt.pretraining.splits import CALIBRATION, TEST, pretraining_families

    groups = {
        "all": (*pretraining_families(), *CALIBRATION),
        "pretraining": pretraining_families(),
        "calibration": CALIBRATION,
        "test": TEST,
    }
    if text in groups:
        return groups[text]
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in FAMILIES:
            raise UnknownNameError(
                f"there is no family {name!r}; give {', '.join(groups)}, or names of families "
                "parted by commas"
            )
    return names


def fit(
    logs: Annotated[list[Path], typer.Argument(help="Outcome logs that `autottt collect` wrote.")],
    out: Annotated[Path, typer.Option(help="The gate file to write.")],
    certify: Annotated[
        list[Path] | None,
        typer.Option(help="Outcome logs of other families, to certify levels of risk on."),
    ] = None,
    update: Annotated[
        list[Path] | None,
        typer.Option(help="Traces of `autottt solve --log` with feedback, to learn from too."),
    ] = None,
    costs: Annotated[
        list[Path] | None,
        typer.Option(help="Outcome logs of this machine, where LOGS are of others: for seconds."),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="A training strategy to choose among; given once each."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also hold other estimators and features against it.")
    ] = False,
) -> None:
    """Fit the gate, which estimates what each strategy would gain, to outcome logs."""
    writable(out, whole=True)
    for log in [*logs, *(certify or ()), *(costs or ())]:
        if not log.is_file():
            raise InputError(f"no such file: {log}; write one with `autottt collect --out {log}`")
    for log in update or ():
        if not log.is_file():
            raise InputError(f"no such file: {log}; `autottt solve --log {log}` writes traces")
    from autottt.controller.cost import timed_as
    from autottt.controller.experience import not_measured, outcomes_of, read_traces
    from autottt.controller.outcomes import distinct, read_outcomes
    from autottt.evaluation.calibrate import calibrated, regrouped
    from autottt.evaluation.collect import group_of

    measured = [outcome for path in costs or () for outcome in read_outcomes(path)]

    def read(paths: list[Path]) -> list[Outcome]:
        each = (read_outcomes(path) for path in paths)
        return distinct(o for log in each for o in (timed_as(log, measured) if costs else log))

    outcomes = read(logs)
    unknown = set(arm or ()) - {name for outcome in outcomes for name in outcome.arms}
    if unknown:
        raise InputError(f"no task in the logs was run with {', '.join(sorted(unknown))}")
    arm = arm or _common_arms(outcomes)
    groups = {o.task_id: o.group for o in outcomes}
    learnt: list[Outcome] = []
    for path in update or ():
        seen = outcomes_of(read_traces(path), lambda task: groups.get(task) or group_of(task))
        typer.echo(f"{len(seen)} tasks with feedback in {path}", err=True)
        learnt += seen
    outcomes += not_measured(learnt, outcomes)
    every = regrouped([*outcomes, *read(certify or [])])
    outcomes, kept = every[: len(outcomes)], every[len(outcomes) :]
    gate = calibrated(outcomes, certify=kept, arms=arm)
    gate.save(out)
    typer.echo(json.dumps(gate.report, indent=2))
    if compare:
        _show_comparison(outcomes, gate.arms)


def _common_arms(outcomes: list[Outcome]) -> list[str] | None:
    """The training arms that every task was run with; None for a log without tasks.

    Raises `InputError` where tasks have none in common.
    """
    from autottt.controller.outcomes import ICL_ARMS

    if not outcomes:
        return None
    every = {name for outcome in outcomes for name in outcome.arms} - ICL_ARMS
    common = every.intersection(*(outcome.arms for outcome in outcomes))
    if every and not common:
        raise InputError(
            f"no training strategy was run on every task of the logs, which have "
            f"{', '.join(sorted(every))}; name those to choose among with --arm"
        )
    if every - common:
        typer.echo(
            f"without {', '.join(sorted(every - common))}, which not every task was run with "
            "(--arm takes it all the same)",
            err=True,
        )
    return sorted(common)


def _show_comparison(outcomes: list[Outcome], arms: tuple[str, ...]) -> None:
    from rich.table import Table

    from autottt.controller.difficulty import ICL_RIGHT, READ, right_head
    from autottt.evaluation.compare_heads import ablation, compare_heads

    shown = Table("head", "estimator", "log-loss", "± (families)", "AUROC", "enough")
    for head, entries in compare_heads(outcomes, arms).items():
        for entry in entries:
            numbers = f"{entry.log_loss:.3f}", f"{entry.error:.3f}", f"{entry.auroc:.3f}"
            shown.add_row(head, entry.estimator, *numbers, "yes" if entry.chosen else "")
    console = Console(stderr=True)
    console.print(shown)
    worth = Table("head", "a name is worth (log-loss on families left out; + reads it)")
    for head in (ICL_RIGHT, *(right_head(arm) for arm in arms)):
        found = ablation(outcomes, head, arms)
        if not found:
            continue  # all of one class
        parts = [f"{'+' if name in READ else ''}{name} {gain:+.4f}" for name, gain in found]
        worth.add_row(head, ", ".join(parts))
    console.print(worth)


class Verdict(StrEnum):
    """What may be said of an answer."""

    RIGHT = "right"
    WRONG = "wrong"


def feedback(
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="The id of an answered task.")],
    verdict: Annotated[Verdict, typer.Argument(help="What its answer turned out to be.")],
    log: Annotated[Path, typer.Option(help="The traces of `autottt solve --log`.")],
) -> None:
    """Say whether an answer was right, for `autottt fit --update` to learn from."""
    from autottt.controller.experience import give_feedback

    give_feedback(log, task_id, right=verdict is Verdict.RIGHT)


def sweep(
    tasks: Annotated[
        str, typer.Argument(help="Tasks: a file, a directory, arc:training, arc:evaluation, ...")
    ],
    out: Annotated[Path, typer.Option(help="The outcome log to write or to continue.")],
    max_tokens: Annotated[
        int | None,
        typer.Option(help="Leave out longer tasks, in bytes: the embedded model's tokens."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="So many of the tasks, drawn at random by the seed.")
    ] = None,
    strategy: Annotated[list[str] | None, typer.Option(help=STRATEGY)] = None,
    jobs: Annotated[int, typer.Option(help=JOBS)] = 1,
    model: Model = "embedded",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    tasks_seed: Annotated[int | None, typer.Option(help=TASKS_SEED)] = None,
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Run strategies on every task and write how each did."""
    positive("--max-tokens", max_tokens)
    positive("--jobs", jobs)
    positive("--sample", sample)
    draw = seed if tasks_seed is None else tasks_seed
    valid_seed(seed)
    valid_seed(draw, "--tasks-seed")
    writable(out)
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
    from autottt.adapters.tasks.files import load_tasks
    from autottt.evaluation.benchmark import length

    names = known_strategies(strategy)
    every = load_tasks(tasks)
    chosen = [t for t in every if max_tokens is None or length(t) <= max_tokens]
    if not chosen:
        raise InputError(f"no task of {tasks} has at most {max_tokens} tokens; raise --max-tokens")
    if sample is not None:
        chosen = random.Random(draw).sample(chosen, min(sample, len(chosen)))
    typer.echo(f"{len(chosen)} of {len(every)} tasks", err=True)
    from autottt.cli.live import Bars
    from autottt.evaluation.collect import sweep as run

    with Bars(Console(stderr=True)) as bars:
        count = run(
            chosen,
            out,
            model=model,
            settings=settings,
            strategies=names,
            seed=seed,
            jobs=jobs,
            progress=bars,
        )
    typer.echo(f"{count} outcomes in {out}", err=True)
