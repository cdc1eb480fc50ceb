"""Any Hugging Face causal LM, by local path or hub name, and the embedded one by its short name.

Weights are read from safetensors alone and no remote code is run. Inference and training compute
in bf16 on weights kept as they were stored. One re-entrant lock per model makes every use of it
exclusive. The module does not choose prompts, views or settings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autottt.adapters.models.base import Completion, LoraSettings, Score, TokenSequence
from autottt.adapters.models.fingerprint import fingerprint
from autottt.adapters.models.lora import LoraSession
from autottt.errors import ContextLengthError, UnknownNameError

log = logging.getLogger(__name__)
ASSETS = Path(__file__).resolve().parents[2] / "assets"
SHIPPED = {"embedded": ASSETS / "embedded"}
BATCH_TOKENS = 16_384  # of one scoring forward


class HuggingFaceModel:
    """A loaded causal LM with its tokenizer. See `base.LanguageModel` for the contract."""

    def __init__(self, name: str = "embedded", *, device: str | None = None) -> None:
        self.name = name
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.lock = threading.RLock()
        self._source = _source(name)
        self.tokenizer = self._load_tokenizer()
        self.module = self._load_module()
        self.context = int(getattr(self.module.config, "max_position_embeddings", 2**31 - 1))
        self.fingerprint = fingerprint(self.module)

    def reload(self) -> None:
        """Load the weights again from their source."""
        self.module = self._load_module()
        log.warning("model %s was loaded again", self.name)

    def verify(self) -> bool:
        with self.lock:
            return fingerprint(self.module) == self.fingerprint

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def start(self) -> list[int]:
        marked = self.tokenizer("")["input_ids"]  # what the tokenizer itself puts before text
        return [int(i) for i in marked if i == self.tokenizer.bos_token_id]

    def session(self, settings: LoraSettings, *, seeds: Sequence[int]) -> LoraSession:
        return LoraSession(self, settings, seeds=seeds)

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 compute on this model's device."""
        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16)

    def pad(self, sequences: Sequence[TokenSequence]) -> tuple[Tensor, Tensor, Tensor]:
        """Right-padded ids, attention mask and targets (-100 where there is none), each (B, T)."""
        longest = max(len(s.ids) for s in sequences)
        if longest > self.context:
            raise ContextLengthError(longest, self.context)
        ids = torch.full((len(sequences), longest), self._pad_id)
        mask = torch.zeros((len(sequences), longest), dtype=torch.long)
        targets = torch.full((len(sequences), longest), -100)
        for row, sequence in enumerate(sequences):
            n = len(sequence.ids)
            ids[row, :n] = torch.tensor(sequence.ids)
            mask[row, :n] = 1
            wanted = torch.tensor(sequence.is_target)
            targets[row, :n] = torch.where(wanted, ids[row, :n], -100)
        return ids.to(self.device), mask.to(self.device), targets.to(self.device)

    @torch.inference_mode()
    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        with self.lock:
            return [score for chunk in _chunks(sequences) for score in self._score(chunk)]

    def _score(self, sequences: Sequence[TokenSequence]) -> Iterator[Score]:
        ids, mask, targets = self.pad(sequences)
        with self.autocast():
            logits = self.module(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for row in range(len(sequences)):
            chosen = targets[row, 1:] >= 0
            wanted = targets[row, 1:][chosen]  # (N,)
            scores = logits[row, :-1][chosen].float().log_softmax(-1)  # (N, V)
            values = scores.gather(1, wanted[:, None])[:, 0]
            yield Score(
                log_probabilities=tuple(values.tolist()),
                exact=bool((scores.argmax(-1) == wanted).all()),
            )

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: str,
        deadline: float | None = None,
    ) -> list[Completion]:
        with self.lock:
            return _GreedyLoop(self, prompts, max_new_tokens, stop, deadline).run()

    @property
    def _pad_id(self) -> int:
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        return 0

    def _load_tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        with _reported(self.name):
            return AutoTokenizer.from_pretrained(self._source)

    def _load_module(self) -> Any:
        from transformers import AutoModelForCausalLM

        with _reported(self.name):
            module = AutoModelForCausalLM.from_pretrained(
                self._source, dtype="auto", use_safetensors=True, trust_remote_code=False
            )
        module.to(self.device)  # type: ignore[arg-type]
        module.train(False)
        return module


