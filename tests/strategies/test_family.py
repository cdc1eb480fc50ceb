"""The family of strategies, on the fake model and on the embedded one."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autottt import Solver
from autottt.adapters.models import decoding
from autottt.adapters.models.adapter_cache import AdapterCache
from autottt.adapters.models.base import (
    BiasSettings,
    Check,
    HeldOut,
    LoraSettings,
    TokenSequence,
    TrainRecord,
    TrainSettings,
)
from autottt.adapters.models.fake import FakeModel
from autottt.adapters.models.fingerprint import Snapshot
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import ModelSettings
from autottt.adapters.models.progress import Run
from autottt.adapters.models.session import AdapterSession
from autottt.adapters.tasks.prompts import completion
from autottt.controller.difficulty import looks
from autottt.errors import AbandonedError, StrategyError
from autottt.solver import alike
from autottt.strategies import proposals, registry
from autottt.strategies.answering import (
    JUDGED,
    Answered,
    Experts,
    Search,
    Views,
    Vote,
    over_rivals,
)
from autottt.strategies.base import RunContext
from autottt.strategies.encoding import prompt_tokens
from autottt.strategies.sequences import all_outputs, demonstration_sequence
from autottt.strategies.shortening import shortened
from autottt.strategies.start import Nearest, Shared, demonstrations_key
from autottt.strategies.ttt import TTT
from autottt.strategies.ttt_kv import KVPrefix, _pairs
from autottt.types import Answer, AnswerFormat, Candidate, Grid, Task, Value
from tests.adapters.models.zoo import save

QUICK = TTT(adapter=LoraSettings(rank=4, alpha=8), batch=2, answering=Vote(Views(2)))
TURNED = Task.from_examples(
    [([[c, 0, 0], [c, c, 0]], [[c]]) for c in (1, 2, 3)], [[4, 0, 0], [4, 4, 0]]
)
TRAINING = [s.name for s in registry.SHIPPED if s.trains]


def fill(marks: Sequence[tuple[int, int]], colour: int) -> tuple[Grid, Grid]:
    """A line with two marks, and the same with what lies between filled."""
    (a, b), row = sorted(marks)[0], [0] * 10
    row[a] = row[b] = colour
    full = [colour if a <= i <= b else 0 for i in range(10)]
    return (tuple(row),), (tuple(full),)


def filling(first: int = 1, *, id: str = "fill") -> Task:
    """A task that the embedded model has seen the like of."""
    pairs = [fill([(first, 5)], 4), fill([(2, 8)], 7), fill([(0, 3)], 2)]
    query, target = fill([(3, 8)], 5)
    return Task.from_examples(pairs, query, id=id, target=target)


def brighter(first: int) -> Task:
    """A task that it has not: filled with the next colour."""
    task = filling(first)
    cells = ((e.input, np.array(e.output)) for e in task.demonstrations)
    shown = [(given, (output + (output > 0)).tolist()) for given, output in cells]
    query: Any = task.queries[0]
    return Task.from_examples(shown, query, id=f"brighter-{first}")


@pytest.fixture(scope="module")
def model() -> HuggingFaceModel:
    return HuggingFaceModel("embedded")


def test_a_trained_model_says_what_it_thinks_of_other_answers(model: HuggingFaceModel) -> None:
    """Its own answer is as probable as itself and more so than a wrong one; what is none is 0."""
    task = filling()
    strategy = registry.get("ttt-light")

    def over(*rivals: Value) -> float:
        return strategy.run(task, RunContext(model, rivals=rivals)).evidence["over_icl"]

    alone = strategy.run(task, RunContext(model))
    assert "over_icl" not in alone.evidence
    own = alone.candidates[0][0].output
    assert over(own) == 0.0
    assert over(task.queries[0]) > 1.0


def test_what_cannot_be_compared_is_not(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an answer on either side, time or memory, nothing is said and nothing is lost."""
    task, strategy = filling(), replace(TTT(), training=TrainSettings(steps=2))
    own = Candidate(task.queries[0], 1.0, -1.0)
    answered = Answered(((own,),), {}, 0)

    def said(rival: Value | None, found: Answered = answered, **changes: Any) -> dict[str, float]:
        context = RunContext(model, rivals=(rival,), **changes)
        return strategy._compared(task, found, context, (), 1.0)

    assert task.targets is not None
    other = task.targets[0]
    assert said(other)["over_icl"] != 0
    assert said(None) == {}
    assert said(other, Answered(((),), {}, 0)) == {}
    assert said(other, deadline=time.monotonic() + 0.5) == {}

    def full(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model, "score_answers", full)
    assert said(other) == {}
    attempt = strategy.run(task, RunContext(model, rivals=(other,)))
    assert attempt.steps == 2
    assert "out of memory" not in attempt.stop_reason


