"""Two processes that hold a model: what goes wrong in either leaves the model as it was."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from autottt.adapters.models.base import TokenSequence, TrainSettings
from autottt.adapters.models.huggingface import HuggingFaceModel
from autottt.adapters.models.ranks import First
from autottt.errors import CancelledError, DivergenceError, WorkerError
from tests.adapters.models.test_ranks import ASKED, LORA, TRAINING, TWO, batch
from tests.adapters.models.zoo import save


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HuggingFaceModel]:
    """One model in two processes."""
    model = HuggingFaceModel(str(save("llama", tmp_path_factory.mktemp("parted"))), settings=TWO)
    yield model
    model.close()


def others(model: HuggingFaceModel) -> list[int]:
    """The process ids of all but the first."""
    return [other.process.pid for other in cast(First, model.ranks)._others]


def test_a_callback_that_raises_stops_both(parted: HuggingFaceModel) -> None:
    """Cancelled at a step, or failing to make a batch, the processes stay in step and restored."""

    def cancel(step: int, loss: float) -> None:
        if step == 2:
            raise CancelledError("enough")

    def broken(step: int) -> list[TokenSequence]:
        raise ValueError("no batch")

    before = others(parted)
    with pytest.raises(CancelledError), parted.session(LORA, seeds=[0]) as session:
        session.train([batch], TRAINING, on_step=cancel)
    with pytest.raises(ValueError, match="no batch"), parted.session(LORA, seeds=[0]) as session:
        session.train([broken], TRAINING)
    with parted.session(LORA, seeds=[0]) as session:
        (late,) = session.train([batch], TRAINING, deadline=time.monotonic())
        (told,) = session.train([batch], TRAINING, look=lambda records: "seen enough")
    assert late.stop_reason == "deadline"
    assert told.stop_reason == "seen enough"
    assert parted.verify()
    assert others(parted) == before


def test_a_loss_that_is_not_finite_is_known_to_both(parted: HuggingFaceModel) -> None:
    """A rate beyond all reason ends in `DivergenceError`, and the model is restored."""
    wild = TrainSettings(steps=20, learning_rate=1e20, scaled=False, warm_up=0, clip=1e30)
    before = others(parted)
    with pytest.raises(DivergenceError), parted.session(LORA, seeds=[0]) as session:
        session.train([batch], wild)
    assert parted.verify()
    assert others(parted) == before


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_a_process_that_dies_is_started_again(
    parted: HuggingFaceModel, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its call fails with a typed error, the model is restored, and the next call starts it."""
    wanted = parted.score(ASKED)[0].log_probabilities
    (other,) = others(parted)
    if how is signal.SIGSTOP:
        os.kill(other, how)
        with monkeypatch.context() as impatient:
            impatient.setattr("autottt.adapters.models.ranks.LIMIT", 5.0)
            with pytest.raises(WorkerError, match="out of step"):
                parted.verify()
    else:

        def kill(step: int, loss: float) -> None:
            if step == 2:
                os.kill(other, how)

        with pytest.raises(WorkerError, match="died"), parted.session(LORA, seeds=[0]) as session:
            session.train([batch], TRAINING, on_step=kill)
    assert parted.ranks.lost
    assert not any("lora" in name for name, _ in parted.module.named_modules())
    assert parted.score(ASKED)[0].log_probabilities == pytest.approx(wanted)
    assert others(parted) != [other]
    assert parted.verify()


def test_a_session_is_not_carried_over_a_loss(parted: HuggingFaceModel) -> None:
    """Where a process dies in a session, that session is over, however it goes on."""
    with parted.session(LORA, seeds=[0]) as session:
        os.kill(others(parted)[0], signal.SIGKILL)
        with pytest.raises(WorkerError):
            session.train([batch], TRAINING)
        with pytest.raises(WorkerError, match="gone"):
            parted.score(ASKED)
    assert parted.verify()


def test_the_current_folder_is_no_place_of_modules(
    parted: HuggingFaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file there by the name of a module of Python is not taken for it as a process starts."""
    (tmp_path / "queue.py").write_text("raise SystemExit('the file of a user')\n")
    monkeypatch.chdir(tmp_path)
    parted.close()
    assert parted.verify()
