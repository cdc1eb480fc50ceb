"""The adapter cache: what it gives back, what it refuses, and how large it grows."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autottt.adapters.models import adapter_cache
from autottt.adapters.models.adapter_cache import HEADER, AdapterCache, AdapterKey, StoredAdapter
from autottt.adapters.models.base import Check, TrainRecord
from autottt.errors import InputError

KEY = AdapterKey("model", "demonstrations", "LoRA of rank 4", "40 steps", 0)


def adapter(value: float = 1.0, size: int = 8, like: tuple[float, ...] = ()) -> StoredAdapter:
    """Two places of one tensor each, with a record that holds everything a record may."""
    record = TrainRecord(2, 30, (0.5, 0.25), "all steps", (Check(0, 1.0, 0.0),), Check(2, 0.1, 0.5))
    states = [{"layer.a": torch.full((size,), value + place)} for place in range(2)]
    return StoredAdapter(states, (record, record), 1.5, like, {"look1_seconds": 0.5})


def equal(a: StoredAdapter, b: StoredAdapter) -> bool:
    """Whether two entries are the same to the last bit."""
    same = all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x)
        for x, y in zip(a.states, b.states, strict=True)
    )
    return same and replace(a, states=[]) == replace(b, states=[])


@pytest.fixture(params=["folder", "memory"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AdapterCache:
    return AdapterCache(tmp_path / "adapters" if request.param == "folder" else None)


def test_what_was_put_is_given_back(cache: AdapterCache) -> None:
    """Weights, records and embedding come back as they were; nothing else does."""
    assert cache.get(KEY) is None
    cache.put(KEY, adapter(like=(1.0, 0.5)))
    found = cache.get(KEY)
    assert found is not None
    assert equal(found, adapter(like=(1.0, 0.5)))
    assert cache.get(AdapterKey("other", "demonstrations", "LoRA of rank 4", "40 steps", 0)) is None
    assert cache.get(AdapterKey("model", "demonstrations", "LoRA of rank 4", "40 steps", 1)) is None


@given(st.lists(st.text(max_size=5), min_size=4, max_size=4), st.integers(0, 3))
def test_any_part_of_the_key_matters(parts: list[str], seed: int) -> None:
    """Two keys have one name only if they are equal, however their parts are cut."""
    a = AdapterKey(parts[0], parts[1], parts[2], parts[3], seed)
    b = AdapterKey(parts[1], parts[0], parts[2], parts[3], seed)
    assert (a.name == b.name) == (a == b)


def test_the_folder_outlives_the_cache(tmp_path: Path) -> None:
    """Another process finds what this one stored, and no draft is left."""
    AdapterCache(tmp_path).put(KEY, adapter())
    found = AdapterCache(tmp_path).get(KEY)
    assert found is not None
    assert equal(found, adapter())
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_torn_entry_is_ignored(
    tmp_path: Path, keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is left of a file, it is a warning and no adapter."""
    cache = AdapterCache(tmp_path)
    cache.put(KEY, adapter())
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        assert cache.get(KEY) is None
        assert cache.nearest((1.0,), model="model", adapter="LoRA of rank 4", but="x") is None
    assert "damaged" in caplog.text


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """A changed weight is never given back as if it were the one that was trained."""
    cache = AdapterCache(tmp_path)
    cache.put(KEY, adapter())
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        found = cache.get(KEY)
        assert found is None or all(
            torch.equal(x["layer.a"], y["layer.a"])
            for x, y in zip(found.states, adapter().states, strict=True)
        )


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
HUGE = [10**400, 1e200, float("nan"), float("inf"), [1e160, 1e160]]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a JSON value with each of its keys or indices."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def look_for(cache: AdapterCache, key: AdapterKey) -> bool:
    """Look for an entry in both ways; whether the nearest one was found."""
    cache.get(key)
    return cache.nearest((1.0, 0.0), model=key.model, adapter=key.adapter, but="other") is not None


@given(st.data())
def test_no_change_of_the_header_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A value replaced, removed or added anywhere leaves an entry that is given or ignored."""
    cache = AdapterCache(tmp_path_factory.mktemp("cache"))
    cache.put(KEY, adapter(like=(1.0, 0.5)))
    (file,) = Path(str(cache._folder)).iterdir()
    blob = file.read_bytes()
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + size])
    inner = json.loads(header["__metadata__"][HEADER])
    holder, key = data.draw(st.sampled_from(list(places(inner))))
    change = data.draw(st.sampled_from(["replace", "remove", "add"]))
    value = data.draw(JSONS | st.sampled_from(HUGE))
    if change == "remove":
        del holder[key]
    elif change == "replace":
        holder[key] = value
    elif isinstance(holder, dict):
        holder[data.draw(st.text(max_size=4))] = value
    else:
        holder.append(value)
    header["__metadata__"][HEADER] = json.dumps(inner)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + blob[8 + size :])
    look_for(cache, KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"embedding": None},
        {"embedding": ["a", "b"]},
        {"key": {**asdict(KEY), "more": 1}},
        {"records": [1, 1]},
        {"format": 2},
    ],
    ids=str,
)
def test_an_entry_of_another_version_is_ignored(
    tmp_path: Path,
    change: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a warning, by key and among the nearest."""
    cache = AdapterCache(tmp_path)
    dumps = json.dumps
    with monkeypatch.context() as patched:
        patched.setattr(json, "dumps", lambda x: dumps({**x, **change} if "digest" in x else x))
        cache.put(KEY, adapter(like=(1.0, 0.5)))
    assert not look_for(cache, KEY)
    assert "is damaged and is ignored" in caplog.text


