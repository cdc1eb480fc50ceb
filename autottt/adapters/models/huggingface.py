"""Any Hugging Face causal LM, by local path or hub name, and the embedded one by its short name.

Inference and training compute in bf16 on weights kept as they were loaded. One re-entrant lock per
model makes every use of it exclusive. The module does not choose prompts, views or settings.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from autottt.adapters.models.attention import any_length
from autottt.adapters.models.base import AdapterSettings, Completion, Score, TokenSequence
from autottt.adapters.models.cache_names import cache_argument
from autottt.adapters.models.config_facts import (
    context_of,
    generation_ends,
    rate_scale,
    window_of,
)
from autottt.adapters.models.decoding import (
    Greedy,
    Threshold,
    batches,
    most_paths,
)
from autottt.adapters.models.fingerprint import checksum, fingerprint
from autottt.adapters.models.fused_beside import is_plain_llama
from autottt.adapters.models.fused_reading import FusedReader, can_read, scorer
from autottt.adapters.models.loading import (
    ModelSettings,
    has_compiler,
    load_module,
    load_tokenizer,
)
from autottt.adapters.models.memory import SHARE, cache_bytes, free_bytes, peak_bytes, step_bytes
from autottt.adapters.models.prefix import Prefix
from autottt.adapters.models.ranks import Ranks, of
from autottt.adapters.models.scoring import answers_scored, rows_scored
from autottt.adapters.models.session import AdapterSession
from autottt.adapters.models.tokens import Tokens, padded
from autottt.errors import ContextLengthError, InputError, LostModelError, WorkerError

log = logging.getLogger(__name__)
TINY = 10e6  # parameters of a model that no task's training fills a GPU with
NATIVE_FORMAT = "prompt_format"  # in a model's config: the format that it was trained on
DECODED_TOKENS = 131_072  # of one batch's prompts and answers, at most
BY_SLOT = ("gpt_neo", "mpt")  # attention counts places of the cache, padding among them
T = TypeVar("T")
P = ParamSpec("P")


def _everywhere(
    method: Callable[Concatenate[HuggingFaceModel, P], T],
) -> Callable[Concatenate[HuggingFaceModel, P], T]:
    """Exclusively, and in every process that holds a part of the model."""

    @wraps(method)
    def call(self: HuggingFaceModel, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self.told(method.__name__, *args, **kwargs):
            return method(self, *args, **kwargs)

    return call


class HuggingFaceModel:
    """A loaded causal LM with its tokenizer. See `base.LanguageModel` for the contract."""

    def __init__(
        self,
        name: str = "embedded",
        *,
        settings: ModelSettings | None = None,
        compiled: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        """`compiled` makes training steps faster and the first one about a minute slower.

        Steps of a Llama with a LoRA on every layer are fused, faster still, and not compiled.

        `ranks` is for the other processes of one model. Raises `InputError` where compiling needs a
        C++ compiler and there is none.
        """
        if compiled and not has_compiler():
            raise InputError("compiled steps need a C++ compiler; there is none: apt install g++")
        from transformers import DynamicCache

        self.name = name
        self.compiled = compiled
        self.settings = settings or ModelSettings()
        if compiled and self.settings.tensor_parallel > 1:
            raise InputError("compiled steps are for a model in one process")
        self.lock = threading.RLock()
        self.ranks = ranks or of(self.settings.tensor_parallel)
        self.opened: AdapterSession | None = None
        self.prefix: Prefix | None = None  # stands before every row while a session trains one
        self.grouped = False  # whether rows are groups with adapters of their own
        self.tokenizer = load_tokenizer(name, self.settings)
        self._load()
        self.device = str(self.module.device)
        config = self.module.config
        text = config.get_text_config()
        self.context = context_of(text)
        self.vocabulary = int(text.vocab_size)  # rows of the embedding
        self.tokens = Tokens(self.tokenizer, self.vocabulary)
        native = getattr(config, NATIVE_FORMAT, None)
        self.format = self.tokens.format(self.settings.format, native=native)
        self.tokens.check(self.format)
        self.ends = self.tokens.ends(self.format) | generation_ends(self.module)
        # attention over a window, or by slot
        self.slides = text.model_type in BY_SLOT or any(DynamicCache(config=config).is_sliding)
        self.window = window_of(text)
        size = sum(p.numel() for p in self.module.parameters())
        self.rate_scale = rate_scale(size)
        # the time of a step is that of asking for it, and not of what is computed
        self.pads_freely = self.device != "cpu" and size <= TINY
        own = self.settings.format == "auto"
        usual = self.format if own else self.tokens.format("auto", native=native)
        mark = self.tokens.template_mark(self.format)
        told = self.settings.unusual(type(self.format) is type(usual), mark)
        self.fingerprint = self._whole + told

    def _load(self) -> None:
        """Load the weights, anew or again; raises `LostModelError` where they are others now."""
        self._let_go()
        self.ranks.start(self.name, self.settings)
        try:
            self.module = load_module(self.name, self.settings)
            self.ranks.gathered("loaded")
            weights, whole = checksum(self.module), fingerprint(self.module)
            if getattr(self, "_whole", whole) != whole:
                raise LostModelError(
                    f"the weights at {self.name!r} are not those that were loaded first: their "
                    "fingerprint is another; start anew, so that nothing rests on the old ones"
                )
            self._weights, self._whole = weights, whole
        except BaseException:
            self.ranks.stop()
            raise

    def _let_go(self) -> None:
        """Free the weights that are to be loaded again, whoever still holds the module."""
        if self.ranks.size > 1 or not hasattr(self, "module"):
            return
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            tensor.data = torch.empty(0, dtype=tensor.dtype, device=tensor.device)

    def reload(self) -> None:
        """Load the weights again from their source; with other processes, before the next call.

        Raises `LostModelError` where the source is gone, or is that of other weights now.
        """
        with self.lock:
            try:
                self.ranks.stop() if self.ranks.size > 1 else self._load()
            except (InputError, OSError) as error:
                raise LostModelError(
                    f"model {self.name!r} is not what it was, and could not be loaded again: "
                    f"{error}; start anew, as its answers are worth nothing now"
                ) from error
        log.warning("model %s is loaded again", self.name)

    def close(self) -> None:
        """End the other processes that hold a part of the model; a later call starts them again."""
        with self.lock:
            self.ranks.stop()

    @contextmanager
    def told(self, call: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Make a call in every process that holds a part of the model; see `Ranks.told`.

        Raises `WorkerError` where one of them is lost.
        """
        with self.lock:
            if self.ranks.lost and self.opened is not None:
                raise WorkerError("a process that held a part of the model is gone")
            if self.ranks.lost:
                self._load()
            with self.ranks.told(call, *args, **kwargs):
                yield

    def follow(self, call: str, *args: Any, **kwargs: Any) -> None:
        """In another process: make the call that the first one makes."""
        session = call.removeprefix("session.")
        if session == call:
            getattr(self, call)(*args, **kwargs)
        elif session == "open":
            AdapterSession(self, *args, **kwargs).open()
        else:
            getattr(self.opened, session)(*args, **kwargs)

    @_everywhere
    def verify(self) -> bool:
        return all(self.ranks.gathered(checksum(self.module) == self._weights))

    def encode(self, text: str, *, control: bool = False, follows: bool = False) -> list[int]:
        return list(self.tokens.encode(text, control, follows))

    def start(self) -> list[int]:
        return self.tokens.start()

    @property
    def lora_targets(self) -> tuple[str, ...]:
        return self.settings.lora_targets

    def session(self, settings: AdapterSettings, *, seeds: Sequence[int]) -> AdapterSession:
        return AdapterSession(self, settings, seeds=seeds)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """bf16 compute on this model's device, with kernels of attention that serve any length."""
        kind = self.device.split(":")[0]
        with torch.autocast(kind, dtype=torch.bfloat16), any_length(kind):
            yield

    def pad(
        self, sequences: Sequence[TokenSequence], *, left: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Padded ids, attention mask and targets (-100 where there is none), each (B, T)."""
        longest = max(len(s.ids) for s in sequences)
        if longest > self.context:
            raise ContextLengthError(longest, self.context)
        every = (
            ([s.ids for s in sequences], self.pad_id),
            ([(1,) * len(s.ids) for s in sequences], 0),
            ([s.is_target for s in sequences], False),
        )
        ids, mask, wanted = (
            padded(rows, value, longest, left=left).to(self.device) for rows, value in every
        )
        return ids, mask, torch.where(wanted, ids, -100)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        sequences: Sequence[TokenSequence] = (),
        *,
        training: bool = False,
        logits_to_keep: Tensor | int = 0,
    ) -> Any:
        """One pass over padded rows (B, T), after the trained prefix where there is one.

        `sequences` say what of the prefix each row may not see.
        """
        if self.prefix is None:
            call = _compiled(self.module) if training and self.compiled else self.module
            return call(
                input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=logits_to_keep
            )
        rows = len(ids)
        seen = self.prefix.visible(rows, sequences, training=training)
        return self.module(
            input_ids=ids,
            attention_mask=torch.cat([seen, mask], dim=1),
            position_ids=self.prefix.lengths(rows) + (mask.cumsum(-1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=logits_to_keep,
            **cache_argument(self.module, self.prefix.cache(self.module.config, rows)),
        )

    def reader(self) -> FusedReader | None:
        """The faster way to read prompts with the adapter that is on, where there is one."""
        usual = self.prefix is None and not self.grouped and not self.slides
        if not usual or not can_read(self.module):
            return None
        with self.autocast():
            return FusedReader(self.module)

    @_everywhere
    @torch.inference_mode()
    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        fused = scorer(self.module) if self.prefix is None else None
        return list(rows_scored(self, sequences, fused))

    @_everywhere
    @torch.inference_mode()
    def score_answers(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]]
    ) -> list[list[float]]:
        return answers_scored(self, prompts, answers)

    @_everywhere
    @torch.inference_mode()
    def embed(self, ids: Sequence[int]) -> list[float]:
        with self.autocast():
            given = torch.tensor([ids], device=self.device)
            states = self.module(
                input_ids=given, output_hidden_states=True, logits_to_keep=1
            ).hidden_states[-1]  # (1, T, H)
        mean: list[float] = states[0].float().mean(0).tolist()
        return mean

    @_everywhere
    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: str,
        deadline: float | None = None,
    ) -> list[Completion]:
        return [
            done
            for some in batches(self, prompts, max_new_tokens)
            for done in Greedy(self, some, max_new_tokens, stop, deadline).run()
        ]

    @_everywhere
    @torch.inference_mode()
    def search(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop: str,
        least: float,
        deadline: float | None = None,
    ) -> list[list[Completion]]:
        return [
            found
            for some in batches(self, prompts, max_new_tokens, paths=most_paths(least))
            for found in Threshold(self, some, max_new_tokens, stop, deadline, least).run()
        ]

    def training_rows(self, length: int) -> int:
        room = SHARE * free_bytes(self.device)
        config, on_cpu = self.module.config.get_text_config(), self.device == "cpu"
        lean = not (on_cpu or self.lora_targets) and is_plain_llama(self.module)
        kept = on_cpu or self.module.config._attn_implementation == "eager"
        each = step_bytes(config, 1, length, lean=lean, attention=kept)
        return int(room // each)

    def decoding_tokens(self, paths: int = 1) -> int:
        """How many tokens of prompts and answers are decoded together, by free memory.

        `paths` is how many completions of a prompt there may be at once.
        """
        each = 2 * cache_bytes(self.module.config.get_text_config())  # twice while rows are copied
        return min(DECODED_TOKENS, int(self.room() // (each * paths)))

    def room(self) -> float:
        """How many bytes the next step may take; to be asked in all processes of the model."""
        return SHARE * self.ranks.agreed(free_bytes)(self.device)

    def peak_bytes(self) -> int:
        return peak_bytes(self.device)

    @property
    def pad_id(self) -> int:
        """A token that is always masked; 0 where the tokenizer's own has no row."""
        for token in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if token is not None and token < self.vocabulary:
                return int(token)
        return 0


@lru_cache(maxsize=1)
def _compiled(module: Any) -> Any:
    """The module's forward as torch.compile makes it, for rows of any number and length."""
    return torch.compile(module.forward, dynamic=True)
