"""Few-shot tasks answered by a language model that decides by itself when to train on them first.

The public names live in the modules that define them and are looked up on first use, so that
`import autottt` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autottt.adapters.models.loading import ModelSettings
    from autottt.adapters.tasks.files import load_tasks
    from autottt.controller.budget import Budget
    from autottt.errors import AutotttError
    from autottt.solver import Solver
    from autottt.types import Answer, AnswerFormat, Attempt, Candidate, Decision, Example, Task

__all__ = [
    "Answer",
    "AnswerFormat",
    "Attempt",
    "AutotttError",
    "Budget",
    "Candidate",
    "Decision",
    "Example",
    "ModelSettings",
    "Solver",
    "Task",
    "load_tasks",
]

_MODULES = {
    "Answer": "autottt.types",
    "AnswerFormat": "autottt.types",
    "Attempt": "autottt.types",
    "AutotttError": "autottt.errors",
    "Budget": "autottt.controller.budget",
    "Candidate": "autottt.types",
    "Decision": "autottt.types",
    "Example": "autottt.types",
    "ModelSettings": "autottt.adapters.models.loading",
    "Solver": "autottt.solver",
    "Task": "autottt.types",
    "load_tasks": "autottt.adapters.tasks.files",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'autottt' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
