"""Decoding over a key-value cache: greedy, and all completions above a probability.

Both read the prompts of a batch once, left-padded so that all rows end together, and write one
token a pass. `Threshold` is the search of the ARChitects (depth-first there) turned breadth-first:
all paths whose probability is still at least `least` advance together in one batch. As the paths of
a prompt are disjoint, there are never more than 1 / least of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from autottt.adapters.models.base import Completion
from autottt.adapters.models.cache_names import cache_argument
from autottt.errors import ContextLengthError, StrategyError

if TYPE_CHECKING:
    from autottt.adapters.models.huggingface import HuggingFaceModel

SHARING = 4  # prompts with a common beginning from which on that is read once
LEAST_SHARED = 64  # tokens of a common beginning


def batches(
    owner: HuggingFaceModel, prompts: Sequence[Sequence[int]], more: int, *, paths: int = 1
) -> Iterator[Sequence[Sequence[int]]]:
    """Consecutive prompts that are read together: what memory allows, and alike in how they begin.

    `more` tokens follow each, on up to `paths` paths. Prompts of adapters of their own stay
    together.
    """
    if owner.grouped:
        yield prompts
        return
    begin, room = 0, owner.decoding_tokens(paths)
    for end in range(1, len(prompts) + 1):
        some = prompts[begin : end + 1]
        if end == len(prompts) or not _together(some, more, room) or _misplaced(owner, some, more):
            yield prompts[begin:end]
            begin = end


def most_paths(least: float) -> int:
    """How many completions of a prompt a search for those above a probability has at most.

    They are disjoint, and the greedy one is kept however improbable it is.
    """
    return math.floor(1 / least) + 1


def _together(prompts: Sequence[Sequence[int]], more: int, room: int) -> bool:
    """Whether the last prompt is read with those before it.

    A run of prompts with a common beginning ends where another begins.
    """
    first, last, new = prompts[0], prompts[-2], prompts[-1]
    if len(prompts) * (max(map(len, prompts)) + more) > room:
        return False
    alike = len(prompts) > SHARING and _common([first, last]) >= LEAST_SHARED
    return not alike or _common([first, new]) >= LEAST_SHARED


def _shared(owner: HuggingFaceModel, prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, where reading them once is worth it and possible.

    It is not where attention counts slots, as padding stands between the beginning and the rest.
    """
    if len(prompts) < SHARING or owner.grouped or owner.prefix is not None or owner.slides:
        return 0
    shared = min(_common(prompts), min(map(len, prompts)) - 1)
    return shared if shared >= LEAST_SHARED else 0


def _misplaced(owner: HuggingFaceModel, prompts: Sequence[Sequence[int]], more: int) -> bool:
    """Whether padding between a trained prefix and the shorter prompts would change answers."""
    if owner.prefix is None or not owner.slides or len(set(map(len, prompts))) == 1:
        return False
    return owner.prefix.mask.shape[1] + max(map(len, prompts)) + more > owner.window


def _common(prompts: Sequence[Sequence[int]]) -> int:
    low, high = min(map(tuple, prompts)), max(map(tuple, prompts))
    return next((i for i, (a, b) in enumerate(zip(low, high)) if a != b), min(len(low), len(high)))


