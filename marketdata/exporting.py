"""Stored candles as lines of CSV: exact, or adjusted for splits and dividends."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from decimal import Context, Decimal
from typing import NamedTuple

from marketdata import frames, history
from marketdata.models import Asset, Timeframe

HEAD = "symbol,timeframe,open_time,open,high,low,close,adj_close,volume,source\r\n"
SIGNIFICANT = Context(prec=10)  # digits of an adjusted number: the factors are floats, the stored prices have ten


class Wish(NamedTuple):
    """What is exported of each asset: opens with since ≤ open < until; `adjust` None for the stored numbers."""

    timeframe: Timeframe
    since: datetime | None = None
    until: datetime | None = None
    adjust: frames.Adjust | None = None
    as_of: datetime | None = None


def lines(asset: Asset, wish: Wish) -> Iterator[str]:
    """One line a candle, oldest first, in bounded memory; the whole is one committed state.

    What is adjusted is the product of the stored decimal and the factor, rounded to ten significant digits; what has
    the factor 1 is as it is stored.
    """
    factors = frames.factors(asset, wish.timeframe, wish.adjust, wish.as_of) if wish.adjust else None
    place, head = 0, f"{asset.symbol},{wish.timeframe.value}"
    with closing(history.exact(asset.pk, wish.timeframe, wish.since, wish.until, wish.as_of)) as found:
        for at, *numbers, source in found:
            if factors is not None:
                while place < len(factors.times) - 1 and factors.times[place] < at:
                    place += 1
                numbers = _adjusted(numbers, float(factors.price[place]), float(factors.volume[place]))
            yield f"{head},{history.moment(at):%Y-%m-%dT%H:%M:%SZ},{','.join(numbers)},{source}\r\n"


def _adjusted(numbers: list[str], price: float, volume: float) -> list[str]:
    """Open, high, low, close and volume times their factor; adj_close as the source gave it."""
    if price == volume == 1:
        return numbers
    *prices, adjusted, traded = numbers
    return [*(_times(text, price) for text in prices), adjusted, _times(traded, volume)]


def _times(text: str, factor: float) -> str:
    if factor == 1:
        return text
    found = f"{SIGNIFICANT.multiply(Decimal(text), Decimal(factor)):f}"
    return found.rstrip("0").rstrip(".") if "." in found else found
