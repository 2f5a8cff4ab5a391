"""Made-up but plausible markets for the loopback providers: the same symbol and date give the same candle, always."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = date(2026, 1, 1)  # prices are around their level on this day

SECONDS = {"1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "60m": 3600, "1d": 86400, "1wk": 604800}


@dataclass(frozen=True)
class Bar:
    at: datetime
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: int | None


@dataclass
class Listing:
    """One symbol of the made-up market. `session` is in local time; None means around the clock, by UTC days."""

    symbol: str
    name: str
    level: float
    kind: str = "EQUITY"
    exchange: str = "NMS"
    exchange_name: str = "NasdaqGS"
    currency: str = "USD"
    zone: str = "America/New_York"
    session: tuple[time, time] | None = (time(9, 30), time(16, 0))
    since: date = date(2015, 1, 2)
    until: date | None = None  # the last day that it traded
    volume: int = 40_000_000
    growth: float = 0.12
    nulls: set[date] = field(default_factory=set)
    splits: dict[date, tuple[int, int]] = field(default_factory=dict)
    dividends: dict[date, float] = field(default_factory=dict)
    gains: dict[date, float] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)  # by Yahoo's names: marketCap, trailingPE, dividendYield …

    @property
    def tz(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def hours(self, day: date) -> tuple[datetime, datetime]:
        """When trading of a date begins and ends."""
        if self.session is None:
            start = datetime.combine(day, time(), UTC)
            return start, start + timedelta(days=1)
        start, end = (datetime.combine(day, at, self.tz) for at in self.session)
        return start.astimezone(UTC), end.astimezone(UTC)

    def trades(self, day: date) -> bool:
        return self.since <= day <= (self.until or day) and (self.session is None or day.weekday() < 5)

    def days(self, first: date, last: date) -> Iterator[date]:
        """Trading dates from `first` to `last`, both included."""
        day = max(first, self.since)
        while day <= last:
            if self.trades(day):
                yield day
            day += timedelta(days=1)

    def price(self, day: date) -> float:
        """The close on today's basis: what splits did to it is done."""
        years = (day - EPOCH).days / 365.25
        phase = random.Random(self.symbol).uniform(0, 6.3)
        waves = 0.16 * math.sin(years * 2.1 + phase) + 0.05 * math.sin(years * 19 + phase)
        noise = 0.018 * random.Random(f"{self.symbol} {day}").gauss(0, 1)
        return self.level * math.exp(self.growth * years + waves + noise)

    def daily(self, day: date) -> Bar:
        """The whole day's candle in single precision, as Yahoo gives it."""
        if day in self.nulls:
            return Bar(self.hours(day)[0], None, None, None, None, None)
        dice = random.Random(f"{self.symbol} {day} daily")
        close, before = self.price(day), self.price(day - timedelta(days=1))
        opened = before * math.exp(dice.gauss(0, 0.004))
        high = max(opened, close) * math.exp(abs(dice.gauss(0, 0.006)))
        low = min(opened, close) * math.exp(-abs(dice.gauss(0, 0.006)))
        volume = int(self.volume * math.exp(dice.gauss(0, 0.3)))
        return Bar(self.hours(day)[0], *map(single, (opened, high, low, close)), volume)

    def split(self, day: date, new: int, old: int) -> None:
        """Split the shares: all prices are on the new basis at once, the past's too."""
        self.splits[day] = (new, old)
        self.level *= old / new
        self.volume = self.volume * new // old
        self.dividends = {when: amount * old / new for when, amount in self.dividends.items()}

    def adjusted(self, day: date, close: float) -> float:
        """The close less the dividends paid after that day."""
        for when, amount in self.dividends.items():
            if day < when:
                close *= 1 - amount / self.price(when)
        return single(close)

    def intraday(self, day: date, seconds: int) -> list[Bar]:
        """The day cut into candles that lead from its open to its close, within its range."""
        return _cut(self.symbol, self.daily(day), *self.hours(day), seconds)


