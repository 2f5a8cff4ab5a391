"""Twelve Data on this machine, faults included; spoken to through `TWELVEDATA_BASE_URL`.

with TwelveData() as server:
    settings.TWELVEDATA_BASE_URL, settings.TWELVEDATA_API_KEY = server.address, server.key
    server.fail("AAPL", "429", times=2)
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from tests.loopback.market import Bar, Listing, usual
from tests.loopback.rest import Door, Fault, Rest, Seen

INTERVALS = {"1min": 60, "5min": 300, "15min": 900, "30min": 1800, "1h": 3600, "4h": 14400, "1day": 86400,
             "1week": 0, "1month": 0}  # fmt: skip
SPELLINGS = {"BTC-USD": "BTC/USD", "ETH-USD": "ETH/USD", "SOL-USD": "SOL/USD", "EURUSD=X": "EUR/USD", "^GSPC": "SPX",
             "BRK-B": "BRK.B"}  # fmt: skip
TYPES = {"EQUITY": "Common Stock", "ETF": "ETF", "INDEX": "Index", "CRYPTOCURRENCY": "Digital Currency",
         "CURRENCY": "Physical Currency"}  # fmt: skip
NAMES = {"BTC": "Bitcoin", "ETH": "Ethereum", "SOL": "Solana", "EUR": "Euro", "XAU": "Gold Spot", "USD": "US Dollar"}
CAP = 10  # candles of a page that is cut short
PRICING = "https://twelvedata.com/pricing"
NOTHING = "No data is available on the specified dates. Try setting different start/end dates."


def listings() -> dict[str, Listing]:
    """The made-up market by Twelve Data's spellings; its prices agree with the other loopback servers'."""
    found = {SPELLINGS.get(name, name): one for name, one in usual().items()}
    found["EUR/USD"] = replace(found["EUR/USD"], zone="UTC", session=None)
    found["XAU/USD"] = Listing("GC=F", "Gold", 4_100, kind="CURRENCY", exchange="", zone="UTC", session=None, volume=0)
    return found


class TwelveData(Rest):
    """The server. `strict_credits` is how many requests it answers; after that the day's credits are used up."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.listings = listings()
        self.credits = 1_000_000

    def play(self, door: Door, seen: Seen) -> None:
        fault = self.due(seen.symbol)
        if fault and self.break_connection(door, fault):
            return
        given = seen.headers.get("Authorization", "").removeprefix("apikey ") or seen.params.get("apikey", "")
        if given != self.key or (fault and fault.kind == "401"):
            said = f"**apikey** parameter is incorrect or not specified ({given}). You can get your free API Key"
            _error(door, 401, f"{said} instantly following this link: {PRICING}. If you believe that everything is")
        elif self.credits <= 0:
            self._refuse(door, Fault("day"))
        elif fault and self._refuse(door, fault):
            return
        elif seen.path == "/symbol_search":
            self.credits -= 1
            door.answer(200, {"data": list(self._search(seen.symbol)), "status": "ok"})
        elif seen.path != "/time_series":
            _error(door, 404, "The requested endpoint does not exist.")
        else:
            self.credits -= 1
            self._series(door, seen, fault)

    def _search(self, text: str) -> Iterator[dict[str, str]]:
        """Symbols that begin so, as likely as those that are exactly it; the exchange is a part of its own."""
        for symbol, listing in self.listings.items():
            name, _, exchange = symbol.partition(":")
            if name.lower().startswith(text.lower()):
                pair = "/" in name
                yield {"symbol": name, "instrument_name": listing.name, "instrument_type": TYPES[listing.kind],
                       "exchange": exchange or ("" if pair else "NASDAQ"), "mic_code": "" if pair else "XNGS",
                       "country": "" if pair else "United Kingdom" if exchange else "United States",
                       "currency": listing.currency}  # fmt: skip

    def _refuse(self, door: Door, fault: Fault) -> bool:
        extra = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        used = "API credits were used, with the current limit being"
        tier = f"or consider switching to a higher tier plan at {PRICING}"
        match fault.kind:
            case "429":
                said = f"You have run out of API credits for the current minute. 9 {used} 8. Wait for the next minute"
                _error(door, 429, f"{said} {tier}", 429, extra)
            case "day":
                said = f"You have run out of API credits for the day. 801 {used} 800. Wait for the next day"
                _error(door, 429, f"{said} {tier}")
            case "403":
                _error(door, 403, f"/time_series is available exclusively with pro plans. Upgrade at {PRICING}", 403)
            case "plan":
                _error(door, 404, f"**symbol** is not available with your plan. You may select another at {PRICING}")
            case "404":
                _unknown(door)
            case "nothing":
                _error(door, 400, NOTHING, 400)
            case "rejected":
                _error(door, 400, "Invalid **interval** provided: 7q. Supported intervals: 1min, 5min", 400)
            case "echo":
                _error(door, 400, f"What is this key {self.key.lower()} of yours doing here?", 400)
            case "longwinded":
                _error(door, 400, "so " * 900)
            case _:
                return False
        return True

    def _series(self, door: Door, seen: Seen, fault: Fault | None) -> None:
        params, listing = seen.params, self.listings.get(seen.symbol)
        if listing is None:
            _unknown(door)
            return
        assert params["timezone"] == "UTC"
        rows = [row for row in self._rows(listing, params["interval"], params) if row[1].close is not None]
        digits, most = int(params.get("dp", "5")), int(params.get("outputsize", "30"))
        rows = rows[-min(most, CAP if fault and fault.kind == "capped" else most) :]
        if not rows:
            _error(door, 400, NOTHING)
            return
        values = [_value(label, bar, digits) for label, bar in rows]
        if fault and fault.kind == "nulls":
            for value in values[::3]:
                value |= dict.fromkeys(("open", "high", "low", "close", "volume"))
        if params.get("order", "DESC").upper() != "ASC":
            values.reverse()
        content = {"meta": _meta(seen.symbol, listing, params["interval"]), "values": values, "status": "ok"}
        if fault and fault.kind == "missing":
            del content["meta"]
        door.answer(200, json.dumps(content).encode(), {"api-credits-used": "1"})

    def _rows(self, listing: Listing, interval: str, params: dict[str, str]) -> Iterator[tuple[str, Bar]]:
        """(label, bar) of the range, both ends included, up to now, oldest first."""
        first, last = (_moment(params[name]) for name in ("start_date", "end_date"))
        last = min(last, self.now())
        if interval == "1day":
            for day in listing.days(first.date(), last.date()):
                if first <= datetime.combine(day, time(), UTC) <= last and listing.hours(day)[0] <= self.now():
                    yield f"{day}", listing.daily(day)
        elif interval in ("1week", "1month"):
            yield from _grouped(listing, interval, first.date(), last.date())
        else:
            for day in listing.days(first.date() - timedelta(days=1), last.date() + timedelta(days=1)):
                for bar in listing.intraday(day, INTERVALS[interval]):
                    if first <= bar.at <= last:
                        yield f"{bar.at:%Y-%m-%d %H:%M:%S}", bar


