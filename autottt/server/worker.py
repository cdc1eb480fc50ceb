"""A process with a model of its own that solves one task after another for the server.

Run as `python -m autottt.server.worker`. Both directions carry one JSON object a line; the first
says how to load the solver. Then in come jobs and cancellations, out go events and one end of each
job: an answer, an error, or a handover where the controller chose to train and this worker may not.
A cancellation takes effect at the next event or training step, by an exception that leaves through
the session, which restores the model. When its input ends, the worker does too. What libraries
print goes to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pydantic_core import to_json as json_bytes

from autottt.errors import AutotttError, CancelledError, InputError, StrategyError
from autottt.serialise import from_json
from autottt.server.logs import set_up
from autottt.types import JSON, Answer, Task

if TYPE_CHECKING:
    from autottt.solver import Solver

log = logging.getLogger(__name__)
Send = Callable[[JSON], None]


class _Handover(Exception):
    """The controller chose a strategy that trains; `features` are the probe's."""

    def __init__(self, features: dict[str, float]) -> None:
        super().__init__("to be trained")
        self.features = features


class Inbox:
    """What the server sent: jobs in order, and which of them are no longer wanted."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self._jobs: queue.Queue[JSON | None] = queue.Queue()
        self._cancelled: set[int] = set()
        self._closed = threading.Event()

    def listen(self) -> None:
        """Take lines until there are no more; meant for a thread."""
        for line in self._lines:
            message = json.loads(line)
            if "cancel" in message:
                self._cancelled.add(message["cancel"])
            else:
                self._jobs.put(message)
        self._closed.set()
        self._jobs.put(None)

    def next(self) -> JSON | None:
        """The next job, or None when there will be none."""
        return self._jobs.get()

    def check(self, number: int) -> None:
        """Raise `CancelledError` if that job is no longer wanted."""
        if self._closed.is_set() or number in self._cancelled:
            raise CancelledError("the request was cancelled")

    def forget(self, number: int) -> None:
        self._cancelled.discard(number)


class Worker:
    """Solves jobs with one solver; `may_train` is a job's own affair."""

    def __init__(self, solver: Solver, inbox: Inbox, send: Send) -> None:
        self._solver, self._inbox, self._send = solver, inbox, send
        self.lost = False

    def run(self) -> None:
        """Until there are no more, or the model is lost: then a new process is to go on."""
        while not self.lost and (job := self._inbox.next()) is not None:
            number = job["job"]
            self._send({"job": number, **self._end(job)})
            self._inbox.forget(number)

    def _end(self, job: JSON) -> JSON:
        try:
            return self._solve(job)
        except _Handover as handover:
            self._solver.hear(handover.features)
            return {"end": "handover", "warnings": self._solver.warnings}
        except CancelledError as error:
            return {"end": "cancelled", "message": str(error)}
        except (InputError, StrategyError) as error:
            kind = "input" if isinstance(error, InputError) else "strategy"
            return {"end": kind, "message": str(error)}
        except Exception as error:
            from autottt.adapters.models.memory import is_lost

            log.exception("a job failed")
            if is_lost(error):
                self.lost = True
                return {"end": "lost", "message": "the model was lost; try again"}
            return {"end": "failed", "message": type(error).__name__}

    def _solve(self, job: JSON) -> JSON:
        from autottt.strategies import registry

        number = job["job"]
        features: dict[str, float] = {}

        def progress(what: str, done: int, total: int) -> None:
            self._inbox.check(number)
            event = {"event": "progress", "what": what, "done": done, "total": total}
            self._send({"job": number, **event})

        def on_event(kind: str, payload: JSON) -> None:
            self._inbox.check(number)
            if kind == "probe":
                features.update(payload["features"])
            if kind != "decision":
                return
            if registry.get(payload["chosen"]).trains and not job["may_train"]:
                raise _Handover(features)
            reason = {"chosen": payload["chosen"], "reason": payload["reason"]}
            self._send({"job": number, "event": "decision", **reason})

        self._inbox.check(number)
        task = from_json(Task, job["task"])
        answer = self._solver.solve(
            task,
            strategy=job["strategy"],
            deadline=job["deadline"],
            seed=job["seed"],
            progress=progress,
            on_event=on_event,
        )
        self._inbox.check(number)
        return {"end": "answer", "answer": answer, "usage": self._usage(task, answer)}

    def _usage(self, task: Task, answer: Answer) -> JSON:
        """Tokens of the plain prompt and of the answer that is given."""
        from autottt.adapters.tasks.prompts import completion
        from autottt.strategies.proposals import prompt_ids

        model = self._solver.model
        outputs = [found[0].output for found in answer.answers[:1] if found]
        prompt = len(prompt_ids(task, 0, model))
        written = sum(len(model.encode(completion(output))) for output in outputs)
        return {"prompt_tokens": prompt, "completion_tokens": written}


def _load(settings: JSON) -> Solver:
    import torch
    from transformers.utils import logging as transformers_logging

    from autottt.adapters.models.adapter_cache import AdapterCache
    from autottt.adapters.models.loading import ModelSettings
    from autottt.solver import Solver

    loading = {**settings["loading"]}
    loading["lora_targets"] = tuple(loading.get("lora_targets", ()))
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(settings["threads"])
    return Solver(
        settings["model"],
        settings=ModelSettings(**loading),
        gate=settings["gate"],
        price=settings["price"],
        adapters=AdapterCache(settings["adapters"], max_bytes=settings["adapter_bytes"]),
        watch=settings["watch"],
    )


def main() -> int:
    """Serve until the input ends; 1 where the solver cannot be loaded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes us
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def send(message: JSON) -> None:
        out.write(json_bytes(message, inf_nan_mode="null") + b"\n")

    settings = json.loads(sys.stdin.readline())
    set_up(content=settings["content"], level=logging.WARNING)
    try:
        solver = _load(settings)
    except (AutotttError, OSError) as error:
        send({"failed": str(error)})
        return 1
    send({"ready": True, "fingerprint": solver.model.fingerprint})
    inbox = Inbox(sys.stdin)
    threading.Thread(target=inbox.listen, daemon=True).start()
    worker = Worker(solver, inbox, send)
    worker.run()
    if worker.lost:
        os._exit(1)  # not after whatever a broken device does as the process ends
    return 0


if __name__ == "__main__":
    sys.exit(main())
