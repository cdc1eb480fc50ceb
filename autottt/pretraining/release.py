"""Turning a checkpoint into a Hugging Face model folder: bf16 safetensors and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from autottt.adapters.models.byte_level import build_byte_tokenizer
from autottt.errors import InputError
from autottt.pretraining.card import model_card
from autottt.pretraining.train import CHECKPOINT, new_model, read_state


def release(out: Path, target: Path, beside: Sequence[Path] = ()) -> Path:
    """Write the checkpoint in `out` as a model folder `target`, with its training log.

    The card compares it with the runs in the folders `beside`.

    Raises `InputError` where `out` holds no checkpoint.
    """
    path = checkpoint_in(out)
    others = [read_state(checkpoint_in(folder)) for folder in beside]
    recipe, record = read_state(path)
    model = new_model(recipe)
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model/{name}"])
    model.config.use_cache = True
    model.config.prompt_format = "arrow"  # how `huggingface` shall ask it
    model.to(torch.bfloat16)  # type: ignore[arg-type]
    model.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # written for its owner alone
    build_byte_tokenizer(recipe.context).save_pretrained(target)
    log = {"recipe": asdict(recipe), "log": asdict(record)}
    (target / "training_log.json").write_text(json.dumps(log, indent=1) + "\n")
    (target / "README.md").write_text(model_card(recipe, record, others))
    return target


def checkpoint_in(out: Path) -> Path:
    """The checkpoint of the run in a folder; raises `InputError` where there is none."""
    path = out / CHECKPOINT
    if not path.exists():
        raise InputError(f"{out} holds no checkpoint; run `autottt pretrain --out {out}` first")
    return path