@lru_cache(maxsize=512)
def _cut(symbol: str, whole: Bar, start: datetime, end: datetime, seconds: int) -> list[Bar]:
    if whole.close is None:
        return []
    dice = random.Random(f"{symbol} {start} {seconds}")
    count = math.ceil((end - start).total_seconds() / seconds)
    level, bars = whole.open, []
    for number in range(count):
        target = whole.open + (whole.close - whole.open) * (number + 1) / count
        close = whole.close if number == count - 1 else target + dice.gauss(0, whole.close * 0.001)
        close = min(max(close, whole.low), whole.high)
        high = min(max(level, close) * (1 + abs(dice.gauss(0, 0.0005))), whole.high)
        low = max(min(level, close) * (1 - abs(dice.gauss(0, 0.0005))), whole.low)
        at = start + timedelta(seconds=number * seconds)
        bars.append(Bar(at, *map(single, (level, high, low, close)), whole.volume // count))
        level = close
    return bars


def single(value: float) -> float:
    """As a number that was stored in single precision: what Yahoo sends."""
    import struct

    return float(struct.unpack("f", struct.pack("f", round(value, 2 if value >= 5 else 6)))[0])


def usual() -> dict[str, Listing]:
    """The seeded universes' symbols, and some others that tests ask for."""
    nyse = {"exchange": "NYQ", "exchange_name": "NYSE"}
    coin = {
        "kind": "CRYPTOCURRENCY", "exchange": "CCC", "exchange_name": "CCC", "zone": "UTC", "session": None,
        "growth": 0.2,
    }  # fmt: skip
    listings = [
        Listing("NVDA", "NVIDIA Corporation", 180, splits={date(2024, 6, 10): (10, 1)}, facts={
            "marketCap": 4_374_000_128_000, "trailingPE": 51.282051, "dividendYield": 0.0002, "sector": "Technology",
            "industry": "Semiconductors"}),
        Listing("MSFT", "Microsoft Corporation", 480, facts={
            "marketCap": 3_567_710_961_664, "trailingPE": 34.1, "dividendYield": 0.0071, "sector": "Technology",
            "industry": "Software - Infrastructure"}),
        Listing("GOOGL", "Alphabet Inc.", 310),
        Listing("AAPL", "Apple Inc.", 270),
        Listing("TSLA", "Tesla, Inc.", 430),
        Listing("RIVN", "Rivian Automotive, Inc.", 16, since=date(2021, 11, 10)),
        Listing("LCID", "Lucid Group, Inc.", 12, since=date(2020, 9, 18)),
        Listing("JPM", "JPMorgan Chase & Co.", 310, **nyse),
        Listing("BAC", "Bank of America Corporation", 54, **nyse),
        Listing("GS", "The Goldman Sachs Group, Inc.", 870, **nyse),
        Listing("BRK-B", "Berkshire Hathaway Inc.", 500, **nyse),
        Listing("SPY", "SPDR S&P 500 ETF Trust", 680, kind="ETF", exchange="PCX", exchange_name="NYSEArca"),
        Listing("^GSPC", "S&P 500", 6800, kind="INDEX", exchange="SNP", exchange_name="SNP"),
        Listing("BTC-USD", "Bitcoin USD", 88_000, volume=40_000_000_000, **coin),
        Listing("ETH-USD", "Ethereum USD", 3_000, volume=20_000_000_000, **coin),
        Listing("SOL-USD", "Solana USD", 130, volume=5_000_000_000, since=date(2020, 4, 10), **coin),
        Listing("EURUSD=X", "EUR/USD", 1.17, kind="CURRENCY", exchange="CCY", exchange_name="CCY", zone="Europe/London",
                session=(time(0, 0), time(23, 59)), volume=0, growth=0.0),
        Listing("7203.T", "Toyota Motor Corporation", 3_200, exchange="JPX", exchange_name="Tokyo", currency="JPY",
                zone="Asia/Tokyo", session=(time(9, 0), time(15, 30))),
    ]  # fmt: skip
    return {listing.symbol: listing for listing in listings}
