"""`autottt doctor`: whether a model works here, with what, and what it would cost."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autottt.adapters.tasks.printable import printable
from autottt.cli.exits import FAILED
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

if TYPE_CHECKING:
    from autottt.evaluation.doctor import Finding

STYLES = {"ok": "green", "note": "yellow", "fails": "bold red"}


def doctor(
    model: Model = "embedded",
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    trust_remote_code: TrustRemoteCode = False,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Try a model: its tokenizer, memory and LoRA, one tiny adaptation undone, and what each
    strategy would cost. The exit code is 1 if anything fails."""
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
    from autottt.adapters.models.huggingface import HuggingFaceModel
    from autottt.cli.solving import quiet_libraries
    from autottt.evaluation.doctor import examine

    quiet_libraries(downloads=False)
    out, found = sys.stdout, []
    try:
        with contextlib.redirect_stdout(sys.stderr):  # whatever a model's code prints
            for finding in examine(HuggingFaceModel(model, settings=settings)):
                found.append(finding)
                if as_json:
                    typer.echo(json.dumps(asdict(finding)), file=out)
    finally:
        if found and not as_json:
            _show(found)
    if any(finding.status == "fails" for finding in found):
        raise typer.Exit(FAILED)


def _show(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark = Text(finding.status, style=STYLES[finding.status])
        table.add_row(finding.about, mark, Text(printable(finding.text)))
    Console().print(table)