class _Rows:
    """A batch of rows that all ended at the same token: their cache, mask and next position."""

    def __init__(
        self, owner: HuggingFaceModel, prompts: Sequence[Sequence[int]], more: int
    ) -> None:
        """`more` is how many tokens will follow; raises `ContextLengthError` if they do not fit.

        Raises `StrategyError` where padding after a trained prefix would change answers.
        """
        from autottt.adapters.models.cache import growing_cache

        if _misplaced(owner, prompts, more):
            lengths = sorted(set(map(len, prompts)))
            raise StrategyError(
                f"prompts of {lengths[0]} to {lengths[-1]} tokens cannot follow a trained prefix "
                "together, as this model looks at a window; ask one query at a time, or take "
                "another strategy than ttt-kv"
            )
        n, shared = len(prompts), _shared(owner, prompts)
        head, prompts = prompts[0][:shared], [prompt[shared:] for prompt in prompts]
        longest = max(len(p) for p in prompts)
        before = 0 if owner.prefix is None else int(owner.prefix.lengths(n).max())
        needed = before + shared + longest + more
        if needed > owner.context:
            raise ContextLengthError(needed, owner.context)
        ids = torch.full((n, longest), owner.pad_id)
        mask = torch.zeros((n, longest), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        self.owner, self.reader = owner, owner.reader()
        self.ids, self.mask = ids.to(owner.device), mask.to(owner.device)
        self.positions = (self.mask.cumsum(-1) - 1).clamp(min=0)  # (B, T)
        if owner.prefix is None:
            self.cache: Any = growing_cache(owner.module.config, more)
        else:
            self.cache = owner.prefix.cache(owner.module.config, n)
            self.mask = torch.cat([owner.prefix.visible(n, (), training=False), self.mask], dim=1)
            self.positions = self.positions + owner.prefix.lengths(n)
        if shared:
            self._read_once(head, n)

    def _read_once(self, head: Sequence[int], n: int) -> None:
        """Read what all rows begin with for one of them, and go on as if for all."""
        ids = torch.tensor([head], device=self.mask.device)
        places = torch.arange(len(head), device=self.mask.device)[None]
        self.forward(ids, torch.ones_like(ids), places)
        self.cache.batch_repeat_interleave(n)
        self.mask = torch.cat([self.mask.new_ones((n, len(head))), self.mask], dim=1)
        self.positions = self.positions + len(head)

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor, *, last: bool = True) -> Tensor:
        """Logits (B, T, V) after ids (B, T), or (B, 1, V) of the last; mask of all up to them."""
        with self.owner.autocast():
            if self.reader is not None:
                return self.reader(ids, mask, positions, self.cache, last=last)
            logits: Tensor = self.owner.module(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=int(last),
                **cache_argument(self.owner.module, self.cache),
            ).logits
            return logits

    def read(self) -> Tensor:
        """Log-probabilities (B, V) of the token that follows each row."""
        logits = self.forward(self.ids, self.mask, self.positions)[:, -1]
        scores: Tensor = logits.float().log_softmax(-1)
        return scores

    def write(self, tokens: Tensor) -> None:
        """Append a token (B,) to every row."""
        self.ids = tokens[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones((len(self.mask), 1))], dim=1)
        self.positions = self.positions[:, -1:] + 1

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row may be named more than once."""
        if list(rows) == list(range(len(self.mask))):
            return
        places = torch.tensor(rows)  # for layers on whatever device
        self.cache.batch_select_indices(places)
        self.mask, self.positions = self.mask[places], self.positions[places]


@dataclass(frozen=True)
class _Path:
    """What was written so far after one prompt, and the raw confidence of every token."""

    prompt: int
    ids: tuple[int, ...] = ()
    stats: tuple[tuple[float, float, float], ...] = ()  # (log-probability, margin, entropy)
    log_probability: float = 0.0
    greedy: bool = True  # whether every token was the likeliest
    text: str = ""
    finished: bool = False

    def completion(self) -> Completion:
        return Completion(
            text=self.text,
            log_probabilities=tuple(s[0] for s in self.stats),
            margins=tuple(s[1] for s in self.stats),
            entropies=tuple(s[2] for s in self.stats),
            finished=self.finished,
        )


class _Decoder:
    """What both ways share: the prompts, the limits, and the text of what was written."""

    def __init__(
        self,
        owner: HuggingFaceModel,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        stop: str,
        deadline: float | None,
    ) -> None:
        self.owner, self.stop, self.deadline = owner, stop, deadline
        self.limit, self.prompts = max_new_tokens, prompts

    @cached_property
    def rows(self) -> _Rows:
        """Made only once they are read, as what all prompts begin with is read for that."""
        return _Rows(self.owner, self.prompts, self.limit)

    def expired(self) -> bool:
        if self.deadline is None:
            return False
        return self.owner.ranks.agreed(time.monotonic)() >= self.deadline

    def extended(self, path: _Path, token: int, stats: tuple[float, float, float]) -> _Path:
        """The path with one more token, its text decoded only where the answer may have ended."""
        ids = (*path.ids, token)
        longer = replace(
            path,
            ids=ids,
            stats=(*path.stats, stats),
            log_probability=path.log_probability + stats[0],
            greedy=path.greedy and stats[1] >= 0,
        )
        if token in self.owner.ends:
            text = self.text(ids[:-1])
            text = text.split(self.stop)[0] if self.stop else text
            return replace(longer, text=text, finished=True)
        if self.stop and self.stop[-1] in self.owner.tokenizer.decode([token]):
            text = self.text(ids)
            if self.stop in text:
                return replace(longer, text=text.split(self.stop)[0], finished=True)
        return longer

    def text(self, ids: Sequence[int]) -> str:
        """As it was written; a checkpoint may ask that "a . b" be read as "a. b"."""
        decoded: str = self.owner.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded

    def written(self, path: _Path) -> Completion:
        if not path.finished:
            path = replace(path, text=self.text(path.ids))
        return path.completion()


class Greedy(_Decoder):
    """The likeliest token at every step, for every prompt. Rows that have ended leave the batch."""

    def run(self) -> list[Completion]:
        paths = [_Path(prompt) for prompt in range(len(self.prompts))]
        running = list(range(len(self.prompts)))  # the paths that the rows belong to
        droppable = not self.owner.grouped
        for _ in range(self.limit):
            if self.expired():
                break
            scores = self.rows.read()  # (B, V)
            top = scores.topk(2, dim=-1)
            spread = -(scores.exp() * scores).nansum(-1)  # (B,)
            rows = zip(top.indices[:, 0].tolist(), top.values.tolist(), spread.tolist())
            for place, (token, (best, second), entropy) in zip(running, rows, strict=True):
                if not paths[place].finished:
                    stats = (best, best - second, entropy)
                    paths[place] = self.extended(paths[place], token, stats)
            going = [row for row, place in enumerate(running) if not paths[place].finished]
            if not going:
                break
            self.rows.write(top.indices[:, 0])
            if droppable and len(going) <= len(running) // 2:
                self.rows.keep(going)
                self.rows.ids = self.rows.ids[torch.tensor(going, device=self.rows.ids.device)]
                running = [running[row] for row in going]
        return [self.written(path) for path in paths]


class Threshold(_Decoder):
    """Every completion with a probability of at least `least`, and the greedy one."""

    def __init__(
        self,
        owner: HuggingFaceModel,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        stop: str,
        deadline: float | None,
        least: float,
    ) -> None:
        super().__init__(owner, prompts, max_new_tokens, stop, deadline)
        self.floor = math.log(least)

    def run(self) -> list[list[Completion]]:
        paths = [_Path(prompt) for prompt in range(len(self.prompts))]
        done: list[_Path] = []
        for _ in range(self.limit):
            if self.expired() or not paths:
                break
            rows, longer = self._branches(paths, self.rows.read())
            done += [path for path in longer if path.finished]
            going = [i for i, path in enumerate(longer) if not path.finished]
            if not going:
                paths = []
                break
            self.rows.keep([rows[i] for i in going])
            paths = [longer[i] for i in going]
            tokens = torch.tensor([path.ids[-1] for path in paths], device=self.rows.mask.device)
            self.rows.write(tokens)
        found: list[list[_Path]] = [[] for _ in self.prompts]
        for path in sorted([*done, *paths], key=lambda p: -p.log_probability):
            found[path.prompt].append(path)
        return [[self.written(path) for path in some] for some in found]

    def _branches(self, paths: list[_Path], scores: Tensor) -> tuple[list[int], list[_Path]]:
        """Every path's next tokens that stay above the floor, with the row each came from."""
        spread = (-(scores.exp() * scores).nansum(-1)).tolist()  # (B,)
        sofar = torch.tensor([path.log_probability for path in paths], device=scores.device)
        top = scores.topk(2, dim=-1)
        best, second = top.values.T.tolist()
        allowed = scores + sofar[:, None] >= self.floor
        greedy = torch.tensor([path.greedy for path in paths], device=scores.device)
        allowed[torch.arange(len(paths)), top.indices[:, 0]] |= greedy
        rows, longer = [], []
        for row, token in allowed.nonzero().tolist():
            value = float(scores[row, token])
            margin = value - (second[row] if value == best[row] else best[row])
            rows.append(row)
            longer.append(self.extended(paths[row], token, (value, margin, spread[row])))
        return rows, longer


