"""What autottt asks of a language model, whatever serves it.

A `LanguageModel` encodes text, writes greedy completions with their confidence, scores given
completions, and opens a `Session` in which it may be trained and after which it is proven to be
what it was. `huggingface` and `fake` implement it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


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
    """Token ids (T,) and, for each, whether it is scored or trained on given those before it."""

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]


@dataclass(frozen=True)
class Score:
    """Log-probability (nats) of each target token, and whether each is the most likely one."""

    log_probabilities: tuple[float, ...]
    exact: bool


@dataclass(frozen=True)
class LoraSettings:
    """Shape of the LoRA: rank, alpha, dropout and the modules it sits on (see `lora_layers`)."""

    rank: int = 64
    alpha: int = 128
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"


@dataclass(frozen=True)
class TrainSettings:
    """Length and rate of a training: AdamW with linear warm-up and cosine decay to a tenth.

    It ends early when the running mean loss (nats a token) stays under `stop_loss`.
    """

    steps: int = 40
    learning_rate: float = 1e-3
    warm_up: int = 5
    weight_decay: float = 0.0
    clip: float = 1.0
    stop_loss: float = 0.01


@dataclass(frozen=True)
class TrainRecord:
    """What a training did: optimizer steps, tokens, the loss of each step and why it stopped."""

    steps: int
    tokens: int
    losses: tuple[float, ...]
    stop_reason: str


class Session(Protocol):
    """A model with a fresh LoRA attached; leaving the session restores and verifies the model."""

    def train(
        self,
        batch: Callable[[int], Sequence[TokenSequence]],
        settings: TrainSettings,
        *,
        deadline: float | None = None,
        on_step: Callable[[int, float], None] | None = None,
    ) -> TrainRecord:
        """Train on `batch(0)`, `batch(1)`, ...; raises `DivergenceError` on a loss not finite."""


class LanguageModel(Protocol):
    """A causal language model."""

    @property
    def name(self) -> str: ...

    @property
    def context(self) -> int:
        """Tokens of prompt and completion together."""

    @property
    def fingerprint(self) -> str:
        """Of the weights as loaded."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, without special tokens."""

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
        """Greedy completions of the prompts, up to and without `stop`."""

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """Log-probabilities of the target tokens of each sequence."""

    def session(
        self, settings: LoraSettings, *, seeds: Sequence[int]
    ) -> AbstractContextManager[Session]:
        """Attach a fresh LoRA for each seed, exclusively, until the context is left."""

    def verify(self) -> bool:
        """Whether every weight is bit for bit what was loaded."""
