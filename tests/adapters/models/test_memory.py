"""Freed memory is kept where the C library can be told so, and the user has not said otherwise."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from autottt.adapters.models.memory import keep_freed

SAID = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


@pytest.fixture(autouse=True)
def _as_if_new(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that was told nothing yet."""
    for name in SAID:
        monkeypatch.delenv(name, raising=False)
    keep_freed.cache_clear()
    yield
    keep_freed.cache_clear()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What glibc is told."""
    found: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda option, value: found.append((option, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    return found


def test_glibc_is_told_once(told: list[tuple[int, int]]) -> None:
    """However many trainings there are."""
    keep_freed()
    keep_freed()
    assert told == [(-3, 32 * 2**20), (-1, 2**28)]


@pytest.mark.parametrize("name", SAID)
def test_the_environment_is_heeded(
    name: str, told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has set glibc's own options keeps them."""
    monkeypatch.setenv(name, "1")
    keep_freed()
    assert told == []


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without `mallopt`."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    keep_freed()
