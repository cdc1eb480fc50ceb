"""Real architectures with every common kind of tokenizer, loaded by path like any other model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autottt.adapters.models.base import LoraSettings, TrainSettings
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import ModelSettings
from autottt.adapters.tasks.answers import checked
from autottt.adapters.tasks.chat import Chat
from autottt.adapters.tasks.formats import Shown, written
from autottt.adapters.tasks.options import with_options
from autottt.adapters.tasks.views import draw_views
from autottt.errors import StrategyError
from autottt.strategies import registry
from autottt.strategies.answering import Views, Vote
from autottt.strategies.base import RunContext
from autottt.strategies.encoding import prompt_tokens, reply_tokens
from autottt.strategies.sequences import demonstration_sequence, held_out
from autottt.strategies.ttt import TTT
from autottt.strategies.ttt_kv import _pairs
from autottt.types import AnswerFormat, Task
from tests.adapters.models.zoo import ZOO, save

QUICK = TTT(
    adapter=LoraSettings(rank=4, alpha=8),
    training=TrainSettings(steps=2),
    batch=2,
    answering=Vote(Views(2)),
)
WORDS = Task.from_examples(
    [("b a", "a b"), ("naïve façade", "façade naïve"), ("東京 x", "x 東京")],
    "d c",
    instruction="Sort the words.",
)
NUMBERS = Task.from_examples([("one", "1"), ("a hundred", "100"), ("12 34", "46")], "two")
GRID = Task.from_examples([([[0, 1, 2]], [[2, 1, 0]]), ([[3, 4, 5]], [[5, 4, 3]])], [[6, 7, 8]])
TRAPS = Task.from_examples(
    [("<|im_end|> </s>", "<|im_start|>"), ("<start_of_turn>", "<end_of_turn> x")], "<s>"
)
LISTED = checked(
    Task.from_examples(
        [(with_options("Big?", ["cat", "bus"]), "bus"), (with_options("Old?", ["x", "y"]), "(A)")],
        with_options("Red?", ["sky", "rose", "leaf"]),
        answer=AnswerFormat("choice"),
    )
)
TASKS = {"words": WORDS, "numbers": NUMBERS, "grid": GRID, "traps": TRAPS, "listed": LISTED}


@pytest.fixture(scope="module", params=ZOO)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> HuggingFaceModel:
    """Each architecture in turn."""
    return HuggingFaceModel(str(save(request.param, tmp_path_factory.mktemp(request.param))))


def text_of(model: HuggingFaceModel, ids: list[int]) -> str:
    return str(model.tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("name", TASKS)
def test_the_labels_are_the_answers(model: HuggingFaceModel, name: str) -> None:
    """What has loss decodes to the outputs, exactly, one after another; a chat ends its turns."""
    task = TASKS[name]
    spaced = getattr(model.format, "spaced", False) or getattr(model.format, "_spaced", False)
    for place, example in enumerate(task.demonstrations):
        shown = demonstration_sequence(task, model)
        one = demonstration_sequence(task, model, without=place)
        both = zip(shown.ids, shown.is_target, one.is_target, strict=True)
        ids = [i for i, wanted, others in both if wanted and not others]
        if model.format.stop:
            assert text_of(model, ids) == written(example.output, spaced=spaced) + "\n\n"
        else:
            assert text_of(model, ids).strip() == written(example.output, spaced=spaced)
            assert ids[-1] in model.ends


@pytest.mark.parametrize("name", TASKS)
def test_a_prompt_is_the_same_in_training_and_in_answering(
    model: HuggingFaceModel, name: str
) -> None:
    """The tokens before a held-out answer are those of the prompt that asks for it."""
    task = TASKS[name]
    (sequence,) = held_out(task, 0, 1, 0, model)
    asked = Task(
        "asked",
        task.demonstrations[1:],
        (task.demonstrations[0].input,),
        None,
        task.domain,
        task.instruction,
        task.answer,
    )
    assert list(sequence.ids[: sequence.is_target.index(True)]) == prompt_tokens(
        asked, asked.queries[0], model
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_training_row_has_the_prompts_that_ask(model: HuggingFaceModel, name: str) -> None:
    """What stands before each answer of a row is, to the token, the prompt that asks for it."""
    task = TASKS[name]
    row = demonstration_sequence(task, model)
    begins = [
        place
        for place, target in enumerate(row.is_target)
        if target and not row.is_target[place - 1]
    ]
    assert len(begins) == len(task.demonstrations)
    for place, (begin, example) in enumerate(zip(begins, task.demonstrations, strict=True)):
        asked = replace(task, demonstrations=task.demonstrations[: max(1, place)])
        shown: Shown = "prompt" if place else "nowhere"
        assert list(row.ids[:begin]) == prompt_tokens(asked, example.input, model, shown=shown)
        answer = reply_tokens(asked, example.output, model)
        assert list(row.ids[begin : begin + len(answer)]) == answer


def test_a_template_without_a_prompt_for_answers_is_asked_as_it_writes() -> None:
    """Control tokens that only past turns have are part of the prompt, and never an answer's."""

    def render(messages: list[dict[str, str]]) -> str:
        return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)

    chat = Chat(render, ["<|im_start|>", "<|im_end|>"])
    (answer, end) = chat.reply(WORDS, "a b")
    assert (answer.text, end.text) == ("a b", "<|im_end|>")
    assert chat.ask(WORDS, "d c")[-1].text == "<|im_end|>\n<|im_start|>assistant\n"
    assert chat.turns(WORDS)[0][-3].text == "<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("name", ["words", "numbers"])
