"""Decoding with a cache: search, shared prompts, and the trained prefix."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest

from autottt.adapters.models import decoding, huggingface
from autottt.adapters.models.base import (
    BiasSettings,
    PrefixSettings,
    TokenSequence,
    TrainSettings,
)
from autottt.adapters.models.decoding import Greedy, _Path, batches, most_paths
from autottt.adapters.models.fingerprint import Snapshot
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.errors import ContextLengthError, StrategyError
from tests.adapters.models.zoo import save

TEXTS = [
    "0400\n>0440\n\n0030\n>0033\n\n0300\n>0330\n\n0050\n>",
    "030\n>033\n\n500\n>",
    "12\n>21\n\n34\n>43\n\n56\n>",
]


@pytest.fixture(scope="module")
def model() -> HuggingFaceModel:
    return HuggingFaceModel("embedded")


@pytest.fixture(scope="module")
def prompts(model: HuggingFaceModel) -> list[list[int]]:
    return [model.start() + model.encode(text) for text in TEXTS]


def total(model: HuggingFaceModel, prompt: list[int], text: str) -> float:
    """Log-probability of a text after a prompt, by one plain forward of the whole."""
    answer = model.encode(text)
    mask = (False,) * len(prompt) + (True,) * len(answer)
    return sum(model.score([TokenSequence(tuple(prompt + answer), mask)])[0].log_probabilities)


def test_search_finds_what_is_likely_and_nothing_else(
    model: HuggingFaceModel, prompts: list[list[int]]
) -> None:
    """Against brute force over all short answers: the same set above the threshold."""
    (found,) = model.search(prompts[2:], max_new_tokens=8, stop="\n\n", least=0.02)
    texts = {c.text for c in found if c.finished}
    likely = {
        "".join(cells)
        for n in (1, 2, 3)
        for cells in itertools.product("0123456789", repeat=n)
        if n < 3 or cells[0] in "56"
        if total(model, prompts[2], "".join(cells) + "\n\n") >= math.log(0.02) + 0.05
    }
    assert likely
    assert likely <= texts
    for c in found[1:]:
        assert sum(c.log_probabilities) >= math.log(0.02)
        assert math.exp(total(model, prompts[2], c.text + "\n\n")) == pytest.approx(
            math.exp(sum(c.log_probabilities)), abs=0.03
        )


def test_search_keeps_the_greedy_answer(model: HuggingFaceModel, prompts: list[list[int]]) -> None:
    """With a threshold that nothing reaches, what is left is greedy decoding, row by row."""
    greedy = model.generate(prompts, max_new_tokens=8, stop="\n\n")
    found = model.search(prompts, max_new_tokens=8, stop="\n\n", least=0.999999)
    assert [[c.text for c in some] for some in found] == [[c.text] for c in greedy]
    assert all(len(some) == 1 for some in found)


def test_a_search_needs_room_for_all_its_paths(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory holds so many tokens, the paths of all prompts of a batch share them."""
    monkeypatch.setattr(huggingface, "free_bytes", lambda device: 10**6)
    room = model.decoding_tokens()
    assert 0 < room < huggingface.DECODED_TOKENS
    assert model.decoding_tokens(most_paths(0.09)) == pytest.approx(room / 12, abs=1)
    short = [[1] * (room // 24 - 1)] * 4
    assert [len(some) for some in batches(model, short, 1)] == [4]
    assert [len(some) for some in batches(model, short, 1, paths=12)] == [2, 2]


def test_nothing_is_read_after_the_deadline(
    model: HuggingFaceModel, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what the prompts of a batch begin with; every prompt has an unfinished answer."""

    def read(*given: Any) -> None:
        raise AssertionError("a batch was read")

    monkeypatch.setattr(decoding, "_Rows", read)
    limits: dict[str, Any] = {"max_new_tokens": 8, "stop": "\n\n", "deadline": time.monotonic()}
    written = model.generate(prompts, **limits)
    assert [(c.text, c.finished) for c in written] == [("", False)] * len(prompts)
    found = model.search(prompts, least=0.1, **limits)
    assert [[c.finished for c in some] for some in found] == [[False]] * len(prompts)


def test_text_is_read_as_it_was_written(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a checkpoint says of the spaces before its points."""
    for name in ("", "_for_bpe_even_though_it_will_corrupt_output"):
        monkeypatch.setattr(model.tokenizer, f"clean_up_tokenization_spaces{name}", True)
    ids = model.encode("a . b")
    assert model.tokenizer.decode(ids) == "a. b"
    decoder = Greedy(model, [ids], 8, "", None)
    assert decoder.written(_Path(0, tuple(ids))).text == "a . b"
    (end, *_) = model.ends
    assert decoder.extended(_Path(0, tuple(ids)), end, (0.0, 0.0, 0.0)).text == "a . b"


def test_rows_that_end_early_leave_the_others_alone(
    model: HuggingFaceModel, prompts: list[list[int]]
) -> None:
    """A prompt's completion is the same alone as in a batch of answers of other lengths."""
    long = model.start() + model.encode("1\n>" + "1" * 30 + "\n\n2\n>" + "2" * 30 + "\n\n3\n>")
    together = model.generate([*prompts, long], max_new_tokens=40, stop="\n\n")
    alone = [model.generate([p], max_new_tokens=40, stop="\n\n")[0] for p in [*prompts, long]]
    assert [c.text for c in together] == [c.text for c in alone]
    assert len(together[-1].log_probabilities) > 2 * len(together[0].log_probabilities)


def test_answers_scored_after_one_reading_of_the_prompt(
    model: HuggingFaceModel, prompts: list[list[int]]
) -> None:
    """Several answers a prompt, of several lengths and none, score as one whole forward each."""
    texts = [["0550\n\n", "5\n\n", "0050\n\n"], [], ["65\n\n"]]
    answers = [[model.encode(text) for text in some] for some in texts]
    found = model.score_answers(prompts, answers)
    assert [len(scores) for scores in found] == [3, 0, 1]
    for prompt, some, scores in zip(prompts, texts, found, strict=True):
        for text, score in zip(some, scores, strict=True):
            assert score == pytest.approx(total(model, prompt, text), abs=0.3)


def test_the_prefix_starts_as_in_context_learning(
    model: HuggingFaceModel, prompts: list[list[int]]
) -> None:
    """Untrained, prefix and query give what the whole prompt gives; the model is then restored."""
    cut = [len(p) - 4 for p in prompts]
    plain = model.generate(prompts, max_new_tokens=8, stop="\n\n")
    before = Snapshot.take(model.module)
    settings = PrefixSettings(tuple(tuple(p[:n]) for p, n in zip(prompts, cut, strict=True)))
    with model.session(settings, seeds=[0] * 3):
        rest = [p[n:] for p, n in zip(prompts, cut, strict=True)]
        found = model.generate(rest, max_new_tokens=8, stop="\n\n")
    assert [c.text for c in found] == [c.text for c in plain]
    assert model.prefix is None
    assert before.differences(model.module) == []


@pytest.mark.parametrize("kind", ["prefix", "bias"])
def test_what_changes_no_weight_learns_too(
    model: HuggingFaceModel, prompts: list[list[int]], kind: str
) -> None:
    """Prefix and bias lower the loss of what they are trained on, alone, and leave no trace."""
    prompt = prompts[0]
    answer = model.encode("9999\n\n")
    if kind == "prefix":
        row = TokenSequence(
            tuple(prompt[-5:] + answer), (False,) * 5 + (True,) * len(answer), hidden=(0, 3)
        )
        session = model.session(PrefixSettings((tuple(prompt[:-5]),)), seeds=[0])
    else:
        row = TokenSequence(tuple(prompt + answer), (False,) * len(prompt) + (True,) * len(answer))
        session = model.session(BiasSettings(), seeds=[0])
    cold = total(model, prompt, "9999\n\n")
    before = Snapshot.take(model.module)
    with session as opened:
        settings = TrainSettings(steps=20, learning_rate=3e-2, stop_loss=0.0)
        (record,) = opened.train([lambda step: [row]], settings)
        state = opened.state(0)
    assert record.losses[-1] < 0.8 * record.losses[0]
    assert all(value.shape for value in state.values())
    assert before.differences(model.module) == []
    assert total(model, prompt, "9999\n\n") == cold


@pytest.mark.parametrize("kind", ["gpt_neo", "mpt"])
def test_where_slots_count_no_padding_stands_between_tokens(kind: str, tmp_path: Path) -> None:
    """Prompts of other lengths score alike alone and together, after a beginning or a prefix."""
    model = HuggingFaceModel(str(save(kind, tmp_path)))
    common = [7 * i % 300 + 10 for i in range(70)]
    tails = [[11 * i % 300 + 10 for i in range(k, 2 * k)] for k in (3, 40, 20, 31)]
    answers = [[[50, 60, 70]]] * len(tails)

    def compare(prompts: list[list[int]]) -> None:
        together = model.score_answers(prompts, answers)
        alone = [model.score_answers([p], answers[:1])[0] for p in prompts]
        assert [s[0] for s in together] == pytest.approx([s[0] for s in alone], abs=0.2)
        written = model.generate(prompts, max_new_tokens=1, stop="")
        each = [model.generate([p], max_new_tokens=1, stop="")[0] for p in prompts]
        assert [c.log_probabilities[0] for c in written] == pytest.approx(
            [c.log_probabilities[0] for c in each], abs=0.1
        )

    compare([common + tail for tail in tails])
    with model.session(PrefixSettings((tuple(common),)), seeds=[0]):
        compare(tails)
    settings = PrefixSettings((tuple(common), tuple(common[5:])))
    with (
        model.session(settings, seeds=[0, 1]),
        pytest.raises(StrategyError, match="prompts of 3 to 40 tokens cannot follow"),
    ):
        model.generate(tails[:2], max_new_tokens=1, stop="")
    assert model.verify()


def test_a_prefix_within_the_window_takes_prompts_of_any_length(tmp_path: Path) -> None:
    """Padding is seen by no one there; past the window each length is read by itself."""
    model = HuggingFaceModel(str(save("mistral", tmp_path, sliding_window=48)))
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12]]
    with model.session(PrefixSettings((tuple(range(10, 30)),)), seeds=[0]):
        assert [len(some) for some in batches(model, prompts, 4)] == [2]
        assert [len(some) for some in batches(model, prompts, 40)] == [1, 1]


def test_a_bias_has_the_width_of_the_head(tmp_path: Path) -> None:
    """OPT may project its hidden states down before the head."""
    model = HuggingFaceModel(str(save("opt", tmp_path)))
    with model.session(BiasSettings(), seeds=[0]) as session:
        assert [tuple(v.shape) for v in session.state(0).values()] == [(16,)]
        assert model.generate([[5, 6, 7]], max_new_tokens=2, stop="")


def test_a_prefix_counts_against_the_context(model: HuggingFaceModel) -> None:
    """Prefix, query and answer together must fit; the error says what is needed."""
    long = tuple(model.encode("12" * 1020))
    with (
        model.session(PrefixSettings((long,)), seeds=[0]),
        pytest.raises(ContextLengthError, match="2048"),
    ):
        model.generate([model.encode("1\n>")], max_new_tokens=20, stop="\n\n")
    assert model.verify()