def test_experts_order_the_answers_of_a_vote(model: HuggingFaceModel) -> None:
    """The answers are those of the vote; the first three by what all views think of them."""
    rows = np.random.default_rng(0).integers(0, 10, size=(7, 3, 3)).tolist()  # without a rule
    task = Task.from_examples(list(zip(rows[:3], rows[3:6])), rows[6])
    context = RunContext(model)
    voted = registry.get("icl-vote").run(task, context)
    judged = registry.get("icl-experts").run(task, context)
    (before,), (after,) = voted.candidates, judged.candidates
    assert len(before) > JUDGED
    assert {c.output for c in before[:JUDGED]} == {c.output for c in after[:JUDGED]}
    assert before[JUDGED:] == after[JUDGED:]
    known = [c.log_probability for c in after[:JUDGED]]
    assert known == sorted(known, reverse=True)
    assert sum(c.score for c in after[:JUDGED]) == pytest.approx(1.0)
    first = after[0]
    choice = {"experts_share": first.score, "experts_logp": first.log_probability}
    assert judged.evidence == {**voted.evidence, **choice}
    assert judged.tokens > voted.tokens


def test_experts_score_the_vote_s_answer_with_their_own(model: HuggingFaceModel) -> None:
    """What they think of it is as if asked for it alone, and their answer as it is without.

    The time is the share of what only the other answer needed: none where it is one of theirs.
    """
    rows = np.random.default_rng(0).integers(0, 10, size=(7, 3, 3)).tolist()  # without a rule
    task = Task.from_examples(list(zip(rows[:3], rows[3:6])), rows[6])
    experts, members = Experts(), [lambda: None]
    alone = experts.answer(task, RunContext(model), members)
    assert "over_icl" not in alone.evidence
    first, second = (c.output for c in alone.candidates[0][:2])
    for rival in (first, second, task.queries[0]):
        context = RunContext(model, rivals=(rival,))
        beside = experts.answer(task, context, members)
        assert [c.output for c in beside.candidates[0]] == [c.output for c in alone.candidates[0]]
        assert beside.tokens == alone.tokens
        over = over_rivals(task, alone, context.rivals, context, members, Views())
        assert beside.evidence["over_icl"] == pytest.approx(over, abs=0.02)
        assert (beside.evidence["over_icl"] > 0) == (rival != first)
        assert (beside.evidence["comparing_seconds"] > 0) == (rival == task.queries[0])
    assert "over_icl" not in experts.answer(task, context).evidence  # nothing is trained


def test_experts_without_a_choice_of_their_own_leave_comparing_to_others(
    model: HuggingFaceModel,
) -> None:
    """With one view they score nothing; the attempt asks for the comparison alone."""
    task, strategy = filling(), replace(TTT(), training=TrainSettings(steps=2))
    context = RunContext(model, rivals=(task.queries[0],))
    beside = Experts(Views(1)).answer(task, context, [lambda: None])
    assert beside == Experts(Views(1)).answer(task, RunContext(model))
    attempt = replace(strategy, answering=Experts(Views(1))).run(task, context)
    assert attempt.evidence["over_icl"] != 0
    assert attempt.evidence["comparing_seconds"] > 0


def test_a_rival_too_long_does_not_keep_experts_from_choosing(model: HuggingFaceModel) -> None:
    """Their answer is as it would be without, and nothing is said of the other."""
    rows = np.random.default_rng(0).integers(0, 10, size=(7, 3, 3)).tolist()  # without a rule
    task = Task.from_examples(list(zip(rows[:3], rows[3:6])), rows[6])
    tall, members = tuple((1,) for _ in range(1500)), [lambda: None]
    alone = Experts().answer(task, RunContext(model), members)
    beside = Experts().answer(task, RunContext(model, rivals=(tall,)), members)
    assert beside == alone


