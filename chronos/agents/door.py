"""`/mcp`: the door of the streamable HTTP transport. Who may not come in is told so before anything of the protocol is
read, and before the SDK, which takes half a second to import, is needed at all.
"""

import asyncio
import contextlib
import contextvars
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from django.http import HttpResponse
from django.http.request import validate_host

from chronos.agents.asking import Application, Inside
from chronos.core import gate, tokens
from chronos.core.envelope import Refused

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager as Manager

PATH = "/mcp"
ONLY_POST = Refused(
    "method_not_allowed", "There are no sessions here, and so nothing to get or delete.", "Send each message by POST.",
    status=405, headers={"Allow": "POST"},
)  # fmt: skip
NOT_THIS_HOST = Refused("invalid_request", "This is not the name of this server.", "Add it to ALLOWED_HOSTS.",
                        status=421)  # fmt: skip
NOT_FROM_THERE = Refused("forbidden", "Pages of other sites may not ask.", "Ask from a program.", status=403)
ONLY_HTTPS = Refused("forbidden", "A token must not travel in the clear.", "Ask over https.", status=403)


class Door:
    """Lets agents in, beside the Django application that they ask in the end."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._starting: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Manager]] = WeakKeyDictionary()
        self._running: set[asyncio.Task[None]] = set()

    @staticmethod
    def is_for(scope: Mapping[str, Any]) -> bool:
        return scope["type"] == "http" and scope["path"] in (PATH, f"{PATH}/")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if refusal := await _refusal(scope):
            await _send(refusal.answer(), send)
            return
        manager = await self._manager()
        await manager.handle_request(scope, receive, send)

    async def _manager(self) -> "Manager":
        """The one of this loop, started by whoever comes first."""
        loop = asyncio.get_running_loop()
        starting = self._starting.get(loop)
        if starting is None or (starting.done() and (starting.cancelled() or starting.exception())):
            starting = self._starting[loop] = loop.create_task(self._start(), context=contextvars.Context())
        return await asyncio.shield(starting)

    async def _start(self) -> "Manager":
        loop = asyncio.get_running_loop()
        manager = await asyncio.to_thread(_made, self.application)
        ready = loop.create_future()
        running = loop.create_task(_run(manager, ready))
        self._running.add(running)

        def ended(task: "asyncio.Task[None]") -> None:
            self._running.discard(task)
            self._starting.pop(loop, None)

        running.add_done_callback(ended)
        await ready
        return manager


async def _run(manager: "Manager", ready: "asyncio.Future[None]") -> None:
    """As long as the loop."""
    async with manager.run():
        ready.set_result(None)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def _made(application: Application) -> "Manager":
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from chronos.agents.here import toolbox
    from chronos.agents.server import build
    from chronos.api import VERSION

    server = build(toolbox(), lambda context: Inside(application, secret(_headers(context))), VERSION)
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    return StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=most)


def _headers(context: Any) -> Mapping[str, str]:
    """Of the HTTP request that this message came in: each has a token of its own."""
    headers: Mapping[str, str] = context.request.headers
    return headers


# --- Who may come in ---------------------------------------------------------------------------------------------


def secret(headers: Mapping[str, str]) -> str:
    scheme, _, found = headers.get("Authorization", "").strip().partition(" ")
    return found.strip() if scheme.lower() == "bearer" else ""


async def _refusal(scope: Mapping[str, Any]) -> Refused | None:
    """Why it may not come in. The token is looked at last, and again by the API for each call: a revoked one does
    nothing. Answered, not raised: an exception that is raised again and again keeps every request it was raised for.
    """
    try:
        request = ASGIRequest(scope, io.BytesIO())
    except UnicodeDecodeError:
        return Refused("invalid_request", "The address can't be read.", "Leave its query away.", status=400)
    if tokens.in_an_address(unquote(request.get_full_path())):
        return tokens.IN_THE_ADDRESS
    try:
        request.get_host()
    except DisallowedHost:
        return NOT_THIS_HOST
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        return ONLY_HTTPS
    if not _is_ours(request.headers.get("Origin", "")):
        return NOT_FROM_THERE
    if not (found := secret(request.headers)):
        return gate.unnamed()
    async with ThreadSensitiveContext():
        if not await sync_to_async(_is_known)(found):
            return tokens.BAD
    return None if request.method == "POST" else ONLY_POST


def _is_ours(origin: str) -> bool:
    """Programs send none; a browser's page must be one of this server's, whatever name it was reached by."""
    if not origin:
        return True
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    return bool(host) and validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS)


def _is_known(found: str) -> bool:
    try:
        return tokens.redeem(found) is not None
    finally:
        close_old_connections()


async def _send(response: HttpResponse, send: Callable[[dict[str, Any]], Any]) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
