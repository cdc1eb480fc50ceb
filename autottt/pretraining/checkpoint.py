"""The checkpoint of a run: weights, optimizer state, recipe and log in one safetensors file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autottt.errors import InputError, StorageError
from autottt.pretraining.recipe import Log, Recipe, Run, recipe_of

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "model/"  # before the names of the weights in it
OPTIMIZERS = "optimizer/"
STATES: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {  # what each keeps of a parameter
    torch.optim.Muon: ("momentum_buffer",),
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
}


def save(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    record: Log,
    recipe: Recipe,
    out: Path,
) -> None:
    """Write the checkpoint of the run in `out` in place of the one before.

    Raises `StorageError` where it cannot be written; the one before stays.
    """
    tensors = {WEIGHTS + n: p.detach().contiguous() for n, p in model.named_parameters()}
    for place, optimizer in enumerate(optimizers):
        for key, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"{OPTIMIZERS}{place}/{key}/{name}"] = torch.as_tensor(value).contiguous()
    state = json.dumps({"recipe": asdict(recipe), "log": asdict(record)})
    partial = out / (CHECKPOINT + ".partial")
    try:
        save_file(tensors, partial, metadata={"state": state})  # one file: never half of a state
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # or a loss of power could leave neither
        os.replace(partial, out / CHECKPOINT)
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"the checkpoint {out / CHECKPOINT} cannot be written ({error}); make room or mend the "
            "folder, then start again with it to go on from the last step that was saved"
        ) from error


def read_state(path: Path) -> Run:
    """The recipe and the log that a checkpoint file holds; raises `InputError` if it is none."""
    try:
        with safe_open(path, framework="pt") as reader:
            state = json.loads(reader.metadata()["state"])
        recipe, record = recipe_of(state["recipe"]), Log(**state["log"])
        if type(record.step) is not int or not 0 <= record.step <= recipe.steps:
            raise ValueError(f"its step is {record.step!r} of {recipe.steps}")
        return recipe, record
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a checkpoint of this recipe ({error}); name another folder"
        ) from error


def restore(model: nn.Module, optimizers: list[torch.optim.Optimizer], path: Path) -> None:
    """Give the model and its optimizers the state that a checkpoint file holds.

    Raises `InputError` where the file is missing or damaged, or its tensors are not theirs.
    """
    _, record = read_state(path)
    load_weights(model, path, prefix=WEIGHTS)
    found = {n: t for n, t in load_file(path).items() if n.startswith(OPTIMIZERS)}
    shapes = _state_shapes(optimizers) if record.step else {}  # they have none before a step
    wrong = sorted(
        name
        for name in shapes.keys() | found.keys()
        if name not in found or found[name].shape != shapes.get(name)
    )
    if wrong:
        raise InputError(
            f"{path} does not hold the optimizer state of step {record.step} ({len(wrong)} tensors "
            f"are missing, unknown or of another shape, {wrong[0]} first); name another folder"
        )
    for place, optimizer in enumerate(optimizers):
        full = optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in found.items():
            _, at, index, name = key.split("/")
            if int(at) == place:
                state.setdefault(int(index), {})[name] = value
        full["state"] = state
        optimizer.load_state_dict(full)


def _state_shapes(optimizers: list[torch.optim.Optimizer]) -> dict[str, torch.Size]:
    """The names and shapes of the tensors that the optimizers have after a step."""
    return {
        f"{OPTIMIZERS}{place}/{index}/{name}": torch.Size() if name == "step" else parameter.shape
        for place, optimizer in enumerate(optimizers)
        for index, parameter in enumerate(p for g in optimizer.param_groups for p in g["params"])
        for name in STATES[type(optimizer)]
    }


@torch.no_grad()
def load_weights(model: nn.Module, path: Path, *, prefix: str = "") -> None:
    """Give the model the weights of a safetensors file.

    Raises `InputError` where the file is missing or damaged, or its weights have other shapes.
    """
    try:
        tensors = load_file(path)
        for name, parameter in model.named_parameters():
            found = tensors[prefix + name]
            if found.shape != parameter.shape:
                raise ValueError(f"{name} is of shape {tuple(found.shape)}")
            parameter.copy_(found)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} does not hold the weights of this model ({error}); name another folder"
        ) from error
