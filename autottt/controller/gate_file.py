"""A gate on disk: scikit-learn estimators as data in the skops format, and JSON about them.

Nothing is ever unpickled: a file that holds any type but the few the gate is made of is refused
before a single object is built. What the JSON means is `difficulty`'s business.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import InconsistentVersionWarning

from autottt.errors import GateError
from autottt.types import JSON

logger = logging.getLogger(__name__)

REMEDY = "make one for this model with `autottt collect` and `autottt fit`"

# What a calibrated pipeline consists of beyond the public types that skops knows to be safe.
TRUSTED = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
)

# What reading a damaged or foreign archive raises, from the zip layer up to the rebuilt objects.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,  # JSON and Unicode among them
    TypeError,  # skops' UntrustedTypesFoundException among them
    LookupError,
    AttributeError,
    ImportError,
    NotImplementedError,
    RuntimeError,
)


def write_gate_file(path: str | Path, metadata: JSON, estimators: Mapping[str, Any]) -> None:
    """Write the file whole or not at all; the folder is made when it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"metadata": json.dumps(metadata, allow_nan=False), "estimators": dict(estimators)}
    data = skops.io.dumps(content, compression=zipfile.ZIP_DEFLATED)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_gate_file(path: str | Path) -> tuple[JSON, dict[str, Any]]:
    """The metadata and the estimators; raises `GateError` for a file that is not a whole gate."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise GateError(f"cannot read the gate file {path}: {error.strerror}; {REMEDY}") from error
    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
        if unknown:
            raise GateError(
                f"the gate file {path} holds types that are not trusted and was not loaded: "
                f"{', '.join(unknown)}; {REMEDY}"
            )
        content = _load(data, path)
        metadata, estimators = json.loads(content["metadata"]), dict(content["estimators"])
    except _DAMAGE as error:
        raise damaged(path, error) from error
    if not isinstance(metadata, dict) or not all(
        isinstance(estimator, CalibratedClassifierCV) for estimator in estimators.values()
    ):
        raise damaged(path, "its parts are not those of a gate")
    return metadata, estimators


def damaged(path: str | Path, why: object) -> GateError:
    """The error for a file that is truncated, altered or something else altogether."""
    return GateError(f"the gate file {path} is damaged or not a gate ({why}); {REMEDY}")


def _load(data: bytes, path: str | Path) -> Any:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InconsistentVersionWarning)
        content = skops.io.loads(data, trusted=list(TRUSTED))
    for warning in caught:
        logger.warning("gate file %s: %s", path, warning.message)
    return content
