"""`autottt serve`: answer over HTTP in the protocol of OpenAI, and to agents over MCP."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autottt.cli.exits import not_negative, positive
from autottt.cli.sources import (
    ADAPTER_MIB,
    AdapterMib,
    Device,
    DeviceMap,
    Dtype,
    Format,
    LoraTargets,
    Model,
    Quantize,
    TensorParallel,
    TrustRemoteCode,
    ends_of,
)
from autottt.errors import InputError, WorkerError

if TYPE_CHECKING:
    from autottt.server.app import ServerSettings

CONNECTIONS = 512
LARGEST_PORT = 65535
GRACEFUL_SECONDS = 10
KEY = "AUTOTTT_API_KEY"
NEEDS = {"serve": ("starlette", "uvicorn", "prometheus_client"), "mcp": ("mcp",)}


def serve(
    host: Annotated[str, typer.Option(help="Address to bind to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to bind to; 0 for any that is free.")] = 8000,
    model: Model = "embedded",
    gate: Annotated[
        Path | None, typer.Option(help="A fitted gate; by default the one of the model.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="What a second costs, in units of accuracy.")
    ] = None,
    adapters: Annotated[
        Path | None, typer.Option(help="A directory of trained adapters, to reuse and to add to.")
    ] = None,
    adapter_mib: AdapterMib = ADAPTER_MIB,
    replicas: Annotated[
        int, typer.Option(help="Processes that answer without training, each with the model.")
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(help="Threads of each process; by default an even share.")
    ] = None,
    queue: Annotated[int, typer.Option(help="Requests that may wait, of either kind.")] = 64,
    deadline: Annotated[float, typer.Option(help="Seconds that a request may take.")] = 120.0,
    max_body: Annotated[int, typer.Option(help="Bytes that a request may have.")] = 2**20,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A Host header that is answered; may be given again.")
    ] = None,
    log_content: Annotated[
        bool, typer.Option("--log-content", help="Write tasks and answers into the log.")
    ] = False,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Speak MCP on stdin and stdout, instead of HTTP.")
    ] = False,
    mcp_http: Annotated[bool, typer.Option("--mcp-http", help="Speak MCP at /mcp too.")] = False,
    device: Device = None,
    device_map: DeviceMap = None,
    tensor_parallel: TensorParallel = 1,
    dtype: Dtype = "auto",
    quantize: Quantize = None,
    prompts: Format = "auto",
    lora_targets: LoraTargets = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Serve chat completions at /v1, whose earlier turns are demonstrations.

    The models are policies: autottt decides, autottt-icl never trains, autottt-ttt always does. The
    API key is read from AUTOTTT_API_KEY; without one only this machine can be served. Logs are JSON
    lines on stderr.
    """
    positive("--replicas", replicas)
    positive("--threads", threads)
    positive("--queue", queue)
    positive("--adapter-mib", adapter_mib)
    positive("--deadline", deadline)
    positive("--max-body", max_body)
    not_negative("--price", price)
    if not 0 <= port <= LARGEST_PORT:
        raise InputError(f"--port is a number from 0 to {LARGEST_PORT}, not {port}")
    require("serve")
    if mcp or mcp_http:
        require("mcp")
    from autottt.server.lanes import PoolSettings
    from autottt.server.process import WorkerSettings

    share = max(1, (os.cpu_count() or 1) // (replicas + 1))
    worker = WorkerSettings(
        model=model,
        loading={
            "device": device,
            "device_map": device_map,
            "tensor_parallel": tensor_parallel,
            "dtype": dtype,
            "quantize": quantize,
            "format": prompts,
            "lora_targets": ends_of(lora_targets),
            "trust_remote_code": trust_remote_code,
        },
        gate=None if gate is None else str(gate),
        price=price,
        adapters=None if adapters is None else str(adapters),
        adapter_bytes=adapter_mib * 2**20,
        threads=threads or share,
        content=log_content,
    )
    pool = PoolSettings(worker, replicas=replicas, queue=queue)
    from autottt.server.logs import set_up

    set_up(content=log_content)
    if mcp:
        from autottt.server.mcp_tools import run_stdio

        run_stdio(pool, deadline)
        return
    from autottt.server.app import ServerSettings

    key = os.environ.get(KEY)
    names = tuple(allowed_host or ())
    settings = ServerSettings(pool, host, key, names, deadline, max_body, log_content)
    _run_http(settings, port, with_mcp=mcp_http)


def _run_http(settings: ServerSettings, port: int, *, with_mcp: bool) -> None:
    import uvicorn

    from autottt.server.app import build_app
    from autottt.server.guard import check_exposure

    check_exposure(settings.host, settings.key)
    extend = None
    if with_mcp:
        from autottt.server.mcp_tools import http_extension

        extend = http_extension(settings.deadline, settings.max_body)
    app = build_app(settings, extend=extend)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    try:
        uvicorn.Server(config).run()
    except SystemExit as error:  # which uvicorn raises with codes of its own
        raise WorkerError("the server did not start; see the log above") from error


def require(extra: str) -> None:
    """Raises `InputError` where what the extra installs is missing."""
    missing = [name for name in NEEDS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"{', '.join(missing)} missing; run pip install 'autottt[{extra}]'")
