"""What autottt asks of a language model, whatever serves it.

A `LanguageModel` encodes text, writes greedy completions with their confidence, searches for likely
ones, scores given ones, and opens a `Session` in which it may be trained and after which it is
proven to be what it was. `huggingface` and `fake` implement it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from autottt.errors import InputError

if TYPE_CHECKING:
    from autottt.adapters.tasks.formats import PromptFormat


@dataclass(frozen=True)
class Completion:
    """A greedy completion and its raw confidence, one value a token.

    `log_probabilities` in nats; `margins` are the differences in log-probability between the best
    and the second token; `entropies` in nats. `finished` is False when the length or the deadline
    cut it off. `text` excludes the stop text.
    """

    text: str
    log_probabilities: tuple[float, ...]
    margins: tuple[float, ...]
    entropies: tuple[float, ...]
    finished: bool


@dataclass(frozen=True)
class TokenSequence:
    """Token ids (T,) and, for each, whether it is scored or trained on given those before it.

    Under a trained prefix, `hidden` is the span `(begin, end)` of the prefix's tokens that this
    sequence may not look at.
    """

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]
    hidden: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Score:
    """Log-probability (nats) of each target token, and whether each is the most likely one."""

    log_probabilities: tuple[float, ...]
    exact: bool


def _check(name: str, value: object, good: bool, meant: str) -> None:
    if not good:
        raise InputError(f"{name} is {meant}, not {value!r}")


def _is_whole(value: float, least: int) -> bool:
    return value >= least and value % 1 == 0


@dataclass(frozen=True)
class LoraSettings:
    """Shape of the LoRA: rank, alpha, dropout and the modules it sits on (see `lora_layers`).

    Raises `InputError` for a shape that there is not.
    """

    rank: int = 64
    alpha: int = 128
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"

    def __post_init__(self) -> None:
        _check("rank", self.rank, _is_whole(self.rank, 1), "a whole number from 1")
        _check("alpha", self.alpha, self.alpha > 0, "above zero")
        _check("dropout", self.dropout, 0 <= self.dropout < 1, "from 0 and below 1")


@dataclass(frozen=True)
class BiasSettings:
    """One vector added to the last hidden state before the output head, from zero (SLOT)."""


@dataclass(frozen=True)
class PrefixSettings:
    """Keys and values in place of a prompt, one prefix a place, started from these prompts (CT-KV).

    `dropout` is the share of a prefix's tokens that each training row does not see.
    """

    prompts: tuple[tuple[int, ...], ...]
    dropout: float = 0.05


AdapterSettings = LoraSettings | BiasSettings | PrefixSettings


@dataclass(frozen=True)
class TrainSettings:
    """Length and rate of a training: linear warm-up and cosine decay to a `floor` of the rate.

    The optimizer is AdamW or, for a LoRA, Muon, whose rates are on the same scale (see `muon`).
    It ends early when the running mean loss (nats a token), in which that of the steps before
    weighs `smoothing`, is under `stop_loss`. Sequences held out are scored before the first step
    and after every `check_every` steps. A score of `enough` (share exact) ends the training; so
    does a share of at most `hopeless` in each of the first `patience` checks. Where `scaled`, the
    rate is for the embedded model, and lowered for larger ones (see `config_facts.rate_scale`).
    Raises `InputError` for values that mean nothing.
    """

    steps: int = 40
    learning_rate: float = 5e-4
    optimizer: Literal["adamw", "muon"] = "adamw"
    scaled: bool = True
    warm_up: int = 5
    floor: float = 0.1
    weight_decay: float = 0.0
    clip: float = 1.0
    stop_loss: float = 0.01
    smoothing: float = 0.8
    check_every: int = 4
    enough: float = 0.9
    patience: int = 3
    hopeless: float = 1 / 3

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("warm_up", 0), ("check_every", 1), ("patience", 0)):
            value = getattr(self, name)
            _check(name, value, _is_whole(value, least), f"a whole number from {least}")
        for name in ("learning_rate", "floor", "weight_decay", "stop_loss"):
            value = getattr(self, name)
            _check(name, value, 0 <= value < math.inf, "a number of zero or more")
        for name in ("enough", "hopeless"):  # beyond 0 and 1 they are never and always reached
            value = getattr(self, name)
            _check(name, value, not math.isnan(value), "a number")
        _check("clip", self.clip, self.clip > 0, "above zero")
        _check("smoothing", self.smoothing, 0 <= self.smoothing < 1, "from 0 and below 1")
        _check("optimizer", self.optimizer, self.optimizer in ("adamw", "muon"), "adamw or muon")


@dataclass(frozen=True)
class Check:
    """Held-out sequences after `step` optimizer steps: mean loss (nats a token), share exact."""

    step: int
    loss: float
    exact: float


@dataclass(frozen=True)
class HeldOut:
    """What watches a training: the sequences of every check, in turns that repeat after `turns`.

    `sequences(0)` is asked before the first step and should hold all turns; `sequences(j)` after
    `j * check_every` steps is what was no target during the last of them. A score is the mean of
    the last `turns` checks, so that each turn counts in it once.
    """

    sequences: Callable[[int], Sequence[TokenSequence]]
    turns: int


@dataclass(frozen=True)
class TrainRecord:
    """What a training did: optimizer steps, tokens, the loss of each step and why it stopped.

    With held-out sequences, `checks` are their scores, `best` is the score of the weights that were
    kept (step 0: those from before training); without, the last weights are.
    """

    steps: int
    tokens: int
    losses: tuple[float, ...]
    stop_reason: str
    checks: tuple[Check, ...] = ()
    best: Check | None = None


Batches = Callable[[int], Sequence[TokenSequence]]  # a step's training sequences
Look = Callable[[Sequence[TrainRecord]], str | None]  # a training so far -> why to end it, if so


class Session(Protocol):
    """A model with fresh adapters, one a place; leaving it restores and verifies the model.

    While several places are selected, the rows of any batch are equal groups, one a place in
    order, and each group is served by its own adapter.
    """

    def train(
        self,
        batches: Sequence[Batches],
        settings: TrainSettings,
        *,
        held_out: Sequence[HeldOut] | None = None,
        deadline: float | None = None,
        on_step: Callable[[int, float], None] | None = None,
        look: Look | None = None,
    ) -> list[TrainRecord]:
        """Train the adapter of every place on its own batches; each stops on its own.

        `batches[k](s)` are the sequences of place k at step s. With `held_out` the best step of
        each place is kept. `look` is asked after every `check_every` steps but the last; its reason
        ends the training of every place. Raises `DivergenceError` on a loss that is not finite.
        """

    def select(self, places: Sequence[int] | None) -> None:
        """Use the adapters of these places; None is all of them."""

    def state(self, place: int) -> dict[str, Any]:
        """The weights of one place's adapter, by name, as tensors on the CPU."""

    def load(self, place: int, state: Mapping[str, Any]) -> None:
        """Take weights that `state` gave; raises `StrategyError` where they do not fit."""


