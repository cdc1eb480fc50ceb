"""Every task family draws valid, inferable, repeatable tasks; the splits are apart."""

from __future__ import annotations

import numpy as np
import pytest

from autottt.pretraining.families import FAMILIES
from autottt.pretraining.families.base import AnyPair, larger
from autottt.pretraining.recipe import LONG
from autottt.pretraining.sampling import draw_pairs, draw_task, vary
from autottt.pretraining.splits import CALIBRATION, HELD_OUT, TEST, pretraining_families

NAMES = sorted(FAMILIES)


@pytest.mark.parametrize("name", NAMES)
def test_a_family_draws_valid_pairs(name: str) -> None:
    """Grids within 30x30, lines within 48 cells, texts of one line; rules that change something."""
    family = FAMILIES[name]
    drawn = 0
    for seed in range(12):
        pairs = draw_pairs(family, np.random.default_rng(seed), 5)
        drawn += len(pairs)
        for x, y in pairs:
            for cells in (x, y):
                if isinstance(cells, str):
                    assert family.kind == "text"
                    assert 0 < len(cells) <= 100
                    assert cells.isprintable()
                    assert cells.isascii()
                    continue
                assert cells.dtype == np.int8
                assert cells.ndim == 2
                assert cells.size > 0
                assert cells.min() >= 0
                assert cells.max() <= 9
                assert cells.shape[1] <= (48 if family.kind == "line" else 30)
                assert cells.shape[0] <= (1 if family.kind == "line" else 30)
    assert drawn >= 30, f"{name} gave {drawn} of 60 pairs"
    assert family.concept.endswith(".")


@pytest.mark.parametrize("name", [n for n in NAMES if FAMILIES[n].kind == "grid"])
def test_a_family_draws_valid_pairs_on_larger_grids(name: str) -> None:
    """With the room of long rows cells are colours, and outputs that kept the size still do."""
    family = FAMILIES[name]

    def drawn() -> list[AnyPair]:
        return [p for s in range(8) for p in draw_pairs(family, np.random.default_rng(s), 4)]

    kept = all(np.shape(x) == np.shape(y) for x, y in drawn())
    with larger(LONG["room"]):
        roomy = drawn()
        assert len(roomy) >= 16
        for x, y in roomy:
            assert isinstance(x, np.ndarray)
            assert isinstance(y, np.ndarray)
            assert min(x.min(), y.min()) >= 0
            assert max(x.max(), y.max()) <= 9
            assert x.shape == y.shape or not kept


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_a_function_of_its_name_and_seed(name: str) -> None:
    """The same draw twice gives the same task, another seed gives another one."""
    first, again, other = (draw_task(name, seed) for seed in (7, 7, 8))
    assert first == again
    assert first.demonstrations != other.demonstrations
    assert len(first.demonstrations) == 4
    assert first.targets is not None


def test_the_splits_are_apart_and_large_enough() -> None:
    """No family is on two sides, all exist, and at least a quarter is held out of pretraining."""
    seen = set(pretraining_families())
    assert not seen & HELD_OUT
    assert not set(CALIBRATION) & set(TEST)
    assert seen | HELD_OUT == set(FAMILIES)
    assert len(HELD_OUT) >= len(FAMILIES) / 4


def test_varying_a_task_keeps_its_structure() -> None:
    """Symmetry and colours are applied to input and output alike."""
    rng = np.random.default_rng(0)
    x = np.array([[1, 2], [0, 3]], dtype=np.int8)
    for _ in range(20):
        ((a, b),) = vary([(x, x)], "grid", rng)
        assert np.array_equal(a, b)
        assert not isinstance(a, str)
        assert len(np.unique(a)) == 4
