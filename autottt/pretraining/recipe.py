"""What a pretraining run is asked to do, the sizes it may have, and what it records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autottt.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Size, data and schedule. `steps` counts optimizer steps of `tokens` tokens each."""

    hidden: int = 192
    layers: int = 5
    heads: int = 3
    intermediate: int = 512
    context: int = 2048
    rope_theta: float = 10_000.0
    steps: int = 5_000
    tokens: int = 8192  # a step
    learning_rate: float = 3e-3
    matrix_learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warm_up: int = 100
    decay_share: float = 0.35
    seed: int = 0
    compile: bool = True
    row_lengths: tuple[int, ...] = (256, 512, 1024)
    row_weights: tuple[float, ...] = (0.45, 0.4, 0.15)
    room: int = 0  # cells by which grids of long rows may be larger than the families' own
    composed: float = 0.0  # share of grids and lines with outputs changed once more
    short_share: float = 0.2  # of the steps, at the start, whose rows all have the shortest length
    optimizer: str = "muon"  # on the matrices; or "adamw"
    start_from: str | None = None  # a released model folder of this size; else random weights

    def check_rows(self) -> None:
        """Raises `InputError` where rows do not fit the context or have no weights."""
        if max(self.row_lengths) > self.context:
            raise InputError(
                f"rows of {max(self.row_lengths)} tokens do not fit a context of {self.context}; "
                "give shorter row_lengths"
            )
        if len(self.row_lengths) != len(self.row_weights):
            raise InputError(
                f"row_weights has {len(self.row_weights)} numbers for {len(self.row_lengths)} row "
                "lengths; give one for each"
            )

    @property
    def decay_from(self) -> float:
        """The step from which the rate decays, if the warm-up is over by then."""
        return self.steps * (1 - self.decay_share)

    def rate(self, step: int) -> float:
        """The learning rate of a step as a share of its peak: warm-up, flat, linear to zero."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        if step < self.decay_from:
            return 1.0
        return max(0.0, (self.steps - step) / (self.steps - self.decay_from))


# what a size sets in the recipe; "large" is for an accelerator (57 MB in bf16)
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden": 96, "layers": 3, "heads": 2, "intermediate": 256},
    "small": {"hidden": 128, "layers": 4, "heads": 2, "intermediate": 344},
    "base": {"hidden": 192, "layers": 5, "heads": 3, "intermediate": 512},
    "large": {
        "hidden": 512,
        "layers": 9,
        "heads": 8,
        "intermediate": 1376,
        "tokens": 65_536,
        "matrix_learning_rate": 2e-3,
        "learning_rate": 2e-3,
    },
}

# what a run with tokens to spare has: rows up to the shipped context, larger grids, more rules
LONG: dict[str, Any] = {
    "tokens": 65_536,
    "row_lengths": (256, 512, 1024, 2048),
    "row_weights": (0.25, 0.3, 0.25, 0.2),
    "room": 8,
    "composed": 0.2,
}


@dataclass
class Log:
    """What a run records: the step reached, tokens, seconds, and a curve of (step, loss).

    `earlier` holds the training log of the weights that the run started from, if it did;
    `machine` what it ran on at last, which old logs do not say.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)
    earlier: dict[str, Any] | None = None
    machine: str | None = None


Run = tuple[Recipe, Log]


def recipe_of(values: dict[str, Any]) -> Recipe:
    """The recipe whose fields were written as JSON."""
    read: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Recipe(**read)
