"""Trained adapters kept for reuse: the same demonstrations and another query cost no training.

An entry is a safetensors blob whose header says what it belongs to: the model's fingerprint, the
demonstrations, how it was trained and with which seed. The cache lives in a folder or, without one,
in memory; when it grows over its size, what was used longest ago goes, also while another thread or
process looks for it, which then has a miss. An entry that is damaged, or not what its name says, is
ignored with a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from autottt.adapters.models.base import Check, TrainRecord
from autottt.errors import InputError

log = logging.getLogger(__name__)
FORMAT = 1
MAX_BYTES = 256 * 2**20
SUFFIX = ".safetensors"
DRAFT_SECONDS = 24 * 3600.0  # after which no process is still writing one
_NAME = re.compile(r"[0-9a-f]{40}")
_DRAFT = re.compile(r"\.[0-9a-f]{40}\.[0-9a-f]{32}")
HEADER = "autottt"
DAMAGE = (  # what reading an entry may raise that holds anything else
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)

States = list[dict[str, Any]]  # one dict of tensors a place


@dataclass(frozen=True)
class AdapterKey:
    """What an adapter depends on: `adapter` describes its shape, `recipe` its training."""

    model: str
    demonstrations: str
    adapter: str
    recipe: str
    seed: int

    @property
    def name(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:40]


@dataclass(frozen=True)
class StoredAdapter:
    """The weights of every place, how their training went, and the seconds that it took.

    `embedding` describes the demonstrations, for finding similar ones; it may be empty. `looks` is
    how far the training was at each look at it, by name, as the evidence of an attempt has it;
    nothing where none was taken, as of tasks trained together, or known.
    """

    states: States
    records: tuple[TrainRecord, ...]
    seconds: float
    embedding: tuple[float, ...] = ()
    looks: dict[str, float] = field(default_factory=dict)


class AdapterCache:
    """Adapters by key, in `folder` or in memory, of at most `max_bytes` together."""

    def __init__(self, folder: str | Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        if max_bytes <= 0:
            raise InputError(f"the size of the adapter cache is above zero bytes, not {max_bytes}")
        self.max_bytes = max_bytes
        self._folder = None if folder is None else Path(folder)
        self._memory: dict[str, bytes] = {}  # the least recently used first
        self._lock = threading.Lock()  # of what is in memory
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"the adapter cache {folder} cannot be made: {error.strerror}"
                ) from error

    def get(self, key: AdapterKey) -> StoredAdapter | None:
        """The adapter of that key, or None."""
        blob = self._read(key.name)
        if blob is None:
            return None
        found = _decode(key.name, blob)
        if found is None or found[0] != key:
            if found is not None:
                log.warning("cached adapter %s belongs to something else and is ignored", key.name)
            return None
        self._touch(key.name)
        return found[1]

    def __contains__(self, key: AdapterKey) -> bool:
        """Whether there is an entry by that name; whether it is whole `get` says."""
        if self._folder is None:
            with self._lock:
                return key.name in self._memory
        return self._path(key.name).exists()

    def put(self, key: AdapterKey, adapter: StoredAdapter) -> None:
        """Store an adapter. A cache that cannot be written to is a warning: nothing rests on it."""
        size = sum(value.nbytes for state in adapter.states for value in state.values())
        blob = _encode(key, adapter) if size <= self.max_bytes else b""
        size = max(size, len(blob))
        if size > self.max_bytes:
            log.warning(
                "an adapter of %d bytes is larger than the whole cache and is not kept; give the "
                "cache more than its %d bytes (--adapter-mib), or train one of a lower rank",
                size,
                self.max_bytes,
            )
            return
        try:
            self._write(key.name, blob)
            self._evict(but=key.name)
        except OSError as error:
            log.warning("the adapter %s could not be cached: %s", key.name, error)

    def nearest(
        self, embedding: Sequence[float], *, model: str, adapter: str, but: str
    ) -> tuple[StoredAdapter, float] | None:
        """The adapter with the most similar embedding and its cosine similarity, or None.

        Only adapters of that model and shape count, and none for the demonstrations `but`.
        """
        best: tuple[StoredAdapter, float] | None = None
        for name in sorted(self._names()):
            header = self._header(name)
            if header is None:
                continue
            key, known = header
            if key.model != model or key.adapter != adapter or key.demonstrations == but:
                continue
            similarity = _cosine(embedding, known)
            if best is None or similarity > best[1]:
                found = self.get(key)
                best = best if found is None else (found, similarity)
        return best

    def __len__(self) -> int:
        return len(list(self._names()))

    def _names(self) -> Iterator[str]:
        if self._folder is None:
            with self._lock:
                names = list(self._memory)
            yield from names
        else:
            yield from (path.stem for path in self._own())

    def _path(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}{SUFFIX}"

    def _read(self, name: str) -> bytes | None:
        if self._folder is None:
            with self._lock:
                return self._memory.get(name)
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cached adapter %s cannot be read and is ignored: %s", name, error)
            return None

    def _header(self, name: str) -> tuple[AdapterKey, tuple[float, ...]] | None:
        """Key and embedding alone, without reading the weights; None where damaged or gone."""
        try:
            if self._folder is None:
                blob = self._read(name)
                if blob is None:
                    return None
                header = _header_of(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
            else:
                with self._path(name).open("rb") as file:
                    size = int.from_bytes(file.read(8), "little")
                    header = _header_of(file.read(min(size, 2**20)))
            key, embedding = _described(header)
            if key.name != name:
                raise ValueError("it belongs to something else")
            return key, embedding
        except FileNotFoundError:
            return None
        except (OSError, *DAMAGE) as error:
            log.warning("cached adapter %s is damaged and is ignored: %s", name, error)
            return None

    def _write(self, name: str, blob: bytes) -> None:
        if self._folder is None:
            with self._lock:
                self._memory.pop(name, None)
                self._memory[name] = blob
            return
        draft = self._folder / f".{name}.{uuid4().hex}"
        try:
            draft.write_bytes(blob)
            os.replace(draft, self._path(name))
        finally:
            draft.unlink(missing_ok=True)

    def _touch(self, name: str) -> None:
        if self._folder is None:
            with self._lock:
                if name in self._memory:  # and not evicted since it was read
                    self._memory[name] = self._memory.pop(name)
            return
        try:
            os.utime(self._path(name))
        except OSError as error:
            log.debug("cached adapter %s could not be marked as used: %s", name, error)

    def _own(self) -> Iterator[Path]:
        """The files of the folder that are entries; whatever else lies there is not touched."""
        assert self._folder is not None
        return (p for p in self._folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(p.stem))

    def _evict(self, but: str) -> None:
        """Delete those used longest ago, as far as the clock can be trusted, but not that one."""
        if self._folder is None:
            with self._lock:
                while sum(map(len, self._memory.values())) > self.max_bytes:
                    del self._memory[next(iter(self._memory))]
            return
        self._sweep()
        entries = []
        for path in self._own():
            try:
                known = path.stat()
            except FileNotFoundError:
                continue  # another process evicted it
            entries.append((known.st_mtime_ns, known.st_size, path))
        entries.sort()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.max_bytes:
                break
            if path.stem == but:
                continue
            path.unlink(missing_ok=True)
            total -= size

    def _sweep(self) -> None:
        """Delete the drafts of processes that were killed as they wrote."""
        assert self._folder is not None
        for path in self._folder.glob(".*"):
            if _DRAFT.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > DRAFT_SECONDS:
                        path.unlink()


def _encode(key: AdapterKey, adapter: StoredAdapter) -> bytes:
    from safetensors.torch import save

    tensors = {
        f"{place}/{name}": value.contiguous()
        for place, state in enumerate(adapter.states)
        for name, value in state.items()
    }
    header = {
        "format": FORMAT,
        "key": asdict(key),
        "records": [asdict(record) for record in adapter.records],
        "seconds": adapter.seconds,
        "embedding": list(adapter.embedding),
        "looks": adapter.looks,
        "digest": _digest(tensors),
    }
    blob: bytes = save(tensors, metadata={HEADER: json.dumps(header)})
    return blob


def _decode(name: str, blob: bytes) -> tuple[AdapterKey, StoredAdapter] | None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(blob)
        header = _header_of(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        key, embedding = _described(header)
        if header["digest"] != _digest(tensors):
            raise ValueError("its weights are not those that were written")
        states: States = [{} for _ in header["records"]]
        for place, value in tensors.items():
            number, _, inner = place.partition("/")
            states[int(number)][inner] = value
        records = tuple(_record(record) for record in header["records"])
        looks = {str(name): float(x) for name, x in header.get("looks", {}).items()}  # newer ones
        return key, StoredAdapter(states, records, float(header["seconds"]), embedding, looks)
    except (SafetensorError, *DAMAGE) as error:
        log.warning("cached adapter %s is damaged and is ignored: %s", name, error)
        return None


def _header_of(text: bytes) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(json.loads(text)["__metadata__"][HEADER])
    return header


def _described(header: dict[str, Any]) -> tuple[AdapterKey, tuple[float, ...]]:
    """The key and the embedding in a header of this version."""
    if header["format"] != FORMAT:
        raise ValueError(f"it is of format {header['format']!r}, not {FORMAT}")
    embedding = tuple(float(x) for x in header["embedding"])
    if not math.isfinite(math.fsum(x * x for x in embedding)):
        raise ValueError("the length of its embedding is not finite")
    return AdapterKey(**header["key"]), embedding


def _record(values: dict[str, Any]) -> TrainRecord:
    best = values.pop("best")
    checks = tuple(Check(**check) for check in values.pop("checks"))
    losses = tuple(float(x) for x in values.pop("losses"))
    return TrainRecord(
        **values, losses=losses, checks=checks, best=None if best is None else Check(**best)
    )


def _digest(tensors: Mapping[str, Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.contiguous().numpy().data)
    return digest.hexdigest()


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    if len(a) != len(b) or not a:
        return -1.0
    scale = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.fsum(x * y for x, y in zip(a, b)) / scale if scale else -1.0
