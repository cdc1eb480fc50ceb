"""The HTTP server as its clients see it: the real openai client against a real process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import psutil
import pytest

from autottt.errors import WorkerError
from autottt.evaluation.local_server import LocalServer
from autottt.server.app import ServerSettings, build_app
from autottt.server.lanes import PoolSettings
from autottt.server.process import WorkerSettings
from autottt.types import JSON
from tests.server.conftest import KEY, LINES, OUTPUT, QUERY

CHAT = "/v1/chat/completions"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def http(server: LocalServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, headers=BEARER, timeout=60) as found:
        yield found


def _metric(http: httpx.Client, name: str) -> float:
    lines = http.get("/metrics").text.splitlines()
    return next((float(x.rpartition(" ")[2]) for x in lines if x.startswith(name)), 0.0)


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("model", ["autottt", "autottt-icl", "autottt-ttt"])
def test_every_policy_answers(client: openai.OpenAI, turns: list[Any], model: str) -> None:
    """Each model answers rightly, with real token counts, its decisions and a restored base."""
    done = client.chat.completions.create(model=model, messages=turns, temperature=0)
    assert json.loads(done.choices[0].message.content or "") == OUTPUT
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (84, 12)
    details = (done.model_extra or {})["autottt"]
    assert details["restored"] is True
    assert details["decisions"][0]["reason"]
    forced = {"autottt-icl": "icl-vote", "autottt-ttt": "ttt"}
    assert details["strategy"] == forced.get(model, details["strategy"])


def test_demonstrations_in_a_field_of_their_own(client: openai.OpenAI) -> None:
    """The explicit field is another way to give the same task."""
    pairs = [{"input": x, "output": y} for x, y in LINES]
    done = client.chat.completions.create(
        model="autottt-icl",
        messages=[{"role": "user", "content": str(QUERY)}],
        extra_body={"demonstrations": pairs},
    )
    assert json.loads(done.choices[0].message.content or "") == OUTPUT


def test_a_stream_tells_progress_and_gives_the_same_answer(
    client: openai.OpenAI, turns: list[Any]
) -> None:
    """Chunks carry progress, then the answer, the decisions and the usage that was asked for."""
    chunks = list(
        client.chat.completions.create(
            model="autottt-ttt",
            messages=turns,
            seed=3,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert json.loads(text) == OUTPUT
    extras = [c.model_extra["autottt"] for c in chunks if c.model_extra]
    steps = [e for e in extras if e.get("what", "").startswith("training")]
    assert steps[-1]["done"] >= 2
    assert extras[-1]["restored"] is True
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 96


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", 0.5),
        ("n", 2),
        ("logprobs", True),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("response_format", {"type": "json_object"}),
        ("max_tokens", 5),
        ("top_p", 0.5),
        ("stop", "x"),
        ("seed", -1),
        ("deadline", 0),
    ],
)
def test_an_unsupported_option_is_refused_by_name(
    http: httpx.Client, turns: list[JSON], option: str, value: object
) -> None:
    """What cannot be honoured is a 400 that names the option."""
    body = {"model": "autottt-icl", "messages": turns, option: value}
    response = http.post(CHAT, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == option
    assert option in response.json()["error"]["message"]


def test_the_openai_client_knows_our_errors(client: openai.OpenAI, turns: list[Any]) -> None:
    """Refusals arrive as the client's own exceptions."""
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="../../etc/passwd", messages=turns)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="autottt", messages=turns[:2])
    with pytest.raises(openai.UnprocessableEntityError):  # one demonstration cannot be trained on
        client.chat.completions.create(model="autottt-ttt", messages=turns[4:])
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="autottt-ttt", messages=turns, seed=77, extra_body={"deadline": 0.001}
        )
    assert caught.value.status_code in (422, 504)


def test_models_are_the_policies(client: openai.OpenAI) -> None:
    """The list of models is fixed, and each can be asked for by itself."""
    names = [model.id for model in client.models.list()]
    assert names == ["autottt", "autottt-icl", "autottt-ttt"]
    assert client.models.retrieve("autottt").id == "autottt"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt")


def test_the_key_is_asked_for_everywhere_but_for_health(server: LocalServer) -> None:
    """Without the key, or with a wrong one, there is health and nothing else."""
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
        for path in ("/metrics", "/v1/models", "/mcp", "/nothing"):
            assert httpx.get(server.url + path, headers=headers).status_code == 401


async def _host_is_answered(names: tuple[str, ...], host: str) -> bool:
    pool = PoolSettings(WorkerSettings("embedded"))
    app = build_app(ServerSettings(pool, "127.0.0.1", None, names))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
        return (await client.get("/nothing")).status_code == 404


def test_a_named_host_is_answered_beside_this_machine() -> None:
    """A proxy's name is one more, and does not take the place of a local health check's."""
    for host, wanted in (("proxy.example", True), ("localhost", True), ("evil.example", False)):
        assert asyncio.run(_host_is_answered(("proxy.example",), host)) is wanted


