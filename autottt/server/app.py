"""The HTTP application: chat completions, models, health and metrics over a pool of workers."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from autottt.errors import AutotttError, CancelledError, OverloadedError, WorkerError
from autottt.server.conversation import Reading
from autottt.server.guard import LOOPBACK_NAMES, ApiKey, BodyError, is_loopback, read_body
from autottt.server.jobs import Job, Wish
from autottt.server.lanes import Pool, PoolSettings
from autottt.server.metrics import Metrics
from autottt.server.replies import Completion, Outcome, error_body, outcome, refusal, status_of
from autottt.server.schema import POLICIES, ChatRequest, parse_request
from autottt.types import JSON

log = logging.getLogger("autottt.server")
MAX_BODY = 2**20
DEADLINE = 120.0


@dataclass(frozen=True)
class ServerSettings:
    """How the server may be reached and how much a request may ask.

    `deadline` caps every request, and serves those that give none. `content` lets tasks and
    answers into the log.
    """

    pool: PoolSettings
    host: str = "127.0.0.1"
    key: str | None = None
    names: tuple[str, ...] = ()  # Host headers that are answered; none: any, unless on loopback
    deadline: float = DEADLINE
    max_body: int = MAX_BODY
    content: bool = False


@dataclass(frozen=True)
class Extension:
    """Routes that something else adds, and what has to run beside them."""

    routes: list[BaseRoute] = field(default_factory=list)
    running: Callable[[], AbstractAsyncContextManager[object]] | None = None


class Server:
    """The handlers, with the pool that they share."""

    def __init__(self, settings: ServerSettings, pool: Pool) -> None:
        self.settings = settings
        self.pool = pool
        self.metrics = Metrics(pool.lanes)
        self._started = int(time.time())

    async def health(self, request: Request) -> Response:
        ready = self.pool.ready
        lanes = {lane.name: {"waiting": lane.waiting, "up": lane.up} for lane in self.pool.lanes}
        body = {"status": "ok" if ready else "starting", "lanes": lanes}
        return JSONResponse(body, 200 if ready else 503)

    async def show_metrics(self, request: Request) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def models(self, request: Request) -> Response:
        made = {"object": "model", "created": self._started, "owned_by": "autottt"}
        return JSONResponse({"object": "list", "data": [{"id": n, **made} for n in POLICIES]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in POLICIES:
            raise HTTPException(404, f"there is no such model; there are {', '.join(POLICIES)}")
        made = {"object": "model", "created": self._started, "owned_by": "autottt"}
        return JSONResponse({"id": name, **made})

    async def chat(self, request: Request) -> Response:
        begin = time.monotonic()
        body = await read_body(request, self.settings.max_body)
        asked = parse_request(body)
        completion = Completion(asked.model)
        told = _Told(self, asked, completion, begin)
        try:
            reading = asked.reading()
            job = self.pool.submit(self._wish(asked, reading))
        except AutotttError as error:
            told.end(error)
            raise
        if asked.stream:
            chunks = self._stream(request, job, reading, told)
            return StreamingResponse(chunks, media_type="text/event-stream")
        watch = asyncio.create_task(_cancel_when_gone(request, job))
        try:
            found = outcome(await job.result(), reading)
        except AutotttError as error:
            told.end(error)
            raise
        finally:
            job.cancel()
            watch.cancel()
        told.end(found)
        return JSONResponse(completion.whole(found))

    def _wish(self, asked: ChatRequest, reading: Reading) -> Wish:
        limit = self.settings.deadline
        seconds = limit if asked.deadline is None else min(asked.deadline, limit)
        return Wish(reading.task, POLICIES[asked.model], asked.seed or 0, seconds)

    async def _stream(
        self, request: Request, job: Job, reading: Reading, told: _Told
    ) -> AsyncIterator[bytes]:
        completion, options = told.completion, told.asked.stream_options
        watch = asyncio.create_task(_cancel_when_gone(request, job))
        try:
            yield _sent(completion.first())
            async for event in job.follow():
                yield _sent(completion.event(event))
            found = outcome(await job.result(), reading)
            told.end(found)
            with_usage = options is not None and options.include_usage
            for part in completion.parts(found, with_usage=with_usage):
                yield _sent(part)
            yield b"data: [DONE]\n\n"
        except AutotttError as error:
            told.end(error)
            yield _sent(refusal(error))
        except (asyncio.CancelledError, GeneratorExit):
            told.end(CancelledError("the client is gone"))
            raise
        finally:
            job.cancel()
            watch.cancel()


@dataclass
class _Told:
    """One request for the log and the metrics, told once when it has ended."""

    server: Server
    asked: ChatRequest
    completion: Completion
    begin: float
    done: bool = False

    def end(self, result: Outcome | AutotttError) -> None:
        if self.done:
            return
        self.done = True
        seconds, model = time.monotonic() - self.begin, self.asked.model
        status = 200 if isinstance(result, Outcome) else status_of(result)
        metrics = self.server.metrics
        metrics.requests.labels(model, str(status)).inc()
        metrics.seconds.labels(model).observe(seconds)
        fields: JSON = {"id": self.completion.id, "model": model, "status": status}
        fields["seconds"] = round(seconds, 3)
        if isinstance(result, Outcome):
            strategy, tokens = result.details["strategy"], result.details["tokens"]
            metrics.strategies.labels(strategy).inc()
            metrics.tokens.inc(tokens)
            fields |= {"strategy": strategy, "tokens": tokens}
            fields["queued_seconds"] = round(result.details["queued_seconds"], 3)
        else:
            fields["error"] = type(result).__name__
        if self.server.settings.content:
            said = result.content if isinstance(result, Outcome) else str(result)
            fields |= {"request": self.asked.model_dump(mode="json"), "answer": said}
        log.info("request", extra={"fields": fields})


async def _cancel_when_gone(request: Request, job: Job) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.cancel()


def _sent(value: JSON) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _typed_error(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, BodyError) else status_of(error)
    headers = {}
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse(refusal(error), status, headers=headers)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = error_body(error.detail, "invalid_request_error")
    return JSONResponse(body, error.status_code, headers=error.headers)


def _bug(request: Request, error: Exception) -> Response:
    return JSONResponse(error_body("internal error", "server_error"), 500)


def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


def build_app(
    settings: ServerSettings, *, extend: Callable[[Pool], Extension] | None = None
) -> Starlette:
    """The application; its workers live as long as it does."""
    pool = Pool(settings.pool)
    server = Server(settings, pool)
    extension = Extension() if extend is None else extend(pool)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(pool)
            except WorkerError as error:
                log.error("%s", error)  # of an exception the log tells no more than the type
                raise
            if extension.running is not None:
                await stack.enter_async_context(extension.running())
            yield

    middleware = []
    own = (*LOOPBACK_NAMES, settings.host) if is_loopback(settings.host) else ()
    names = (*own, *settings.names)
    if names:
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=list(names)))
    if settings.key is not None:
        middleware.append(Middleware(ApiKey, key=settings.key))
    return Starlette(
        routes=[
            Route("/health", server.health),
            Route("/metrics", server.show_metrics),
            Route("/v1/models", server.models),
            Route("/v1/models/{name}", server.model),
            Route("/v1/chat/completions", server.chat, methods=["POST"]),
            *extension.routes,
        ],
        middleware=middleware,
        exception_handlers={
            AutotttError: _typed_error,
            ClientDisconnect: _gone,
            HTTPException: _http_error,
            Exception: _bug,
        },
        lifespan=lifespan,
    )