class _GreedyLoop:
    """Batched greedy decoding over a key-value cache, keeping the raw confidence of every token."""

    def __init__(
        self,
        owner: HuggingFaceModel,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        stop: str,
        deadline: float | None,
    ) -> None:
        longest = max(len(p) for p in prompts)
        if longest + max_new_tokens > owner.context:
            raise ContextLengthError(longest + max_new_tokens, owner.context)
        self.owner, self.stop, self.deadline = owner, stop, deadline
        self.limit = max_new_tokens
        n = len(prompts)
        self.ids = torch.full((n, longest), owner._pad_id)
        self.mask = torch.zeros((n, longest), dtype=torch.long)
        for row, ids in enumerate(prompts):  # left padding, so that all rows end together
            self.ids[row, longest - len(ids) :] = torch.tensor(ids)
            self.mask[row, longest - len(ids) :] = 1
        self.written: list[list[int]] = [[] for _ in range(n)]
        self.finished = [False] * n
        self.texts = [""] * n
        self.stats: list[list[tuple[float, float, float]]] = [[] for _ in range(n)]

    def run(self) -> list[Completion]:
        from transformers import DynamicCache

        cache = DynamicCache(config=self.owner.module.config)
        ids, mask = self.ids.to(self.owner.device), self.mask.to(self.owner.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)  # (B, T)
        for _ in range(self.limit):
            if self.deadline is not None and time.monotonic() >= self.deadline:
                break
            with self.owner.autocast():
                logits = self.owner.module(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                ).logits[:, -1]  # (B, V)
            chosen = self._take(logits.float())
            if all(self.finished):
                break
            ids = chosen[:, None]
            mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
            positions = positions[:, -1:] + 1
        return [self._completion(row) for row in range(len(self.written))]

    def _take(self, logits: Tensor) -> Tensor:
        scores = logits.log_softmax(-1)  # (B, V)
        top = scores.topk(2, dim=-1)
        entropy = -(scores.exp() * scores).nansum(-1)  # (B,)
        rows = zip(top.indices[:, 0].tolist(), top.values.tolist(), entropy.tolist(), strict=True)
        for row, (token, (best, second), spread) in enumerate(rows):
            if self.finished[row]:
                continue
            self.written[row].append(token)
            self.stats[row].append((best, best - second, spread))
            text = self.owner.tokenizer.decode(self.written[row], skip_special_tokens=True)
            ended = token == self.owner.tokenizer.eos_token_id or self.stop in text
            self.finished[row] = ended
            self.texts[row] = text.split(self.stop)[0] if ended else text
        return top.indices[:, 0]

    def _completion(self, row: int) -> Completion:
        stats = self.stats[row]
        return Completion(
            text=self.texts[row],
            log_probabilities=tuple(s[0] for s in stats),
            margins=tuple(s[1] for s in stats),
            entropies=tuple(s[2] for s in stats),
            finished=self.finished[row],
        )


def _chunks(sequences: Sequence[TokenSequence]) -> Iterator[Sequence[TokenSequence]]:
    """Consecutive runs whose padded size stays within BATCH_TOKENS."""
    begin, longest = 0, 0
    for place, sequence in enumerate(sequences):
        longest = max(longest, len(sequence.ids))
        if place > begin and longest * (place + 1 - begin) > BATCH_TOKENS:
            yield sequences[begin:place]
            begin, longest = place, len(sequence.ids)
    if begin < len(sequences):
        yield sequences[begin:]


def _source(name: str) -> str:
    if name in SHIPPED:
        return str(SHIPPED[name])
    if name.startswith((".", "/")) and not Path(name).is_dir():
        raise UnknownNameError(
            f"there is no model folder {name!r}; give a local folder, a hub name or one of "
            f"{', '.join(sorted(SHIPPED))}"
        )
    return name


@contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn a loading failure into an `UnknownNameError` that says what to do."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UnknownNameError(
            f"model {name!r} could not be loaded ({why}); give a local folder with config, "
            "tokenizer and safetensors weights, or a hub name"
        ) from error
