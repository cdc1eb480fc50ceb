"""Turning a checkpoint into a Hugging Face model folder: bf16 safetensors and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from autottt.adapters.models.byte_level import build_byte_tokenizer
from autottt.errors import InputError
from autottt.pretraining.card import model_card
from autottt.pretraining.checkpoint import CHECKPOINT, WEIGHTS, load_weights, read_state
from autottt.pretraining.stages import TRAINING_LOG, released_stages
from autottt.pretraining.train import new_model


def release(out: Path, target: Path, beside: Sequence[Path] = ()) -> Path:
    """Write the checkpoint in `out` as a model folder `target`, with its training log.

    The card compares it with the runs in the folders `beside`.

    Raises `InputError` where one of the runs has no checkpoint, or the target holds other files.
    """
    check_target(target)
    path = checkpoint_in(out)
    others = [read_state(checkpoint_in(folder)) for folder in beside]
    recipe, record = read_state(path)
    model = new_model(recipe)
    load_weights(model, path, prefix=WEIGHTS)
    model.config.use_cache = True
    model.config.prompt_format = "arrow"  # how `huggingface` shall ask it
    model.to(torch.bfloat16)  # type: ignore[arg-type]
    target.mkdir(parents=True, exist_ok=True)
    log = {"recipe": asdict(recipe), "log": asdict(record)}
    (target / TRAINING_LOG).write_text(json.dumps(log, indent=1) + "\n")  # first: see check_target
    model.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # written for its owner alone
    build_byte_tokenizer(recipe.context).save_pretrained(target)
    (target / "README.md").write_text(model_card(recipe, record, others))
    return target


def check_target(target: Path) -> None:
    """Raises `InputError` unless the folder is new, empty, or holds a release to write over."""
    if not target.is_dir() or not any(target.iterdir()):
        return
    try:
        released_stages(target)
    except InputError as error:
        raise InputError(
            f"{target} is not empty and holds no released model; empty it, or name another folder"
        ) from error


def checkpoint_in(out: Path) -> Path:
    """The checkpoint of the run in a folder; raises `InputError` where there is none."""
    path = out / CHECKPOINT
    if not path.exists():
        raise InputError(f"{out} holds no checkpoint; run `autottt pretrain --out {out}` first")
    return path
