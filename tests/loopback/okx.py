"""OKX on this machine, faults included; speaks to an unmodified ccxt through `OKX_BASE_URL`.

    with Okx() as okx:
        settings.OKX_BASE_URL = okx.address
        okx.fail("BTC-USDT", "429", times=2, retry_after=1)
        okx.storm(seed=7, rate=0.3)

Its coins are those of the made-up market, so its prices agree with the loopback Yahoo's. By itself:
`python -m tests.loopback.okx --port 9000`. It then takes orders: `POST /faults` with {"symbol": "BTC-USDT" or "*" or
"instruments", "fault": "503", "times": 3}, `DELETE /faults`, `POST /storm` with {"seed": 7, "rate": 0.3},
`GET /requests`.
"""

import argparse
import json
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.loopback.market import Bar, Listing, usual
from tests.loopback.tls import Quiet

BARS = {
    "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1H": 3600, "2H": 7200, "4H": 14400,
    "6Hutc": 21600, "12Hutc": 43200, "1D": 86400, "1Dutc": 86400, "1Wutc": 604800, "1Mutc": 31 * 86400,
}  # fmt: skip
RECENT = 1440  # bars that /market/candles has
LIMITS = {"/api/v5/market/candles": (300, 40), "/api/v5/market/history-candles": (100, 20)}  # rows; requests in 2 s
FAULTS = (
    "429", "429text", "500", "503", "maintenance", "busy", "slow", "truncated", "reset", "garbage", "html", "blank",
    "missing", "nulls", "nothing", "capped", "gone", "rejected", "403", "404",
)  # fmt: skip
SILENT = ("nulls", "nothing", "capped")  # those that look like an answer
STORM = ("429", "429text", "500", "503", "maintenance", "busy", "truncated", "reset", "garbage", "html", "blank",
         "missing", *SILENT)  # fmt: skip
IN_A_ROW = 2  # silent faults that a storm gives to one coin: an exchange that says three times the same is believed


@dataclass
class Seen:
    """One request that came; `at` is in seconds of the monotonic clock."""

    path: str
    params: dict[str, str]
    symbol: str
    at: float
    fault: str = ""


@dataclass
class Fault:
    kind: str
    times: int | None = None  # None: until it is mended
    retry_after: str | float | None = None
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"no fault called {self.kind}; there are {', '.join(FAULTS)}")


@dataclass
class Coin:
    """A market of OKX. `listing` says its prices; `state` is OKX's word."""

    listing: Listing
    base: str
    quote: str = "USDT"
    state: str = "live"
    list_time: datetime | None = None  # when OKX says it was listed; with its first candle if None

    @property
    def listed(self) -> datetime:
        return self.list_time or datetime.combine(self.listing.since, datetime.min.time(), UTC)


def coins() -> dict[str, Coin]:
    known = usual()
    since = {"BTC": date(2018, 1, 11), "ETH": date(2018, 1, 11), "SOL": date(2020, 9, 29)}
    return {
        f"{base}-USDT": Coin(replace(known[f"{base}-USD"], since=first), base, "USDT") for base, first in since.items()
    }


