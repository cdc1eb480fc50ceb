"""What several tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from autottt.controller.outcomes import ArmOutcome, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from autottt.adapters.models.huggingface import HuggingFaceModel

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several: each, and what it starts, has one core
    os.environ["OMP_NUM_THREADS"] = "1"

# the same examples in every run, and no time limit of their own: a failure can be repeated
settings.register_profile(
    "autottt", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("autottt")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip without it."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"there is no real data at {path}")
    return path


@pytest.fixture(scope="session")
def embedded() -> HuggingFaceModel:
    """The embedded model as shipped; tests leave it as it was."""
    from autottt.adapters.models.huggingface import HuggingFaceModel

    return HuggingFaceModel("embedded")


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of a few thousand random weights, on disk like any other model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from autottt.adapters.models.byte_level import VOCABULARY, build_byte_tokenizer

    folder = tmp_path_factory.mktemp("tiny-model")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    build_byte_tokenizer(512).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_model(tiny_model_folder: Path) -> HuggingFaceModel:
    """A freshly loaded tiny model."""
    from autottt.adapters.models.huggingface import HuggingFaceModel

    return HuggingFaceModel(str(tiny_model_folder))


@pytest.fixture(scope="session")
def world() -> Callable[..., list[Outcome]]:
    """`world(n, seed=0, families="f")`: outcomes of a world with a cheap arm and a long one."""
    return _world


def _world(n: int, *, seed: int = 0, families: str = "f") -> list[Outcome]:
    """Vote share says whether the vote is right, regularity whether training is; two arms."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(n):
        share, regular = rng.random(), rng.random()
        vote, good = bool(rng.random() < share), bool(rng.random() < regular)
        cheap = good and bool(rng.random() < 0.6)
        features = {"vote_share": share, "same_size": regular, "prompt_tokens": 300.0}
        arms = {
            "icl-vote": ArmOutcome(vote, 0.5, 1, {"probe_seconds": 0.6}),
            "light": ArmOutcome(cheap, 1.0, 1, {"vote_share": 0.9 if cheap else 0.3}),
            "long": ArmOutcome(good, 6.0, 1, {"vote_share": 0.9 if good else 0.3}),
        }
        found.append(Outcome(f"{families}{k}", f"{families}{k % 15}", "m", 0, features, arms))
    return found
