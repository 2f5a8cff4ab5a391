"""Candles for tests: rows in, the table that ingestion takes out; and what is stored, as plain tuples."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from marketdata.models import Asset, Candle

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
