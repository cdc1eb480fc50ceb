"""The recipe of the embedded model: a Llama of a few million parameters from random weights.

One resumable loop: Muon on the matrices and AdamW on the rest, a warm-up, a flat stretch and a
linear decay, bf16 compute over fp32 weights, batches made in other processes. There is a
checkpoint from the first moment on, and batches are a function of the step, so a killed run
continues as if it had not been. Two processes in one folder are the caller's to prevent.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from autottt.adapters.models.byte_level import BOS, EOS, PAD, VOCABULARY
from autottt.adapters.models.loading import has_compiler
from autottt.errors import DivergenceError, InputError, StoppedError
from autottt.pretraining.batches import LONG_ROW, BatchPlan
from autottt.pretraining.board import Board
from autottt.pretraining.checkpoint import CHECKPOINT, load_weights, read_state, restore, save
from autottt.pretraining.recipe import Log, Recipe
from autottt.pretraining.splits import pretraining_families
from autottt.pretraining.stages import TRAINING_LOG, check_next, released_stages
from autottt.pretraining.validation import Validation

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

log = logging.getLogger(__name__)
Body = Callable[..., Any]  # the model below its head, compiled or not
BETAS = (0.9, 0.98)
SHOW_EVERY = 25  # steps between two points of the curve
VALIDATIONS = 4  # of a run, at most


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
    """A Llama of the recipe's size with random weights drawn from its seed."""
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
    if _picks_places(ids.device.type):
        chosen = targets >= 0
        hidden, targets = hidden[chosen], targets[chosen]  # (N, D), (N,)
    logits: Tensor = head(hidden)  # (N, V) or (B, T, V)
    return nn.functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten())


def _picks_places(device: str) -> bool:
    """Whether logits are computed at targets alone: an accelerator would have to be waited for."""
    return device == "cpu"


