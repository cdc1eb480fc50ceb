"""The strategies by name: those shipped here, and those of the entry-point group of that name.

A plug-in that fails to load is listed in `broken()` with its reason and harms nothing else.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points

from autottt.adapters.models.base import BiasSettings, LoraSettings, TrainSettings
from autottt.errors import UnknownNameError
from autottt.strategies.answering import Choose, Experts, Search, Views, Vote
from autottt.strategies.base import Strategy
from autottt.strategies.icl import ICL
from autottt.strategies.sequences import direct, one_order, permutation
from autottt.strategies.start import Nearest, Shared
from autottt.strategies.ttt import TTT
from autottt.strategies.ttt_kv import KVPrefix

log = logging.getLogger(__name__)
ENTRY_POINTS = "autottt.strategies"
WAYS: dict[type[Experts | Search], str] = {
    Experts: "the answers of a vote, scored under all views",
    Search: "a search",
    Choose: "every option scored",
}

_registered: dict[str, Strategy] = {}


def register(strategy: Strategy) -> None:
    """Add a strategy under its name; a name already taken is an error."""
    if strategy.name in _registered:
        raise ValueError(f"a strategy {strategy.name!r} is registered already; choose another name")
    _registered[strategy.name] = strategy


def available() -> dict[str, Strategy]:
    """Every strategy that loaded, by name."""
    return {**_registered, **_plugins()[0]}


def every() -> list[str]:
    """The names of all strategies, training ones with each way to answer."""
    found = available()
    training = [name for name, s in found.items() if isinstance(s, TTT)]
    others = [name + way.suffix for way in WAYS for name in training]
    return [*found, *others]


def broken() -> dict[str, str]:
    """Plug-ins that failed to load, with the reason."""
    return dict(_plugins()[1])


def get(name: str) -> Strategy:
    """The strategy of that name; raises `UnknownNameError`.

    `NAME+experts` is a training strategy whose vote is decided by product of experts,
    `NAME+search` one that searches for candidates instead, and `NAME+options` one that scores every
    answer there may be.
    """
    found = available()
    base, plus, _ = name.partition("+")
    for way in WAYS:
        if plus and name == base + way.suffix and isinstance(found.get(base), TTT):
            return answering_by(found[base], way)
    if name not in found:
        raise UnknownNameError(
            f"there is no strategy {name!r}; there are {', '.join(sorted(found))}, and those of "
            "ours that train with +experts, +search or +options behind the name"
        )
    return found[name]


def knows(name: str) -> bool:
    """Whether there is a strategy of that name."""
    try:
        get(name)
    except UnknownNameError:
        return False
    return True


def answering_by(strategy: Strategy, way: type[Experts | Search]) -> Strategy:
    """The same training, answered in another way; of a strategy that is no `TTT` a `TypeError`."""
    if not isinstance(strategy, TTT):
        raise TypeError(f"{strategy.name} does not say how it answers, so it cannot answer so")
    views = getattr(strategy.answering, "views", Views())
    return replace(
        strategy,
        name=strategy.name + way.suffix,
        summary=f"{strategy.summary.removesuffix(', then a vote')}, then {WAYS[way]}",
        answering=way(views),
    )


@cache
def _plugins() -> tuple[dict[str, Strategy], dict[str, str]]:
    loaded: dict[str, Strategy] = {}
    failed: dict[str, str] = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            strategy = point.load()()
            if strategy.name in _registered:
                raise ValueError(f"its name {strategy.name!r} is taken")
            loaded[strategy.name] = strategy
        except Exception as error:  # noqa: BLE001 - whatever a plug-in raises is its reason
            failed[point.name] = f"{type(error).__name__}: {error}"
            log.warning("strategy plug-in %s is unavailable: %s", point.name, error)
    return loaded, failed


NO_CONTEXT = Views(shown="nowhere")
SHIPPED: tuple[Strategy, ...] = (
    ICL("zero-shot", "the query alone, without demonstrations", Vote(Views(1, "nowhere"))),
    ICL("icl", "in-context learning, greedy, the plain prompt", Vote(Views(1))),
    ICL(),
    ICL("icl-experts", "in-context learning, the vote's answers scored under 8 views", Experts()),
    ICL("icl-options", "in-context learning, every option scored under 8 views", Choose()),
    ICL("icl-search", "in-context learning, search over 8 views, product of experts", Search()),
    TTT(),
    TTT(
        "ttt-watch",
        "LoRA, stopped by demonstrations that are held out in turns, then a vote",
        watch=True,
    ),
    TTT(
        "ttt-fast",
        "LoRA, few steps of another optimizer (Muon) until the loss is low, then a vote",
        training=TrainSettings(
            steps=14, learning_rate=6e-3, optimizer="muon", warm_up=1, stop_loss=0.02, smoothing=0.5
        ),
    ),
    TTT(
        "ttt-light",
        "LoRA, a few steps, demonstrations in one order, then a vote",
        training=TrainSettings(steps=10, learning_rate=1e-3, warm_up=2),
        form=one_order,
        batch=4,
    ),
    TTT(
        "ttt-direct",
        "LoRA on input to output without context (the paper's ablation), then a vote",
        form=direct,
        answering=Vote(NO_CONTEXT),
    ),
    TTT(
        "ttt-words",
        "LoRA by the published recipe for tasks in words (Fewshot-TTT), then the plain prompt",
        adapter=LoraSettings(rank=64, alpha=64, dropout=0.05),
        training=TrainSettings(
            steps=8, learning_rate=1e-4, scaled=False, warm_up=0, stop_loss=0.0, floor=0.0
        ),
        form=permutation,
        batch=5,
        step_tokens=None,
        answering=Vote(Views(1)),
    ),
    KVPrefix(),
    TTT(
        "ttt-bias",
        "one vector before the output head (SLOT), then a vote",
        adapter=BiasSettings(),
        training=TrainSettings(steps=8, learning_rate=1e-2, scaled=False, warm_up=1),
    ),
    TTT(
        "ttt-warm",
        "LoRA from the adapter of the most similar earlier task, then a vote",
        start=Nearest(),
    ),
    TTT(
        "ttt-shared",
        "LoRA from one shared by the related tasks, then a vote",
        training=TrainSettings(steps=20),
        start=Shared(),
    ),
)
for strategy in SHIPPED:
    register(strategy)
