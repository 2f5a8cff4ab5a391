"""Backtests that have run, on Google's candles, as a worker would have run them."""

from datetime import UTC, datetime
from functools import cache

import pyarrow as pa

from chronos.core import tenancy
from chronos.core.models import User
from marketdata.ingestion import ingest, schema
from marketdata.models import Asset
from signals import backtests
from signals.models import Backtest
from tests.signals.candles import google


@cache
def _table(bars: int, revised: int | None = None) -> pa.Table:
    found = google()
    start = datetime(2004, 8, 19, tzinfo=UTC).timestamp()
    columns = zip(found.open, found.high, found.low, found.close, found.volume, strict=True)
    rows = [
        {
            "open_time": datetime.fromtimestamp(start + 86_400 * n, UTC), "open": f"{o:.4f}",
            "high": f"{h * (2 if n == revised else 1):.4f}", "low": f"{lo:.4f}", "close": f"{c:.4f}", "adj_close": None,
            "volume": f"{v:.0f}",
            "quote_volume": None,
        }
        for n, (o, h, lo, c, v) in enumerate(columns)
        if n < bars
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema())


def goog(bars: int = 400, symbol: str = "GOOG", revised: int | None = None) -> Asset:
    """As if it were traded every day: loading a market's calendar takes seconds. `revised`: a bar that has another high
    than before."""
    asset, made = Asset.objects.get_or_create(symbol=symbol, defaults={"name": "Google", "asset_class": "crypto"})
    if made or revised is not None:
        ingest(asset, "1d", _table(bars, revised), source="file")
    return asset


def finished(owner: User, **fields) -> Backtest:
    """One that has run here and now, with whatever result that gave."""
    with tenancy.acting_as(owner):
        wanted = {"kind": "sma-cross", "strategy_name": "SMA cross", "timeframe": "1d",
                  "parameters": {"fast": 5, "slow": 20}} | fields  # fmt: skip
        row = Backtest.objects.create(owner=owner, asset=fields.pop("asset", None) or goog(), **{
            name: value for name, value in wanted.items() if name != "asset"})  # fmt: skip
    backtests.perform(row, lambda: tenancy.acting_as(owner), lambda *_: None)
    return row
