"""Yahoo Finance on this machine, faults included; speaks to an unmodified yfinance through HTTPS_PROXY.

    with Yahoo() as yahoo:
        monkeypatch.setenv("HTTPS_PROXY", yahoo.address)
        monkeypatch.setenv("SSL_CERT_FILE", str(yahoo.ca))
        yahoo.fail("NVDA", "429", times=2, retry_after=1)

By itself: `python -m tests.loopback.yahoo --port 9000 --ca-out ca.pem`. It then takes orders over plain HTTP on its own
port: `POST /faults` with {"symbol": "NVDA" or "*", "fault": "503", "times": 3}, `DELETE /faults`, `GET /requests`.
"""

import argparse
import json
import random
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback.market import SECONDS, Bar, Listing, usual
from tests.loopback.tls import Inside, Proxy, Tunnel

HOSTS = [
    "query1.finance.yahoo.com",
    "query2.finance.yahoo.com",
    "finance.yahoo.com",
    "fc.yahoo.com",
    "guce.yahoo.com",
    "consent.yahoo.com",
    "www.yahoo.com",
]
LONGEST = {"1m": 8, "5m": 60, "15m": 60, "30m": 60, "1h": 730, "60m": 730}  # days of one request
FAULTS = (
    "404", "nothing", "429", "500", "503", "401", "back", "garbage", "empty", "truncated", "reset", "slow", "html",
    "rejected", "missing", "nulls", "capped",
)  # fmt: skip
CAP = 7  # candles of an answer cut short


@dataclass
class Seen:
    """One request that came."""

    host: str
    path: str
    params: dict[str, str]
    symbol: str
    user_agent: str


@dataclass
class Fault:
    kind: str
    times: int | None = None  # None: until it is mended
    retry_after: str | int | None = None
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise ValueError(f"no fault called {self.kind}; there are {', '.join(FAULTS)}")