def score_answers(
    owner: HuggingFaceModel,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[Sequence[int]]],
) -> list[list[float]]:
    """See `base.LanguageModel.score_answers`: the prompts are read once, then all the answers."""
    places = [row for row, some in enumerate(answers) for _ in some]
    if not places:
        return [[] for _ in prompts]
    flat = [answer for some in answers for answer in some]
    longest = max(len(answer) for answer in flat)
    rows = _Rows(owner, prompts, longest)
    first = rows.read()[torch.tensor(places)]  # (N, V)
    rows.keep(places)
    ids = torch.full((len(flat), longest), owner.pad_id)
    mask = torch.zeros((len(flat), longest), dtype=torch.long)
    for row, answer in enumerate(flat):
        ids[row, : len(answer)] = torch.tensor(answer)
        mask[row, : len(answer)] = 1
    ids, mask = ids.to(owner.device), mask.to(owner.device)
    logits = rows.forward(
        ids,
        torch.cat([rows.mask, mask], dim=1),
        rows.positions[:, -1:] + 1 + torch.arange(longest, device=ids.device),
        last=False,
    )  # (N, T, V)
    scores = torch.cat([first[:, None], logits[:, :-1].float().log_softmax(-1)], dim=1)
    sums = (scores.gather(2, ids[:, :, None])[:, :, 0] * mask).sum(1).tolist()  # (N,)
    found: list[list[float]] = [[] for _ in prompts]
    for row, value in zip(places, sums, strict=True):
        found[row].append(value)
    return found
