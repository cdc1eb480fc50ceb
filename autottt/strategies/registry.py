"""The strategies by name: those shipped here, and those of the entry-point group of that name.

A plug-in that fails to load is listed in `broken()` with its reason and harms nothing else.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib.metadata import entry_points

from autottt.errors import UnknownNameError
from autottt.strategies.base import Strategy
from autottt.strategies.icl import ICL
from autottt.strategies.ttt import TTT

log = logging.getLogger(__name__)
ENTRY_POINTS = "autottt.strategies"

_registered: dict[str, Strategy] = {}


def register(strategy: Strategy) -> None:
    """Add a strategy under its name; a name already taken is an error."""
    if strategy.name in _registered:
        raise ValueError(f"a strategy {strategy.name!r} is registered already; choose another name")
    _registered[strategy.name] = strategy


def available() -> dict[str, Strategy]:
    """Every strategy that loaded, by name."""
    return {**_registered, **_plugins()[0]}


def broken() -> dict[str, str]:
    """Plug-ins that failed to load, with the reason."""
    return dict(_plugins()[1])


def get(name: str) -> Strategy:
    """The strategy of that name; raises `UnknownNameError`."""
    found = available()
    if name not in found:
        raise UnknownNameError(
            f"there is no strategy {name!r}; there are {', '.join(sorted(found))}"
        )
    return found[name]


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


register(ICL(name="icl", summary="in-context learning, greedy, the plain prompt", views=1))
register(ICL())
register(TTT())
