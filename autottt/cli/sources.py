"""Where a command's tasks and model come from: options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from autottt.cli.exits import positive
from autottt.cli.startup import loading
from autottt.errors import InputError, TaskError
from autottt.types import AnswerFormat, Task

if TYPE_CHECKING:
    from autottt.adapters.models.loading import ModelSettings
    from autottt.adapters.tasks.tables import TableSettings

MODEL = "A Hugging Face model: a directory, or a name on the hub."
Model = Annotated[str, typer.Option(help=MODEL)]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; else a GPU if any.")]
DeviceMap = Annotated[
    str | None, typer.Option(help="Spread the model over devices: auto, balanced, ...")
]
TensorParallel = Annotated[
    int, typer.Option(help="Processes that each hold a part of every layer, on GPUs of their own.")
]
Dtype = Annotated[str, typer.Option(help="Of the weights: auto, float32, bfloat16 or float16.")]
Quantize = Annotated[str | None, typer.Option(help="Load the weights in 4bit or 8bit.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the code that comes with the model.")
]
Format = Annotated[str, typer.Option("--format", help="Prompts: auto, chat, plain or arrow.")]
LoraTargets = Annotated[
    str | None, typer.Option(help="Ends of module names, parted by commas, for the LoRA.")
]
Columns = Annotated[
    str, typer.Option(help="Of a table, as in input=question,output=answer,options=choices.")
]
Demonstrations = Annotated[
    int | None,
    typer.Option(help="Rows of a table that are shown, else 10; the others are queries."),
]
ADAPTER_MIB = 256  # as of the cache itself, which is not imported for a default
AdapterMib = Annotated[int, typer.Option(help="MiB of trained adapters to keep.")]
Instruction = Annotated[str, typer.Option(help="What to do, in words.")]
AnswerKind = Annotated[
    str | None, typer.Option("--answer", help="What answers are: text, number or choice.")
]
Choices = Annotated[str | None, typer.Option(help="The answers that there are, parted by commas.")]
Queries = Annotated[int | None, typer.Option(help="Answer the first N queries of each task.")]
SHOWN = re.compile(r"\s=>\s")  # parts input from output in --example


def model_settings(
    *,
    device: str | None = None,
    device_map: str | None = None,
    tensor_parallel: int = 1,
    dtype: str = "auto",
    quantize: str | None = None,
    trust_remote_code: bool = False,
    prompts: str = "auto",
    lora_targets: str | None = None,
) -> ModelSettings:
    """What the options say of the model; raises `InputError` for a value that is none."""
    with loading():
        from autottt.adapters.models.loading import ModelSettings

    return ModelSettings(
        device=device,
        dtype=dtype,
        device_map=device_map,
        tensor_parallel=tensor_parallel,
        quantize=quantize,  # type: ignore[arg-type]
        trust_remote_code=trust_remote_code,
        format=prompts,
        lora_targets=ends_of(lora_targets),
    )


def ends_of(lora_targets: str | None) -> tuple[str, ...]:
    """The names in --lora-targets."""
    return tuple(filter(None, (name.strip() for name in (lora_targets or "").split(","))))


def answer_format(kind: str | None, choices: str | None) -> AnswerFormat | None:
    """What --answer and --choices say; None where neither is given."""
    if kind is None and choices is None:
        return None
    if kind not in (None, "text", "number", "choice"):
        raise InputError(f"--answer is text, number or choice, not {kind!r}")
    listed = tuple(choice.strip() for choice in choices.split(",")) if choices else ()
    kind = kind or ("choice" if listed else "text")
    return AnswerFormat(kind, listed)  # type: ignore[arg-type]


def table_settings(
    demonstrations: int | None,
    columns: str,
    seed: int,
    instruction: str = "",
    answer: AnswerFormat | None = None,
) -> TableSettings:
    """How tables are read; raises `InputError` for a value that is none."""
    from autottt.adapters.tasks import tables

    positive("--demonstrations", demonstrations)
    return tables.TableSettings(
        demonstrations=demonstrations or tables.DEMONSTRATIONS,
        seed=seed,
        instruction=instruction,
        answer=answer,
        **tables.parse_columns(columns),
    )


def task_of_examples(
    examples: Sequence[str],
    queries: Sequence[str],
    *,
    domain: str = "text",
    instruction: str = "",
    answer: AnswerFormat | None = None,
) -> Task:
    """The task of `--example "in => out" ... --query "..."`; raises `TaskError`."""
    from autottt.adapters.tasks.answers import checked

    if not examples or not queries:
        raise TaskError('a task needs --example "input => output", best twice or more, and --query')
    pairs = []
    for example in examples:
        parts = SHOWN.split(example)
        if len(parts) != 2:
            raise TaskError(
                f'an example is "input => output", with one => between spaces, not {example!r}'
            )
        pairs.append((_value(parts[0], domain), _value(parts[1], domain)))
    first, *others = queries
    task = Task.from_examples(
        pairs, _value(first, domain), id="task", instruction=instruction, answer=answer
    )
    if others:
        from dataclasses import replace

        from autottt.types import as_value

        more = tuple(as_value(_value(other, domain)) for other in others)
        task = replace(task, queries=(*task.queries, *more))
    return checked(task)


def _value(text: str, domain: str) -> str | list[int | str]:
    match domain:
        case "text":
            return text.strip().replace("\\n", "\n")
        case "sequence":
            words = text.replace(",", " ").split()
            if all(re.fullmatch(r"[-+]?\d+", word) for word in words):
                return [int(word) for word in words]
            return list(words)
        case _:
            raise InputError(
                f"--domain is text or sequence for --example, not {domain!r}; grids come from files"
            )