def test_experts_have_nothing_to_do_where_all_agree(model: HuggingFaceModel) -> None:
    """One view has one answer."""
    task, views = filling(), Views(1)
    one = Experts(views).answer(task, RunContext(model))
    voted = Vote(views).answer(task, RunContext(model))
    assert (one.candidates, one.tokens) == (voted.candidates, voted.tokens)
    assert one.evidence["experts_share"] == 1.0
    assert one.evidence["experts_logp"] == voted.evidence["sequence_logp"]


def test_an_answer_too_long_under_a_view_is_not_compared(model: HuggingFaceModel) -> None:
    """The attempt is as it would be without; nothing fails."""
    tall = tuple((1,) for _ in range(1500))
    task = filling()
    attempt = registry.get("ttt-light").run(task, RunContext(model, rivals=(tall,)))
    assert "over_icl" not in attempt.evidence
    assert attempt.candidates


@pytest.mark.parametrize("name", [*(s.name for s in registry.SHIPPED), "ttt+search", "ttt+experts"])
def test_every_strategy_answers_and_leaves_no_trace(model: HuggingFaceModel, name: str) -> None:
    """An attempt has a candidate, a cost and a reason; the model is what it was, bit for bit."""
    before = Snapshot.take(model.module)
    other = filling(2, id="other")
    context = RunContext(model, adapters=AdapterCache(), related=(other,))
    strategy = registry.get(name)
    if isinstance(strategy, TTT):
        strategy = replace(strategy, training=replace(strategy.training, steps=4))
    task = filling()
    if name == "icl-options":
        assert "not limited" in str(strategy.unavailable(task, context))
        pairs = [(f"is {n} even", "no" if n % 2 else "yes") for n in range(4)]
        limited = AnswerFormat("choice", ("yes", "no"))
        task = Task.from_examples(pairs, "is 6 even", answer=limited)
    assert strategy.unavailable(task, context) is None
    attempt = strategy.run(task, context)
    assert attempt.strategy == name
    assert attempt.candidates[0] or name == "zero-shot"  # it learnt with demonstrations alone
    assert attempt.tokens > 0
    assert all(0 <= c.score <= 1 for c in attempt.candidates[0])
    assert attempt.stop_reason
    if strategy.trains:
        assert attempt.steps <= 4
        assert attempt.memory > 0
    assert before.differences(model.module) == []


@pytest.mark.parametrize("name", ["ttt", "ttt-kv", "ttt-bias"])
def test_another_query_costs_no_training(model: HuggingFaceModel, name: str) -> None:
    """With the adapter cached, the answer is that of a fresh training, and nothing is trained."""
    strategy = registry.get(name)
    assert isinstance(strategy, TTT)
    strategy = replace(strategy, training=TrainSettings(steps=6, check_every=2, stop_loss=0.0))
    task, context = filling(), RunContext(model, adapters=AdapterCache())
    first = strategy.run(task, context)
    asked = replace(task, queries=(fill([(1, 6)], 9)[0],))
    fresh = strategy.run(asked, RunContext(model))
    again = strategy.run(asked, context)
    assert (first.reused, fresh.reused, again.reused) == (False, False, True)
    (got,), (expected,) = again.candidates[0], fresh.candidates[0]
    assert (got.output, got.score) == (expected.output, expected.score)
    # a GPU adds in any order
    assert got.log_probability == pytest.approx(expected.log_probability, abs=1e-3)
    assert "adapter reused" in again.stop_reason
    known = {k: v for k, v in fresh.evidence.items() if not k.endswith("_seconds")}
    reused = {k: v for k, v in again.evidence.items() if not k.endswith("_seconds")}
    assert reused == pytest.approx(known, rel=1e-4, abs=1e-3)
    assert "look1_loss" in known
    assert again.evidence.keys() == fresh.evidence.keys()
    assert again.evidence["look1_seconds"] == first.evidence["look1_seconds"]


@pytest.mark.parametrize("answering", [Experts(Views(8, "prefix")), Search(Views(8, "prefix"))])
def test_many_queries_follow_a_prefix_a_few_at_a_time(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch, answering: Experts | Search
) -> None:
    """However many there are, memory is that of a few, and the answers are the same."""
    queries = tuple(fill([(k % 4, 5 + k % 5)], 1 + k % 9)[0] for k in range(10))
    task, rows = replace(filling(), queries=queries, targets=None), list[int]()
    strategy = KVPrefix(training=TrainSettings(steps=1), answering=answering)
    real = decoding._Rows.__init__

    def counted(self: Any, owner: Any, prompts: Any, more: int) -> None:
        rows.append(len(prompts))
        real(self, owner, prompts, more)

    monkeypatch.setattr(decoding._Rows, "__init__", counted)
    found = strategy.run(task, RunContext(model))
    assert 0 < max(rows) <= 8 * proposals.QUERIES
    monkeypatch.setattr(proposals, "QUERIES", 100)
    at_once = strategy.run(task, RunContext(model))
    assert max(rows) == 80
    assert found.winners == at_once.winners


