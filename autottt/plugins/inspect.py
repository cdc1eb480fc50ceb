"""For inspect_ai: a model and a solver, found by its entry point as soon as both are installed.

The model `autottt/STRATEGY` (or `autottt/auto`, which decides itself) reads the earlier turns of a
conversation as demonstrations. The solver `autottt/few_shot` takes them from the metadata of a
sample. `weights` is the model that answers, by default the embedded one. The model ignores no
option of generation in silence: what cannot be done is an error with the option's name. The solver
has no use for them.
"""

from __future__ import annotations

from typing import Any

import anyio.to_thread

from autottt.adapters.tasks.prompts import completion, prompt
from autottt.errors import InputError
from autottt.plugins.solving import LazySolver, pairs_of
from autottt.serialise import to_json
from autottt.server.conversation import Reading, read_turns, read_values
from autottt.strategies import registry

try:
    from inspect_ai.model import (
        ChatMessage,
        ChatMessageAssistant,
        GenerateConfig,
        ModelAPI,
        ModelOutput,
        ModelUsage,
        modelapi,
    )
    from inspect_ai.solver import Generate, Solver, TaskState, solver
    from inspect_ai.tool import ToolChoice, ToolInfo
except ImportError as error:
    raise InputError("inspect_ai is missing; pip install 'autottt[inspect]'") from error

AUTO = "auto"
HONOURED = {"seed"}
OF_THE_RUN = {  # how inspect_ai calls, not what the model is to do
    "adaptive_connections",
    "attempt_timeout",
    "batch",
    "cache",
    "max_connections",
    "max_retries",
    "stream_idle_timeout",
    "timeout",
}


class AutotttModel(ModelAPI):
    """A few-shot task a conversation, answered by one strategy or by the controller's choice."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - the signature of the base class
        weights: str = "embedded",
    ) -> None:
        super().__init__(model_name, base_url, api_key, config=config)
        self._strategy = _strategy(model_name)
        self._lazy = LazySolver.of(model=weights)

    def max_connections(self) -> int:
        return 1  # one model, one task at a time

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        _check_options(tools, config)
        reading = read_turns([(message.role, message.text) for message in input])
        return await _answer(self._lazy, reading, self._strategy, config.seed or 0, self.model_name)


@modelapi(name="autottt")
def autottt() -> type[ModelAPI]:
    """The models `autottt/auto` and `autottt/STRATEGY`."""
    return AutotttModel


@solver
def few_shot(
    strategy: str = AUTO,
    weights: str = "embedded",
    demonstrations: str = "demonstrations",
    seed: int = 0,
) -> Solver:
    """Answer a sample by the demonstrations in its metadata, under the key of that name.

    They are a list of {"input", "output"}, grids or texts; the query is the sample's input. How the
    answer came about is in the metadata of the output. Raises `TaskError` where the key, or a part
    of a pair, is missing.
    """
    forced, lazy = _strategy(strategy), LazySolver.of(model=weights)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        reading = read_values(pairs_of(state.metadata, demonstrations), state.input_text)
        state.output = await _answer(lazy, reading, forced, seed, f"autottt/{strategy}")
        state.messages.append(ChatMessageAssistant(content=state.output.completion))
        return state

    return solve


async def _answer(
    lazy: LazySolver, reading: Reading, strategy: str | None, seed: int, name: str
) -> ModelOutput:
    answer, best = await anyio.to_thread.run_sync(
        lambda: lazy.solve(reading, strategy=strategy, seed=seed)
    )
    task = reading.task
    asked = lazy.count(prompt(task.demonstrations, task.queries[0]))
    written = lazy.count(completion(best.output))
    output = ModelOutput.from_content(name, reading.write(best.output))
    output.usage = ModelUsage(
        input_tokens=asked, output_tokens=written, total_tokens=asked + written
    )
    output.metadata = {"autottt": to_json(answer)}
    output.time = answer.seconds
    return output


def _strategy(name: str) -> str | None:
    """The strategy that a name forces; raises `UnknownNameError` for a name that is none."""
    return None if name == AUTO else registry.get(name).name


def _check_options(tools: list[ToolInfo], config: GenerateConfig) -> None:
    given: dict[str, Any] = config.model_dump(exclude_none=True)
    asked = sorted(given.keys() - HONOURED - OF_THE_RUN)
    if given.get("temperature") == 0:
        asked.remove("temperature")
    if tools:
        asked.append("tools")
    if asked:
        raise InputError(f"not supported: {', '.join(asked)}; leave it out")
