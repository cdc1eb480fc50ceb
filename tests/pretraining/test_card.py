"""The card says what the recipe and the logs hold."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from autottt.adapters.models.loading import SHIPPED
from autottt.pretraining.card import model_card
from autottt.pretraining.recipe import Log
from autottt.pretraining.stages import released_stages
from tests.pretraining.tiny import RECIPE

LOG = Log(step=12, tokens=10_000_000, seconds=60.0, curve=[(s, 1.0) for s in (25, 50, 75, 100)])
EARLIER: dict[str, Any] = {"recipe": asdict(RECIPE), "log": asdict(LOG)}


def test_the_shipped_card_is_written_from_its_log() -> None:
    """It is what the code writes of the shipped log, and rows of runs that it is compared with."""
    folder = SHIPPED["embedded"]
    shipped = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    written = model_card(*released_stages(folder)[-1]).splitlines()
    beside = [line for line in shipped if line not in written]
    assert all(line.startswith("| ") and line.count("|") == 9 for line in beside)
    assert [line for line in shipped if line not in beside] == written


@pytest.mark.parametrize(("optimizer", "name"), [("muon", "Muon"), ("adamw", "AdamW")])
def test_the_optimizer_of_the_matrices_is_named(optimizer: str, name: str) -> None:
    """A run with AdamW alone is not said to have had Muon."""
    card = model_card(replace(RECIPE, optimizer=optimizer), LOG)
    assert f"- The last run: {name} on the matrices at 0.003, AdamW on the rest at 0.003; " in card


@pytest.mark.parametrize(
    ("warm_up", "says"),
    [
        (2, "warm-up over 2 of 12 steps, flat, linear decay to zero from step 8."),
        (10, "warm-up over 10 of 12 steps, linear decay to zero from step 10."),
        (100, "warm-up over 12 of 12 steps."),
    ],
)
def test_the_schedule_is_the_one_that_was_run(warm_up: int, says: str) -> None:
    """A run that is all warm-up is not said to have decayed."""
    assert f"0.003; {says}" in model_card(replace(RECIPE, warm_up=warm_up), LOG)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"row_lengths": (64,)}, "- Its steps have 1,024 tokens, in rows of 64."),
        (
            {"row_lengths": (64, 128, 256), "room": 3, "composed": 0.2},
            "- Its steps have 1,024 tokens, in rows of 64, 128 or 256; in half of the tries at "
            "rows of at least 1024 grids may be 3 cells wider and higher; 20% of the grids and "
            "lines have outputs turned, mirrored or recoloured once more.",
        ),
    ],
)
def test_the_rows_are_those_that_were_trained_on(asked: dict[str, Any], says: str) -> None:
    """What a run added to the families' own tasks is on the card."""
    assert says in model_card(replace(RECIPE, **asked), LOG).splitlines()


def test_every_run_counts_the_tokens_of_all_its_stages() -> None:
    """Those that it is compared with, too."""
    beside = (replace(RECIPE, hidden=16), replace(LOG, earlier=EARLIER))
    card = model_card(RECIPE, replace(LOG, earlier=EARLIER), [beside])
    tokens = [row.split(" | ")[2] for row in card.splitlines() if " | muon | " in row]
    assert tokens == ["20.0 M", "10.0 M", "20.0 M"]


def test_the_machine_is_the_one_that_trained() -> None:
    """It is named where the log has it, wherever the card is written."""
    assert "ended on" not in model_card(RECIPE, LOG)
    assert "ended on a big machine." in model_card(RECIPE, replace(LOG, machine="a big machine"))