class Yahoo(Proxy):
    """The server. `listings` may be changed at any time; `requests` is what was asked; `now` may stand still."""

    def __init__(self, port: int = 0, folder: Path | None = None) -> None:
        super().__init__(HOSTS, port, folder)
        self.listings: dict[str, Listing] = usual()
        self.requests: list[Seen] = []
        self.faults: dict[str, Fault] = {}
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.on_chart: Callable[[Seen], None] = lambda seen: None
        self._closing = threading.Event()

    def __enter__(self) -> "Yahoo":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self.stop()
        shutil.rmtree(self.authority.ca.parent, ignore_errors=True)

    def fail(self, where: str, kind: str, times: int | None = None, **how: object) -> None:
        """Answer wrongly: `where` is a symbol, "*" for all charts, "facts SYMBOL", "getcrumb" or "cookie"."""
        self.faults[where] = Fault(kind, times, **how)

    def mend(self) -> None:
        self.faults.clear()

    def charts(self, symbol: str = "") -> list[Seen]:
        """The requests for candles, of one symbol if given."""
        return [seen for seen in self.requests if "/chart/" in seen.path and symbol in ("", seen.symbol)]

    # --- Answers ---

    def play(self, inside: Inside) -> None:
        parts = urlsplit(inside.path)
        params = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        found = re.match(r"/v(?:8/finance/chart|10/finance/quoteSummary)/([^/]+)$", parts.path)
        symbol = unquote(found[1]).upper() if found else ""
        seen = Seen(inside.host, parts.path, params, symbol, inside.headers.get("User-Agent", ""))
        self.requests.append(seen)
        if "/chart/" in parts.path:
            self.on_chart(seen)
            self._chart(inside, symbol, params)
        elif parts.path.endswith("/getcrumb"):
            if not self._broken(inside, "getcrumb"):
                inside.answer(200, b"lOoPbAcK.01")
        elif inside.host == "fc.yahoo.com":
            if not self._broken(inside, "cookie"):
                expires = datetime.now(UTC) + timedelta(days=365)
                cookie = f"A3=d=loop; Expires={expires:%a, %d %b %Y %H:%M:%S} GMT; Domain=.yahoo.com; Path=/; Secure"
                inside.answer(404, b"<html>not here</html>", {"Set-Cookie": cookie})
        elif "/v1/finance/search" in parts.path:
            inside.answer(200, json.dumps(self._search(params.get("q", ""))).encode())
        elif "/quoteSummary/" in parts.path:
            self._summary(inside, symbol, params)
        else:
            inside.answer(404, b"<html>nothing here</html>", {"Content-Type": "text/html"})

    def _chart(self, inside: Inside, symbol: str, params: dict[str, str]) -> None:
        if self._broken(inside, symbol) or self._broken(inside, "*"):
            return
        listing = self.listings.get(symbol)
        if listing is None:
            inside.answer(404, _error("Not Found", "No data found, symbol may be delisted"))
            return
        waiting = self.faults.get(symbol)
        spoilt = waiting.kind if waiting and waiting.times is None else ""
        now = self.now()
        start, end = _range(params, now, listing)
        interval = params.get("interval", "1d")
        if (longest := LONGEST.get(interval)) and end - start > timedelta(days=longest, minutes=1):
            text = f"Only {longest} days worth of {interval} granularity data are allowed to be fetched per request."
            inside.answer(422, _error("Unprocessable Entity", f"{interval} data not available. {text}"))
        elif end.date() < listing.since:
            text = f"Data doesn't exist for startDate = {start.timestamp():.0f}, endDate = {end.timestamp():.0f}"
            inside.answer(400, _error("Bad Request", text))
        else:
            inside.answer(200, chart(listing, interval, start, end, now, spoilt), {"Content-Type": "application/json"})

    def _broken(self, inside: Inside, where: str) -> bool:
        """Answer with the fault that waits there, if one does."""
        fault = self.faults.get(where)
        if fault is None or fault.times == 0 or fault.kind in ("nulls", "capped"):
            return False
        if fault.times is not None:
            fault.times -= 1
        kind, status = fault.kind, int(fault.kind) if fault.kind.isdigit() else 200
        root = "quoteSummary" if "/quoteSummary/" in inside.path else "chart"
        extra = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        if kind == "404":
            inside.answer(404, _error("Not Found", "No data found, symbol may be delisted", root))
        elif kind == "429":
            inside.answer(429, b"Too Many Requests\r\n", extra)
        elif kind == "401":
            inside.answer(401, b'{"finance":{"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}')
        elif kind in ("500", "503"):
            inside.answer(status, b"<html>Internal Server Error</html>", extra)
        elif kind == "back":
            inside.answer(200, b"<html>Will be right back... Thank you for your patience.</html>")
        elif kind == "html":
            inside.answer(404, b"<html>Sign in to the hotel's network</html>")
        elif kind == "garbage":
            inside.answer(200, f'{{"{root}": {{"result": [{{"meta": '.encode())
        elif kind == "empty":
            inside.answer(200, b"")
        elif kind == "missing":
            inside.answer(200, b'{"%s": {"result": [{"indicators": {"quote": [{"open": [1.0]}]}}]}}' % root.encode())
        elif kind == "rejected":
            inside.answer(200, _error("Bad Request", "Invalid input - interval=7q is not supported."))
        elif kind == "nothing":
            inside.answer(200, json.dumps({root: {"result": None, "error": None}}).encode())
        elif kind == "truncated":
            inside.answer(200, b'{"chart": ' + b" " * 20_000 + b"}", cut=True)
        elif kind == "reset":
            inside.hang_up()
        elif kind == "slow":
            self._closing.wait(fault.seconds)
            inside.hang_up()
        return True

    def _search(self, text: str) -> dict[str, object]:
        quotes = [
            {"symbol": one.symbol, "shortname": one.name, "longname": one.name, "quoteType": one.kind,
             "exchange": one.exchange, "exchDisp": one.exchange_name}
            for one in self.listings.values()
            if text.upper() in one.symbol or text.lower() in one.name.lower()
        ]  # fmt: skip
        return {"quotes": quotes, "news": [], "count": len(quotes)}

    def _summary(self, inside: Inside, symbol: str, params: dict[str, str]) -> None:
        if self._broken(inside, f"facts {symbol}"):
            return
        listing = self.listings.get(symbol)
        if "crumb" not in params:
            said = {"result": None, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}
            inside.answer(401, json.dumps({"finance": said}).encode())
        elif listing is None:
            inside.answer(404, _error("Not Found", f"Quote not found for symbol: {symbol}", "quoteSummary"))
        else:
            known = summary(listing, self.now())
            result = [{name: known[name] for name in params.get("modules", "").split(",") if name in known}]
            inside.answer(200, json.dumps({"quoteSummary": {"result": result, "error": None}}).encode())

    # --- Orders, when it runs by itself ---

    def control(self, tunnel: Tunnel) -> None:
        length = int(tunnel.headers.get("Content-Length") or 0)
        order = json.loads(tunnel.rfile.read(length) or "{}")
        status, answer = 200, {}
        if tunnel.path == "/requests":
            answer = {"requests": [asdict(seen) for seen in list(self.requests)]}
        elif tunnel.path == "/faults" and tunnel.command == "POST":
            try:
                self.fail(order.pop("symbol", "*"), order.pop("fault"), **order)
            except (ValueError, KeyError, TypeError) as error:
                status, answer = 400, {"error": str(error)}
        elif tunnel.path == "/faults" and tunnel.command == "DELETE":
            self.mend()
        else:
            status = 404
        body = json.dumps(answer).encode()
        tunnel.send_response(status)
        tunnel.send_header("Content-Length", str(len(body)))
        tunnel.end_headers()
        tunnel.wfile.write(body)


