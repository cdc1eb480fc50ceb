"""A tokenizer as autottt needs it: text piece by piece, control tokens only where they are meant.

Knows what tokenizers of Hugging Face do to text: some put a space before it, some read the names of
control tokens in it, some merge digits.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autottt.adapters.models.base import TokenSequence
from autottt.adapters.tasks.chat import Chat, Messages
from autottt.adapters.tasks.formats import Arrow, Plain, PromptFormat
from autottt.errors import InputError

log = logging.getLogger(__name__)
FORMATS = ("auto", "arrow", "chat", "plain")
ANCHOR = "\n"
_CONTROL = re.compile(r"<\S+>|\[\S+\]")  # what added tokens that steer a model look like
BREAKING = (  # what a template may raise besides errors of its own
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
KEPT = 8192  # encoded texts
LONGEST_KEPT = 8192  # characters of one
PROBE = "A b  c\n0123 45\n\n<s></s> \u00e9\u4e2d\U0001f600\ttwo words"


class Tokens:
    """Text to ids and back with one tokenizer, for a model whose embedding has so many rows."""

    def __init__(self, tokenizer: Any, rows: int = 2**31) -> None:
        self.tokenizer, self.rows = tokenizer, rows
        added = tokenizer.added_tokens_decoder
        self.control = sorted(
            {
                token.content
                for place, token in added.items()
                if token.special or _CONTROL.fullmatch(token.content) or place >= rows
            },
            key=len,
            reverse=True,
        )
        self._pattern = re.compile("|".join(map(re.escape, self.control))) if self.control else None
        self._direct = self._backend()
        self._spaces = self._puts_space_before()
        self._kept = lru_cache(maxsize=KEPT)(self._encode)
        marked = tokenizer("")["input_ids"]
        self._start = [int(i) for i in marked if i == tokenizer.bos_token_id]

    def encode(self, text: str, control: bool = False, follows: bool = False) -> tuple[int, ...]:
        """The ids of a text, kept for the next time where it is not long."""
        encoded = self._kept if len(text) <= LONGEST_KEPT else self._encode
        return encoded(text, control, follows)

    def start(self) -> list[int]:
        """The BOS token, where the tokenizer itself puts it before text."""
        return list(self._start)

    @property
    def merges_digits(self) -> bool:
        """Whether a row of digits has fewer tokens than digits."""
        return any(len(self._plain(text, follows=True)) < 8 for text in ("00000000", "12345678"))

    def format(self, name: str, *, native: str | None) -> PromptFormat:
        """The prompt format of that name; "auto" is the model's own, its chat template, or plain.

        "auto" is plain, with a warning, where the chat template cannot be used. Raises `InputError`
        for a name that is none, or a chat template that there is not or that cannot be used.
        """
        if name not in FORMATS:
            raise InputError(f"--format is one of {', '.join(FORMATS)}, not {name!r}")
        template = getattr(self.tokenizer, "chat_template", None)
        if name == "auto" and native is None and template:
            try:
                return self._chat()
            except InputError as error:
                log.warning("prompts are plain unless --format says otherwise: %s", error)
        if name == "auto":
            name = native or "plain"
        if name == "arrow":
            return Arrow()
        if name == "plain":
            return Plain(spaced=self.merges_digits)
        if not template:
            raise InputError("the model has no chat template; use --format plain")
        return self._chat()

    def _chat(self) -> Chat:
        return Chat(self._render, self.control, spaced=self.merges_digits)

    def check(self, form: PromptFormat) -> None:
        """Raises `InputError` where prompts would hold tokens that the embedding has no row for."""
        vocabulary = self.tokenizer.get_vocab().items()
        beyond = [i for name, i in vocabulary if i >= self.rows and name not in self.control]
        if isinstance(form, Chat):
            beyond += [i for i in self.encode(form.end, True, True) if i >= self.rows]
        if beyond:
            raise InputError(
                f"the tokenizer has {len(beyond)} tokens, up to {max(beyond)}, that the model's "
                f"embedding of {self.rows} rows lacks; give the model the tokenizer that it was "
                "trained with"
            )

    def template_mark(self, form: PromptFormat) -> str:
        """By which prompts of one chat template are told from those of another; else empty."""
        if not isinstance(form, Chat):
            return ""
        return hashlib.sha256(repr(self.tokenizer.chat_template).encode()).hexdigest()[:8]

    def ends(self, form: PromptFormat) -> set[int]:
        """The tokens that end an answer."""
        found = set() if self.tokenizer.eos_token_id is None else {self.tokenizer.eos_token_id}
        if isinstance(form, Chat) and form.end.strip() in self.control:
            last = self.encode(form.end, True, True)
            if len(last) == 1:
                found.add(last[0])
        return {int(i) for i in found}

    def _render(self, messages: Messages) -> str:
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except (TemplateError, *BREAKING) as error:
            raise InputError(
                f"the model's chat template refuses the messages: {error}; use --format plain"
            ) from error
        return text

    def _encode(self, text: str, control: bool, follows: bool) -> tuple[int, ...]:
        if control or self._pattern is None:
            return tuple(self._plain(text, follows=follows))
        ids: list[int] = []
        for piece in self._harmless(text):
            ids += self._plain(piece, follows=follows or bool(ids))
        return tuple(ids)

    def _harmless(self, text: str) -> list[str]:
        """The text in pieces, none of which holds the whole name of a control token."""
        assert self._pattern is not None
        pieces, begin = [], 0
        found = self._pattern.search(text)
        while found is not None:
            cut = found.start() + 1
            pieces.append(text[begin:cut])
            begin = cut
            found = self._pattern.search(text, cut)
        return [piece for piece in [*pieces, text[begin:]] if piece]

    def _plain(self, text: str, *, follows: bool) -> list[int]:
        if follows and self._spaces:
            before, both = self._ids(ANCHOR), self._ids(ANCHOR + text)
            if both[: len(before)] == before:
                return both[len(before) :]
        return self._ids(text)

    def _ids(self, text: str) -> list[int]:
        ids: list[int]
        direct = self._direct
        if direct is not None and self._is_plain(direct):
            ids = direct.encode(text, add_special_tokens=False).ids
        else:
            ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _backend(self) -> Any:
        """What the tokenizer asks, where asking it directly gives the same in less time."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return None
        try:
            told = self.tokenizer(PROBE, add_special_tokens=False, verbose=False)["input_ids"]
            same = backend.encode(PROBE, add_special_tokens=False).ids == told
        except Exception:  # noqa: BLE001 - a vocabulary that lacks a character raises just that
            return None
        return backend if same else None

    def _is_plain(self, backend: Any) -> bool:
        """Whether no one has set it to cut or fill, or to read control tokens otherwise."""
        usual = getattr(self.tokenizer, "split_special_tokens", False)
        return (
            backend.truncation is None
            and backend.padding is None
            and backend.encode_special_tokens == usual
        )

    def _puts_space_before(self) -> bool:
        first = self.tokenizer.convert_ids_to_tokens(self._ids("x")[:1])
        return bool(first) and first[0][:1] in ("▁", "Ġ")


def padded(rows: Sequence[Sequence[int]], value: int, length: int, *, left: bool) -> Tensor:
    """The rows (B, length), filled up with a value on the left or on the right."""
    every = np.full((len(rows), length), value)
    for filled, row in zip(every, rows, strict=True):
        filled[length - len(row) if left else 0 :][: len(row)] = row
    return torch.from_numpy(every)


def chunks(
    sequences: Sequence[TokenSequence], most: int, places: int | None = None
) -> Iterator[Sequence[TokenSequence]]:
    """Consecutive runs whose padded size stays within so many tokens.

    Where `places` is given, so does within it their size over the columns in which some row has a
    target, which is what logits are computed for.
    """
    begin, longest, columns = 0, 0, set[int]()
    for place, sequence in enumerate(sequences):
        own = set(compress(range(len(sequence.ids)), sequence.is_target))
        longest, columns = max(longest, len(sequence.ids)), columns | own
        rows = place + 1 - begin
        full = rows * longest > most or (places is not None and rows * len(columns) > places)
        if place > begin and full:
            yield sequences[begin:place]
            begin, longest, columns = place, len(sequence.ids), own
    if begin < len(sequences):
        yield sequences[begin:]