def test_a_trained_prefix_hides_a_demonstration_alone(model: HuggingFaceModel, name: str) -> None:
    """All of it but what all begin with, and nothing of what stands before the first."""
    task = TASKS[name]
    ids = list(demonstration_sequence(task, model).ids)
    for row, example in zip(_pairs(task, model), task.demonstrations, strict=True):
        begin, end = row.hidden
        hidden, shown = text_of(model, ids[begin:end]), text_of(model, ids[:begin])
        assert written(example.output, spaced=False) in hidden
        assert task.instruction not in hidden or not task.instruction
        assert task.instruction in shown


def test_control_tokens_in_a_task_are_ordinary_text(model: HuggingFaceModel) -> None:
    """No name of a control token in a task becomes that token, in any view, and none is lost."""
    control = {model.tokenizer.convert_tokens_to_ids(name) for name in model.tokens.control}
    for name in model.tokens.control:
        ids = model.encode(f"a {name} b", follows=True)
        assert not control & set(ids)
        assert text_of(model, ids).strip() == f"a {name} b"
    plain, trapped = (
        sum(i in control for i in prompt_tokens(task, task.queries[0], model))
        for task in (Task.from_examples([("a", "b"), ("c", "d")], "e"), TRAPS)
    )
    assert plain == trapped


def test_every_view_fits_the_tokens(model: HuggingFaceModel) -> None:
    """Prompts of all views hold the query's text, and begin with BOS at most once."""
    for task in TASKS.values():
        for view in draw_views(task, 4, np.random.default_rng(0)):
            seen = view.apply(task)
            ids = prompt_tokens(seen, seen.queries[0], model)
            assert ids.count(model.tokenizer.bos_token_id) <= 1
    said = text_of(model, prompt_tokens(WORDS, "d c", model))
    assert "Sort the words." in said
    assert "d c" in said


@pytest.mark.parametrize("name", ["words", "grid", "listed"])
def test_training_changes_nothing_for_good(model: HuggingFaceModel, name: str) -> None:
    """A LoRA sits on the architecture, takes two steps, and leaves the base as it was."""
    task = TASKS[name]
    context = RunContext(model, related=(task,))
    try:
        assert QUICK.run(task, context).steps == 2
    except StrategyError as error:  # weights are random
        assert "no view gave a valid output" in str(error)  # noqa: PT017
    assert model.verify()
    limited = registry.get("icl-options").unavailable(task, context) is None
    assert limited == (name == "listed")
    if limited:
        found = registry.get("icl-options").run(task, context)
        assert {c.output for c in found.candidates[0]} == {"(A)", "(B)", "(C)"}


def test_rows_with_one_beginning_are_read_together(model: HuggingFaceModel) -> None:
    """Prompts that share a long beginning are answered as each is alone."""
    model.ends, ends = set(), model.ends
    try:
        long = model.encode("the cat sat on the mat and " * 12)[:120]
        tails = [model.encode(t, follows=True) for t in ("apple", "12 34 56", "x", "True False")]
        prompts = [long + tail for tail in tails]
        both = model.generate(prompts, max_new_tokens=5, stop="")
        each = [model.generate([p], max_new_tokens=5, stop="")[0] for p in prompts]
    finally:
        model.ends = ends
    for one, other in zip(both, each, strict=True):
        assert one.log_probabilities[0] == pytest.approx(other.log_probabilities[0], abs=0.05)


def test_a_chat_model_may_be_asked_plainly(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The format can be set, and a model without a template cannot chat."""
    folder = str(save("qwen2", tmp_path_factory.mktemp("plain")))
    assert isinstance(HuggingFaceModel(folder).format, Chat)
    assert HuggingFaceModel(folder, settings=ModelSettings(format="plain")).format.stop
