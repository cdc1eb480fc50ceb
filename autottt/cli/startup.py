"""What brings the first answer of a command sooner: nothing here changes what is answered.

Torch, transformers and LangGraph are some 4000 modules, and importing them is most of the time
before the first step of an answer. Only the command line uses this module; what it does belongs to
a process that loads one model and ends, not to a program that imports the library.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Load modules and models without the cyclic garbage collector, which then passes them over.

    It runs whenever enough objects are made, as by imports all the time, and hardly any of these
    ever become garbage: they are there until the process ends. What is loaded it need not look
    through later either, nor when the process ends. Afterwards, also after an error, it is on or
    off as it was.
    """
    was_on = gc.isenabled()
    gc.disable()
    gc.collect()  # what is garbage already is not kept for good
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def import_transformers() -> None:
    """Import what transformers loads models with, without SciPy, which takes as long as a model.

    It asks whether there is SciPy, for the losses of detectors of objects in images, and goes
    without. scikit-learn, which cannot, is left out with it. What another library cannot go without
    is imported as usual, later.
    """
    with contextlib.suppress(ImportError), _absent("scipy", "sklearn"):
        import transformers.modeling_utils  # noqa: F401


@contextlib.contextmanager
def _absent(*packages: str) -> Iterator[None]:
    """As if these were not installed, unless they are imported already."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules |= dict.fromkeys(hidden)  # type: ignore[arg-type]  # None: no such module
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
