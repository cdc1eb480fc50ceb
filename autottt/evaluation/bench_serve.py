"""A server under load: are its answers those of the solver, and does training slow reading down?

Many clients at once ask for tasks whose answers the solver gave before, called directly. One stage
measures reading (`autottt-icl`) by one client on an idle server, one the same while another client
keeps the trainer busy, and one the whole mixture with all clients at once, beside that other one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

import httpx
import numpy as np

from autottt.errors import WorkerError
from autottt.evaluation.local_server import LocalServer
from autottt.pretraining.families import FAMILIES
from autottt.pretraining.sampling import draw_task
from autottt.server.schema import POLICIES
from autottt.solver import Solver
from autottt.types import JSON, Task

ICL, TTT, CONTROLLED = "autottt-icl", "autottt-ttt", "autottt"
SHARES = {ICL: 0.88, TTT: 0.06, CONTROLLED: 0.06}
MAX_CELLS = 150  # of a task, so that many fit into a minute
KEPT_MIB = 16  # of adapters; one of the embedded model has less than 5
SECONDS = 600.0  # that a request may take


@dataclass(frozen=True)
class Question:
    """A task under a policy, and what the solver answers to it when called directly."""

    model: str
    messages: list[JSON]
    seed: int
    outputs: list[JSON]  # candidates as the server shows them
    strategy: str
    fingerprint: str


@dataclass
class Stage:
    """What happened in one stage; seconds are those of answered requests, by model."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)

    def percentiles(self, model: str) -> JSON:
        values = self.seconds.get(model, [])
        if not values:
            return {"requests": 0}
        p50, p95 = np.percentile(values, [50, 95])
        return {"requests": len(values), "p50": float(p50), "p95": float(p95)}


@dataclass(frozen=True)
class Load:
    """How much is asked: requests in all, by so many clients, about tasks of a seed."""

    clients: int = 32
    requests: int = 500
    tasks: int = 16
    alone: int = 60  # requests of the stages with one reading client
    seed: int = 0


def draw_tasks(n: int, seed: int, *, max_cells: int = MAX_CELLS) -> list[Task]:
    """Small generated tasks of different families."""
    names = sorted(name for name, family in FAMILIES.items() if family.kind != "text")
    random.Random(seed).shuffle(names)
    found: list[Task] = []
    for name in names:
        try:
            found.append(draw_task(name, seed, demonstrations=3, max_cells=max_cells))
        except ValueError:  # the family has no task as small
            continue
        if len(found) == n:
            break
    return found


def ask_directly(solver: Solver, tasks: Sequence[Task], seed: int) -> list[Question]:
    """Each task under each policy, with the answer that the solver gives."""
    return [_question(solver, task, name, seed) for task in tasks for name in POLICIES]


def _question(solver: Solver, task: Task, model: str, seed: int) -> Question:
    plain = Task(id="task", demonstrations=task.demonstrations, queries=task.queries)
    answer = solver.solve(plain, strategy=POLICIES[model], seed=seed, deadline=SECONDS)
    turns: list[JSON] = []
    for example in task.demonstrations:
        turns.append({"role": "user", "content": json.dumps(example.input)})
        turns.append({"role": "assistant", "content": json.dumps(example.output)})
    turns.append({"role": "user", "content": json.dumps(task.queries[0])})
    outputs = [
        {"output": json.loads(json.dumps(c.output)), "score": c.score} for c in answer.answers[0]
    ]
    return Question(model, turns, seed, outputs, answer.strategy, solver.model.fingerprint)


def run_load(questions: Sequence[Question], load: Load, *, serve: Sequence[str] = ()) -> JSON:
    """All stages against a server of its own; `serve` are more arguments of it.

    It keeps few adapters, so that most trainings are real, and that its memory is full from early.
    """
    kept = ["--adapter-mib", str(KEPT_MIB)]
    args = ["--threads", "1", "--deadline", str(SECONDS), *kept, *serve]
    with LocalServer(args) as server:
        stages = asyncio.run(_stages(server, questions, load))
    return _report(stages, load)