def _grouped(listing: Listing, interval: str, first: date, last: date) -> Iterator[tuple[str, Bar]]:
    def name(day: date) -> date:
        return day - timedelta(days=day.weekday()) if interval == "1week" else day.replace(day=1)

    groups: dict[date, list[Bar]] = {}
    for day in listing.days(name(first), last):
        groups.setdefault(name(day), []).append(listing.daily(day))
    for day, bars in groups.items():
        if day >= first:
            high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
            yield f"{day}", Bar(bars[0].at, bars[0].open, high, low, bars[-1].close, sum(bar.volume for bar in bars))


def _value(label: str, bar: Bar, digits: int) -> dict[str, str | None]:
    """Single precision written out, as Twelve Data does: 148.85 as 148.85001."""
    prices = {name: f"{getattr(bar, name):.{digits}f}" for name in ("open", "high", "low", "close")}
    return {"datetime": label, **prices, **({"volume": str(bar.volume)} if bar.volume else {})}


def _meta(symbol: str, listing: Listing, interval: str) -> dict[str, str]:
    base, slash, quote = symbol.partition("/")
    meta = {"symbol": symbol, "interval": interval, "type": TYPES[listing.kind]}
    if slash:
        return {**meta, "currency_base": NAMES.get(base, base), "currency_quote": NAMES.get(quote, quote)}
    names = {"currency": listing.currency, "exchange_timezone": listing.zone, "exchange": "NASDAQ", "mic_code": "XNGS"}
    return {**meta, **names}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _unknown(door: Door) -> None:
    said = "**symbol** or **figi** parameter is missing or invalid. Please provide a valid symbol according to API"
    _error(door, 404, f"{said} documentation: https://twelvedata.com/docs#reference-data", 404)


def _error(door: Door, code: int, message: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
    """Its refusals come as 200 or with the status that the code says."""
    door.answer(status, {"code": code, "message": message, "status": "error"}, headers)
