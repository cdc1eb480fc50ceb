"""Scalars of a run to TensorBoard, where the extra `train` is installed."""

from __future__ import annotations

from pathlib import Path


class Board:
    """Writes to event files in `out`; what was written there after `step` counts no more."""

    def __init__(self, out: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.writer = None
        else:
            self.writer = SummaryWriter(str(out), purge_step=step + 1)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        """Add a point to each curve; nothing where TensorBoard is not installed."""
        if self.writer is not None:
            for name, value in scalars.items():
                self.writer.add_scalar(name, value, step)
            self.writer.flush()