def _error(code: str, description: str, root: str = "chart") -> bytes:
    return json.dumps({root: {"result": None, "error": {"code": code, "description": description}}}).encode()


def _range(params: dict[str, str], now: datetime, listing: Listing) -> tuple[datetime, datetime]:
    if "period1" in params:
        start, end = (datetime.fromtimestamp(int(params[name]), UTC) for name in ("period1", "period2"))
        return start, min(end, now + timedelta(days=2))
    spans = {"d": 1, "mo": 31, "y": 366}
    found = re.fullmatch(r"(\d+)(d|mo|y)", params.get("range", "1mo"))
    days = int(found[1]) * spans[found[2]] if found else (now.date() - listing.since).days
    return now - timedelta(days=max(days, 4)), now + timedelta(days=1)


def chart(listing: Listing, interval: str, start: datetime, end: datetime, now: datetime, spoilt: str = "") -> bytes:
    """The v8 chart answer: the candles that begin within the range and not after now, the last one as far as it is.

    `spoilt` by "nulls": every third bar has no numbers; "capped": only the last few come, as if there were no others.
    """
    bars = [bar for bar in _bars(listing, interval, start, end, now) if bar.at <= now]
    if spoilt == "nulls":
        bars = [Bar(bar.at, *[None] * 5) if number % 3 == 1 else bar for number, bar in enumerate(bars)]
    elif spoilt == "capped":
        bars = bars[-CAP:]
    dates = [bar.at.astimezone(listing.tz).date() for bar in bars]
    quote = {name: [getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close", "volume")}
    indicators: dict[str, object] = {"quote": [quote if bars else {}]}
    if interval in ("1d", "1wk", "1mo"):
        adjusted = [bar.close and listing.adjusted(day, bar.close) for bar, day in zip(bars, dates, strict=True)]
        indicators["adjclose"] = [{"adjclose": adjusted} if bars else {}]
    result: dict[str, object] = {"meta": _meta(listing, interval, start, end, now), "indicators": indicators}
    if bars:
        result["timestamp"] = [int(bar.at.timestamp()) for bar in bars]
    if events := _events(listing, start, end):
        result["events"] = events
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def _bars(listing: Listing, interval: str, start: datetime, end: datetime, now: datetime) -> list[Bar]:
    zone = listing.tz
    first, last = start.astimezone(zone).date(), min(end - timedelta(seconds=1), now).astimezone(zone).date()
    if interval == "1d":
        days = [listing.daily(day) for day in listing.days(first, last)]
        return [_so_far(listing, bar, now) for bar in days]
    if interval in ("1wk", "1mo"):
        return _grouped(listing, interval, first, last, now)
    days = listing.days(first - timedelta(days=1), last)
    cut = (bar for day in days for bar in listing.intraday(day, SECONDS[interval]))
    return [bar for bar in cut if start <= bar.at < end]


def _so_far(listing: Listing, bar: Bar, now: datetime) -> Bar:
    """A daily candle while its session lasts: named by the last trade, and not yet what it will be."""
    begins, ends = listing.hours(bar.at.astimezone(listing.tz).date())
    if bar.close is None or not begins <= now < ends:
        return bar
    part = max(0.02, (now - begins) / (ends - begins))
    close = bar.open + (bar.close - bar.open) * part
    high, low = max(bar.open, close), min(bar.open, close)
    return Bar(now.replace(microsecond=0), bar.open, high, low, close, int(bar.volume * part))


def _grouped(listing: Listing, interval: str, first: date, last: date, now: datetime) -> list[Bar]:
    """Weeks from Monday or months from their first, of daily candles."""
    name = (lambda day: day - timedelta(days=day.weekday())) if interval == "1wk" else (lambda day: day.replace(day=1))
    groups: dict[date, list[Bar]] = {}
    for day in listing.days(name(first), last):
        if day not in listing.nulls:
            groups.setdefault(name(day), []).append(_so_far(listing, listing.daily(day), now))
    midnight = datetime.min.time()
    return [
        Bar(datetime.combine(day, midnight, listing.tz), bars[0].open, max(bar.high for bar in bars),
            min(bar.low for bar in bars), bars[-1].close, sum(bar.volume for bar in bars))
        for day, bars in groups.items()
    ]  # fmt: skip


def _events(listing: Listing, start: datetime, end: datetime) -> dict[str, object]:
    def at(day: date) -> int:
        return int(listing.hours(day)[0].timestamp())

    within = range(int(start.timestamp()), int(end.timestamp()))
    splits = {
        str(at(day)): {"date": at(day), "numerator": new, "denominator": old, "splitRatio": f"{new}:{old}"}
        for day, (new, old) in listing.splits.items()
        if at(day) in within
    }
    paid = {
        str(at(day)): {"date": at(day), "amount": amount}
        for day, amount in listing.dividends.items()
        if at(day) in within
    }
    gains = {
        str(at(day)): {"date": at(day), "amount": amount} for day, amount in listing.gains.items() if at(day) in within
    }
    events = (("splits", splits), ("dividends", paid), ("capitalGains", gains))
    return {name: found for name, found in events if found}


def summary(listing: Listing, now: datetime) -> dict[str, dict[str, object]]:
    """The modules of quoteSummary that are asked for, unformatted: a yield is a fraction here."""
    kind = {"quoteType": listing.kind, "symbol": listing.symbol, "longName": listing.name}
    price = {**kind, "shortName": listing.name[:20], "exchangeName": listing.exchange_name,
             "exchange": listing.exchange, "currency": listing.currency,
             "regularMarketPrice": listing.price(now.date())}  # fmt: skip
    detail: dict[str, object] = {"maxAge": 1, "currency": listing.currency}
    for name in ("marketCap", "trailingPE", "dividendYield"):
        if name in listing.facts:
            detail[name] = listing.facts[name]
    profile = {name: listing.facts[name] for name in ("sector", "industry") if name in listing.facts}
    if "marketCap" in listing.facts:
        price["marketCap"] = listing.facts["marketCap"]
    found = {"quoteType": {**kind, "timeZoneFullName": listing.zone}, "price": price, "summaryDetail": detail}
    return {**found, "assetProfile": profile} if profile else found


def _meta(listing: Listing, interval: str, start: datetime, end: datetime, now: datetime) -> dict[str, object]:
    today = now.astimezone(listing.tz).date()
    while not listing.trades(today):
        today -= timedelta(days=1)
    meta: dict[str, object] = {
        "currency": listing.currency,
        "symbol": listing.symbol,
        "exchangeName": listing.exchange,
        "fullExchangeName": listing.exchange_name,
        "instrumentType": listing.kind,
        "firstTradeDate": int(listing.hours(listing.since)[0].timestamp()),
        "regularMarketTime": int((listing.hours(listing.until)[1] if listing.until else now).timestamp()),
        "hasPrePostMarketData": listing.session is not None,
        "gmtoffset": _period(listing, today)["gmtoffset"],
        "timezone": _period(listing, today)["timezone"],
        "exchangeTimezoneName": listing.zone,
        "regularMarketPrice": listing.daily(today).close,
        "longName": listing.name,
        "shortName": listing.name[:20],
        "priceHint": 2,
        "currentTradingPeriod": {part: _period(listing, today) for part in ("pre", "regular", "post")},
        "dataGranularity": interval,
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
    }
    if interval not in ("1d", "1wk", "1mo"):
        zone = listing.tz
        days = listing.days(start.astimezone(zone).date() - timedelta(days=1), end.astimezone(zone).date())
        meta["tradingPeriods"] = [[_period(listing, day)] for day in days]
    return meta


def _period(listing: Listing, day: date) -> dict[str, object]:
    start, end = listing.hours(day)
    local = start.astimezone(listing.tz)
    if listing.session is None:
        end -= timedelta(seconds=60)
    return {
        "timezone": local.tzname(),
        "start": int(start.timestamp()),
        "end": int(end.timestamp()),
        "gmtoffset": int((local.utcoffset() or timedelta()).total_seconds()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--ca-out", type=Path, help="where to write the authority's certificate, for SSL_CERT_FILE")
    parser.add_argument("--fault", action="append", default=[], metavar="SYMBOL=FAULT",
                        help=f"SYMBOL may be *; FAULT is one of {', '.join(FAULTS)}")  # fmt: skip
    options = parser.parse_args()
    random.seed(0)
    with Yahoo(options.port) as yahoo:
        for order in options.fault:
            symbol, _, kind = order.rpartition("=")
            yahoo.fail(symbol or "*", kind)
        if options.ca_out:
            shutil.copyfile(yahoo.ca, options.ca_out)
        ca = options.ca_out.resolve() if options.ca_out else yahoo.ca
        print(f"HTTPS_PROXY={yahoo.address}\nSSL_CERT_FILE={ca}", flush=True)  # noqa: T201
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    main()
