"""How a tool call becomes a request of the API: in this process, or over the network to another Chronos."""

import asyncio
import difflib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from chronos.agents.operations import Operation
from chronos.core.envelope import Refused

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 1_000_000  # of an answer
STREAM_SECONDS = 20.0  # then what a stream has said is the answer
REQUEST_SECONDS = 120.0

Application = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """A request of the API. The path is as Django sees it, decoded."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = REQUEST_SECONDS


@dataclass(frozen=True)
class Told:
    """The answer. `is_cut`: there was more than anybody wants, or the time was over."""

    status: int
    headers: Mapping[str, str]  # by lower-case name
    body: bytes
    is_cut: bool = False


class Line(Protocol):
    """Whom to ask, as somebody."""

    async def __call__(self, asked: Asked) -> Told: ...


def request(operation: Operation, given: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Asked:
    """The request for an operation with these parameters. Raises `Refused`; the values themselves are the API's to
    judge.
    """
    _known(operation, given)
    given = {**operation.defaults, **given}
    sent = {"Accept": "application/json"} | {name: _header(name, value) for name, value in (headers or {}).items()}
    query, body = [], {}
    for name, value in given.items():
        place = operation.places[name]
        if place == "body":
            body[name] = value
        elif value is not None and place == "query":
            query += [(name, text) for text in _texts(operation, name, value)]
        elif value is not None and place == "header":
            sent[name] = _header(name, value)
    data = None
    if operation.has_body:
        data = _json(body["body"] if operation.places.get("body") == "body" else body)
        sent["Content-Type"] = "application/json"
    try:
        asked = urlencode(query)
    except UnicodeEncodeError:
        raise _unreadable() from None
    seconds = STREAM_SECONDS if operation.is_stream else REQUEST_SECONDS
    return Asked(operation.method, _path(operation, given), asked, sent, data, seconds)


def _known(operation: Operation, given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in operation.places:
            near = difflib.get_close_matches(name, operation.places, 1)
            known = ", ".join(operation.places) or "none"
            raise Refused(
                "invalid", f"{operation.name} has no parameter “{shown(name)}”.",
                f"Did you mean {near[0]}?" if near else f"It takes: {known}.", field=shown(name)[:100],
            )  # fmt: skip


def _path(operation: Operation, given: Mapping[str, Any]) -> str:
    path = operation.path
    for name, place in operation.places.items():
        if place != "path":
            continue
        value = given.get(name)
        if value is None or isinstance(value, dict | list) or (text := _plain(value)) == "":
            raise Refused("invalid", f"{operation.name} needs {name}.", f"Say which, as {name}.", field=f"path.{name}")
        if "/" in text or text in (".", ".."):
            raise Refused(
                "invalid", f"“{shown(text)[:60]}” can't be part of an address.",
                "Write it without a slash: BTC-USDT, not BTC/USDT.", field=f"path.{name}",
            )  # fmt: skip
        path = path.replace(f"{{{name}}}", text)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise _unreadable() from None
    return path


def _texts(operation: Operation, name: str, value: Any) -> list[str]:
    """A value of the query: one, or several where the document has a list."""
    several = isinstance(value, list) and operation.takes["properties"][name].get("type") == "array"
    values = value if several else [value]
    if any(isinstance(one, dict | list) for one in values):
        raise Refused("invalid", f"{name} is a list or an object.", "Send a plain value.", field=f"query.{name}")
    return [_plain(one) for one in values]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else _json(value).decode()


def _header(name: str, value: Any) -> str:
    text = _plain(value)
    if not (text.isascii() and text.isprintable()):
        raise Refused("invalid", f"{name} can't be read.", "Send visible ASCII characters.", field=f"header.{name}")
    return text


def _json(value: Any) -> bytes:
    """As JSON is specified: agents' libraries let NaN and Infinity through."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        raise Refused(
            "malformed_json", "A parameter is nested too deeply, or is NaN or Infinity.", "Send plain values.",
            status=400,
        ) from None  # fmt: skip


def _unreadable() -> Refused:
    return Refused("invalid", "A parameter is no readable text.", "Send it as UTF-8, without lone surrogates.")


def shown(text: str) -> str:
    """The caller's own text, fit to be sent back."""
    return text.encode("utf-8", "replace").decode()


_unfinished: set[asyncio.Future[None]] = set()  # a loop alone would forget them


class Inside:
    """Asks this process's Django, past the network but through every middleware."""

    def __init__(self, application: Application, secret: str) -> None:
        self.application, self.secret = application, secret

    async def __call__(self, asked: Asked) -> Told:
        """1. Hand in the request; 2. collect what is sent; 3. hang up when that is too much or takes too long, or when
        nobody waits for it any more: Django then ends it in its own way, rather than being cut off inside.
        """
        body = asked.body or b""
        headers = {"Host": "localhost", "Authorization": f"Bearer {self.secret}", **asked.headers}
        if asked.body is not None:
            headers["Content-Length"] = str(len(body))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": asked.method,
            "scheme": "https", "path": asked.path, "raw_path": quote(asked.path).encode(), "root_path": "",
            "query_string": asked.query.encode(), "server": ("localhost", 443), "client": None,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        answer, hung_up = _Collected(), asyncio.Event()
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop()
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            if answer.take(message):
                hung_up.set()

        answering = asyncio.ensure_future(self.application(scope, receive, send))
        _unfinished.add(answering)
        answering.add_done_callback(_unfinished.discard)
        bell = asyncio.get_running_loop().call_later(asked.seconds, hung_up.set)
        try:
            await asyncio.shield(answering)
        except asyncio.CancelledError:
            hung_up.set()
            raise
        finally:
            bell.cancel()
        return answer.told(is_cut=hung_up.is_set())


class _Collected:
    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    def take(self, message: Mapping[str, Any]) -> bool:
        """Whether it is enough."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
            }
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        return len(self.body) > MOST_BYTES

    def told(self, *, is_cut: bool) -> Told:
        if not self.status:
            raise Refused("timeout", "It took too long.", "Ask for less, or again later.", status=503)
        return Told(self.status, self.headers, bytes(self.body), is_cut)


class Outside:
    """Asks a Chronos that runs elsewhere."""

    def __init__(self, client: "httpx.AsyncClient") -> None:
        self.client = client

    async def __call__(self, asked: Asked) -> Told:
        import httpx

        url = quote(asked.path) + (f"?{asked.query}" if asked.query else "")
        body, is_cut, end = bytearray(), False, time.monotonic() + asked.seconds
        try:
            async with self.client.stream(asked.method, url, headers=dict(asked.headers), content=asked.body) as answer:
                async for part in answer.aiter_bytes():
                    body += part
                    if is_cut := len(body) > MOST_BYTES or time.monotonic() > end:
                        break
        except httpx.HTTPError as error:
            raise Refused(
                "unreachable", f"Chronos at {self.client.base_url} can't be reached ({type(error).__name__}).",
                "See whether it runs, and whether the address is right.", status=503,
            ) from None  # fmt: skip
        return Told(answer.status_code, dict(answer.headers), bytes(body), is_cut)
