"""How many bars a year has, which every annualised figure hangs on."""

from datetime import date, timedelta

import pytest

from marketdata.models import Asset, Timeframe
from signals import annualising

pytestmark = pytest.mark.usefixtures("house")


@pytest.mark.parametrize(
    ("calendar", "timeframe", "bars"),
    [
        ("XNYS", "1d", 252),
        ("XNYS", "1w", 52),
        ("XNYS", "1mo", 12),
        ("XNYS", "30m", 252 * 13),
        ("XNYS", "1h", 252 * 7),  # 9:30 to 16:00: the seventh is half an hour
        ("XNYS", "4h", 252 * 2),
        ("XTKS", "1h", 245 * 6),  # 9:00 to 11:30 and 12:30 to 15:00, three bars each
        ("24/7", "1d", 365),
        ("24/7", "1h", 365 * 24),
        ("24/7", "4h", 365 * 6),
        ("24/7", "1w", 52),
    ],
)
def test_the_bars_of_a_market(calendar, timeframe, bars):
    asset = Asset.objects.create(symbol="ACME", calendar=calendar)
    assert annualising.year_of(asset, Timeframe(timeframe)).periods == bars


def test_without_a_calendar_a_coin_never_rests_and_all_else_is_as_in_new_york():
    coin = Asset.objects.create(symbol="COIN", asset_class="crypto")
    stock = Asset.objects.create(symbol="ACME", asset_class="stock")
    assert [annualising.year_of(coin, frame).periods for frame in (Timeframe.D1, Timeframe.H1)] == [365, 365 * 24]
    assert [annualising.year_of(stock, frame).periods for frame in (Timeframe.D1, Timeframe.H1)] == [252, 252 * 7]


def test_of_a_file_the_candles_themselves_tell():
    week = {date(2024, 1, 1) + timedelta(days=n) for n in range(5)}
    assert annualising.of_opens(week, 7, Timeframe.H1).periods == 252 * 7
    assert annualising.of_opens(week, 1, Timeframe.D1).periods == 252
    assert annualising.of_opens(week | {date(2024, 1, 6)}, 24, Timeframe.H1).periods == 365 * 24
