"""What befalls a long backfill, and what must be true afterwards."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

from marketdata.models import Asset, Candle, FetchWindow, Series, Timeframe
from tests.loopback.okx import Okx

BARS = {Timeframe.M1: "1m", Timeframe.H1: "1H", Timeframe.D1: "1Dutc"}
Row = tuple[datetime, Decimal, Decimal, Decimal, Decimal, Decimal]


def truth(okx: Okx, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> list[Row]:
    """The candles as the loopback server has them."""
    return [
        (datetime.fromtimestamp(int(row[0]) / 1000, UTC), *map(Decimal, row[1:6]))
        for row in okx.truth(symbol, BARS[timeframe], since, until)
    ]


def stored(asset: Asset, timeframe: Timeframe) -> list[Row]:
    found = Candle.objects.filter(asset=asset, timeframe=timeframe).order_by("open_time")
    return list(found.values_list("open_time", "open", "high", "low", "close", "volume"))


def assert_identical(okx: Okx, asset: Asset, timeframe: Timeframe, since: datetime, until: datetime) -> None:
    """No candle lost, doubled or different, and the series counts what there is."""
    ours, theirs = stored(asset, timeframe), truth(okx, asset.symbol, timeframe, since, until)
    assert len(ours) == len(theirs)
    assert ours == theirs
    assert Candle.objects.filter(asset=asset).exclude(timeframe=timeframe).count() == 0
    assert asset.quarantined.count() == 0
    series = Series.objects.get(asset=asset, timeframe=timeframe)
    assert (series.candle_count, series.first_open, series.last_open) == (len(ours), ours[0][0], ours[-1][0])


def assert_ledger_is_true(asset: Asset, interrupted: int = 0) -> None:
    """Every candle was brought by one answered window, no window was answered twice, and nothing is left open."""
    lines = list(FetchWindow.objects.filter(asset=asset).order_by("pk"))
    states = Counter(line.state for line in lines)
    assert states["asking"] == 0
    assert sum(line.error_class == "Interrupted" for line in lines) == interrupted
    answered = [(line.since, line.until) for line in lines if line.state in ("answered", "empty")]
    assert len(answered) == len(set(answered))
    assert sum(line.inserted for line in lines) == Candle.objects.filter(asset=asset).count()
    assert all(line.settled_until is None for line in lines if line.state == "failed")
    assert all(line.error for line in lines if line.state == "failed")
