"""The model card: what the weights are, what they learnt from, and what they did not see."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from autottt.pretraining.families import FAMILIES
from autottt.pretraining.splits import CALIBRATION, TEST, pretraining_families
from autottt.pretraining.train import Log, Recipe, new_model
from autottt.pretraining.validation import KINDS


def model_card(recipe: Recipe, record: Log) -> str:
    """The card in Markdown; every number comes from the recipe, the log or the splits."""
    size = sum(p.numel() for p in new_model(recipe).parameters())
    last = record.validation[-1] if record.validation else {}
    by_family = last.get("by_family", {})
    seen = pretraining_families()
    return "\n".join(
        [
            "# The embedded model",
            "",
            f"A Llama of {size / 1e6:.2f} M parameters (hidden {recipe.hidden}, {recipe.layers} "
            f"layers, {recipe.heads} heads, context {recipe.context}) over bytes, trained from "
            "random weights by `autottt pretrain` on generated few-shot tasks alone. It writes "
            "nothing but small grids; it is there so that everything runs without a download.",
            "",
            f"- Seed {recipe.seed}; {record.step} steps, {record.tokens / 1e6:.1f} M tokens, "
            f"{record.seconds / 60:.0f} minutes on {_machine()}.",
            f"- Muon on the matrices at {recipe.matrix_learning_rate:g}, AdamW on the rest at "
            f"{recipe.learning_rate:g}; flat, then linear decay over {recipe.decay_share:.0%}.",
            f"- {len(FAMILIES)} families: {len(seen)} in pretraining, {len(CALIBRATION)} held out "
            f"for the controller, {len(TEST)} held out for reports. No benchmark task is in any.",
            "",
            "## Loss (nats a token on demonstration outputs)",
            "",
            "| step | mean loss of the 250 steps before |",
            "| ---: | ---: |",
            *_curve(record),
            "",
            "## Validation",
            "",
            "One-view ICL on two fresh tasks of each family, exact match "
            f"(`autottt.pretraining.validation`, step {last.get('step', '-')}):",
            "",
            "| families | exact match |",
            "| --- | ---: |",
            *(
                f"| {name.replace('_', ', ')} | {last[name]:.3f} |"
                for name in _GROUPS
                if name in last
            ),
            "",
            "## Families in pretraining",
            "",
            *(_line(name, by_family) for name in seen),
            "",
            "## Held out: calibration of the controller",
            "",
            *(_line(name, by_family) for name in sorted(CALIBRATION)),
            "",
            "## Held out: reports alone",
            "",
            *(_line(name, {}) for name in sorted(TEST)),
            "",
        ]
    )


_GROUPS = tuple(f"{side}_{kind}" for side in ("seen", "unseen") for kind in KINDS)


def _line(name: str, by_family: dict[str, float]) -> str:
    score = f" ({by_family[name]:.0%} of 2)" if name in by_family else ""
    return f"- `{name}`: {FAMILIES[name].concept}{score}"


def _curve(record: Log) -> list[str]:
    rows = []
    for end in range(250, record.step + 1, 250):
        losses = [loss for step, loss in record.curve if end - 250 < step <= end]
        if losses:
            rows.append(f"| {end} | {sum(losses) / len(losses):.3f} |")
    return rows


def _machine() -> str:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    return f"{os.cpu_count()} cores of {name}, torch {torch.__version__}"
