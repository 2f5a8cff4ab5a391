"""Kraken and Binance on this machine, faults included; speak to an unmodified ccxt through HTTPS_PROXY.

Two exchanges with opposite habits. Kraken keeps the last 720 candles of each timeframe and gives them whatever is asked
for, its refusals come with status 200, and its times are in seconds. Binance keeps everything, gives what follows
`startTime`, oldest first, and its refusals have a status.
"""

import json
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.loopback.market import Listing, usual
from tests.loopback.okx import backwards
from tests.loopback.tls import Inside, Proxy

KRAKENS = {"1": "1m", "5": "5m", "15": "15m", "30": "30m", "60": "1H", "240": "4H", "1440": "1Dutc"}
KEPT = 720  # candles of a timeframe at Kraken
BINANCES = {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "4h": "4H", "1d": "1Dutc", "1w": "1Wutc",
            "1M": "1Mutc"}  # fmt: skip
PAGE = 1000  # candles of a request at Binance


@dataclass
class Seen:
    host: str
    path: str
    params: dict[str, str]


@dataclass
class Fault:
    kind: str
    times: int | None = None
    retry_after: str | int | None = None
    seconds: float = 30.0


class Exchanges(Proxy):
    """The server. `listings` is by ccxt's symbols; `requests` is what was asked; `now` may stand still or be wrong."""

    def __init__(self, port: int = 0, folder: Path | None = None) -> None:
        super().__init__(["api.kraken.com", "api.binance.com"], port, folder)
        known = usual()
        self.listings: dict[str, Listing] = {f"{coin}/{money}": known[f"{coin}-USD"]
                                             for coin in ("BTC", "ETH") for money in ("USD", "USDT")}  # fmt: skip
        self.requests: list[Seen] = []
        self.faults: dict[str, Fault] = {}
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._closing = threading.Event()

    def __enter__(self) -> "Exchanges":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.stop()
        shutil.rmtree(self.authority.ca.parent, ignore_errors=True)

    def fail(self, where: str, kind: str, times: int | None = None, **how: object) -> None:
        """Answer wrongly about `where`, a symbol of ccxt."""
        self.faults[where] = Fault(kind, times, **how)

    def mend(self) -> None:
        self.faults.clear()

    # --- Answers ---

    def play(self, inside: Inside) -> None:
        parts = urlsplit(inside.path)
        params = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.requests.append(Seen(inside.host, parts.path, params))
        if parts.path == "/0/public/AssetPairs":
            _send(inside, {"error": [], "result": {_kraken_id(symbol): _pair(symbol) for symbol in self.listings}})
        elif parts.path == "/0/public/OHLC":
            self._kraken(inside, params)
        elif parts.path == "/api/v3/exchangeInfo":
            _send(inside, {"symbols": [_market(symbol) for symbol in self.listings]})
        elif parts.path == "/api/v3/klines":
            self._binance(inside, params)
        else:
            inside.answer(404, b"<html>nothing here</html>", {"Content-Type": "text/html"})

    def _kraken(self, inside: Inside, params: dict[str, str]) -> None:
        symbol = next((one for one in self.listings if _kraken_id(one) == params["pair"]), "")
        fault = self._fault(symbol)
        if fault and fault.kind == "busy":
            _send(inside, {"error": ["EService:Busy"]})
            return
        if fault and fault.kind == "limit":
            _send(inside, {"error": ["EGeneral:Too many requests"]})
            return
        if self._broken(inside, fault):
            return
        if not symbol or (fault and fault.kind in ("gone", "rejected")):
            word = "Invalid arguments" if fault and fault.kind == "rejected" else "Unknown asset pair"
            _send(inside, {"error": [f"{'EGeneral' if word[0] == 'I' else 'EQuery'}:{word}"]})
            return
        now, bar = self.now(), KRAKENS[params["interval"]]
        newest = islice(backwards(self.listings[symbol], bar, datetime(2009, 1, 1, tzinfo=UTC), now, now), KEPT)
        after = float(params.get("since", "0"))
        rows = [
            [int(row[0]) // 1000, *row[1:5], row[4], row[5], 17]
            for row in reversed(list(newest))
            if int(row[0]) / 1000 > after
        ]
        _send(inside, {"error": [], "result": {params["pair"]: _spoilt(rows, fault), "last": 0}})

    def _binance(self, inside: Inside, params: dict[str, str]) -> None:
        symbol = next((one for one in self.listings if one.replace("/", "") == params["symbol"]), "")
        fault = self._fault(symbol)
        if self._broken(inside, fault):
            return
        if not symbol or (fault and fault.kind == "gone"):
            _send(inside, {"code": -1121, "msg": "Invalid symbol."}, 400)
            return
        if fault and fault.kind == "rejected":
            _send(inside, {"code": -1120, "msg": "Invalid interval."}, 400)
            return
        now, bar, since = self.now(), BINANCES[params["interval"]], int(params.get("startTime", "0"))
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=since)
        rows = [
            [int(row[0]), *row[1:6], int(row[0]) + 1, row[7], 17, "0", "0", "0"]
            for row in reversed(list(backwards(self.listings[symbol], bar, start, now, now)))
        ]
        _send(inside, _spoilt(rows[: int(params.get("limit", "500"))], fault))

    def _fault(self, symbol: str) -> Fault | None:
        fault = self.faults.get(symbol)
        if fault is None or fault.times == 0:
            return None
        if fault.times is not None:
            fault.times -= 1
        return fault

    def _broken(self, inside: Inside, fault: Fault | None) -> bool:
        """Answer with the fault, if it is one of those that all exchanges share."""
        kind = fault.kind if fault else ""
        if kind.isdigit():
            extra = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
            inside.answer(int(kind), b"<html>Not this time</html>", {"Content-Type": "text/html", **extra})
        elif kind == "garbage":
            inside.answer(200, b'[[1700000000, "1.0", "1', {"Content-Type": "application/json"})
        elif kind == "html":
            inside.answer(200, b"<html>Sign in to the hotel's network</html>", {"Content-Type": "text/html"})
        elif kind == "truncated":
            inside.answer(200, b"[" + b" " * 20_000 + b"]", {"Content-Type": "application/json"}, cut=True)
        elif kind == "reset":
            inside.hang_up()
        elif kind == "slow":
            self._closing.wait(fault.seconds)
            inside.hang_up()
        else:
            return False
        return True