async def _stages(
    server: LocalServer, questions: Sequence[Question], load: Load
) -> dict[str, Stage]:
    rng = random.Random(load.seed)
    by_model = {m: [q for q in questions if q.model == m] for m in SHARES}
    async with httpx.AsyncClient(base_url=server.url, timeout=SECONDS) as client:

        async def stage(asked: Sequence[Question], clients: int) -> Stage:
            return await _stage(client, server, asked, clients)

        await stage([q for q in questions if q.model != TTT], 4)  # until buffers have their size
        reading = _draw(rng, by_model[ICL], load.alone)
        found = {"idle": await stage(reading, 1)}
        busy = asyncio.create_task(_keep_training(client, by_model[TTT], rng))
        await asyncio.sleep(1.0)
        found["training"] = await stage(reading, 1)
        mixed = [
            rng.choice(by_model[model])
            for model in rng.choices(list(SHARES), list(SHARES.values()), k=load.requests)
        ]
        found["mixed"] = await stage(mixed, load.clients)
        if busy.done():  # nothing was trained beside
            busy.result()
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
    return found


def _draw(rng: random.Random, questions: Sequence[Question], n: int) -> list[Question]:
    return [rng.choice(questions) for _ in range(n)]


async def _keep_training(
    client: httpx.AsyncClient, questions: Sequence[Question], rng: random.Random
) -> None:
    """Trainings one after another, each with a seed of its own so that none is known already."""
    for seed in itertools.count(1000):
        question = rng.choice(questions)
        body = {"model": TTT, "messages": question.messages, "seed": seed}
        response = await client.post("/v1/chat/completions", json=body)
        if response.status_code not in (200, 422):
            raise WorkerError(f"a training that should run beside ended in {response.status_code}")


async def _stage(
    client: httpx.AsyncClient, server: LocalServer, asked: Sequence[Question], clients: int
) -> Stage:
    stage, todo = Stage(), iter(asked)

    async def one() -> None:
        for question in todo:
            await _ask(client, question, stage)
            stage.memory.append(server.memory())

    await asyncio.gather(*(one() for _ in range(clients)))
    return stage


async def _ask(client: httpx.AsyncClient, question: Question, stage: Stage) -> None:
    body = {"model": question.model, "messages": question.messages, "seed": question.seed}
    begin = time.perf_counter()
    while True:
        response = await client.post("/v1/chat/completions", json=body)
        stage.statuses[response.status_code] += 1
        if response.status_code != 429:
            break
        await asyncio.sleep(float(response.headers["Retry-After"]))
    if response.status_code in (200, 422):
        spent = time.perf_counter() - begin
        stage.seconds.setdefault(question.model, []).append(spent)
    stage.wrong.extend(_differences(question, response))


def _differences(question: Question, response: httpx.Response) -> Iterator[str]:
    """In what a response differs from what the solver gave; nothing if it does not."""
    if response.status_code == 422 and not question.outputs:
        return
    if response.status_code != 200:
        yield f"{question.model}: status {response.status_code}"
        return
    body = response.json()
    details = body["autottt"]
    wanted: JSON = {"answers": question.outputs, "strategy": question.strategy}
    wanted |= {"fingerprint": question.fingerprint, "restored": True}
    for name, value in wanted.items():
        if details[name] != value:
            yield f"{question.model}: {name}"
    if (
        question.outputs
        and json.loads(body["choices"][0]["message"]["content"]) != (question.outputs[0]["output"])
    ):
        yield f"{question.model}: content"


def _report(stages: dict[str, Stage], load: Load) -> JSON:
    idle, training, mixed = (stages[name] for name in ("idle", "training", "mixed"))
    base, slowed = idle.percentiles(ICL), training.percentiles(ICL)
    part = max(1, len(mixed.memory) // 5)
    return {
        "load": asdict(load),
        "idle": base,
        "training": slowed,
        "ratio_p50": slowed["p50"] / base["p50"],
        "ratio_p95": slowed["p95"] / base["p95"],
        "mixed": {model: mixed.percentiles(model) for model in SHARES},
        "mixed_ratio_p50": mixed.percentiles(ICL)["p50"] / base["p50"],
        "mixed_ratio_p95": mixed.percentiles(ICL)["p95"] / base["p95"],
        "statuses": {str(k): sum(s.statuses[k] for s in stages.values()) for k in _all(stages)},
        "wrong": [wrong for stage in stages.values() for wrong in stage.wrong],
        "memory_first": max(mixed.memory[:part]),
        "memory_last": max(mixed.memory[-part:]),
    }


def _all(stages: dict[str, Stage]) -> list[int]:
    return sorted({status for stage in stages.values() for status in stage.statuses})
