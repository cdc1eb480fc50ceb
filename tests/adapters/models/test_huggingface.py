"""Decoding, scoring and loading of Hugging Face models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autottt.adapters.models.base import TokenSequence
from autottt.adapters.models.byte_level import build_byte_tokenizer
from autottt.adapters.models.fingerprint import checksum, fingerprint
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.tokens import Tokens
from autottt.adapters.tasks.formats import Plain
from autottt.errors import ContextLengthError, InputError, UnknownNameError


def test_the_greedy_loop_writes_what_generate_writes(embedded: HuggingFaceModel) -> None:
    """Our loop and transformers' `generate` give the same greedy tokens for one prompt."""
    ids = embedded.encode("012\n>210\n\n340\n>043\n\n506\n>")
    ours = embedded.generate([ids], max_new_tokens=8, stop="\n\n")[0]
    with embedded.autocast():
        theirs = embedded.module.generate(
            torch.tensor([ids], device=embedded.device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=embedded.device),
            max_new_tokens=8,
            do_sample=False,
        )[0, len(ids) :]
    text = embedded.tokenizer.decode(theirs, skip_special_tokens=True)
    assert ours.text == text.split("\n\n")[0]


def test_tables_made_anew_for_long_prompts_are_no_change(embedded: HuggingFaceModel) -> None:
    """Rotary tables that follow the length are not what a model is known by; others are."""

    class Turning(torch.nn.Module):
        def __init__(self, rope_type: str) -> None:
            super().__init__()
            self.rope_type = rope_type
            self.register_buffer("inv_freq", torch.ones(4), persistent=False)

    for rope_type, same in (("dynamic", True), ("longrope", True), ("default", False)):
        turning = Turning(rope_type)
        module = torch.nn.Sequential(torch.nn.Linear(2, 2), turning)
        before = fingerprint(module), checksum(module)
        turning.get_buffer("inv_freq").mul_(2)
        after = fingerprint(module), checksum(module)
        assert [a == b for a, b in zip(after, before)] == [same, same]


def test_a_template_without_control_tokens_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    """A line's end that follows an answer in it is within the answers of grids, too."""
    tokenizer = build_byte_tokenizer(512)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}### Answer:\n{% endif %}"
        "{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}### Answer:\n{% endif %}"
    )
    tokens = Tokens(tokenizer)
    with pytest.raises(InputError, match=r"without a control token.*use --format plain"):
        tokens.format("chat", native=None)
    assert isinstance(tokens.format("auto", native=None), Plain)
    assert "without a control token" in caplog.text


def test_a_template_that_breaks_is_an_input_error() -> None:
    """Whatever its code raises; the prompts may still be plain."""
    tokenizer = build_byte_tokenizer(512)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content + 1 }}{% endfor %}"
    tokens = Tokens(tokenizer)
    with pytest.raises(InputError, match=r"refuses the messages: .*use --format plain"):
        tokens.format("chat", native=None)
    assert isinstance(tokens.format("auto", native=None), Plain)


def test_confidence_has_one_value_a_token(embedded: HuggingFaceModel) -> None:
    """Log-probabilities are at most 0, margins and entropies at least 0, all of one length."""
    done = embedded.generate([embedded.encode("1\n>1\n\n2\n>")], max_new_tokens=6, stop="\n\n")[0]
    assert len(done.log_probabilities) == len(done.margins) == len(done.entropies) > 0
    assert all(value <= 0 for value in done.log_probabilities)
    assert all(value >= 0 for value in (*done.margins, *done.entropies))


def test_rows_of_a_batch_do_not_disturb_each_other(embedded: HuggingFaceModel) -> None:
    """A prompt decodes alike alone and beside a longer one (left padding is masked)."""
    short, long = (embedded.encode(t) for t in ("12\n>21\n\n34\n>", "1234\n>4321\n\n5678\n>"))
    alone = embedded.generate([short], max_new_tokens=6, stop="\n\n")[0]
    beside = embedded.generate([short, long], max_new_tokens=6, stop="\n\n")[0]
    assert alone.text == beside.text


def test_scores_agree_with_greedy_decoding(embedded: HuggingFaceModel) -> None:
    """What greedy decoding wrote scores as exact, with the same log-probability."""
    prompt = embedded.encode("0110\n>0110\n\n2002\n>2002\n\n4040\n>4040\n\n0330\n>")
    done = embedded.generate([prompt], max_new_tokens=12, stop="\n\n")[0]
    assert done.finished
    answer = embedded.encode(done.text + "\n\n")
    mask = (False,) * len(prompt) + (True,) * len(answer)
    score = embedded.score([TokenSequence(tuple(prompt + answer), mask)])[0]
    assert score.exact
    assert sum(score.log_probabilities) == pytest.approx(sum(done.log_probabilities), abs=0.3)


def test_a_prompt_over_the_context_names_both_lengths(tiny_model: HuggingFaceModel) -> None:
    """Length is checked before any forward."""
    with pytest.raises(ContextLengthError, match=r"610 tokens .* 512"):
        tiny_model.generate([[48] * 600], max_new_tokens=10, stop="\n\n")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder"])
def test_an_unknown_model_says_what_can_be_given(name: str) -> None:
    """A model that is not there is a typed error with a remedy."""
    with pytest.raises(UnknownNameError, match="embedded"):
        HuggingFaceModel(name)


def test_pickled_weights_are_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    """A folder with only a pickle of weights is not loaded."""
    for file in tiny_model_folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UnknownNameError, match="safetensors"):
        HuggingFaceModel(str(tmp_path))
