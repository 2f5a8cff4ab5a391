"""Alpha Vantage on this machine, faults included; spoken to through `ALPHAVANTAGE_BASE_URL`."""

import json
from datetime import UTC, datetime, timedelta

from tests.loopback.market import Listing, usual
from tests.loopback.rest import Door, Fault, Rest, Seen

COMPACT = 100
PREMIUM = "https://www.alphavantage.co/premium/"
THANKS = "Thank you for using Alpha Vantage!"
SLOWER = (
    f"{THANKS} Please consider spreading out your free API requests more sparingly (1 request per second). You may"
    f" subscribe to any of the premium plans at {PREMIUM} to lift the free key rate limit (25 requests per day), raise"
    " the per-second burst limit, and instantly unlock all premium endpoints"
)
MINUTE = f"{THANKS} Our standard API call frequency is 5 calls per minute and 500 calls per day."
NAMES = ("1. open", "2. high", "3. low", "4. close", "5. volume")


class AlphaVantage(Rest):
    """The server: `TIME_SERIES_DAILY`, compact, prices as traded."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port)
        self.listings = {name: one for name, one in usual().items() if one.kind in ("EQUITY", "ETF")}
        self.credits = 1_000_000

    def play(self, door: Door, seen: Seen) -> None:
        fault = self.due(seen.symbol)
        if fault and self.break_connection(door, fault):
            return
        if seen.params.get("apikey") != self.key or (fault and fault.kind == "401"):
            said = "the parameter apikey is invalid or missing. Please claim your free API key on"
            door.answer(200, {"Error Message": f"{said} (https://www.alphavantage.co/support/#api-key)."})
        elif self.credits <= 0:
            self._refuse(door, Fault("day"))
        elif not (fault and self._refuse(door, fault)):
            self.credits -= 1
            self._series(door, seen, fault)

    def _search(self, text: str) -> list[Listing]:
        """Symbols that begin so and names that hold it."""
        return [
            one
            for one in self.listings.values()
            if one.symbol.lower().startswith(text.lower()) or text.lower() in one.name.lower()
        ]

    def _refuse(self, door: Door, fault: Fault) -> bool:
        extra = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
        echoed = f"We have detected your API key as {self.key} and our standard API rate limit is 25 requests per day."
        match fault.kind:
            case "429":
                door.answer(200, {"Information": SLOWER}, extra)
            case "day":
                said = f"Please subscribe to any of the premium plans at {PREMIUM} to instantly remove all daily rate"
                door.answer(200, {"Information": f"{echoed} {said} limits."})
            case "plan":
                said = (
                    f"{THANKS} This is a premium endpoint. You may subscribe to any of the premium plans at {PREMIUM}"
                )
                door.answer(200, {"Information": said})
            case "404":
                _unknown(door)
            case "nothing":
                door.answer(200, json.dumps({"Meta Data": _meta("X"), "Time Series (Daily)": {}}).encode())
            case "rejected":
                door.answer(200, {"Error Message": "The outputsize parameter is neither compact nor full."})
            case "echo":
                door.answer(200, {"Note": f"Odd: {self.key.lower()} again."})
            case "longwinded":
                door.answer(200, {"Note": "so " * 900})
            case _:
                return False
        return True

    def _series(self, door: Door, seen: Seen, fault: Fault | None) -> None:
        if seen.params.get("function") == "SYMBOL_SEARCH":
            door.answer(200, {"bestMatches": [_match(one) for one in self._search(seen.symbol)]})
            return
        listing = self.listings.get(seen.symbol)
        if listing is None or seen.params.get("function") != "TIME_SERIES_DAILY":
            _unknown(door)
            return
        assert seen.params["outputsize"] == "compact"
        today = self.now().astimezone(listing.tz).date()
        days = [day for day in listing.days(today - timedelta(days=200), today) if listing.hours(day)[0] <= self.now()]
        bars = {}
        for day in reversed(days[-(10 if fault and fault.kind == "capped" else COMPACT) :]):  # newest first
            bar = listing.daily(day)
            values = (*(f"{getattr(bar, name):.4f}" for name in ("open", "high", "low", "close")), str(bar.volume))
            bars[f"{day}"] = dict(zip(NAMES, values, strict=True))
        if fault and fault.kind == "nulls":
            for day in list(bars)[::3]:
                bars[day] = dict.fromkeys(NAMES)
        content = {"Meta Data": _meta(seen.symbol), "Time Series (Daily)": bars}
        if fault and fault.kind == "missing":
            del content["Meta Data"]
        door.answer(200, json.dumps(content).encode())


def _match(listing: Listing) -> dict[str, str]:
    kind = {"EQUITY": "Equity"}.get(listing.kind, listing.kind)
    return {"1. symbol": listing.symbol, "2. name": listing.name, "3. type": kind, "4. region": "United States",
            "8. currency": listing.currency, "9. matchScore": "0.8000"}  # fmt: skip


def _meta(symbol: str) -> dict[str, str]:
    return {
        "1. Information": "Daily Prices (open, high, low, close) and Volumes",
        "2. Symbol": symbol,
        "3. Last Refreshed": f"{datetime.now(UTC):%Y-%m-%d}",
        "4. Output Size": "Compact",
        "5. Time Zone": "US/Eastern",
    }


def _unknown(door: Door) -> None:
    said = "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/) for"
    door.answer(200, {"Error Message": f"{said} TIME_SERIES_DAILY."})
