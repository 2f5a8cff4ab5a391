"""Assets with candles for tests, stored by the one writer there is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from marketdata.ingestion import ingest, schema
from marketdata.models import Asset, Timeframe


def walk(count: int, start: float = 100.0) -> list[float]:
    """Prices that go up and down, the same every time."""
    return [round(start * (1 + ((n * 7919) % 200 - 100) / 4000 + n / 5000), 2) for n in range(count)]


def stored(
    symbol: str,
    closes: Sequence[float],
    *,
    last: datetime | None = None,
    timeframe: Timeframe = Timeframe.D1,
    source: str = "file",
    **fields: Any,
) -> Asset:
    """An asset whose candles end at `last` (yesterday by default), one a length of the timeframe, with these closes."""
    import pyarrow as pa

    asset, _ = Asset.objects.get_or_create(symbol=symbol, defaults={"name": f"{symbol} Inc.", **fields})
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = last or midnight - timedelta(days=1)
    rows = [
        {
            "open_time": last - timeframe.length * (len(closes) - 1 - n),
            "open": f"{close * 0.99:.4f}",
            "high": f"{close * 1.02:.4f}",
            "low": f"{close * 0.98:.4f}",
            "close": f"{close:.4f}",
            "adj_close": None,
            "volume": str(1000 + n),
            "quote_volume": None,
        }
        for n, close in enumerate(closes)
    ]
    ingest(asset, timeframe, pa.Table.from_pylist(rows, schema=schema()), source=source)
    return asset
