"""Every error that autottt raises on purpose.

AutotttError                  base: the message gives the value and the remedy
├── InputError                what the user gave cannot be used (exit code 2)
│   ├── TaskError             a task, grid or task file
│   ├── UnknownNameError      a strategy, model or task id that does not exist
│   └── ContextLengthError    a prompt longer than the model's context
├── GateError                 a gate file that is missing, damaged or made for another model
├── StrategyError             a strategy cannot run on this task, or failed
│   ├── DivergenceError       the training loss is not finite
│   └── AbandonedError        what its training showed was not worth going on
├── RestorationError          the base model is not what it was (it has been reloaded)
├── LostModelError            nor could it be loaded again: this process can answer nothing more
├── CancelledError            whoever asked no longer wants the answer
├── DeadlineError             the deadline passed before there was an answer
├── OverloadedError           too many requests wait already
├── WorkerError               the process that was to answer died or failed
├── StorageError              a folder of results cannot be read or written
│   └── LockedError           another process is at work in it
└── StoppedError              the work was told to stop; what was finished is kept
"""

from __future__ import annotations

from typing import get_args


class AutotttError(Exception):
    """Base of all errors raised on purpose."""


class InputError(AutotttError):
    """What the user gave cannot be used."""


class TaskError(InputError):
    """A task, a grid or a task file is not what it should be."""


class UnknownNameError(InputError):
    """A strategy, model or task of that name does not exist."""


class ContextLengthError(InputError):
    """A prompt does not fit the model's context."""

    def __init__(self, needed: int, available: int) -> None:
        super().__init__(
            f"the prompt and its answer need {needed} tokens but the model's context is "
            f"{available}; give fewer or smaller demonstrations, or a model with a longer context"
        )
        self.needed = needed
        self.available = available


class GateError(AutotttError):
    """A gate file is missing, damaged, or made for another model."""


class StrategyError(AutotttError):
    """A strategy cannot run on this task, or failed while it ran."""


class DivergenceError(StrategyError):
    """The training loss stopped being a finite number."""


class AbandonedError(StrategyError):
    """A training was ended early, because more of it would not have paid."""

    def __init__(self, reason: str, evidence: dict[str, float]) -> None:
        super().__init__(reason)
        self.evidence = evidence


class RestorationError(AutotttError):
    """The base model was not what it had been; it has been reloaded from disk."""


class LostModelError(AutotttError):
    """The base model was not what it had been, and could not be loaded again."""


class CancelledError(AutotttError):
    """Whoever asked no longer wants the answer."""


class DeadlineError(AutotttError):
    """The deadline passed before there was an answer."""


class OverloadedError(AutotttError):
    """Too many requests wait already; `retry_after` is in whole seconds."""

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} requests wait already; try again in {retry_after} s")
        self.retry_after = retry_after


class WorkerError(AutotttError):
    """The process that was to answer died or failed."""


class StorageError(AutotttError):
    """A folder of results cannot be read or written: full, read-only, or damaged."""


class LockedError(StorageError):
    """Another process is at work in the folder of results."""


class StoppedError(AutotttError):
    """The work was told to stop; what was finished is kept."""


Failure = InputError | StrategyError | RestorationError | WorkerError  # of one task among many
FAILURES = get_args(Failure)
