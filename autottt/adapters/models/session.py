"""The session: attach adapters, train, predict, detach, and prove that the base is what it was.

An adapter is a LoRA, a bias before the head or a key-value prefix; a session holds one for each of
several places, and one pass of the frozen base trains them all. Everything that can go wrong inside
(an exception, a loss not finite, a deadline, Ctrl-C) leaves by the same door: the adapters are
taken off, the state around them put back, and the checksum compared. On a mismatch the model is
loaded again from its source and `RestorationError` is raised, or `LostModelError` where that fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from autottt.adapters.models.base import (
    AdapterSettings,
    Batches,
    Check,
    HeldOut,
    Look,
    LoraSettings,
    PrefixSettings,
    TokenSequence,
    TrainRecord,
    TrainSettings,
)
from autottt.adapters.models.clipping import clip
from autottt.adapters.models.fingerprint import Snapshot
from autottt.adapters.models.fused import FusedLlama, fused
from autottt.adapters.models.fused_beside import BesideLlama, beside
from autottt.adapters.models.interrupts import heard_at_the_end
from autottt.adapters.models.lora_layers import ALL_LINEAR, attach, detach
from autottt.adapters.models.memory import keep_freed
from autottt.adapters.models.muon import Muon
from autottt.adapters.models.output_bias import attach_bias, detach_bias
from autottt.adapters.models.prefix import Prefix
from autottt.adapters.models.progress import Run, rate
from autottt.adapters.models.ranks import Part, elsewhere, joined
from autottt.errors import RestorationError, StrategyError

if TYPE_CHECKING:
    from autottt.adapters.models.huggingface import HuggingFaceModel

PLAIN_TOKENS = 512  # of a row up to which the plain kernel's backward is faster on a CPU
_NOTHING = TokenSequence((0,), (False,))  # a row without a target, to make groups equal


class AdapterSession:
    """One adaptation of one model; see `base.Session`. A context manager; not reusable."""

    def __init__(
        self, owner: HuggingFaceModel, settings: AdapterSettings, *, seeds: Sequence[int]
    ) -> None:
        self._owner = owner
        self._settings = settings
        self._seeds = seeds
        self._layers: list[Any] = []  # whatever has `selected`
        self._parameters: dict[str, nn.Parameter] = {}
        self._parts: dict[str, Part] = {}  # of parameters (K, ...) that other processes share
        self._snapshot: Snapshot | None = None
        self._fused: FusedLlama | BesideLlama | None = None

    def __enter__(self) -> AdapterSession:
        self._owner.lock.acquire()
        try:
            with self._owner.told("session.open", self._settings, seeds=self._seeds):
                self.open()
        except BaseException:
            try:
                if self._owner.opened is self:  # open here, and perhaps not in another process
                    self._owner.ranks.stop()
                    self.close()
            finally:
                self._owner.lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._owner.ranks.lost:
                self.close()
                return
            with heard_at_the_end(), self._owner.told("session.close"):
                self.close()
        finally:
            self._owner.lock.release()

    def open(self) -> None:
        """Attach the adapters, in this process."""
        self._owner.opened = self
        try:
            self._snapshot = Snapshot.take(self._owner.module)
            torch.manual_seed(self._seeds[0])  # of the base's own dropout
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        module, settings = self._owner.module, self._settings
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        if isinstance(settings, PrefixSettings):
            rows = [TokenSequence(ids, (False,) * len(ids)) for ids in settings.prompts]
            ids, mask, _ = self._owner.pad(rows, left=True)
            window = getattr(module.config.get_text_config(), "sliding_window", None)
            if self._owner.slides and window is not None and ids.shape[1] >= window:
                raise StrategyError(
                    f"a prefix of {ids.shape[1]} tokens does not fit the window of {window} that "
                    "this model looks at"
                )
            with self._owner.autocast():
                prefix = Prefix(module, settings, ids, mask, self._seeds[0])
            self._owner.prefix = prefix
            self._layers, self._parameters = [prefix], prefix.parameters
            self._parts = prefix.parts(self._owner.module.config, self._owner.ranks.rank)
            self._select(None)
            return
        layers: dict[str, Any]
        if isinstance(settings, LoraSettings):
            if settings.targets == ALL_LINEAR and self._owner.lora_targets:
                settings = replace(settings, targets=self._owner.lora_targets)
            layers = dict(attach(module, settings, seeds=self._seeds))
            self._fused = fused(module) or beside(module)
        else:
            layers = dict(attach_bias(module, self._seeds))
        self._layers = list(layers.values())
        self._parameters = {
            f"{name}.{part}": parameter
            for name, layer in layers.items()
            for part, parameter in layer.named_parameters(recurse=False)
        }
        self._parts = {
            f"{name}.{part}": of
            for name, layer in layers.items()
            for part, of in getattr(layer, "parts", {}).items()
        }
        self._select(None)

    def train(
        self,
        batches: Sequence[Batches],
        settings: TrainSettings,
        *,
        held_out: Sequence[HeldOut] | None = None,
        deadline: float | None = None,
        on_step: Callable[[int, float], None] | None = None,
        look: Look | None = None,
    ) -> list[TrainRecord]:
        """See `base.Session.train`. `on_step` hears the mean loss of the places still running."""
        there = {
            "held_out": held_out and [HeldOut(elsewhere, of.turns) for of in held_out],
            "deadline": deadline,
            "on_step": on_step and elsewhere,
            "look": look and elsewhere,
        }
        with self._owner.told("session.train", [elsewhere] * len(batches), settings, **there):
            return self._train(batches, settings, held_out, deadline, on_step, look)

    def _train(
        self,
        batches: Sequence[Batches],
        settings: TrainSettings,
        held_out: Sequence[HeldOut] | None,
        deadline: float | None,
        on_step: Callable[[int, float], None] | None,
        look: Look | None,
    ) -> list[TrainRecord]:
        agreed = self._owner.ranks.agreed
        parameters = list(self._parameters.values())
        scale = self._owner.rate_scale if settings.scaled else 1.0
        settings = replace(settings, learning_rate=scale * settings.learning_rate)
        optimizer = _optimizer(parameters, settings)
        watched = held_out if held_out is not None else [None] * len(batches)
        runs = [
            Run(k, agreed(batch), of and HeldOut(agreed(of.sequences), of.turns))
            for k, (batch, of) in enumerate(zip(batches, watched))
        ]
        if self._owner.device == "cpu":
            keep_freed()
        if not self._late(deadline):
            self._check(runs, parameters, settings)
        try:
            for step in range(settings.steps):
                running = [run for run in runs if run.reason is None]
                if not running:
                    break
                if self._late(deadline):
                    self._stop(running, "deadline", parameters)
                    break
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * rate(step, settings)
                losses = self._step(running, [run.rows(step) for run in running])
                clip(self._parameters, settings.clip, self._parts, self._owner.ranks.total)
                with self._owner.autocast():  # for Muon's products
                    optimizer.step()
                increment_version(parameters)  # a fused step raises none: what was kept is stale
                optimizer.zero_grad()
                if self._owner.device != "cpu" and step + 1 < settings.steps:
                    for run in running:
                        run.ahead(step + 1)  # while the device is at work
                values = losses.tolist()
                for run, value in zip(running, values, strict=True):
                    run.note(value, settings)
                if on_step is not None:
                    agreed(on_step)(step + 1, sum(values) / len(values))
                low = [run for run in running if run.smooth < settings.stop_loss]
                self._stop(low, f"loss under {settings.stop_loss:g}", parameters)
                if (step + 1) % settings.check_every == 0:
                    self._check(running, parameters, settings)
                going_on = [run for run in runs if run.reason is None]
                last = not going_on or step + 1 == settings.steps
                if look is not None and not last and (step + 1) % settings.check_every == 0:
                    reason = agreed(look)([run.record() for run in runs])
                    if reason is not None:
                        self._stop(going_on, reason, parameters)
            self._stop([run for run in runs if run.reason is None], "all steps", parameters)
        finally:
            self._select(None)
        with torch.no_grad():
            for run in runs:
                for parameter, kept in zip(parameters, run.kept or (), strict=True):
                    parameter[run.place] = kept
        return [run.record() for run in runs]

    def _late(self, deadline: float | None) -> bool:
        return deadline is not None and self._owner.ranks.agreed(time.monotonic)() >= deadline

    def select(self, places: Sequence[int] | None) -> None:
        """Use the adapters of these places, for equal groups of rows in this order."""
        with self._owner.told("session.select", places):
            self._select(places)

    def _select(self, places: Sequence[int] | None) -> None:
        everyone = list(range(len(self._seeds)))
        places = everyone if places is None else list(places)
        devices = {parameter.device for parameter in self._parameters.values()}
        where = devices.pop() if len(devices) == 1 else None  # else for layers on whatever device
        chosen = None if places == everyone else torch.tensor(places, device=where)
        for layer in self._layers:
            layer.selected = chosen
        self._owner.grouped = len(places) > 1

    def state(self, place: int) -> dict[str, Tensor]:
        """The weights of one place's adapter, by name, as tensors on the CPU."""
        with self._owner.told("session.state", place):
            own = {
                name: parameter[place].detach().to("cpu", copy=True)
                for name, parameter in self._parameters.items()
            }
            dims = {name: part.dim - 1 for name, part in self._parts.items()}
            return joined(self._owner.ranks.gathered(own), dims)

    def load(self, place: int, state: Mapping[str, Tensor]) -> None:
        """Take weights that `state` gave; raises `StrategyError` where they do not fit."""
        with self._owner.told("session.load", place, state):
            shapes = {name: tuple(p.shape[1:]) for name, p in self._parameters.items()}
            own = {name: self._own(name, value) for name, value in state.items()}
            if {name: tuple(value.shape) for name, value in own.items()} != shapes:
                raise StrategyError(
                    "the adapter's tensors are not those of this model and settings"
                )
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter[place] = own[name].to(parameter)

    def _own(self, name: str, value: Tensor) -> Tensor:
        """What of a whole tensor this process has; all of one that has another size."""
        part = self._parts.get(name)
        if part is None or value.dim() < part.dim or value.shape[part.dim - 1] != part.size:
            return value
        return part.of(value[None])[0]

    def _check(
        self, runs: Sequence[Run], parameters: Sequence[Tensor], settings: TrainSettings
    ) -> None:
        """Score what was held out, place by place, and stop the runs whose checks say so."""
        for run in runs:
            if run.held_out is None or run.reason is not None:
                continue
            self._select([run.place])
            scores = self._owner.score(run.held_out.sequences(len(run.checks)))
            tokens = sum(len(s.log_probabilities) for s in scores)
            loss = -sum(sum(s.log_probabilities) for s in scores) / tokens
            exact = sum(s.exact for s in scores) / len(scores)
            run.check(Check(len(run.losses), loss, exact), parameters)
            reason = run.verdict(settings)
            if reason is not None:
                self._stop([run], reason, parameters)

    def _stop(self, runs: Sequence[Run], reason: str, parameters: Sequence[Tensor]) -> None:
        """End some runs; later steps of others no longer matter to what they have learnt.

        Where the checks have not come to a score after training, the last weights are kept.
        """
        for run in runs:
            run.reason = reason
            if run.best is None or (run.losses and run.best_at == 0 and run.score() is None):
                run.best = None
                run.keep(parameters)

    def _step(self, runs: Sequence[Run], groups: Sequence[Sequence[TokenSequence]]) -> Tensor:
        """Gradients of the sum of the places' mean losses; returns the losses (nats a token)."""
        self._select([run.place for run in runs])
        rows = max(len(group) for group in groups)
        filled = [[*group, *[_NOTHING] * (rows - len(group))] for group in groups]
        sequences = [row for group in filled for row in group]
        ids, mask, targets = self._owner.pad(sequences)
        chosen = targets[:, 1:] >= 0  # (B, T - 1)
        wanted = targets[:, 1:][chosen]  # (N,)
        owner = torch.arange(len(groups), device=ids.device).repeat_interleave(rows)
        places = owner[:, None].expand_as(chosen)[chosen]  # (N,) the run of each target
        own = places == torch.arange(len(groups), device=ids.device)[:, None]  # (runs, N)
        logits = self._logits(ids, mask, sequences, chosen)
        each = nn.functional.cross_entropy(logits.float(), wanted, reduction="none")  # (N,)
        sums = torch.where(own, each, 0.0).sum(1)  # in one order, whatever the device
        losses = sums / own.sum(1).clamp(min=1)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        for run, group in zip(runs, groups, strict=True):
            run.tokens += sum(len(s.ids) for s in group)
        return losses.detach()

    def _logits(
        self, ids: Tensor, mask: Tensor, sequences: Sequence[TokenSequence], chosen: Tensor
    ) -> Tensor:
        """Logits (N, V) of what follows the `chosen` places (B, T - 1) of ids (B, T)."""
        if self._fused is not None and chosen.any():
            with self._owner.autocast():
                return self._fused.logits(ids, nn.functional.pad(chosen, (0, 1)))
        # places where some row has a target; for hidden states on whatever device
        columns = chosen.any(0).nonzero()[:, 0].cpu()
        with self._training(ids.shape[1]), self._owner.autocast():
            logits: Tensor = self._owner.forward(
                ids, mask, sequences, training=True, logits_to_keep=columns
            ).logits  # (B, columns, V)
        return logits[chosen[:, columns]]

    @contextmanager
    def _training(self, length: int) -> Iterator[None]:
        """Training mode; for short rows on a CPU with the plain attention kernel."""
        module = self._owner.module
        plain = self._owner.device == "cpu" and length <= PLAIN_TOKENS
        before = module.config._attn_implementation
        module.train()
        try:
            if plain:
                module.set_attn_implementation("eager")
            yield
        finally:
            module.eval()
            if plain:
                module.set_attn_implementation(before)

    @heard_at_the_end()
    def close(self) -> None:
        """Take the adapters off and prove that the model is what it was, in this process."""
        snapshot, module = self._snapshot, self._owner.module
        self._owner.opened = None
        if snapshot is None:
            return
        self._owner.prefix, self._owner.grouped = None, False
        detach(module)
        detach_bias(module)
        snapshot.restore_state(module)
        found = snapshot.differences(module)
        every = [found] if self._owner.ranks.lost else self._owner.ranks.gathered(found)
        wrong = list(dict.fromkeys(what for one in every for what in one))
        if wrong:
            self._layers, self._parameters, self._fused = [], {}, None  # copies of weights, too
            self._owner.reload()
            raise RestorationError(
                f"after adaptation the {' and '.join(wrong)} of {self._owner.name!r} differed from "
                "before; the model was loaded again from its source, and the answer is void"
            )


def _optimizer(
    parameters: Sequence[nn.Parameter], settings: TrainSettings
) -> torch.optim.Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "muon":
        return Muon(parameters, rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