def train_step(
    model: LlamaForCausalLM,
    body: Body,
    optimizers: list[torch.optim.Optimizer],
    ids: Tensor,
    targets: Tensor,
) -> tuple[Tensor, Tensor]:
    """One optimizer step on a batch, in bf16 over the weights as they are.

    Returns the loss and the norm of the gradients before they were clipped.
    """
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        loss = sequence_loss(body, model.lm_head, ids, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.detach(), norm


def attention_on(device: str, recipe: Recipe) -> str:
    """The attention to train with: on a CPU the fused one is slower backwards for short rows.

    With longer rows the eager one, which keeps every score, would take gigabytes.
    """
    return "eager" if device == "cpu" and max(recipe.row_lengths) <= LONG_ROW else "sdpa"


def body_of(model: LlamaForCausalLM, recipe: Recipe) -> Body:
    """The model below its head, compiled where the recipe wants that and the machine can."""
    body: Body = model.model
    if not recipe.compile:
        return body
    if not has_compiler():
        log.warning("training is not compiled, so it is slower: no C++ compiler; apt install g++")
        return body
    return torch.compile(body, dynamic=False)


def pretrain(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "cpu",
    save_every: int = 250,
    stopped: Callable[[], str | None] = lambda: None,
) -> Log:
    """Train to `recipe.steps`, resuming from `out` where it holds a checkpoint; returns the log.

    `stopped` is asked after each step and gives the reason to stop, if there is one. Loss, tokens a
    second and the learning rate go to TensorBoard in `out` where that is installed.

    Raises `InputError` where the checkpoint is of another recipe or the weights to start from do
    not suit it, `DivergenceError` where training fails, and `StoppedError` once all is saved.
    """
    recipe.check_rows()
    out.mkdir(parents=True, exist_ok=True)
    model = new_model(recipe, attention=attention_on(device, recipe))
    model.to(device)  # type: ignore[arg-type]
    optimizers = optimizers_of(model, recipe)
    record = _begin(model, optimizers, recipe, out)
    record.machine = _machine(device)
    if record.step == 0:
        save(model, optimizers, record, recipe, out)
    board = Board(out, record.step)
    validation, body = Validation(), body_of(model, recipe)
    validate_every = save_every * max(4, -(-recipe.steps // (VALIDATIONS * save_every)))
    norms: list[Tensor] = []  # of the gradients since they were last looked at
    for ids, targets in _timed(_loader(recipe, record.step, device), record):
        share = recipe.rate(record.step)
        _set_rates(optimizers, share)
        there = (batch.to(device, non_blocking=True) for batch in (ids, targets))
        loss, norm = train_step(model, body, optimizers, *there)
        norms.append(norm)
        record.step += 1
        record.tokens += ids.numel()
        done = record.step == recipe.steps
        reason = None if done else stopped()
        saved = done or reason is not None or record.step % save_every == 0
        shown = record.step % SHOW_EVERY == 0
        if saved or shown:
            _check_finite(norms, record.step, out)
            norms.clear()
        if shown:
            _show(loss.item(), share, record, board)
        if done or record.step % validate_every == 0:
            _validate(validation, model, record, board)
        if saved:
            save(model, optimizers, record, recipe, out)
        if reason is not None:
            raise StoppedError(
                f"{reason}: stopped after step {record.step} of {recipe.steps}, which is saved in "
                f"{out}; start again with the same folder to go on"
            )
    return record


def _set_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


def _show(loss: float, share: float, record: Log, board: Board) -> None:
    record.curve.append((record.step, round(loss, 4)))
    pace = record.tokens / max(record.seconds, 1e-9)
    log.info("step %d loss %.4f tokens/s %.0f", record.step, loss, pace)
    board.write(record.step, {"loss": loss, "tokens/s": pace, "rate": share})


def _validate(validation: Validation, model: nn.Module, record: Log, board: Board) -> None:
    record.validation.append({"step": record.step, **validation.run(model)})
    groups = {k: v for k, v in record.validation[-1].items() if isinstance(v, float)}
    log.info("validation %s", groups)
    board.write(record.step, {f"exact match/{k}": v for k, v in groups.items()})


def _begin(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], recipe: Recipe, out: Path
) -> Log:
    """The log to go on with: of the checkpoint, of the weights to start from, or an empty one."""
    path = out / CHECKPOINT
    if path.exists():
        found, record = read_state(path)
        if found != recipe:
            raise InputError(f"{out} holds a run of another recipe; name another folder")
        restore(model, optimizers, path)
        log.info("resumed at step %d", record.step)
        return record
    if recipe.start_from is None:
        return Log()
    folder = Path(recipe.start_from)
    check_next(recipe, released_stages(folder))
    load_weights(model, folder / "model.safetensors")
    log.info("started from %s", folder)
    return Log(earlier=json.loads((folder / TRAINING_LOG).read_text(encoding="utf-8")))


def _loader(recipe: Recipe, start: int, device: str) -> DataLoader[tuple[Tensor, Tensor]]:
    """The batches from a step on, made in other processes."""
    plan = BatchPlan(
        names=pretraining_families(),
        seed=recipe.seed,
        tokens=recipe.tokens,
        row_lengths=recipe.row_lengths,
        weights=recipe.row_weights,
        short_steps=round(recipe.steps * recipe.short_share),
        room=recipe.room,
        composed=recipe.composed,
    )
    return DataLoader(
        _Batches(plan, start, recipe.steps),
        batch_size=None,
        num_workers=1 if device == "cpu" else max(1, (os.cpu_count() or 2) - 2),
        prefetch_factor=8,
        pin_memory=device != "cpu",
        worker_init_fn=_follow_trainer,
    )


def _follow_trainer(worker: int) -> None:
    """Have a worker end when the trainer does, not at signals that were sent to both.

    The trainer may still want a batch when it is told to stop. Where it is killed, a worker that
    lives on would hold the files that the trainer had open, and with them its lock.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_trainer, daemon=True).start()


def _end_with_trainer() -> None:
    trainer = multiprocessing.parent_process()
    assert trainer is not None
    trainer.join()
    os._exit(1)


def _check_finite(norms: list[Tensor], step: int, out: Path) -> None:
    """Raises `DivergenceError` unless the gradients of the steps up to `step` were finite."""
    finite = torch.stack(norms).isfinite().tolist()
    if all(finite):
        return
    first = step - len(norms) + finite.index(False) + 1
    kept = read_state(out / CHECKPOINT)[1].step
    raise DivergenceError(
        f"the gradient of step {first} is not finite; {out} keeps step {kept}. Begin in another "
        "folder with another seed or optimizer, or with lower learning rates"
    )


def _machine(device: str) -> str:
    """The machine that trains, as the card names it."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    chip = "" if device == "cpu" else f"{torch.cuda.get_device_name(device)}, "
    return f"{chip}{os.cpu_count()} cores of {name}, torch {torch.__version__}"


def _timed(loader: DataLoader[Any], record: Log) -> Iterator[tuple[Tensor, Tensor]]:
    begin, items = time.perf_counter(), iter(loader)
    try:
        for item in items:
            yield item
            now = time.perf_counter()
            record.seconds += now - begin
            begin = now
    finally:  # an error that was raised in it would keep it, and the exit would wait for workers
        items._shutdown_workers()  # type: ignore[attr-defined]


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
