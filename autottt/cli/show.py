"""What a human sees of a task: its grids, each decision with its reasons, and the answer.

Functions from tasks and answers to rich renderables; nothing is printed here. Texts that came
with a task are shown as they are, never read as markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from autottt.adapters.tasks.printable import printable, printable_lines
from autottt.adapters.tasks.terminal import answer_row, demonstrations, query_row
from autottt.record import correct
from autottt.types import Answer, Attempt, Candidate, Decision, Task, Value

RIGHT, WRONG = "✓", "✗"
FEATURES = 5  # how many of a decision's features are shown
QUERIES = 8  # of one task that are shown


def task_view(task: Task) -> RenderableType:
    """The demonstrations and the queries of a task under its id."""
    shown = task.queries[:QUERIES]
    queries = [query_row(query, name=_name(task, i)) for i, query in enumerate(shown)]
    return Group(
        Rule(Text(printable(task.id), style="bold")),
        *([Text(printable_lines(task.instruction)), Text()] if task.instruction else []),
        demonstrations(task),
        *(Padding(query, (0, 0, 1, 0)) for query in queries),
        *_more(task),
    )


def _more(task: Task) -> list[Text]:
    left = len(task.queries) - QUERIES
    return [Text(f"and {left} queries more\n", style="dim")] if left > 0 else []


def _name(task: Task, query: int) -> str:
    return "query" if len(task.queries) == 1 else f"query {query + 1}"


def decision_view(decision: Decision, *, number: int) -> RenderableType:
    """What was chosen and why: the arms with their numbers, the features that pulled most."""
    title = Text.assemble((f"decision {number}: ", "bold"), (decision.chosen, "bold cyan"))
    parts: list[RenderableType] = [title, Padding(Text(decision.reason), (0, 0, 0, 2))]
    if decision.utilities or decision.gains:
        parts.append(Padding(_arms(decision), (0, 0, 0, 2)))
    if decision.top_features:
        parts.append(Padding(_features(decision), (0, 0, 0, 2)))
    return Padding(Group(*parts), (0, 0, 1, 0))


def _arms(decision: Decision) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("arm")
    for heading in ("gain", "cost", "utility"):
        table.add_column(heading, justify="right")
    tables = (decision.gains, decision.costs, decision.utilities)
    for arm in dict.fromkeys(name for column in tables for name in column):
        table.add_row(
            arm,
            _number(decision.gains.get(arm), "{:+.1%}"),
            _number(decision.costs.get(arm), "{:.1f} s"),
            _number(decision.utilities.get(arm), "{:+.3f}"),
            style="cyan" if arm == decision.chosen else "",
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _features(decision: Decision) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("feature")
    table.add_column("value", justify="right")
    table.add_column("pull on the log-odds", justify="right")
    for name, value, pull in decision.top_features[:FEATURES]:
        table.add_row(name, f"{value:.3g}", f"{pull:+.2f}")
    return table


def attempt_line(attempt: Attempt) -> Text:
    """What one strategy did, on one line; in red if it failed."""
    if attempt.error is not None:
        return Text(f"{attempt.strategy} failed: {printable(attempt.error)}", style="red")
    facts = [f"{attempt.seconds:.1f} s", f"{attempt.tokens:,} tokens"]
    if attempt.steps:
        facts.append(f"{attempt.steps} training steps")
    if attempt.held_out is not None:
        facts.append(f"{attempt.held_out:.0%} of held-out demonstrations right")
    facts.append(f"stopped: {attempt.stop_reason}")
    return Text.assemble((attempt.strategy, "cyan"), ": " + ", ".join(facts))


def answer_view(task: Task, answer: Answer) -> RenderableType:
    """The answers as grids, right or wrong where that is known, then cost and restoration."""
    parts: list[RenderableType] = []
    for i, (query, candidates) in enumerate(zip(task.queries[:QUERIES], answer.answers)):
        target = task.targets[i] if task.targets else None
        parts.append(_answer_to(query, candidates, target, name=_name(task, i)))
    parts.extend(_more(task))
    parts.append(_summary(answer))
    verdict = correct(task, answer.answers)
    if verdict is not None:
        parts.append(_verdict(verdict))
    parts.extend(Text(f"warning: {printable(w)}", style="yellow") for w in answer.warnings)
    return Group(*parts)


def _answer_to(
    query: Value, candidates: Sequence[Candidate], target: Value | None, *, name: str
) -> RenderableType:
    if not candidates:
        return Group(query_row(query, name=name), Text("no answer", style="red"))
    captions = [
        f"{_mark(candidate, target)}answer {i} (score {candidate.score:.0%})"
        for i, candidate in enumerate(candidates, start=1)
    ]
    row = answer_row(query, [c.output for c in candidates], captions=captions, name=name)
    return Padding(row, (0, 0, 1, 0))


def _mark(candidate: Candidate, target: Value | None) -> str:
    if target is None:
        return ""
    return f"{RIGHT} " if candidate.output == target else f"{WRONG} "


def _summary(answer: Answer) -> Text:
    restored = (
        ("restored: every weight and buffer is bit for bit what it was", "green")
        if answer.restored
        else ("NOT RESTORED: the base model differs from what it was", "bold red")
    )
    return Text.assemble(
        "answered by ",
        (answer.strategy, "bold cyan"),
        f", {answer.confidence:.0%} {_sure(answer)}, in {answer.seconds:.1f} s",
        f" and {answer.tokens:,} tokens, seed {answer.seed}\n",
        "model ",
        restored,
    )


def _sure(answer: Answer) -> str:
    """What the confidence is: calibrated, but of a strategy that was asked for."""
    forced = any(decision.asked_for for decision in answer.decisions)
    return "of the vote" if forced else "confident"


def _verdict(right: list[bool]) -> Text:
    if all(right):
        return Text(f"{RIGHT} right", style="bold green")
    if len(right) == 1:
        return Text(f"{WRONG} wrong", style="bold red")
    return Text(f"{WRONG} {sum(right)} of {len(right)} queries right", style="bold red")


def results_table(results: Sequence[tuple[Task, Answer]]) -> Table:
    """One line a task: what answered it, whether rightly, and at what cost."""
    table = Table(
        box=None, header_style="dim", pad_edge=False, title="results", title_justify="left"
    )
    table.add_column("task")
    table.add_column("answered by")
    table.add_column("")
    table.add_column("confidence", justify="right")
    table.add_column("seconds", justify="right")
    for task, answer in results:
        right = correct(task, answer.answers)
        verdict = "unknown" if right is None else "right" if all(right) else "wrong"
        table.add_row(
            Text(printable(task.id)),
            answer.strategy,
            Text(verdict, style={"right": "green", "wrong": "red"}.get(verdict, "")),
            f"{answer.confidence:.0%}",
            f"{answer.seconds:.1f}",
        )
    return table