def test_a_foreign_entry_is_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A sound file under the name of another key is a warning and no adapter."""
    cache = AdapterCache(tmp_path)
    other = AdapterKey("model", "others", "LoRA of rank 4", "40 steps", 0)
    cache.put(other, adapter())
    (tmp_path / f"{other.name}.safetensors").rename(tmp_path / f"{KEY.name}.safetensors")
    with caplog.at_level(logging.WARNING):
        assert cache.get(KEY) is None
    assert "belongs to something else" in caplog.text


@pytest.mark.parametrize("folder", [True, False])
def test_the_least_recently_used_goes(tmp_path: Path, folder: bool) -> None:
    """Over its size the cache drops what was used longest ago, and nothing larger gets in."""
    import os

    cache = AdapterCache(tmp_path if folder else None, max_bytes=20_000)
    keys = [AdapterKey("model", str(i), "a", "r", 0) for i in range(4)]
    for i, key in enumerate(keys[:3]):
        cache.put(key, adapter(size=700))  # 5600 bytes of weights
        if folder:
            os.utime(tmp_path / f"{key.name}.safetensors", (i, i))
    assert cache.get(keys[0]) is not None
    cache.put(keys[3], adapter(size=700))
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]
    for size in (10_000, 2_499):  # the second only with its header
        cache.put(KEY, adapter(size=size))
        assert cache.get(KEY) is None
        assert len(cache) == 3


def test_a_clock_set_back_costs_no_new_entry(tmp_path: Path) -> None:
    """What was just written stays, though all others are from the future; old drafts go."""
    import os

    cache = AdapterCache(tmp_path, max_bytes=20_000)
    keys = [AdapterKey("model", str(i), "a", "r", 0) for i in range(4)]
    for key in keys[:3]:
        cache.put(key, adapter(size=700))
        os.utime(tmp_path / f"{key.name}.safetensors", (2e9, 2e9))
    old, new = (tmp_path / f".{keys[0].name}.{digit * 32}" for digit in "ab")
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (1, 1))
    cache.put(keys[3], adapter(size=700))
    assert keys[3] in cache
    assert sum(key in cache for key in keys) == 3
    assert (old.exists(), new.exists()) == (False, True)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """In a folder that holds a model, its weights are no entry and are never deleted."""
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"x" * 10_000)
    cache = AdapterCache(tmp_path, max_bytes=5_000)
    for seed in range(4):
        cache.put(AdapterKey("model", "d", "LoRA", "steps", seed), adapter())
    assert weights.read_bytes() == b"x" * 10_000
    assert len(cache) >= 1


def test_the_nearest_is_the_most_alike(cache: AdapterCache) -> None:
    """By cosine, among adapters of the model and shape, never the task's own."""
    for name, like in (("a", (1.0, 0.0)), ("b", (0.9, 0.1)), ("c", (0.0, 1.0))):
        cache.put(AdapterKey("model", name, "lora", "r", 0), adapter(ord(name), like=like))
    cache.put(AdapterKey("model", "d", "other shape", "r", 0), adapter(0, like=(1.0, 0.05)))
    found = cache.nearest((1.0, 0.05), model="model", adapter="lora", but="a")
    assert found is not None
    assert equal(found[0], adapter(ord("b"), like=(0.9, 0.1)))
    assert found[1] == pytest.approx(0.998, abs=1e-3)
    assert cache.nearest((1.0, 0.0), model="elsewhere", adapter="lora", but="a") is None


def test_a_cache_that_cannot_be_written_to_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is a warning; a folder that cannot be made is an error before any work."""
    cache = AdapterCache(tmp_path)

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with caplog.at_level(logging.WARNING):
        cache.put(KEY, adapter())
    assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        AdapterCache(tmp_path / "file" / "cache")
    with pytest.raises(InputError, match="above zero"):
        AdapterCache(max_bytes=0)


def test_what_another_thread_evicts_while_it_is_read_is_a_miss(
    cache: AdapterCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an error nor called damaged, whether it is gone before it was read or after."""
    decode = adapter_cache._decode

    def evict(name: str, blob: bytes) -> Any:
        if cache._folder is None:
            cache._memory.clear()
        else:
            cache._path(name).unlink()
        return decode(name, blob)

    cache.put(KEY, adapter())
    with monkeypatch.context() as patched:
        patched.setattr(adapter_cache, "_decode", evict)
        cache.get(KEY)
    assert len(cache) == 0
    assert cache.get(KEY) is None
    monkeypatch.setattr(cache, "_names", lambda: iter([KEY.name]))
    assert cache.nearest((1.0,), model="model", adapter="LoRA of rank 4", but="x") is None
    assert caplog.text == ""


def test_threads_share_a_cache() -> None:
    """However they put, look for and evict, nothing fails."""
    cache = AdapterCache(max_bytes=20_000)

    def work(thread: int) -> None:
        for i in range(40):
            key = AdapterKey("model", str(i % 5), "a", "r", thread % 2)
            cache.put(key, adapter(size=700))
            cache.get(key)
            len(cache)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(cache) == 3
