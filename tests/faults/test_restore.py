"""A thousand adaptations of one model, most of which fail: it is the same model after each."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from autottt.adapters.models.base import LoraSettings, TokenSequence, TrainSettings
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.loading import load_module
from autottt.errors import DivergenceError, LostModelError, RestorationError, StoppedError

CYCLES = 1000
ROWS = [TokenSequence((5, 6, 7, 8, 9, 10), (False, False, False, True, True, True))]
SETTINGS = TrainSettings(steps=2)


class Injected(Exception):
    """Nothing in the library knows it."""


@dataclass(frozen=True)
class Fault:
    """What to do to a cycle, and the error that is then to come out."""

    name: str
    on_step: Callable[[HuggingFaceModel], None] | None = None
    on_batch: Callable[[int], None] | None = None
    expected: type[BaseException] | None = None
    late: bool = False  # the deadline is past


def raising(error: BaseException) -> Callable[[object], None]:
    """A hook that raises."""

    def hook(given: object) -> None:
        raise error

    return hook


def spoil(model: HuggingFaceModel) -> None:
    """Make every trained number not a number, so that the next loss is none."""
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.requires_grad:
                parameter.fill_(float("nan"))


def overwrite(model: HuggingFaceModel) -> None:
    """Change a weight of the base, as only a bug could."""
    with torch.no_grad():
        next(p for p in model.module.parameters() if not p.requires_grad).add_(1.0)


FAULTS = (
    Fault("none"),
    Fault("exception in a step", on_step=raising(Injected()), expected=Injected),
    Fault("exception in a batch", on_batch=raising(Injected()), expected=Injected),
    Fault("not a number", on_step=spoil, expected=DivergenceError),
    Fault(
        "out of memory on a device",
        on_batch=raising(torch.OutOfMemoryError("injected")),
        expected=torch.OutOfMemoryError,
    ),
    Fault("out of memory", on_batch=raising(MemoryError()), expected=MemoryError),
    Fault("deadline", late=True),
    Fault("cancelled", on_step=raising(KeyboardInterrupt()), expected=KeyboardInterrupt),
    Fault("stopped", on_step=raising(StoppedError("SIGTERM")), expected=StoppedError),
)


def cycle(model: HuggingFaceModel, fault: Fault, seed: int) -> None:
    """Adapt once, with the fault."""

    def batch(step: int) -> Sequence[TokenSequence]:
        if fault.on_batch is not None and step == 1:
            fault.on_batch(step)
        return ROWS

    def on_step(step: int, loss: float) -> None:
        if fault.on_step is not None and step == 1:
            fault.on_step(model)

    with model.session(LoraSettings(), seeds=[seed]) as session:
        deadline = time.monotonic() - 1 if fault.late else None
        (record,) = session.train([batch], SETTINGS, deadline=deadline, on_step=on_step)
        assert record.steps == (0 if fault.late else SETTINGS.steps)


@pytest.mark.timeout(120)
def test_a_thousand_cycles_leave_the_model_as_it_was(tiny_model: HuggingFaceModel) -> None:
    """Whatever happens in a cycle, the fingerprint after it is that of before."""
    seen: Counter[str] = Counter()
    for k in range(CYCLES):
        fault = FAULTS[k % len(FAULTS)]
        if fault.expected is None:
            cycle(tiny_model, fault, k)
        else:
            with pytest.raises(fault.expected):
                cycle(tiny_model, fault, k)
        assert tiny_model.verify(), f"{fault.name} in cycle {k}"
        seen[fault.name] += 1
    assert sum(seen.values()) == CYCLES
    assert min(seen.values()) >= CYCLES // len(FAULTS)


def test_a_base_that_was_written_to_is_loaded_again(tiny_model: HuggingFaceModel) -> None:
    """Even a changed base weight is found, told and mended."""
    fault = Fault("overwritten", on_step=overwrite)
    for k in range(3):
        with pytest.raises(RestorationError):
            cycle(tiny_model, fault, k)
        assert tiny_model.verify()


def test_a_source_that_is_gone_is_a_lost_model(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that was written to and cannot be loaded again says so, and is known to be damaged."""

    def gone(name: str, settings: object) -> None:
        raise FileNotFoundError(name)

    with monkeypatch.context() as patched:
        patched.setattr("autottt.adapters.models.huggingface.load_module", gone)
        fault = Fault("overwritten", on_step=overwrite)
        with pytest.raises(LostModelError, match="could not be loaded again"):
            cycle(tiny_model, fault, 0)
        assert not tiny_model.verify()
    tiny_model.reload()
    assert tiny_model.verify()


def test_a_source_of_other_weights_is_a_lost_model(tiny_model_folder: Path, tmp_path: Path) -> None:
    """What was overwritten in the meantime is not taken for the model that was loaded."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    model = HuggingFaceModel(str(folder))
    known = model.fingerprint
    weights = load_file(folder / "model.safetensors")
    others = {name: tensor + 1.0 for name, tensor in weights.items()}
    save_file(others, folder / "others", metadata={"format": "pt"})
    (folder / "others").replace(folder / "model.safetensors")
    for _ in range(2):
        with pytest.raises(LostModelError, match="not those that were loaded first"):
            model.reload()
        assert not model.verify()
    assert model.fingerprint == known


def test_the_old_weights_are_free_before_the_new_ones_are_loaded(
    tiny_model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that loading again takes the memory of one model, whoever still holds the old one."""
    old, held = tiny_model.module, list[int]()

    def load(name: str, settings: Any) -> Any:
        held.append(sum(t.nbytes for t in (*old.parameters(), *old.buffers())))
        return load_module(name, settings)

    monkeypatch.setattr("autottt.adapters.models.huggingface.load_module", load)
    with pytest.raises(RestorationError):
        cycle(tiny_model, Fault("overwritten", on_step=overwrite), 0)
    assert held == [0]
    assert tiny_model.verify()
