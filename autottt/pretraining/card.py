"""The model card: what the weights are, what they learnt from, and what they did not see."""

from __future__ import annotations

from collections.abc import Sequence

from autottt.pretraining.batches import LONG_ROW
from autottt.pretraining.families import FAMILIES
from autottt.pretraining.recipe import Log, Recipe, Run
from autottt.pretraining.splits import CALIBRATION, TEST, pretraining_families
from autottt.pretraining.stages import earlier_stages
from autottt.pretraining.train import SHOW_EVERY, new_model
from autottt.pretraining.validation import KINDS

LAST = 4  # losses of the curve whose mean is the loss at the end


def model_card(recipe: Recipe, record: Log, beside: Sequence[Run] = ()) -> str:
    """The card in Markdown; every number comes from the recipe, the logs or the splits.

    `beside` are other runs to compare it with in a table.
    """
    size = _size(recipe)
    last = record.validation[-1] if record.validation else {}
    by_family = last.get("by_family", {})
    seen = pretraining_families()
    stages = [*earlier_stages(record), (recipe, record)]
    return "\n".join(
        [
            "# The embedded model",
            "",
            f"A Llama of {size / 1e6:.2f} M parameters (hidden {recipe.hidden}, {recipe.layers} "
            f"layers, {recipe.heads} heads, context {recipe.context}) over bytes, trained from "
            "random weights by `autottt pretrain` on generated few-shot tasks alone. It writes "
            "small grids and short lines of text; it is there so that everything runs without a "
            "download.",
            "",
            *(f"- Run {i}: {_run(*run)}." for i, run in enumerate(stages, start=1)),
            *([] if record.machine is None else [f"- The last one ended on {record.machine}."]),
            "- Licence: Apache-2.0, as the code.",
            f"- The last run: {_optimizers(recipe)}; {_schedule(recipe)}.",
            f"- {_rows(recipe)}.",
            f"- {len(FAMILIES)} families: {len(seen)} in pretraining, {len(CALIBRATION)} held out "
            f"for the controller, {len(TEST)} held out for reports. No benchmark task is in any. "
            "Some of those held out have kin in pretraining, which `pretraining/splits.py` names.",
            "",
            "## Tokens, sizes and optimizers",
            "",
            "Each row is the end of a run: one-view ICL on two fresh tasks of each family, and the "
            f"mean of the last {LAST} losses of its curve, which keeps that of every "
            f"{SHOW_EVERY}th step. Tokens are those of all stages, with padding; losses of runs "
            "with other rows do not compare.",
            "",
            "| parameters | optimizer | tokens | loss | seen lines | seen grids | unseen lines "
            "| unseen grids |",
            "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            *_compared(stages, beside),
            "",
            "## Loss of the last run (nats a token on demonstration outputs)",
            "",
            f"| step | mean of every {SHOW_EVERY}th loss of the 250 steps before |",
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


def _run(recipe: Recipe, record: Log) -> str:
    start = "random weights" if recipe.start_from is None else "the weights of the run before"
    return (
        f"from {start}, seed {recipe.seed}, {record.step} steps, {record.tokens / 1e6:.1f} M "
        f"tokens, {record.seconds / 60:.0f} minutes"
    )


def _optimizers(recipe: Recipe) -> str:
    name = {"muon": "Muon", "adamw": "AdamW"}[recipe.optimizer]
    return (
        f"{name} on the matrices at {recipe.matrix_learning_rate:g}, AdamW on the rest at "
        f"{recipe.learning_rate:g}"
    )


def _schedule(recipe: Recipe) -> str:
    parts = [f"warm-up over {min(recipe.warm_up, recipe.steps)} of {recipe.steps} steps"]
    if recipe.warm_up < recipe.decay_from:
        parts.append("flat")
    if recipe.warm_up < recipe.steps:
        parts.append(f"linear decay to zero from step {max(recipe.warm_up, recipe.decay_from):.0f}")
    return ", ".join(parts)


def _rows(recipe: Recipe) -> str:
    *lengths, longest = map(str, recipe.row_lengths)
    named = f"{', '.join(lengths)} or {longest}" if lengths else longest
    parts = [f"Its steps have {recipe.tokens:,} tokens, in rows of {named}"]
    if recipe.room:
        parts.append(
            f"in half of the tries at rows of at least {LONG_ROW} grids may be {recipe.room} cells "
            "wider and higher"
        )
    if recipe.composed:
        parts.append(
            f"{recipe.composed:.0%} of the grids and lines have outputs turned, mirrored or "
            "recoloured once more"
        )
    return "; ".join(parts)


def _compared(stages: Sequence[Run], beside: Sequence[Run]) -> list[str]:
    shown = [stages[: place + 1] for place in range(len(stages))]
    shown += [[*earlier_stages(log), (recipe, log)] for recipe, log in beside]
    rows = [(_size(run[-1][0]), sum(log.tokens for _, log in run), *run[-1]) for run in shown]
    return [_row(*row) for row in sorted(rows, key=lambda row: row[:2])]


def _size(recipe: Recipe) -> int:
    return sum(p.numel() for p in new_model(recipe).parameters())


def _row(size: int, tokens: int, recipe: Recipe, record: Log) -> str:
    last = record.validation[-1] if record.validation else {}
    end = [loss for _, loss in record.curve[-LAST:]]
    cells = [f"{size / 1e6:.2f} M", recipe.optimizer, f"{tokens / 1e6:.1f} M"]
    cells.append(f"{sum(end) / len(end):.3f}" if end else "-")
    for name, old in _COMPARED:
        score = last.get(name, last.get(old))
        cells.append("-" if score is None else f"{score:.1%}")
    return f"| {' | '.join(cells)} |"


# names of groups, and what logs called them before there were texts
_COMPARED = (
    ("seen_line", "seen_1d"),
    ("seen_grid", "seen_2d"),
    ("unseen_line", "unseen_1d"),
    ("unseen_grid", "unseen_2d"),
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
