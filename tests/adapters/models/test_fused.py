"""Layers fused for training compute what transformers' layers with a LoRA beside them compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autottt.adapters.models import fused as fused_module
from autottt.adapters.models import kernels
from autottt.adapters.models.base import LoraSettings
from autottt.adapters.models.fused import FusedLlama, fused
from autottt.adapters.models.fused_beside import Beside, BesideLlama, beside
from autottt.adapters.models.lora_layers import LoraLinear, attach, detach
from autottt.errors import StrategyError

SETTINGS = LoraSettings(rank=16, alpha=32)


def llama(**changes: Any) -> nn.Module:
    """Two fp32 layers with four heads that share two keys and values."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **changes})).requires_grad_(False)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of attention are computed in several blocks."""
    monkeypatch.setattr(fused_module, "BLOCK", 8)
    monkeypatch.setattr(fused_module, "COLUMNS", 4)


def started(module: nn.Module, seeds: list[int]) -> dict[str, LoraLinear]:
    """LoRA layers whose B is not zero, so that everything has a gradient."""
    layers = attach(module, SETTINGS, seeds=seeds)
    generator = torch.Generator().manual_seed(1)
    for layer in layers.values():
        layer.lora_b.data = 0.1 * torch.randn(layer.lora_b.shape, generator=generator)
    return layers


def loss_and_gradients(
    logits: Tensor, wanted: Tensor, layers: dict[str, LoraLinear]
) -> tuple[float, dict[str, Tensor]]:
    loss = nn.functional.cross_entropy(logits, wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, layer in layers.items():
        for part, parameter in layer.named_parameters(recurse=False):
            assert parameter.grad is not None
            found[f"{name}.{part}"] = parameter.grad.clone()
            parameter.grad = None
    return float(loss.detach()), found


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("length", [1, 7, 21])
@pytest.mark.parametrize("kind", [FusedLlama, BesideLlama])
def test_losses_and_gradients_are_those_of_the_layers_one_by_one(
    kind: type[FusedLlama] | type[BesideLlama], tasks: int, length: int
) -> None:
    """For rows of several lengths and tasks, every gradient agrees to fp32 rounding."""
    module = llama()
    layers = started(module, list(range(tasks)))
    assert fused(module) is not None
    assert beside(module) is not None
    kernel = kind(module)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 40, (2 * tasks, length), generator=generator)
    ends = torch.randint(1, length + 1, (2 * tasks,), generator=generator)
    mask = (torch.arange(length) < ends[:, None]).long()
    chosen = mask.bool() & (torch.rand(ids.shape, generator=generator) < 0.7)
    chosen[:, 0] = True
    wanted = torch.randint(0, 40, (int(chosen.sum()),), generator=generator)

    ours = loss_and_gradients(kernel.logits(ids, chosen), wanted, layers)
    for layer in layers.values():
        layer.added = False
    logits = module(input_ids=ids, attention_mask=mask, use_cache=False).logits[chosen]
    theirs = loss_and_gradients(logits, wanted, layers)

    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("having", [True, False])
