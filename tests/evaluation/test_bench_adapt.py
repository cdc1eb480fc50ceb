"""The benchmark of adapting runs every way there is, and its ratios are those of its seconds."""

from __future__ import annotations

import pytest

from autottt.errors import UnknownNameError
from autottt.evaluation import bench_adapt as bench
from autottt.evaluation.bench_trainers import Measured
from autottt.pretraining.splits import CALIBRATION


def test_ratios_and_differences_are_paired() -> None:
    """A ratio is of total seconds and lies in its interval; equal answers differ by nothing."""
    slow = [Measured(2.0 + k, 1.0, 10, 1, 1.0, k % 2 == 0) for k in range(6)]
    fast = [Measured(1.0, 0.5, 10, 1, 1.0, True) for _ in range(6)]
    found = bench._ratio(slow, fast)
    assert found["ratio"] == pytest.approx(sum(r.seconds for r in slow) / 9)
    assert found["low"] < found["ratio"] < found["high"]
    gap = bench._difference(slow, fast)
    assert gap["difference"] == 0.5
    assert gap["low"] <= 0.5 <= gap["high"]
    assert bench._difference(fast, fast) == {"difference": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.timeout(600)
def test_every_way_runs_on_the_same_rows() -> None:
    """Two tasks, two steps: each way trains as many tokens; the base is never changed."""
    for name in ("accelerate", "peft", "trl", "datasets"):
        pytest.importorskip(name, reason="the benchmark needs the extra `bench`")
    result = bench.bench_adapt(families=CALIBRATION[:2], tasks=2, steps=2)
    ways = result["ways"]
    assert {"trainer", "trainer-tuned", "sft-trainer", "autottt"} <= set(ways)
    for name, row in ways.items():
        assert row["steps"] == 2 or name == "autottt, held-out"
        assert 0 < row["adapt_seconds"] < row["seconds"]
        tokens = row["tokens_per_second"] * row["adapt_seconds"]
        assert tokens == pytest.approx(
            ways["autottt"]["tokens_per_second"] * ways["autottt"]["adapt_seconds"], rel=0.01
        )
    assert set(result["exact_match_gaps"]) == {bench.HELD_OUT_WAY, bench.FAST_WAY}
    ratios = [*result["times_faster"].values()]
    ratios += [of["adapting"] for of in ratios]
    assert all(of["low"] <= of["ratio"] <= of["high"] for of in ratios)
    some = bench.bench_adapt(
        families=CALIBRATION[:2], tasks=2, steps=2, only=[bench.WAYS[3], bench.TOGETHER_WAY]
    )
    assert list(some["times_faster"]) == ["autottt, together than autottt"]
    assert some["exact_match_gaps"] == {}
    with pytest.raises(UnknownNameError, match="nonsense"):
        bench.bench_adapt(families=CALIBRATION[:2], tasks=2, steps=2, only=["nonsense"])
