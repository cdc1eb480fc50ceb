"""A deterministic stand-in for a language model, for tests and for authors of plug-ins.

It reads the grids back out of the prompt and answers with a rule: `before` as it is, `after` inside
a session that has trained for `learns_after` steps. Its weights are a list of numbers, so that
restoration can be seen to work, or made to fail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from autottt.adapters.models.base import (
    AdapterSettings,
    Batches,
    Completion,
    HeldOut,
    Look,
    Score,
    TokenSequence,
    TrainRecord,
    TrainSettings,
)
from autottt.adapters.tasks.formats import Arrow, PromptFormat
from autottt.adapters.tasks.grid import text_to_grid
from autottt.adapters.tasks.prompts import completion
from autottt.types import Grid

Rule = Callable[[Grid], Grid]


@dataclass
class FakeModel:
    """Answers `before(query)`, and `after(query)` once trained. See `base.LanguageModel`."""

    before: Rule
    after: Rule
    name: str = "fake"
    context: int = 4096
    learns_after: int = 1
    fail_at: int | None = None  # the training step at which `failure` is raised
    failure: type[BaseException] = RuntimeError
    weights: list[float] = field(default_factory=lambda: [1.0, 2.0])
    trained: int = 0
    lora_targets: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self.weights).encode()).hexdigest()[:32]

    @property
    def format(self) -> PromptFormat:
        return Arrow()

    def encode(self, text: str, *, control: bool = False, follows: bool = False) -> list[int]:
        return list(text.encode())

    def start(self) -> list[int]:
        return []

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: str,
        deadline: float | None = None,
    ) -> list[Completion]:
        return [self._complete(bytes(ids).decode(), stop) for ids in prompts]

    def _complete(self, prompt: str, stop: str) -> Completion:
        query = text_to_grid(prompt.split(stop)[-1].rstrip(">"))
        text = completion(self._rule(query)).removesuffix(stop)
        n = len(text) + len(stop)
        return Completion(text, (-0.01,) * n, (5.0,) * n, (0.05,) * n, finished=True)

    @property
    def _rule(self) -> Rule:
        return self.after if self.trained >= self.learns_after else self.before

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        return [self._score(sequence) for sequence in sequences]

    def _score(self, sequence: TokenSequence) -> Score:
        first = sequence.is_target.index(True)
        written = self._complete(bytes(sequence.ids[:first]).decode(), "\n\n").text + "\n\n"
        wanted = bytes(sequence.ids[first:]).decode()
        exact = written == wanted
        return Score((-0.01 if exact else -2.0,) * len(wanted), exact)

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: str,
        least: float,
        deadline: float | None = None,
    ) -> list[list[Completion]]:
        return [[self._complete(bytes(ids).decode(), stop)] for ids in prompts]

    def score_answers(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]
    ) -> list[list[float]]:
        found = []
        for ids, some in zip(prompts, answers, strict=True):
            written = self._complete(bytes(ids).decode(), "\n\n").text + "\n\n"
            found.append([-0.1 if bytes(a).decode() == written else -20.0 for a in some])
        return found

    def embed(self, ids: Sequence[int]) -> list[float]:
        return [float(sum(ids)), float(len(ids))]

    @contextmanager
    def session(self, settings: AdapterSettings, *, seeds: Sequence[int]) -> Iterator[FakeModel]:
        before = list(self.weights)
        try:
            yield self
        finally:
            self.weights, self.trained = before, 0

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
        tokens, reason = 0, None
        for step in range(settings.steps):
            if step == self.fail_at:
                raise self.failure(f"injected at step {step}")
            tokens += sum(len(s.ids) for batch in batches for s in batch(step))
            self.weights[0] += 1.0
            self.trained += 1
            if on_step is not None:
                on_step(step + 1, 1.0 / (step + 1))
            last = step + 1 == settings.steps
            if look is not None and not last and (step + 1) % settings.check_every == 0:
                reason = look([TrainRecord(step + 1, tokens, (1.0,) * (step + 1), "")])
                if reason is not None:
                    break
        record = TrainRecord(step + 1, tokens, (1.0,) * (step + 1), reason or "all steps")
        return [record] * len(batches)

    def select(self, places: Sequence[int] | None) -> None:
        """All places answer alike."""

    def state(self, place: int) -> dict[str, Any]:
        import torch

        return {"trained": torch.tensor([self.trained])}

    def load(self, place: int, state: Mapping[str, Any]) -> None:
        self.trained = int(state["trained"])
        self.weights[0] += self.trained

    def training_rows(self, length: int) -> int:
        return 1_000

    def peak_bytes(self) -> int:
        return 0

    def verify(self) -> bool:
        return self.weights == [1.0, 2.0]

    def reload(self) -> None:
        self.weights = [1.0, 2.0]
