"""Who may ask: the API key, the names this server may be called by, and what a body may be."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from autottt.errors import InputError
from autottt.server.replies import error_body

OPEN = ("/health",)  # asked for without a key
LEAST_KEY = 16  # characters
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
BODY_SECONDS = 20.0


class BodyError(InputError):
    """A body that is not read to its end, with the status that says why."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, key: str | None) -> None:
    """Raises `InputError` for a server that others can reach and that has no key, or a weak one."""
    if key is not None and len(key) < LEAST_KEY:
        raise InputError(f"an API key has at least {LEAST_KEY} characters, not {len(key)}")
    if key is not None and (key != key.strip() or not key.isascii()):
        raise InputError("an API key is of ASCII characters, without white space at its ends")
    if key is None and not is_loopback(host):
        raise InputError(
            f"{host} can be reached by other machines and needs an API key; set AUTOTTT_API_KEY, "
            "or bind to 127.0.0.1"
        )


class ApiKey:
    """Middleware: 401 unless the request carries the key as a bearer token."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._digest = hashlib.sha256(key.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN or self._admits(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = error_body("the API key is missing or wrong", "authentication_error")
        response = JSONResponse(body, 401, headers={"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

    def _admits(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).digest()
        return hmac.compare_digest(digest, self._digest) and kind.lower() == "bearer"


async def read_body(request: Request, limit: int) -> bytes:
    """A JSON body of at most `limit` bytes. Raises `BodyError`: 415, 413 or 408.

    The type is required because a web page can send any other without asking first.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BodyError("the content type is application/json", 415)
    too_long = BodyError(f"a body has at most {limit} bytes", 413)
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > limit:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_long
    except TimeoutError:
        raise BodyError(f"the body did not arrive within {BODY_SECONDS:g} s", 408) from None
    return bytes(body)
