"""The recipe of the embedded model: a Llama of a few million parameters from random weights.

One resumable loop: Muon on the matrices and AdamW on the rest, a warm-up, a flat stretch and a
linear decay, bf16 compute over fp32 weights, batches made in a second process. A checkpoint holds
weights, optimizer state and the log as safetensors and JSON; batches are a function of the step,
so a killed run continues as if it had not been.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from autottt.adapters.models.byte_level import BOS, EOS, PAD, VOCABULARY
from autottt.pretraining.batches import BatchPlan
from autottt.pretraining.splits import pretraining_families
from autottt.pretraining.validation import Validation

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

log = logging.getLogger(__name__)
Body = Callable[..., Any]  # the model below its head, compiled or not
CHECKPOINT = "checkpoint.safetensors"
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Recipe:
    """Size, data and schedule. `steps` counts optimizer steps of `tokens` tokens each."""

    hidden: int = 192
    layers: int = 5
    heads: int = 3
    intermediate: int = 512
    context: int = 2048
    rope_theta: float = 10_000.0
    steps: int = 5_000
    tokens: int = 8192  # a step
    learning_rate: float = 3e-3
    matrix_learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warm_up: int = 100
    decay_share: float = 0.35
    seed: int = 0
    compile: bool = True
    row_lengths: tuple[int, ...] = (256, 512, 1024)
    row_weights: tuple[float, ...] = (0.45, 0.4, 0.15)
    short_share: float = 0.2  # of the steps, at the start, whose rows all have the shortest length
    optimizer: str = "muon"  # on the matrices; or "adamw"
    start_from: str | None = None  # a released model folder of this size; else random weights

    def rate(self, step: int) -> float:
        """The learning rate of a step as a share of its peak: warm-up, flat, linear to zero."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        decay_from = self.steps * (1 - self.decay_share)
        if step < decay_from:
            return 1.0
        return max(0.0, (self.steps - step) / (self.steps - decay_from))


# what a size changes in the recipe; "large" is for an accelerator (57 MB in bf16)
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden": 96, "layers": 3, "heads": 2, "intermediate": 256},
    "small": {"hidden": 128, "layers": 4, "heads": 2, "intermediate": 344},
    "base": {},
    "large": {
        "hidden": 512,
        "layers": 9,
        "heads": 8,
        "intermediate": 1376,
        "tokens": 65_536,
        "matrix_learning_rate": 2e-3,
        "learning_rate": 2e-3,
    },
}


@dataclass
class Log:
    """What a run records: the step reached, tokens, seconds, and a curve of (step, loss).

    `earlier` holds the training log of the weights that the run started from, if it did.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)
    earlier: dict[str, Any] | None = None


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, plan: BatchPlan, start: int, end: int) -> None:
        self.plan, self.start, self.end = plan, start, end

    def __len__(self) -> int:
        return self.end - self.start

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        if place >= len(self):
            raise IndexError(place)
        batch = self.plan.batch(self.start + place)
        return torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)


def new_model(recipe: Recipe, *, attention: str = "eager") -> LlamaForCausalLM:
    """A Llama of the recipe's size with random weights drawn from its seed.

    On a CPU the fused attention's backward pass is slower than eager at these lengths.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(recipe.seed)
    config = LlamaConfig(  # type: ignore[call-arg]
        vocab_size=VOCABULARY,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        use_cache=False,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config)


