"""Candles for tests: rows in, the table that ingestion takes out; and what is stored, as plain tuples."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from marketdata.models import Asset, Candle, CandleRevision, Series

NUMBERS = ("open", "high", "low", "close", "adj_close", "volume", "quote_volume")


def day(number: int) -> datetime:
    """The number-th day of a quiet past."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number)


def row(at: datetime | None, open="10", high="12", low="9", close="11", volume="100", **more: str | None) -> dict:
    return {"open_time": at, "open": open, "high": high, "low": low, "close": close, "volume": volume, **more}


def table(rows: list[dict]):
    """A table of `ingestion.schema()`; columns that no row has are null."""
    import pyarrow as pa

    from marketdata.ingestion import schema

    wanted = schema()
    for name, kind in (("row", pa.int64()), ("time", pa.string())):
        if any(name in row for row in rows):
            wanted = wanted.append(pa.field(name, kind))
    return pa.Table.from_pylist(rows, schema=wanted)


def stored(asset: Asset, timeframe: str = "1d") -> list[tuple]:
    """(open_time, open, high, low, close, adj_close, volume, quote_volume), oldest first."""
    found = Candle.objects.filter(asset=asset, timeframe=timeframe).order_by("open_time")
    return list(found.values_list("open_time", *NUMBERS))


def closes(asset: Asset, timeframe: str = "1d") -> dict[datetime, Decimal]:
    return {at: close for at, _, _, _, close, *_ in stored(asset, timeframe)}


def market(count: int, *, first: int = 0, level: float = 100.0, volume: int = 1_000_000) -> list[dict]:
    """Days of a market that moves by about a percent, the same every time, whatever part of it is asked for."""
    dice, rows = random.Random(5), []
    for number in range(first + count):
        before = level
        level *= 1 + dice.gauss(0, 0.01)
        high, low = max(before, level) * (1 + dice.random() / 200), min(before, level) * (1 - dice.random() / 200)
        traded = int(volume * (0.8 + dice.random() * 0.4))
        rows.append(candle(day(number), before, high, low, level, traded))
    return rows[first:]


def candle(at: datetime, open_: float, high: float, low: float, close: float, volume: float) -> dict:
    prices = {"open": open_, "high": high, "low": low, "close": close}
    return row(at, **{name: f"{value:.4f}" for name, value in prices.items()}, volume=f"{volume:.0f}")


def times(of: dict, factor: float, *, volume: float = 1.0) -> dict:
    """The candle with all its prices multiplied."""
    prices = (float(of[name]) * factor for name in ("open", "high", "low", "close"))
    return candle(of["open_time"], *prices, float(of["volume"]) * volume)


def whole(asset: Asset, timeframe: str = "1d") -> None:
    """What is said of the series is what there is, and no two versions of a candle were believed at one time."""
    series, stored = Series.objects.get(asset=asset, timeframe=timeframe), closes(asset, timeframe)
    assert (series.candle_count, series.first_open, series.last_open) == (len(stored), min(stored), max(stored))
    versions: dict = {}
    for old in CandleRevision.objects.filter(asset=asset).order_by("known_at"):
        assert old.known_at < old.superseded_at
        versions.setdefault(old.open_time, []).append((old.known_at, old.superseded_at))
    for at, known in Candle.objects.filter(asset=asset).values_list("open_time", "known_at"):
        versions.setdefault(at, []).append((known, None))
    for spans in versions.values():
        assert all(until and until <= after for (_, until), (after, _) in pairwise(spans))