def test_an_adapter_cut_short_by_a_deadline_is_not_kept(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a deadline left half trained must not be taken for the whole later."""
    cache, real = AdapterCache(), AdapterSession.train

    def cut(self: AdapterSession, *given: Any, **named: Any) -> list[TrainRecord]:
        return real(self, *given, **{**named, "deadline": time.monotonic() + 0.5})

    monkeypatch.setattr(AdapterSession, "train", cut)
    strategy = TTT(training=TrainSettings(steps=10_000, stop_loss=0))
    attempt = strategy.run(filling(), RunContext(model, adapters=cache))
    assert attempt.stop_reason == "deadline"
    assert len(cache) == 0


def row(tokens: Sequence[int]) -> TokenSequence:
    """A row whose last half is a target."""
    half = len(tokens) // 2
    return TokenSequence(tuple(tokens), (False,) * half + (True,) * (len(tokens) - half))


def test_held_out_rows_stop_a_training_and_choose_its_step(model: HuggingFaceModel) -> None:
    """A row learnt along becomes exact and ends it; a hopeless one ends it too."""
    learnt, spoilt = row(model.encode("12121212")), row(model.encode("31415926"))
    settings = TrainSettings(steps=60, learning_rate=3e-3, stop_loss=0, check_every=2, patience=3)

    def train(watching: TokenSequence) -> tuple[Any, float]:
        with model.session(LoraSettings(rank=4, alpha=8), seeds=[0]) as opened:
            (record,) = opened.train(
                [lambda step: [learnt]], settings, held_out=[HeldOut(lambda check: [watching], 1)]
            )
            return record, sum(model.score([watching])[0].log_probabilities)

    cold = sum(model.score([spoilt])[0].log_probabilities)
    good, _ = train(learnt)
    assert good.stop_reason == "100% of held-out outputs exact"
    assert good.best == Check(good.steps, good.checks[-1].loss, 1.0)
    assert good.steps < 60
    bad, after = train(spoilt)
    assert bad.stop_reason == "held-out outputs at most 0% exact in 3 checks"
    assert bad.steps == 6
    assert bad.best is not None
    kept = next(c for c in bad.checks if c.step == bad.best.step)
    assert after == pytest.approx(-kept.loss * 4, abs=0.05)
    if bad.best.step == 0:
        assert after == pytest.approx(cold, rel=1e-3)


def test_a_score_counts_every_turn_once() -> None:
    """Scores are means over the last turns; before each has come there is none but the first."""
    run = Run(0, lambda step: [], HeldOut(lambda check: [], 3))
    parameters: list[Any] = []
    scores = []
    for number, exact in enumerate([0.0, 1.0, 0.5, 0.0, 1.0]):
        run.check(Check(4 * number, 1.0, exact), parameters)
        scores.append(run.score())
    assert [s and s.exact for s in scores] == [0.0, None, None, 0.5, 0.5]
    assert run.best == Check(12, 1.0, 0.5)


def test_watching_says_why_it_stopped(model: HuggingFaceModel) -> None:
    """The trace names the reason and the step that was kept; the score is part of the attempt."""
    attempt = registry.get("ttt-watch").run(filling(), RunContext(model))
    assert "kept" in attempt.stop_reason
    assert attempt.held_out is not None
    assert 0 <= attempt.held_out <= 1
    assert "held_out_loss" in attempt.evidence


def test_a_judge_looks_at_a_training_and_may_end_it(model: HuggingFaceModel) -> None:
    """It is asked every few steps, of what the attempt also reports; its reason is the error."""
    heard: list[dict[str, float]] = []

    def listen(evidence: Mapping[str, float]) -> None:
        heard.append(dict(evidence))

    before, cache = Snapshot.take(model.module), AdapterCache()
    watching = registry.get("ttt-watch")
    assert isinstance(watching, TTT)
    watching = replace(watching, training=TrainSettings(steps=9, enough=1.1, hopeless=-1))
    whole = watching.run(filling(), RunContext(model, judge=listen))
    assert [evidence["look"] for evidence in heard] == [1, 2]
    assert looks(whole.evidence) == heard
    assert {"look_loss", "look_drop", "start_held_out_exact", "look_seconds"} <= set(heard[0])

    def refuse(evidence: Mapping[str, float]) -> str | None:
        return "enough seen" if evidence["look"] == 2 else None

    with pytest.raises(AbandonedError, match="enough seen") as caught:
        watching.run(filling(), RunContext(model, judge=refuse, adapters=cache))
    assert caught.value.evidence["look_loss"] == pytest.approx(heard[1]["look_loss"], rel=1e-4)
    assert len(cache) == 0
    assert before.differences(model.module) == []


def test_a_training_that_has_ended_is_not_given_up(model: HuggingFaceModel) -> None:
    """After the last step only the answer is left, so nobody is asked whether to go on."""
    short = replace(QUICK, training=TrainSettings(steps=4, check_every=4))
    attempt = short.run(filling(), RunContext(model, judge=lambda evidence: "enough"))
    assert attempt.steps == 4
    assert attempt.candidates[0]


@pytest.mark.parametrize("query", ["grid", "line"])
def test_rows_are_of_the_task_as_it_is_too(query: str) -> None:
    """Of a task whose symmetries can be told apart, some rows have the plain one."""
    task = filling() if query == "line" else TURNED
    fake, rng = FakeModel(lambda g: g, lambda g: g), np.random.default_rng(0)
    grids: list[Any] = [e.input for e in task.demonstrations]
    plain = {tuple(c != 0 for c in row) for grid in grids for row in grid}
    rows = [bytes(all_outputs(task, rng, fake).ids).decode() for _ in range(40)]
    first = [row.split(">")[0].split() for row in rows]
    seen = sum(all(tuple(c != "0" for c in line) in plain for line in grid) for grid in first)
    assert 0 < seen < len(rows)


def test_a_prefix_hides_a_demonstration_and_not_the_instruction() -> None:
    """Every row sees it, as the query does; what is hidden is the demonstration itself."""
    told = Task.from_examples([("a", "b"), ("c", "d")], "e", instruction="Name the next letter.")
    fake = FakeModel(lambda g: g, lambda g: g)
    prefix = bytes(demonstration_sequence(told, fake).ids).decode()
    hidden = [prefix[row.hidden[0] : row.hidden[1]] for row in _pairs(told, fake)]
    assert hidden == ["a\n>b\n\n", "c\n>d\n\n"]


def test_what_follows_a_prefix_is_encoded_as_such(tmp_path: Path) -> None:
    """A tokenizer that begins a text with a space does not where a prefix stands before it."""
    plain = ModelSettings(format="plain")
    model = HuggingFaceModel(str(save("llama", tmp_path)), settings=plain)
    task = Task.from_examples([("a", "b"), ("c", "d")], "e")
    whole = prompt_tokens(task, "e", model)
    after = prompt_tokens(task, "e", model, shown="prefix")
    assert whole[-len(after) :] == after
    assert whole[: -len(after)] == list(demonstration_sequence(task, model).ids)


def test_the_instruction_counts_for_no_demonstration() -> None:
    """It stays whichever is left out, so the longest that goes is the longest itself."""
    fake = FakeModel(lambda g: g, lambda g: g, context=600)
    shown = [("short", "1"), ("long " * 40, "2"), ("middle " * 10, "3")]
    task = Task.from_examples(shown, "query", instruction="word " * 60)
    kept, said = shortened(task, fake)
    assert said is not None
    assert [e.output for e in kept.demonstrations] == ["1", "3"]


def test_a_watched_demonstration_is_never_a_target(model: HuggingFaceModel) -> None:
    """During its turn, no row takes a loss on its output."""
    strategy = registry.get("ttt-watch")
    assert isinstance(strategy, TTT)
    task = filling()
    batch = strategy.batches(task, RunContext(model))
    for step in range(3 * strategy.training.check_every):
        shown = sum(len(completion(e.output)) for e in task.demonstrations)
        for sequence in batch(step):
            assert sum(sequence.is_target) == shown - 12, "one of three outputs of ten cells"


def test_memory_running_out_halves_the_batch_once(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first failure is survived and told; a second is a typed error; the model is intact."""
    before = Snapshot.take(model.module)
    real, sizes = AdapterSession._logits, []

    def exhausted(limit: int) -> None:
        def logits(self: Any, ids: Any, *args: Any) -> Any:
            sizes.append(len(ids))
            if len(ids) > limit:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
            return real(self, ids, *args)

        monkeypatch.setattr(AdapterSession, "_logits", logits)

    strategy = TTT(training=TrainSettings(steps=2))
    exhausted(4)
    attempt = strategy.run(filling(), RunContext(model))
    assert sizes == [8, 4, 4]
    assert "4 rows a step after running out of memory" in attempt.stop_reason
    exhausted(0)
    with pytest.raises(StrategyError, match="out of memory, even with 4 rows"):
        strategy.run(filling(), RunContext(model))
    exhausted(1)
    sizes.clear()
    long = replace(strategy, step_tokens=2)  # two rows of a long task
    assert "; 1 rows a step after" in long.run(filling(), RunContext(model)).stop_reason
    assert sizes == [2, 1, 1]
    assert before.differences(model.module) == []


def test_memory_that_will_not_do_is_refused_before_the_run(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch shrinks to what is predicted to fit; where no row does, nothing is tried."""
    monkeypatch.setattr(HuggingFaceModel, "training_rows", lambda self, length: 3)
    batch = TTT().batches(filling(), RunContext(model))
    assert len(batch(0)) == 3
    monkeypatch.setattr(HuggingFaceModel, "training_rows", lambda self, length: 0)
    with pytest.raises(StrategyError, match="more memory than is free"):
        TTT().run(filling(), RunContext(model))


def test_a_shared_adapter_cut_by_a_deadline_is_not_kept(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later tasks start from one that was trained in full."""
    tasks = filling(1, id="one"), filling(2, id="two")
    start = Shared(training=TrainSettings(steps=2, stop_loss=0))
    strategy = TTT(start=start, training=TrainSettings(steps=1, stop_loss=0))
    real, heard = AdapterSession.train, list[str]()

    def cut(self: AdapterSession, *given: Any, **named: Any) -> list[TrainRecord]:
        monkeypatch.setattr(AdapterSession, "train", real)
        return real(self, *given, **{**named, "deadline": time.monotonic()})

    monkeypatch.setattr(AdapterSession, "train", cut)
    context = RunContext(
        model,
        adapters=AdapterCache(),
        related=tasks,
        progress=lambda what, done, total: heard.append(what.split(",")[0]),
    )
    assert strategy.run(tasks[0], context).steps == 1
    assert "training for all" not in heard
    assert not strategy.trained(tasks[0], context)  # nor what came of it
    assert strategy.run(tasks[1], context).steps == 1
    assert heard.count("training for all") == 2


def test_a_prefix_is_of_the_views_that_it_was_trained_for(model: HuggingFaceModel) -> None:
    """Queries have a say in the views: with a new symbol others are drawn."""
    pairs = [("a b", "b a"), ("b c", "c b"), ("c a", "a c")]
    one, same, other = (
        Task.from_examples([(x.split(), y.split()) for x, y in pairs], query.split())
        for query in ("a b", "b a", "a d")
    )
    strategy, context = KVPrefix(), RunContext(model)
    assert strategy._key(one, context) == strategy._key(same, context)
    assert strategy._key(one, context) != strategy._key(other, context)


def test_what_needs_others_says_so() -> None:
    """Without a cache or related tasks the strategies that need them are unavailable."""
    context = RunContext(FakeModel(lambda g: g, lambda g: g))
    for name, missing in (("ttt-warm", "no adapter cache"), ("ttt-shared", "none were given")):
        assert missing in (registry.get(name).unavailable(filling(), context) or "")


def test_a_warm_start_is_taken_only_where_it_helps(model: HuggingFaceModel) -> None:
    """From the adapter of a like task the loss starts lower; one that harms is left alone."""
    context = RunContext(model, adapters=AdapterCache())
    cold = TTT(training=TrainSettings(steps=8)).run(brighter(2), context)
    warm = TTT(training=TrainSettings(steps=8), start=Nearest()).run(brighter(1), context)
    assert "from an earlier adapter" in warm.stop_reason
    assert warm.evidence["first_loss"] < cold.evidence["first_loss"]
    reverse = [(x, y) for y, x in (fill([(1, 4)], 3), fill([(2, 9)], 6), fill([(0, 5)], 8))]
    other = Task.from_examples(reverse, fill([(1, 7)], 2)[1], id="reverse")
    noted = TTT(training=TrainSettings(steps=2), start=Nearest()).run(other, context).stop_reason
    assert "does not help" in noted or "alike" in noted


def test_a_shared_adapter_is_trained_once(model: HuggingFaceModel) -> None:
    """The tasks of a set start from one adapter, which the cache keeps."""
    tasks = (filling(1, id="a"), filling(2, id="b"))
    heard: list[str] = []
    context = RunContext(
        model,
        adapters=AdapterCache(),
        related=tasks,
        progress=lambda what, done, total: heard.append(what.split(",")[0]),
    )
    start = Shared(training=TrainSettings(steps=2, stop_loss=0))
    strategy = TTT(start=start, training=TrainSettings(steps=1, stop_loss=0))
    for task in tasks:
        assert "shared by 2 tasks" in strategy.run(task, context).stop_reason
    assert heard.count("training for all") == 2
    alone = replace(context, related=tasks[:1])
    assert not strategy.run(tasks[0], alone).reused, "it would start from another adapter"
    assert strategy.run(tasks[0], context).reused
    fewer = replace(strategy, step_tokens=64)
    assert not fewer.run(tasks[0], context).reused, "its steps have other rows"


def outputs(answers: Sequence[Any]) -> list[Any]:
    """The best output of every answer."""
    assert all(isinstance(a, Answer) for a in answers)
    return [a.answers[0][0].output for a in answers]


def test_many_at_once_are_answered_as_one_by_one(model: HuggingFaceModel, tmp_path: Path) -> None:
    """Answers, steps and stop reasons are those of single solving; the training was common."""
    tasks = [filling(first, id=str(first)) for first in (1, 2, 3)]
    alone = [Solver(model).solve(task, strategy="ttt") for task in tasks]
    solver = Solver(model)
    log = tmp_path / "traces.jsonl"
    together = solver.solve_many(tasks, strategy="ttt", together=3, log=log)
    traces = {line["task_id"]: line for line in map(json.loads, log.read_text().splitlines())}
    assert outputs(together) == outputs(alone)
    for one, many in zip(alone, together, strict=True):
        assert isinstance(many, Answer)
        single, common = one.attempts[0], many.attempts[0]
        assert common.reused, "its adapter was trained with the others"
        assert common.stop_reason.startswith(single.stop_reason)
        if model.device == "cpu":  # elsewhere larger batches round otherwise
            assert (common.steps, common.tokens) == (single.steps, single.tokens)
            assert common.evidence["last_loss"] == pytest.approx(
                single.evidence["last_loss"], rel=0.1, abs=5e-3
            )
        assert many.restored
        share = common.evidence["training_seconds"]
        spent = traces[many.task_id]["seconds"]
        assert min(spent, many.seconds) > common.seconds + 0.9 * share, "the common training counts"
    decided = solver.solve_many(tasks)
    assert outputs(decided) == outputs([solver.solve(task) for task in tasks])


def test_one_task_that_cannot_be_answered_spoils_no_other(model: HuggingFaceModel) -> None:
    """Its error stands in its place, typed."""
    single = Task.from_examples([fill([(1, 5)], 4)], fill([(2, 5)], 4)[0], id="single")
    found = Solver(model).solve_many([filling(), single], strategy="ttt-light")
    assert isinstance(found[0], Answer)
    assert isinstance(found[1], StrategyError)
    assert "at least two" in str(found[1])


class Failing(FakeModel):
    """A model whose training together runs out of memory."""

    together: Exception = StrategyError("too many at once")

    @contextmanager
    def session(self, settings: Any, *, seeds: Sequence[int]) -> Iterator[FakeModel]:
        if len(seeds) > 1:
            raise self.together
        with super().session(settings, seeds=seeds) as opened:
            yield opened


def test_what_is_answered_is_told_before_the_rest_is_done() -> None:
    """So that whoever interrupts a long common training keeps what there was."""
    easy = Task.from_examples([([[1]], [[1]]), ([[2]], [[2]])], [[3]])

    def knows(grid: Grid) -> Grid:
        return grid if len(grid[0]) == 1 else tuple(tuple(9 for _ in row) for row in grid)

    model = FakeModel(knows, knows, fail_at=0, failure=KeyboardInterrupt)
    heard: dict[int, Any] = {}
    with pytest.raises(KeyboardInterrupt):
        Solver(model).solve_many([filling(), easy], on_answer=heard.__setitem__)
    assert list(heard) == [1]
    assert heard[1].answers[0][0].output == ((3,),)


@pytest.mark.parametrize(
    "failure", [StrategyError("too many at once"), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_a_common_training_that_fails_is_done_one_by_one(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Throughput is lost, answers are not."""
    same = Failing(before=lambda g: g, after=lambda g: g)
    same.together = failure
    with caplog.at_level(logging.WARNING):
        found = Solver(same).solve_many([filling(1), filling(2)], strategy="ttt", together=2)
    assert all(isinstance(answer, Answer) for answer in found)
    assert "one by one" in caplog.text


class Counting(FakeModel):
    """A model that notes how many adapters each training has."""

    def train(self, batches: Sequence[Any], *args: Any, **given: Any) -> list[TrainRecord]:
        self.sizes = [*getattr(self, "sizes", []), len(batches)]
        return super().train(batches, *args, **given)


@pytest.mark.parametrize(("max_bytes", "trained"), [(2**20, [2]), (15, [1, 1])])
def test_what_the_cache_cannot_hold_is_not_trained_together(
    max_bytes: int, trained: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """A common training whose adapters would be dropped is left out, and it is said how to mend."""
    model = Counting(before=lambda g: g, after=lambda g: g)
    solver = Solver(model, adapters=AdapterCache(max_bytes=max_bytes))
    found = solver.solve_many([filling(1), filling(2)], strategy="ttt", together=2)
    assert all(isinstance(answer, Answer) for answer in found)
    assert model.sizes == trained
    assert ("a larger AdapterCache" in caplog.text) == (trained == [1, 1])


def test_keys_tell_demonstrations_apart() -> None:
    """The key depends on inputs, outputs and order, and not on the query."""
    task = filling()
    turned = replace(task, demonstrations=task.demonstrations[::-1])
    asked = replace(task, queries=(fill([(0, 9)], 1)[0],), targets=None)
    assert demonstrations_key(task) == demonstrations_key(asked)
    assert demonstrations_key(task) != demonstrations_key(turned)


def test_another_tokenizer_is_another_training() -> None:
    """With the same weights, what was trained on other tokens is not used again."""

    class Shifted(FakeModel):
        """The same model by its fingerprint, whose tokens are others."""

        def encode(self, text: str, **how: bool) -> list[int]:
            return [token + 1 for token in super().encode(text, **how)]

    cache = AdapterCache()
    model, same, other = (k(lambda g: g, lambda g: g) for k in (FakeModel, FakeModel, Shifted))
    assert model.fingerprint == same.fingerprint == other.fingerprint
    TTT().run(filling(), RunContext(model, adapters=cache))
    assert TTT().trained(filling(), RunContext(same, adapters=cache))
    assert not TTT().trained(filling(), RunContext(other, adapters=cache))


def test_tasks_of_like_length_go_together() -> None:
    """Every task is in one group, groups are no larger than asked, and lengths differ little."""
    tasks = [filling(1, id=str(k)) for k in range(5)]
    long = replace(tasks[0], demonstrations=tasks[0].demonstrations * 3)
    model = FakeModel(lambda g: g, lambda g: g)
    groups = alike([long, *tasks], 2, model)
    assert sorted(place for group in groups for place in group) == list(range(6))
    assert max(map(len, groups)) == 2
    assert [0] in groups
    assert alike([], 4, model) == []

    class Roomy(FakeModel):
        pads_freely = True

    roomy = Roomy(lambda g: g, lambda g: g)
    assert [0] not in alike([long, *tasks], 2, roomy), "where padding costs nothing"


def test_a_warm_start_takes_only_adapters_of_its_kind(model: HuggingFaceModel) -> None:
    """A cache that holds the prefix or the vector of a like task does not stop a LoRA."""
    context = RunContext(model, adapters=AdapterCache())
    short = TrainSettings(steps=1, stop_loss=0)
    KVPrefix(training=short).run(filling(1, id="a"), context)
    TTT("bias", adapter=BiasSettings(), training=short).run(filling(1, id="a"), context)
    attempt = TTT(start=Nearest(), training=short).run(filling(2, id="b"), context)
    assert "no earlier adapter is alike" in attempt.stop_reason
