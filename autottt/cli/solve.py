"""`autottt solve`: answer tasks, for a human in colour or for a program as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from autottt.cli.exits import (
    FORCED,
    not_negative,
    positive,
    share,
    unheard,
    valid_seed,
    writable,
)
from autottt.cli.solving import (
    Options,
    choose_tasks,
    first_queries,
    known_strategy,
    solve_as_json,
    solve_for_a_human,
)
from autottt.cli.sources import (
    ADAPTER_MIB,
    AdapterMib,
    AnswerKind,
    Choices,
    Columns,
    Demonstrations,
    Device,
    DeviceMap,
    Dtype,
    Format,
    Instruction,
    LoraTargets,
    Model,
    Quantize,
    Queries,
    TensorParallel,
    TrustRemoteCode,
    answer_format,
    model_settings,
    table_settings,
    task_of_examples,
)
from autottt.errors import InputError

if TYPE_CHECKING:
    from autottt.controller.budget import Fallback

SOURCES = (
    "Tasks: a JSON, JSONL or CSV file, a directory, arc:ID, arc2:ID, bbh:PATH or "
    "datasets:NAME:SPLIT. Leave it out with --example and --query."
)


def solve(
    task: Annotated[str | None, typer.Argument(help=SOURCES)] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Force a strategy; by default the controller chooses.")
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option(help="A demonstration, as in 'input => output'; give it several times."),
    ] = None,
    query: Annotated[list[str] | None, typer.Option(help="An input to answer.")] = None,
    domain: Annotated[
        str | None, typer.Option(help="Of --example: text, as it is without, or sequence.")
    ] = None,
    instruction: Instruction = "",
    answer: AnswerKind = None,
    choices: Choices = None,
    demonstrations: Demonstrations = None,
    columns: Columns = "",
    queries: Queries = None,
    model: Model = "embedded",
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    trust_remote_code: TrustRemoteCode = False,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    gate: Annotated[
        Path | None, typer.Option(help="A fitted gate; by default the one of the model.")
    ] = None,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds by which each task is to be answered.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="What a second costs, in units of accuracy.")
    ] = None,
    mean_seconds: Annotated[
        float | None, typer.Option(help="Instead of a price: seconds a task, on average.")
    ] = None,
    risk: Annotated[
        float | None,
        typer.Option(help="Instead of a price: the share of what training finds to miss."),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="How sure a --risk must be; 0.9 by default.")
    ] = None,
    uncertified: Annotated[
        str | None,
        typer.Option(
            help="Where a --risk cannot be certified: escalate always, the default, or answer "
            "always."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    attempts: Annotated[int, typer.Option(help="Candidates per query.")] = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a task on stdout, and nothing else.")
    ] = False,
    adapters: Annotated[
        Path | None, typer.Option(help="A directory of trained adapters, to reuse and to add to.")
    ] = None,
    adapter_mib: AdapterMib = ADAPTER_MIB,
    together: Annotated[
        int, typer.Option(help="Tasks of a source that are trained in one pass of the model.")
    ] = 1,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Faster training steps after a minute once, where they are not fused already.",
        ),
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="A file of traces to add to, for `feedback` and `fit`.")
    ] = None,
    explore: Annotated[
        float, typer.Option(help="Share of tasks whose first decision is drawn at random.")
    ] = 0.0,
    limit: Annotated[
        int | None, typer.Option(help="Solve the first N tasks of a source that holds several.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Solve every task of a source that holds several.")
    ] = False,
) -> None:
    """Answer a task.

    With --json, a source of several tasks (--all, --limit) gives one object a line; a task that
    could not be answered gives {"task_id", "error"} and a non-zero exit code at the end. They come
    in the order of the source, with --together as they are done.
    """
    positive("--deadline", deadline)
    not_negative("--price", price)
    positive("--attempts", attempts)
    positive("--limit", limit)
    positive("--together", together)
    positive("--adapter-mib", adapter_mib)
    if together > 1 and deadline is not None:
        raise InputError("--together trains several tasks at once and cannot hold a --deadline")
    share("--explore", explore)
    if gate is not None and not gate.is_file():
        raise InputError(f"no such file: {gate}; `autottt calibrate` and `autottt fit` write gates")
    if log is not None:
        writable(log)
    valid_seed(seed)
    positive("--queries", queries)
    from autottt.controller.budget import Budget
    from autottt.controller.certificate import CONFIDENCE

    sure = {"--confidence": confidence, "--uncertified": uncertified}
    if risk is None:
        unheard("without --risk", sure)
    if strategy is not None:
        of_policy = {"--price": price, "--mean-seconds": mean_seconds, "--risk": risk}
        unheard(FORCED, {**of_policy, "--explore": explore or None})
        known_strategy(strategy)
    budget = Budget(
        price,
        mean_seconds,
        risk,
        CONFIDENCE if confidence is None else confidence,
        cast("Fallback", "escalate" if uncertified is None else uncertified),
    )
    form = answer_format(answer, choices)
    table = table_settings(demonstrations, columns, seed, instruction, form)
    if task is None:
        unheard(
            "without the name of a source",
            {
                "--columns": columns,
                "--demonstrations": demonstrations,
                "--limit": limit,
                "--all": every,
            },
        )
        given = task_of_examples(
            example or [],
            query or [],
            domain=domain or "text",
            instruction=instruction,
            answer=form,
        )
        tasks = [given]
    elif example or query:
        raise InputError("give tasks by name, or by --example and --query, not both")
    else:
        unheard("for tasks of a source", {"--domain": domain})
        tasks = choose_tasks(task, limit=limit, every=every, table=table)
    tasks = [first_queries(one, queries) for one in tasks]
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
    options = Options(
        settings=settings,
        strategy=strategy,
        deadline=deadline,
        seed=seed,
        attempts=attempts,
        adapters=adapters,
        adapter_mib=adapter_mib,
        together=together,
        compiled=compiled,
        model=model,
        gate=gate,
        budget=budget,
        explore=explore,
        log=log,
    )
    if as_json:
        solve_as_json(tasks, options)
    else:
        solve_for_a_human(tasks, options)
