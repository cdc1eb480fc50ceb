"""The benchmark of a model: exact match of strategies on 1D-ARC, ARC-AGI-1 and generated tasks.

None of these tasks was in the pretraining of the embedded model or in the fitting of its gate; the
suite of seen families alone has fresh tasks of families that pretraining drew from. A task is right
when the first candidate of every query is its target. Outcomes go to a log, so a benchmark that was
stopped goes on where it was, and a table is a function of the log.
"""

from __future__ import annotations

import platform
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from autottt.adapters.tasks.files import load_tasks
from autottt.adapters.tasks.prompts import completion, prompt
from autottt.controller.outcomes import ICL_ARMS, Outcome
from autottt.errors import InputError
from autottt.evaluation.collect import generated_tasks
from autottt.pretraining.families import FAMILIES
from autottt.pretraining.splits import TEST, pretraining_families
from autottt.types import JSON, Task

ONE_D_ARC, ARC, UNSEEN, SEEN = "1d-arc", "arc-agi-1", "test-families", "seen-families"
SEED = 900  # of generated tasks, apart from those that a gate is fitted to
MAX_CELLS = 700  # of a generated task

# 1D-ARC's types -> the pretraining family of the same concept, judged by reading both. The tasks
# themselves, their sizes and colours and how they are drawn differ.
SAME_CONCEPT = {
    "1d_denoising_1c": "line_denoise",
    "1d_denoising_mc": "line_mend",
    "1d_fill": "line_fill_between",
    "1d_flip": "line_reverse_objects",
    "1d_move_1p": "line_shift",
    "1d_move_2p": "line_shift",
    "1d_move_3p": "line_shift",
    "1d_move_dp": "line_slide_to_marker",
    "1d_padded_fill": "line_fill_between",
    "1d_pcopy_1c": "line_copy_to_markers",
    "1d_recolor_cmp": "line_recolour_extreme",
    "1d_recolor_cnt": "line_colour_by_length",
}


def length(task: Task) -> int:
    """Bytes of the task's longest prompt and of its answer, as long as the longest output known."""
    outputs = [example.output for example in task.demonstrations] + [*(task.targets or ())]
    answer = max(len(completion(output)) for output in outputs)
    return answer + max(len(prompt(task.demonstrations, query)) for query in task.queries)


def one_d_arc_tasks(folder: Path) -> list[tuple[str, Task]]:
    """`(1d-arc/TYPE, task)` for each task below `folder`, types in order; raises `TaskError`."""
    tasks = load_tasks(str(folder))
    return [(f"{ONE_D_ARC}/{task.id.rpartition('_')[0]}", task) for task in tasks]


def arc_tasks(max_tokens: int) -> list[tuple[str, Task]]:
    """`(arc-agi-1/SET, task)` of ARC-AGI-1 with at most so many bytes each, short ones first."""
    found = [
        (f"{ARC}/{name}", task)
        for name in ("training", "evaluation")
        for task in load_tasks(f"arc:{name}")
        if length(task) <= max_tokens
    ]
    return sorted(found, key=lambda pair: length(pair[1]))


def unseen_tasks(per_family: int) -> list[tuple[str, Task]]:
    """`(test-families/KIND, task)` for so many tasks of every test family."""
    return _generated(UNSEEN, TEST, per_family)


def seen_tasks(families: int) -> list[tuple[str, Task]]:
    """`(seen-families/KIND, task)`, a fresh task of each of so many pretraining families."""
    names = pretraining_families()
    chosen = random.Random(SEED).sample(names, min(families, len(names)))
    return _generated(SEEN, chosen, 1)


def _generated(suite: str, families: Sequence[str], each: int) -> list[tuple[str, Task]]:
    drawn = generated_tasks(families, each, seed=SEED, max_cells=MAX_CELLS)
    return [(f"{suite}/{FAMILIES[name].kind}", task) for name, task in drawn]


def first_of_each(tasks: Sequence[tuple[str, Task]], n: int) -> list[tuple[str, Task]]:
    """The first `n` tasks of every group, in order."""
    taken: dict[str, int] = {}
    chosen = []
    for group, task in tasks:
        taken[group] = taken.get(group, 0) + 1
        if taken[group] <= n:
            chosen.append((group, task))
    return chosen


def table(outcomes: Sequence[Outcome]) -> JSON:
    """Rows by group and by suite, with the exact match of every strategy and its mean seconds.

    `exact_match` is the mean over seeds of the share of tasks that are right, `by_seed` the shares
    themselves; `solved` lists the ARC tasks that a strategy has right under the first seed. Raises
    `InputError` for an empty log.
    """
    if not outcomes:
        raise InputError("the outcome log is empty; nothing fits what was asked for")
    groups = sorted({o.group for o in outcomes})
    seeds = sorted({o.seed for o in outcomes})
    rows = [_row(group, [o for o in outcomes if o.group == group]) for group in groups]
    for row in rows:
        kind = row["group"].partition("/")[2]
        if row["group"].startswith(ONE_D_ARC):
            row["same_concept_family"] = SAME_CONCEPT.get(kind)
    suites = sorted({group.partition("/")[0] for group in groups})
    totals = [_row(s, [o for o in outcomes if o.group.partition("/")[0] == s]) for s in suites]
    lines = [o for o in outcomes if o.group.startswith(ONE_D_ARC)]
    for name, known in (("seen concept", True), ("new concept", False)):
        chosen = [o for o in lines if (o.group.partition("/")[2] in SAME_CONCEPT) == known]
        if chosen:
            totals.append(_row(f"{ONE_D_ARC}, {name}", chosen))
    return {
        "model": outcomes[0].model,
        "seeds": seeds,
        "machine": f"{platform.machine()}, {platform.system()}",
        "rows": rows,
        "totals": totals,
        "solved": {
            arm: sorted(
                o.task_id
                for o in outcomes
                if o.group.startswith(ARC) and o.seed == seeds[0] and o.arms[arm].right
            )
            for arm in _arms(outcomes)
        },
    }


def _arms(outcomes: Sequence[Outcome]) -> list[str]:
    """The strategies of a log, those that do not train first."""
    return sorted(outcomes[0].arms, key=lambda arm: (arm not in ICL_ARMS, arm))


def _row(name: str, outcomes: Sequence[Outcome]) -> JSON:
    seeds = sorted({o.seed for o in outcomes})
    arms: JSON = {}
    for arm in _arms(outcomes):
        shares = [mean(o.arms[arm].right for o in outcomes if o.seed == seed) for seed in seeds]
        arms[arm] = {
            "exact_match": mean(shares),
            "by_seed": shares,
            "seconds": mean(o.arms[arm].seconds for o in outcomes),
        }
    return {"group": name, "tasks": len({o.task_id for o in outcomes}), "strategies": arms}