def _send(inside: Inside, answer: object, status: int = 200) -> None:
    inside.answer(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})


def _spoilt(rows: list[list[object]], fault: Fault | None) -> list[list[object]]:
    match fault.kind if fault else "":
        case "nothing":
            return []
        case "capped":
            return rows[:30]
        case "nulls":
            return [row if at % 3 else [row[0], None, None, None, None, *row[5:]] for at, row in enumerate(rows)]
    return rows


def _halves(symbol: str) -> Iterable[str]:
    return symbol.split("/")


def _kraken_id(symbol: str) -> str:
    base, quote = _halves(symbol)
    base = "XBT" if base == "BTC" else base
    return f"X{base}Z{quote}" if quote == "USD" else f"{base}{quote}"


def _pair(symbol: str) -> dict[str, object]:
    base, quote = _halves(symbol)
    theirs = "XXBT" if base == "BTC" else f"X{base}"
    return {
        "altname": _kraken_id(symbol), "wsname": symbol, "aclass_base": "currency", "base": theirs,
        "aclass_quote": "currency", "quote": "ZUSD" if quote == "USD" else quote, "lot": "unit", "pair_decimals": 1,
        "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [], "leverage_sell": [], "fees": [[0, 0.4]],
        "fees_maker": [[0, 0.25]], "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40,
        "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.1", "status": "online",
    }  # fmt: skip


def _market(symbol: str) -> dict[str, object]:
    base, quote = _halves(symbol)
    return {
        "symbol": base + quote, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "baseAssetPrecision": 8,
        "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT"], "icebergAllowed": True,
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"], "filters": [],
    }  # fmt: skip
