"""An adjusted series has the same numbers wherever it is met: in a frame, in an export, in a chart, joined or not."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from marketdata import charts, exporting, frames
from marketdata.ingestion import ingest
from marketdata.models import Asset, Basis, CorporateAction, Series, Timeframe
from tests.marketdata.candles import market, table

pytestmark = pytest.mark.usefixtures("house")
START = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("open", "high", "low", "close", "volume")
LINE = dict(zip(NAMES, (3, 4, 5, 6, 8), strict=True))  # where a line of the export has them
JOINED = {"4 hours": "4h", "1 day": "1d", "1 week": "1w", "1 month": "1mo"}


def series(dice: random.Random, asset: Asset, timeframe: Timeframe, basis: Basis) -> list[datetime]:
    """Nine hundred candles with holes, and days beside hours; the opens."""
    at, rows = START, []
    for one in market(900):
        at += timeframe.length * (1 if dice.random() > 0.05 else dice.randint(2, 5))
        told = f"{float(one['close']) * 0.9:.4f}" if timeframe.is_daily and dice.random() < 0.5 else None
        rows.append(one | {"open_time": at, "adj_close": told})
    ingest(asset, timeframe, table(rows), source="test", doubt=False)
    if not timeframe.is_daily:
        days = [one | {"open_time": START + timedelta(days=number - 5)} for number, one in enumerate(market(60))]
        ingest(asset, "1d", table(days), source="test", doubt=False)
    Series.objects.update(basis=basis)
    return [one["open_time"] for one in rows]


def actions(dice: random.Random, asset: Asset, opens: list[datetime]) -> None:
    """Splits and dividends on some of the days, of either basis; sometimes both on one."""
    for value in ("2", "0.333333333333", "1.5"):
        days = [dice.choice(opens).date(), dice.choice(opens).date()]
        many = {"split": Decimal(value), "dividend": Decimal("1.1")}
        for (kind, amount), day in zip(many.items(), dice.choice([days, days[:1] * 2]), strict=True):
            told = {"value": amount, "source": "test", "basis": dice.choice(Basis.values)}
            CorporateAction.objects.get_or_create(asset=asset, kind=kind, ex_date=day, defaults=told)


@pytest.mark.parametrize("basis", Basis)
@pytest.mark.parametrize("timeframe", [Timeframe.D1, Timeframe.H1])
def test_it_is_the_same_everywhere(timeframe, basis):
    dice, asset = random.Random(f"{timeframe} {basis}"), Asset.objects.create(symbol="COIN", asset_class="crypto")
    actions(dice, asset, series(dice, asset, timeframe, basis))
    row = Series.objects.get(timeframe=timeframe)
    for adjust in ("raw", "split", "total"):
        frame = frames.read(asset, timeframe, adjust=adjust)
        drawn = charts.span(asset, row, "all", 4000, adjust).bars
        lines = [line.split(",") for line in exporting.lines(asset, exporting.Wish(timeframe, adjust=adjust))]
        small = charts.span(asset, row, "all", 300, adjust)
        longer = frames.read(asset, JOINED[small.each], adjust=adjust, from_timeframe=timeframe, complete_only=False)
        for name in NAMES:
            np.testing.assert_allclose([getattr(bar, name) for bar in drawn], frame[name][0], rtol=1e-12)
            np.testing.assert_allclose([float(line[LINE[name]]) for line in lines], frame[name][0], rtol=1e-9)
            np.testing.assert_allclose([getattr(bar, name) for bar in small.bars], longer[name][0], rtol=1e-12)