class LanguageModel(Protocol):
    """A causal language model."""

    @property
    def name(self) -> str: ...

    @property
    def context(self) -> int:
        """Tokens of prompt and completion together."""

    @property
    def fingerprint(self) -> str:
        """Of the weights as loaded, and of how they are asked where that is not the usual way."""

    @property
    def lora_targets(self) -> tuple[str, ...]:
        """Ends of the names of the modules that a LoRA of all linear layers sits on, if not all."""

    @property
    def format(self) -> PromptFormat:
        """How its prompts are written."""

    def encode(self, text: str, *, control: bool = False, follows: bool = False) -> list[int]:
        """Token ids of a text, with no token put before or after it.

        The names of control tokens in it stand for them where `control`, else they are ordinary
        text. `follows` says that other text stands before it, so that no space is put there.
        """

    def start(self) -> list[int]:
        """The ids that begin every prompt: the BOS token where the model expects one."""

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: str,
        deadline: float | None = None,
    ) -> list[Completion]:
        """Greedy completions of the prompts, up to and without `stop` or an end token."""

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: str,
        least: float,
        deadline: float | None = None,
    ) -> list[list[Completion]]:
        """Every completion of each prompt with a probability of at least `least`, likeliest first.

        The greedy completion is among them, however unlikely it is.
        """

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """Log-probabilities of the target tokens of each sequence."""

    def score_answers(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]
    ) -> list[list[float]]:
        """Log-probability (nats) of each of `answers[i]` after `prompts[i]`.

        A prompt is read once, or for parts of its answers where memory does not hold all of them.
        """

    def embed(self, ids: Sequence[int]) -> list[float]:
        """The mean over tokens of the last hidden state."""

    def session(
        self, settings: AdapterSettings, *, seeds: Sequence[int]
    ) -> AbstractContextManager[Session]:
        """Attach a fresh adapter for each seed, exclusively, until the context is left."""

    def training_rows(self, length: int) -> int:
        """How many rows of that many tokens one training step has memory for, by prediction."""

    def peak_bytes(self) -> int:
        """The most memory in use so far, see `memory.peak_bytes`."""

    def verify(self) -> bool:
        """Whether the weights are those that were loaded, by a checksum over every bit."""

    def reload(self) -> None:
        """Load the weights again from their source."""