def sequence_loss(body: Body, head: nn.Module, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the targets that are not -100; ids and targets are (B, T)."""
    hidden = body(input_ids=ids).last_hidden_state  # (B, T, D)
    chosen = targets >= 0
    logits: Tensor = head(hidden[chosen])  # (N, V)
    return nn.functional.cross_entropy(logits.float(), targets[chosen])


def train_step(
    model: LlamaForCausalLM,
    body: Body,
    optimizers: list[torch.optim.Optimizer],
    ids: Tensor,
    targets: Tensor,
) -> Tensor:
    """One optimizer step on a batch, in bf16 over the weights as they are; returns the loss."""
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        loss = sequence_loss(body, model.lm_head, ids, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.detach()


def pretrain(recipe: Recipe, out: Path, *, device: str = "cpu", save_every: int = 250) -> Log:
    """Train to `recipe.steps`, resuming from `out` where it holds a checkpoint; returns the log.

    Loss, tokens a second and the learning rate go to TensorBoard in `out` where that is installed.
    """
    out.mkdir(parents=True, exist_ok=True)
    model = new_model(recipe, attention="eager" if device == "cpu" else "sdpa")
    model.to(device)  # type: ignore[arg-type]
    optimizers = optimizers_of(model, recipe)
    record = _resume(model, optimizers, out) or _start(model, recipe)
    board = _Board(out)
    plan = BatchPlan(
        names=pretraining_families(),
        seed=recipe.seed,
        tokens=recipe.tokens,
        row_lengths=recipe.row_lengths,
        weights=recipe.row_weights,
        short_steps=round(recipe.steps * recipe.short_share),
    )
    loader = DataLoader(
        _Batches(plan, record.step, recipe.steps),
        batch_size=None,
        num_workers=1 if device == "cpu" else max(1, (os.cpu_count() or 2) - 2),
        prefetch_factor=8,
    )
    validation = Validation()
    body: Body = torch.compile(model.model, dynamic=False) if recipe.compile else model.model
    for ids, targets in _timed(loader, record):
        share = recipe.rate(record.step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * share
        loss = train_step(model, body, optimizers, ids.to(device), targets.to(device))
        record.step += 1
        record.tokens += ids.numel()
        if record.step % 25 == 0:
            record.curve.append((record.step, round(loss.item(), 4)))
            pace = record.tokens / max(record.seconds, 1e-9)
            log.info("step %d loss %.4f tokens/s %.0f", record.step, loss.item(), pace)
            board.write(record.step, {"loss": loss.item(), "tokens/s": pace, "rate": share})
        if record.step % (4 * save_every) == 0 or record.step == recipe.steps:
            record.validation.append({"step": record.step, **validation.run(model)})
            groups = {k: v for k, v in record.validation[-1].items() if isinstance(v, float)}
            log.info("validation %s", groups)
            board.write(record.step, {f"exact match/{k}": v for k, v in groups.items()})
        if record.step % save_every == 0 or record.step == recipe.steps:
            _save(model, optimizers, record, recipe, out)
    return record


def _timed(loader: DataLoader[Any], record: Log) -> Iterator[tuple[Tensor, Tensor]]:
    begin = time.perf_counter()
    for item in loader:
        yield item
        now = time.perf_counter()
        record.seconds += now - begin
        begin = now


def optimizers_of(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """The optimizer of the matrices and AdamW for the rest, with the peak rate in each group."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    rate, decay = recipe.matrix_learning_rate, recipe.weight_decay
    for_matrices: torch.optim.Optimizer
    if recipe.optimizer == "muon":
        for_matrices = torch.optim.Muon(
            matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
        )
    else:
        for_matrices = torch.optim.AdamW(matrices, lr=rate, betas=BETAS, weight_decay=decay)
    adamw = torch.optim.AdamW(others, lr=recipe.learning_rate, betas=BETAS, weight_decay=0.0)
    for optimizer in (for_matrices, adamw):
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return [for_matrices, adamw]


def _save(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    record: Log,
    recipe: Recipe,
    out: Path,
) -> None:
    tensors = {f"model/{n}": p.detach().contiguous() for n, p in model.named_parameters()}
    for place, optimizer in enumerate(optimizers):
        for key, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer/{place}/{key}/{name}"] = torch.as_tensor(value).contiguous()
    state = json.dumps({"recipe": asdict(recipe), "log": asdict(record)})
    partial = out / (CHECKPOINT + ".partial")
    save_file(tensors, partial, metadata={"state": state})  # one file: never half of a state
    os.replace(partial, out / CHECKPOINT)


def read_state(path: Path) -> tuple[Recipe, Log]:
    """The recipe and the log that a checkpoint file holds."""
    with safe_open(path, framework="pt") as reader:
        state = json.loads(reader.metadata()["state"])
    recipe: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in state["recipe"].items()
    }
    return Recipe(**recipe), Log(**state["log"])


class _Board:
    """Scalars to TensorBoard; a no-op where the extra `train` is not installed."""

    def __init__(self, out: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.writer = None
        else:
            self.writer = SummaryWriter(str(out))

    def write(self, step: int, scalars: dict[str, float]) -> None:
        if self.writer is not None:
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, step)
            self.writer.flush()


def _start(model: nn.Module, recipe: Recipe) -> Log:
    """An empty log, and the weights that the recipe starts from, if any."""
    if recipe.start_from is None:
        return Log()
    folder = Path(recipe.start_from)
    tensors = load_file(folder / "model.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])
    earlier = json.loads((folder / "training_log.json").read_text())
    log.info("started from %s", folder)
    return Log(earlier=earlier)


def _resume(model: nn.Module, optimizers: list[torch.optim.Optimizer], out: Path) -> Log | None:
    path = out / CHECKPOINT
    if not path.exists():
        return None
    record = read_state(path)[1]
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model/{name}"])
    for place, optimizer in enumerate(optimizers):
        full = optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"optimizer/{place}/"):
                _, _, index, name = key.split("/")
                state.setdefault(int(index), {})[name] = value
        full["state"] = state
        optimizer.load_state_dict(full)
    log.info("resumed at step %d", record.step)
    return record