def test_foreign_hosts_and_pages_are_refused(http: httpx.Client, turns: list[JSON]) -> None:
    """A Host that is not ours is refused, and so is the content type that a web page may send."""
    assert http.get("/v1/models", headers={"Host": "evil.example"}).status_code == 400
    body = json.dumps({"model": "autottt-icl", "messages": turns})
    response = http.post(CHAT, content=body, headers={"Content-Type": "text/plain"})
    assert response.status_code == 415
    response = http.options(CHAT, headers={"Origin": "http://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_long_is_refused(http: httpx.Client, chunked: bool) -> None:
    """The limit holds whether or not the length is declared."""
    body = b"[" * 70_000
    content = iter([body[:40_000], body[40_000:]]) if chunked else body
    headers = {"Content-Type": "application/json"}
    assert http.post(CHAT, content=content, headers=headers).status_code == 413


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[" * 60_000, b'{"model": "autottt"}', b"\xff"]
)
def test_a_body_that_is_no_request_is_refused(http: httpx.Client, body: bytes) -> None:
    """What is not a request is a 400 in the protocol's shape, without a trace of the code."""
    response = http.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert "Traceback" not in response.text


def test_a_full_queue_says_when_to_come_back(
    server: LocalServer, http: httpx.Client, turns: list[JSON]
) -> None:
    """One trains and two wait; the others get 429 with Retry-After, and readers are served."""

    def train(seed: int) -> httpx.Response:
        body = {"model": "autottt-ttt", "messages": turns, "seed": seed}
        return httpx.post(server.url + CHAT, json=body, headers=BEARER, timeout=60)

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(train, range(100, 106)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[:3] == [200] * 3
    assert statuses[-1] == 429
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["Retry-After"]) >= 1
    body = {"model": "autottt-icl", "messages": turns}
    assert http.post(CHAT, json=body).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_training(
    server: LocalServer, http: httpx.Client, turns: list[JSON], stream: bool
) -> None:
    """A disconnect calls the request off, and the base answers as before, restored."""
    cancelled = 'autottt_requests_total{model="autottt-ttt",status="499"}'
    before = _metric(http, cancelled)
    body = {"model": "autottt-ttt", "messages": turns, "seed": 200 + stream, "stream": stream}
    with httpx.Client(base_url=server.url, headers=BEARER) as leaving:
        if stream:
            with leaving.stream("POST", CHAT, json=body) as response:
                next(line for line in response.iter_lines() if "training" in line)
        else:
            with pytest.raises(httpx.ReadTimeout):
                leaving.post(CHAT, json=body, timeout=0.4)
    _until(lambda: _metric(http, cancelled) == before + 1)
    done = http.post(CHAT, json={"model": "autottt-ttt", "messages": turns, "seed": 0}).json()
    assert json.loads(done["choices"][0]["message"]["content"]) == OUTPUT
    assert done["autottt"]["restored"] is True


def test_workers_that_die_are_replaced(
    server: LocalServer, http: httpx.Client, turns: list[JSON]
) -> None:
    """Killed workers cost the request in hand a 503; the next requests find new ones."""
    body = {"model": "autottt-ttt", "messages": turns, "seed": 300}
    with ThreadPoolExecutor(1) as threads:
        lost = threads.submit(httpx.post, server.url + CHAT, json=body, headers=BEARER, timeout=60)
        _until(lambda: _metric(http, 'autottt_lane_running{lane="training"}') == 1)
        for worker in psutil.Process(server.process.pid).children():
            worker.kill()
        response = lost.result()
    assert response.status_code == 503
    assert response.json()["error"]["type"] == "server_error"
    for model in ("autottt-ttt", "autottt-icl"):
        assert http.post(CHAT, json={**body, "model": model}).status_code == 200
    assert http.get("/health").json()["status"] == "ok"
    for worker in psutil.Process(server.process.pid).children():
        worker.kill()
    _until(lambda: http.get("/health").status_code == 503)
    _until(lambda: http.get("/health").status_code == 200)


def test_the_log_is_json_without_what_tasks_hold(
    server: LocalServer, http: httpx.Client, turns: list[JSON]
) -> None:
    """Every line is an object; requests are there with their cost, tasks and keys are not."""
    http.post(CHAT, json={"model": "autottt-icl", "messages": turns})
    lines = [json.loads(line) for line in server.log().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert {"id", "model", "status", "seconds"} <= requests[-1].keys()
    assert str(QUERY) not in server.log()
    assert KEY not in server.log()


@pytest.mark.parametrize("key", [None, "short", "long enough, but for its end\n"])
def test_a_server_for_others_needs_a_key(key: str | None) -> None:
    """Bound to an address that others reach, it does not start without a key of some length."""
    done = subprocess.run(
        [sys.executable, "-m", "autottt", "serve", "--host", "0.0.0.0"],
        env={} if key is None else {"AUTOTTT_API_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "API key" in done.stderr


def test_a_model_that_is_not_there_is_told_in_the_log() -> None:
    """The server ends with an error that names the model."""
    with pytest.raises(WorkerError, match="no model folder '/nowhere'"):
        LocalServer(["--model", "/nowhere"]).__enter__()
