"""What the loopback servers of REST interfaces with a key have in common: one door, faults, and a list of requests."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.loopback.market import Listing
from tests.loopback.tls import Quiet

KEY = "S3CRETLOOPBACKKEY"
FAULTS = (
    "429", "429text", "500", "503", "slow", "truncated", "reset", "garbage", "empty", "missing", "html", "nothing",
    "nulls", "capped", "404", "rejected", "401", "403", "plan", "day", "echo", "longwinded", "endless",
)  # fmt: skip
LOOK_LIKE_ANSWERS = ("nulls", "capped", "missing")  # played with the candles


@dataclass
class Seen:
    """One request that came."""

    path: str
    params: dict[str, str]
    symbol: str
    headers: dict[str, str]


@dataclass
class Fault:
    kind: str
    times: int | None = None  # None: until it is mended
    retry_after: str | int | None = None
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"no fault called {self.kind}; there are {', '.join(FAULTS)}")


class Door(Quiet):
    server: "Rest"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        params = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        seen = Seen(parts.path, params, params.get("symbol") or params.get("keywords", ""), dict(self.headers))
        self.server.requests.append(seen)
        self.server.on_request(seen)
        self.server.play(self, seen)

    def answer(self, status: int, body: bytes | dict, headers: dict[str, str] | None = None, *, cut: bool = False):
        """Send an answer; `cut` hangs up in the middle of its body."""
        whole = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if isinstance(body, dict) else "text/html")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(whole)))
        self.end_headers()
        self.wfile.write(whole[: len(whole) // 2] if cut else whole)
        self.wfile.flush()
        self.close_connection = self.close_connection or cut


class Rest(ThreadingHTTPServer):
    """The server. `listings` may be changed at any time, by its own spellings; `now` may stand still or be wrong."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Door)
        self.key = KEY
        self.listings: dict[str, Listing] = {}
        self.requests: list[Seen] = []
        self.faults: dict[str, Fault] = {}
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.on_request: Callable[[Seen], None] = lambda seen: None
        self._closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what these servers are for."""

    def fail(self, where: str, kind: str, times: int | None = None, **how: object) -> None:
        """Answer wrongly: `where` is a symbol, or "*" for all."""
        self.faults[where] = Fault(kind, times, **how)

    def mend(self) -> None:
        self.faults.clear()

    def play(self, door: Door, seen: Seen) -> None:
        raise NotImplementedError

    def due(self, symbol: str) -> Fault | None:
        """The fault that waits for this symbol; counted as played."""
        fault = self.faults.get(symbol) or self.faults.get("*")
        if fault is None or fault.times == 0:
            return None
        if fault.times is not None:
            fault.times -= 1
        return fault

    def break_connection(self, door: Door, fault: Fault) -> bool:
        """The faults that are the same for every server; whether it was one of them."""
        match fault.kind:
            case "429text":
                extra = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
                door.answer(429, b"Too Many Requests", extra)
            case "500" | "503":
                door.answer(int(fault.kind), b"<html>Down for maintenance</html>")
            case "html":
                door.answer(404, b"<html>Sign in to the hotel's network</html>")
            case "garbage":
                door.answer(200, b'{"meta": {"symbol": ')
            case "empty":
                door.answer(200, b"")
            case "truncated":
                door.answer(200, b'{"meta": ' + b" " * 20_000 + b"}", cut=True)
            case "endless":
                door.answer(200, b" " * 3_000_000)
            case "reset":
                door.close_connection = True
                linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
                import socket

                door.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                door.connection.close()
            case "slow":
                self._closing.wait(fault.seconds)
                door.close_connection = True
            case _:
                return False
        return True