@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("length", [33, 150])
def test_bf16_gradients_are_those_of_fp32_up_to_rounding(
    length: int, tasks: int, having: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks and columns as they are, with compiled kernels where there are some and without."""
    monkeypatch.undo()
    if not having:
        monkeypatch.setattr(kernels, "compiled", lambda: None)
    module = llama(max_position_embeddings=256, hidden_size=64, intermediate_size=96)
    layers = started(module, list(range(tasks)))
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 40, (2 * tasks, length), generator=generator)
    chosen = torch.rand(ids.shape, generator=generator) < 0.5
    wanted = torch.randint(0, 40, (int(chosen.sum()),), generator=generator)
    wide = loss_and_gradients(FusedLlama(module).logits(ids, chosen), wanted, layers)
    with torch.autocast("cpu", torch.bfloat16):
        logits = FusedLlama(module).logits(ids, chosen)
    ours = loss_and_gradients(logits.float(), wanted, layers)
    assert ours[0] == pytest.approx(wide[0], rel=0.01)
    for name, gradient in wide[1].items():
        assert (ours[1][name] - gradient).norm() < 0.05 * gradient.norm(), name


@pytest.mark.parametrize("kind", [FusedLlama, BesideLlama])
def test_some_of_the_tasks_can_be_trained_alone(
    kind: type[FusedLlama] | type[BesideLlama],
) -> None:
    """With one of three tasks selected, its gradients are its own and the others have none."""
    module = llama()
    layers = started(module, [0, 1, 2])
    kernel = kind(module)
    for layer in layers.values():
        layer.selected = torch.tensor([1])
    ids, chosen = torch.arange(12)[None] % 40, torch.ones(1, 12, dtype=torch.bool)
    _, found = loss_and_gradients(kernel.logits(ids, chosen), ids[0], layers)
    for name, gradient in found.items():
        assert gradient[1].abs().sum() > 0, name
        assert gradient[[0, 2]].abs().sum() == 0, name


@pytest.mark.parametrize("kind", [FusedLlama, BesideLlama])
def test_a_task_without_a_target_leaves_the_others_as_they_are(
    kind: type[FusedLlama] | type[BesideLlama],
) -> None:
    """The logits are those of the task that has targets; the other has no gradient."""
    module = llama()
    layers = started(module, [0, 1])
    kernel = kind(module)
    ids = torch.arange(24).view(2, 12) % 40
    chosen = torch.tensor([[False], [True]]).expand(2, 12)
    _, found = loss_and_gradients(kernel.logits(ids, chosen), ids[1], layers)
    for name, gradient in found.items():
        assert gradient[0].abs().sum() == 0, name
        assert gradient[1].abs().sum() > 0, name


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"attention_dropout": 0.1},
    ],
)
def test_a_model_of_another_form_has_no_fused_layers(changes: dict[str, Any]) -> None:
    """Biases, another activation or dropout in attention leave training to transformers."""
    module = llama(**changes)
    attach(module, SETTINGS, seeds=[0])
    assert fused(module) is None
    assert beside(module) is None


def test_a_lora_on_some_of_the_layers_has_no_fused_layers() -> None:
    """Every projection has to be trained; a LoRA narrow beside its layer is not added either."""
    module = llama()
    some = LoraSettings(rank=16, targets=("q_proj", "v_proj"))
    attach(module, some, seeds=[0])
    assert fused(module) is None
    assert beside(module) is None
    detach(module)
    attach(module, LoraSettings(rank=1), seeds=[0])
    assert fused(module) is None
    assert beside(module) is not None
    detach(module)
    with pytest.raises(StrategyError):
        attach(module, LoraSettings(targets=("nothing",)), seeds=[0])


def test_dropout_is_for_training() -> None:
    """One seed drops the same, and nothing is dropped where nothing is trained."""
    module = llama()
    layers = started(module, [0])
    ids, chosen = torch.arange(12)[None] % 40, torch.ones(1, 12, dtype=torch.bool)
    kernel = BesideLlama(module)

    def logits(dropout: float) -> Tensor:
        torch.manual_seed(3)
        for layer in layers.values():
            layer.dropout = dropout
        return kernel.logits(ids, chosen).detach()

    assert torch.equal(logits(0.5), logits(0.5))
    assert not torch.allclose(logits(0.5), logits(0.0))
    with torch.no_grad():
        torch.testing.assert_close(logits(0.5), logits(0.0))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("selected", [None, torch.tensor([2, 0])])
def test_gradients_through_dropout_are_those_of_finite_differences(
    residual: bool, selected: Tensor | None
) -> None:
    """In fp64, with the mask of one seed: inputs, residual, A and B, for tasks of two groups."""
    generator = torch.Generator().manual_seed(4)
    tasks = 2 if selected is None else 3

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    outputs = 1 if residual else 2
    x, more = drawn(4, 5), [drawn(4, 3)] if residual else [None]
    weights = [drawn(3, 5).detach() for _ in range(outputs)]
    a = [drawn(tasks, 2, 5) for _ in range(outputs)]
    b = [drawn(tasks, 3, 2) for _ in range(outputs)]

    def call(x: Tensor, more: Tensor | None, *pairs: Tensor) -> Any:
        torch.manual_seed(5)
        return Beside.apply(x, more, 0.3, 2.0, selected, *weights, *pairs)  # type: ignore[no-untyped-call]

    assert torch.autograd.gradcheck(call, (x, *more, *a, *b))
