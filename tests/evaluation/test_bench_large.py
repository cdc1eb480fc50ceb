"""The benchmark of large models, on a small one; `autottt bench-large` is the large one."""

from __future__ import annotations

import pytest

from autottt.evaluation.bench_large import DEMONSTRATIONS, RandomLlama, bench_large, words_task
from autottt.strategies.sequences import demonstration_sequence


@pytest.mark.timeout(300)
def test_both_ways_train_on_the_same_rows() -> None:
    """By the published recipe, for as many steps, and the ratio is that of their seconds."""
    for name in ("accelerate", "peft", "trl", "datasets"):
        pytest.importorskip(name, reason="the benchmark needs the extra `bench`")
    result = bench_large(size="tiny", tasks=1)
    assert (result["rows"], result["tasks"]) == (5, 1)
    theirs, ours = (result["ways"][name] for name in ("sft-trainer", "autottt"))
    assert theirs["steps"] == ours["steps"] == 8
    tokens = [row["tokens_per_second"] * row["adapt_seconds"] for row in (theirs, ours)]
    assert tokens[0] == pytest.approx(tokens[1])
    assert tokens[0] == pytest.approx(8 * 5 * result["row_tokens"])
    assert result["times_faster"] == theirs["adapt_seconds"] / ours["adapt_seconds"]
    assert result["seconds"]["autottt"] == [ours["adapt_seconds"]]


def test_demonstrations_are_as_long_as_the_published_ones() -> None:
    """Ten of about 115 tokens; a seed gives the same task, and a number another."""
    ids = demonstration_sequence(words_task(0, 0), RandomLlama("tiny")).ids
    assert len(ids) / DEMONSTRATIONS == pytest.approx(115, abs=2)
    assert words_task(0, 0) == words_task(0, 0) != words_task(1, 0)
