"""Logs as JSON, one object a line, without what tasks hold unless that is asked for."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from types import TracebackType

from autottt.types import JSON

ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


class JsonLines(logging.Formatter):
    """`extra={"fields": {...}}` of a record becomes keys. The message of an exception may quote a
    task, so it is left out unless `content` is set; its type and place are there always."""

    def __init__(self, *, content: bool) -> None:
        super().__init__()
        self._content = content

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: JSON = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self._error(record.exc_info)
        return json.dumps(line, default=str)

    def _error(self, info: ExceptionInfo) -> JSON:
        kind, error, trace = info
        frames = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)]
        found: JSON = {"type": getattr(kind, "__name__", None), "frames": frames}
        return {**found, "message": str(error)} if self._content else found


def set_up(*, content: bool, level: int = logging.INFO) -> None:
    """Send all logs of the process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(content=content))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if not content:  # it quotes what failed calls were refused for
        logging.getLogger("mcp").setLevel(logging.WARNING)
