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

from autottt.errors import InputError
from autottt.pretraining.recipe import Log, Recipe, Run, recipe_of

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "model/"  # before the names of the weights in it


def save(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    record: Log,
    recipe: Recipe,
    out: Path,
) -> None:
    """Write the checkpoint of the run in `out` in place of the one before."""
    tensors = {WEIGHTS + n: p.detach().contiguous() for n, p in model.named_parameters()}
    for place, optimizer in enumerate(optimizers):
        for key, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer/{place}/{key}/{name}"] = torch.as_tensor(value).contiguous()
    state = json.dumps({"recipe": asdict(recipe), "log": asdict(record)})
    partial = out / (CHECKPOINT + ".partial")
    save_file(tensors, partial, metadata={"state": state})  # one file: never half of a state
    os.replace(partial, out / CHECKPOINT)


def read_state(path: Path) -> Run:
    """The recipe and the log that a checkpoint file holds; raises `InputError` if it is none."""
    try:
        with safe_open(path, framework="pt") as reader:
            state = json.loads(reader.metadata()["state"])
        return recipe_of(state["recipe"]), Log(**state["log"])
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a checkpoint of this recipe ({error}); name another folder"
        ) from error


def restore(model: nn.Module, optimizers: list[torch.optim.Optimizer], path: Path) -> None:
    """Give the model and its optimizers the state that a checkpoint file holds."""
    load_weights(model, path, prefix=WEIGHTS)
    tensors = load_file(path)
    for place, optimizer in enumerate(optimizers):
        full = optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer/{place}/"):
                _, _, index, name = key.split("/")
                state.setdefault(int(index), {})[name] = value
        full["state"] = state
        optimizer.load_state_dict(full)


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