class Okx(ThreadingHTTPServer):
    """The server. `coins` may be changed at any time; `requests` is what was asked; `now` may stand still or be wrong.

    `strict` refuses more requests than the real one allows.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int = 0, *, strict: bool = False) -> None:
        super().__init__(("127.0.0.1", port), _Door)
        self.coins = coins()
        self.requests: list[Seen] = []
        self.faults: dict[str, Fault] = {}
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.on_candles: Callable[[Seen], None] = lambda seen: None
        self.strict = strict
        self._storm: tuple[object, float, tuple[str, ...]] | None = None
        self._asked: Counter[str] = Counter()
        self._silent: Counter[str] = Counter()
        self._lately: dict[str, deque[float]] = {path: deque() for path in LIMITS}
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "Okx":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what these servers are for."""

    # --- Orders ---

    def fail(self, where: str, kind: str, times: int | None = None, **how: object) -> None:
        """Answer wrongly: `where` is a coin, "*" for all candles, or "instruments"."""
        self.faults[where] = Fault(kind, times, **how)

    def storm(self, seed: object, rate: float, kinds: tuple[str, ...] = STORM) -> None:
        """Let this share of the requests for candles and instruments fail, each at random in one of these ways.

        The dice depend on the question and on how often it was asked, not on the order in which questions come.
        """
        self._storm = (seed, rate, kinds)

    def mend(self) -> None:
        self.faults.clear()
        self._storm = None

    def candles(self, symbol: str = "") -> list[Seen]:
        """The requests for candles, of one coin if given."""
        return [seen for seen in self.requests if seen.path in LIMITS and symbol in ("", seen.symbol)]

    def truth(self, symbol: str, bar: str, since: datetime, until: datetime) -> list[list[str]]:
        """The rows that a faultless client gets for since ≤ open < until, oldest first."""
        return list(backwards(self.coins[symbol].listing, bar, since, until, self.now()))[::-1]

    # --- Answers ---

    def answer(self, door: "_Door") -> None:
        parts = urlsplit(door.path)
        params = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        symbol = params.get("instId", "")
        seen = Seen(parts.path, params, symbol, time.monotonic())
        self.requests.append(seen)
        if parts.path == "/api/v5/public/time":
            door.data([{"ts": _ms(self.now())}])
        elif parts.path == "/api/v5/public/instruments":
            if not self._broken(door, seen, "instruments"):
                spot = params.get("instType") == "SPOT"
                door.data([_instrument(coin) for coin in self.coins.values()] if spot else [])
        elif parts.path == "/api/v5/market/tickers":
            door.data([_ticker(coin, self.now()) for coin in self.coins.values() if coin.state == "live"])
        elif parts.path in LIMITS:
            self.on_candles(seen)
            self._candles(door, seen)
        else:
            door.send(404, b"<html>nothing here</html>", {"Content-Type": "text/html"})

    def _candles(self, door: "_Door", seen: Seen) -> None:
        params, (most, _) = seen.params, LIMITS[seen.path]
        if self._too_many(seen):
            door.refuse(429, "50011", "Too Many Requests")
            return
        if self._broken(door, seen, seen.symbol, "*"):
            return
        coin = self.coins.get(seen.symbol)
        if coin is None:
            door.refuse(200, "51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        elif params.get("bar", "1m") not in BARS:
            door.refuse(200, "51000", "Parameter bar error")
        else:
            door.data(self._page(coin, seen, min(int(params.get("limit", "100")), most)))

    def _page(self, coin: Coin, seen: Seen, limit: int) -> list[list[str]]:
        """Newest first, between `before` and `after`, both excluded."""
        now, bar = self.now(), seen.params.get("bar", "1m")
        since = _at(int(seen.params["before"]) + 1) if seen.params.get("before") else datetime(2009, 1, 1, tzinfo=UTC)
        until = min(_at(int(seen.params["after"])) if seen.params.get("after") else now, now + timedelta(seconds=1))
        if seen.path.endswith("/candles"):
            since = max(since, now - timedelta(seconds=RECENT * BARS[bar]))
        rows = []
        for row in backwards(coin.listing, bar, since, until, now):
            rows.append(row)
            if len(rows) == limit:
                break
        return rows

    def _too_many(self, seen: Seen) -> bool:
        if not self.strict:
            return False
        with self._lock:
            lately = self._lately[seen.path]
            while lately and lately[0] < seen.at - 2:
                lately.popleft()
            lately.append(seen.at)
            return len(lately) > LIMITS[seen.path][1]

    def _broken(self, door: "_Door", seen: Seen, *where: str) -> bool:
        """Answer with the fault that waits there or that the storm has for this request, if one does."""
        fault = self._waiting(where) or self._of_the_storm(seen)
        if fault is None:
            return False
        seen.fault = kind = fault.kind
        extra = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        if kind == "429":
            door.refuse(429, "50011", "Too Many Requests", extra)
        elif kind == "429text":
            door.send(429, b"Too Many Requests\r\n", {"Content-Type": "text/plain", **extra})
        elif kind == "503":
            door.refuse(503, "50001", "Service temporarily unavailable, please try again later.", extra)
        elif kind == "maintenance":
            door.refuse(200, "50001", "Service temporarily unavailable, please try again later.")
        elif kind == "busy":
            door.refuse(200, "50013", "System is busy, please try again later.")
        elif kind == "gone":
            door.refuse(200, "51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        elif kind == "rejected":
            door.refuse(400, "51000", "Parameter bar error")
        elif kind in ("500", "403", "404"):
            door.send(int(kind), b"<html>Not this time</html>", {"Content-Type": "text/html"})
        elif kind == "html":
            door.send(200, b"<html>Sign in to the hotel's network</html>", {"Content-Type": "text/html"})
        elif kind == "garbage":
            door.send(200, b'{"code": "0", "data": [["1700000000')
        elif kind == "blank":
            door.send(200, b"")
        elif kind == "missing":
            door.send(200, b'{"code": "0", "msg": ""}')
        elif kind == "nothing":
            door.data([])
        elif kind == "truncated":
            door.send(200, b'{"code": "0", "data": [' + b" " * 20_000 + b"]}", cut=True)
        elif kind == "reset":
            door.hang_up()
        elif kind == "slow":
            self._closing.wait(fault.seconds)
            door.hang_up()
        elif kind in ("nulls", "capped"):
            return self._spoilt(door, seen, kind)
        return True

    def _spoilt(self, door: "_Door", seen: Seen, kind: str) -> bool:
        """A page of fewer rows than asked for, or one in which every third has no prices."""
        coin = self.coins.get(seen.symbol)
        if coin is None:
            return False
        rows = self._page(coin, seen, 30 if kind == "capped" else int(seen.params.get("limit", "100")))
        if kind == "nulls":
            rows = [row if number % 3 else [row[0], *[None] * 4, "0", "0", "0", row[8]]
                    for number, row in enumerate(rows)]  # fmt: skip
        door.data(rows)
        return True

    def _waiting(self, where: tuple[str, ...]) -> Fault | None:
        with self._lock:
            for name in where:
                fault = self.faults.get(name)
                if fault is not None and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    def _of_the_storm(self, seen: Seen) -> Fault | None:
        if self._storm is None:
            return None
        seed, rate, kinds = self._storm
        with self._lock:
            question = f"{seen.path} {sorted(seen.params.items())}"
            self._asked[question] += 1
            dice = random.Random(f"{seed} {question} {self._asked[question]}")
            kind = dice.choice(kinds) if dice.random() < rate else ""
            if kind in SILENT and (seen.path not in LIMITS or self._silent[seen.symbol] >= IN_A_ROW):
                kind = ""
            self._silent[seen.symbol] = self._silent[seen.symbol] + 1 if kind in SILENT else 0
        return Fault(kind, retry_after=0 if kind.startswith("429") else None) if kind else None

    # --- Orders, when it runs by itself ---

    def control(self, door: "_Door") -> None:
        order = json.loads(door.rfile.read(int(door.headers.get("Content-Length") or 0)) or "{}")
        status, answer = 200, {}
        try:
            if door.path == "/requests":
                answer = {"requests": [asdict(seen) for seen in list(self.requests)]}
            elif door.path == "/faults" and door.command == "POST":
                self.fail(order.pop("symbol", "*"), order.pop("fault"), **order)
            elif door.path == "/faults":
                self.mend()
            elif door.path == "/storm":
                self.storm(order["seed"], float(order["rate"]), tuple(order.get("kinds", STORM)))
            else:
                status = 404
        except (ValueError, KeyError, TypeError) as error:
            status, answer = 400, {"error": str(error)}
        door.send(status, json.dumps(answer).encode())


class _Door(Quiet):
    server: Okx

    def do_GET(self) -> None:
        if self.path.startswith("/api/"):
            self.server.answer(self)
        else:
            self.server.control(self)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def data(self, rows: list[object]) -> None:
        self.send(200, json.dumps({"code": "0", "msg": "", "data": rows}).encode())

    def refuse(self, status: int, code: str, text: str, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps({"code": code, "msg": text, "data": []}).encode(), headers)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        """Send an answer; `cut` hangs up in the middle of its body."""
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()
        if cut:
            self.close_connection = True

    def hang_up(self) -> None:
        """Reset the connection, as a broken middlebox does."""
        self.close_connection = True
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()


# --- The market --------------------------------------------------------------------------------------------------


def backwards(listing: Listing, bar: str, since: datetime, until: datetime, now: datetime) -> Iterator[list[str]]:
    """Rows with since ≤ open < until and open ≤ now, newest first; the last as far as it is by the server's clock."""
    day = min(until, now).date() + timedelta(days=1)
    while day >= max(since.date() - timedelta(days=32), listing.since):
        for at, seconds, found in reversed(_of_day(listing, bar, day)):
            if since <= at < until and at <= now:
                yield _row(at, found, over=at + timedelta(seconds=seconds) <= now)
        day -= timedelta(days=1)


def _of_day(listing: Listing, bar: str, day: date) -> list[tuple[datetime, float, Bar]]:
    """The candles that open on this date: moment, seconds, numbers."""
    midnight = datetime.combine(day, datetime.min.time(), UTC)
    if day in listing.nulls:
        return []
    if bar in ("1Dutc", "1D"):  # OKX's own days are Hong Kong's
        at = midnight if bar == "1Dutc" else midnight - timedelta(hours=8)
        return [(at, 86400, listing.daily(day))]
    if bar in ("1Wutc", "1Mutc"):
        monthly = bar == "1Mutc"
        if day.day != 1 if monthly else day.weekday() != 0:
            return []
        next_ = (day.replace(day=28) + timedelta(days=4)).replace(day=1) if monthly else day + timedelta(days=7)
        return [(midnight, (next_ - day).total_seconds(), _whole(listing, day, next_))]
    return [(one.at, BARS[bar], one) for one in listing.intraday(day, BARS[bar])]


def _whole(listing: Listing, first: date, after: date) -> Bar:
    bars = [listing.daily(day) for day in listing.days(first, after - timedelta(days=1)) if day not in listing.nulls]
    return Bar(bars[0].at, bars[0].open, max(bar.high for bar in bars), min(bar.low for bar in bars), bars[-1].close,
               sum(bar.volume for bar in bars))  # fmt: skip


def _row(at: datetime, bar: Bar, *, over: bool) -> list[str]:
    close, high, low, volume = bar.close, bar.high, bar.low, bar.volume
    if not over:
        close, volume = (bar.open + bar.close) / 2, bar.volume // 2
        high, low = max(bar.open, close), min(bar.open, close)
    prices = [f"{price:.{_decimals(bar.open)}f}" for price in (bar.open, high, low, close)]
    coins_traded = f"{volume / bar.open:.8f}"
    return [_ms(at), *prices, coins_traded, str(volume), str(volume), "1" if over else "0"]


@lru_cache(maxsize=4096)
def _decimals(price: float) -> int:
    return 2 if price >= 5 else 6


def _instrument(coin: Coin) -> dict[str, str]:
    return {
        "instId": f"{coin.base}-{coin.quote}", "instType": "SPOT", "baseCcy": coin.base, "quoteCcy": coin.quote,
        "state": coin.state, "listTime": _ms(coin.listed), "lotSz": "0.00000001", "minSz": "0.00001",
        "tickSz": "0.1", "lever": "10", "category": "1", "expTime": "", "instFamily": "", "uly": "", "settleCcy": "",
        "ctVal": "", "ctValCcy": "", "ctMult": "", "ctType": "", "optType": "", "stk": "", "alias": "",
        "maxMktSz": "1000000",
    }  # fmt: skip


def _ticker(coin: Coin, now: datetime) -> dict[str, str]:
    day = coin.listing.daily(now.date())
    price = f"{day.close:.{_decimals(day.close)}f}"
    return {
        "instType": "SPOT", "instId": f"{coin.base}-{coin.quote}", "last": price, "askPx": price, "bidPx": price,
        "open24h": f"{day.open:.2f}", "high24h": f"{day.high:.2f}", "low24h": f"{day.low:.2f}",
        "vol24h": f"{day.volume / day.close:.8f}", "volCcy24h": str(day.volume), "ts": _ms(now),
    }  # fmt: skip


def _ms(at: datetime) -> str:
    return str(round(at.timestamp() * 1000))


def _at(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--fault", action="append", default=[], metavar="SYMBOL=FAULT",
                        help=f"SYMBOL may be *; FAULT is one of {', '.join(FAULTS)}")  # fmt: skip
    parser.add_argument("--storm", type=float, default=0.0, metavar="RATE", help="share of requests that fail")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--strict", action="store_true", help="refuse what is beyond OKX's rate limits")
    options = parser.parse_args()
    with Okx(options.port, strict=options.strict) as okx:
        for order in options.fault:
            symbol, _, kind = order.rpartition("=")
            okx.fail(symbol or "*", kind)
        if options.storm:
            okx.storm(options.seed, options.storm)
        print(f"OKX_BASE_URL={okx.address}", flush=True)  # noqa: T201
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
