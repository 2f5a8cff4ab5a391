"""What stored prices are multiplied by to be raw, split-adjusted or total-return: the reading side of actions.

Stored candles are on the basis that their series says: as they were traded, or divided by every later split.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q, QuerySet

from marketdata import adjustment
from marketdata.markets import calendar_of
from marketdata.models import Asset, Basis, CorporateAction, Series, Timeframe, TradingCalendar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Adjust = Literal["raw", "split", "total"]
Kind = CorporateAction.Kind


def current(asset: Asset, as_of: datetime | None = None) -> QuerySet[CorporateAction]:
    """The actions that are believed, or that were at `as_of`, oldest first."""
    believed = Q(superseded_at=None)
    if as_of is not None:
        believed = Q(known_at__lte=as_of) & (Q(superseded_at=None) | Q(superseded_at__gt=as_of))
    return CorporateAction.objects.filter(believed, asset=asset).order_by("ex_date", "kind")


def zone_of(asset: Asset) -> Any:
    """The time zone in which an asset's trading dates are counted, as far as is known; else UTC."""
    stored = TradingCalendar.objects.filter(pk=calendar_of(asset)).values_list("zone", flat=True).first()
    name = stored or (asset.metadata or {}).get("timezone")
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, OSError, TypeError, ValueError):  # the metadata are a source's words; a zone not found is a key
        return UTC


def begins(asset: Asset, ex_date: date, timeframe: Timeframe) -> datetime:
    """The first moment at which a candle of this timeframe can be named that is after the action."""
    return datetime.combine(ex_date, time(), UTC if timeframe.is_daily else zone_of(asset))


@dataclass(frozen=True)
class Split:
    """`begins` is the day that first trades at the new price; `ratio` new shares are one old one."""

    begins: datetime
    ratio: float


def unseen_splits(series: Iterable[Series]) -> dict[int, list[Split]]:
    """By asset id, oldest first, the believed splits of series whose prices are as they were traded."""
    assets = [one.asset_id for one in series if one.basis == Basis.RAW]
    found: dict[int, list[Split]] = {}
    if assets:
        believed = CorporateAction.objects.filter(asset__in=assets, kind=Kind.SPLIT, superseded_at=None)
        for pk, day, value in believed.order_by("ex_date").values_list("asset_id", "ex_date", "value"):
            found.setdefault(pk, []).append(Split(datetime.combine(day, time(), UTC), float(value)))
    return found


def ratio(splits: Iterable[Split], since: datetime, until: datetime) -> float:
    """New shares for one old one between two candles: what the earlier one's price is divided by."""
    shares = 1.0
    for split in splits:
        if since < split.begins <= until:
            shares *= split.ratio
    return shares


def factors(
    asset: Asset,
    times: "NDArray[np.datetime64]",
    *,
    basis: str,
    adjust: Adjust,
    as_of: datetime | None = None,
    closes: "Floats | None" = None,
    adj_closes: "Floats | None" = None,
    timeframe: Timeframe | None = None,
) -> tuple["Floats", "Floats"]:
    """What prices and volumes of candles are multiplied by to be as `adjust` says; two arrays of the shape of `times`.

    `times` are opens in UTC, ascending; `basis` is that of the stored prices (`Series.basis`).

    - raw: as they were traded. Split-adjusted prices are multiplied by the splits after them.
    - split: divided by the splits after them.
    - total: also for dividends and capital gains, backwards from the newest candle (`adjustment.dividend_ratio`).
      Where the source gave adjusted closes, these decide (`adj_closes`, of the candles in `times`, NaN where there
      is none; for intraday candles the stored daily ones): close times factor is the adjusted close. Elsewhere the
      known dividends do, with the stored daily close before each ex-date, or else the one in `closes`.

    Volumes change with splits only, inversely. With `as_of` the actions and daily closes as they were known then
    count. `timeframe` tells what a 00:00Z open is; without it, opens that are all at 00:00Z name dates. A week or
    month counts as after an ex-date within it, because its close is.
    """
    import numpy as np

    ones = np.ones(len(times))
    if not len(times) or (adjust == "split" and basis == Basis.SPLIT):
        return ones, ones.copy()
    reading = _Reading(asset, times, as_of, timeframe)
    splits = reading.splits()
    share = ones / splits if adjust != "raw" and basis == Basis.RAW else ones
    volume = 1 / share
    if adjust == "raw":
        return (splits, 1 / splits) if basis == Basis.SPLIT else (ones, ones.copy())
    if adjust == "split":
        return share, volume
    return reading.total(share, closes, adj_closes), volume


class _Reading:
    """One array of opens and the actions that matter to it."""

    def __init__(
        self, asset: Asset, times: "NDArray[np.datetime64]", as_of: datetime | None, timeframe: Timeframe | None
    ) -> None:
        import numpy as np

        self.asset, self.as_of = asset, as_of
        self.times = times.astype("datetime64[us]")
        self.dated = timeframe.is_daily if timeframe else bool((self.times == self.times.astype("datetime64[D]")).all())
        self.timeframe = timeframe
        self.actions = list(current(asset, as_of))
        self.zone = UTC if self.dated else zone_of(asset)
        self._np = np

    def places(self, days: Sequence[date]) -> list[int]:
        """Of each ex-date the position of the first candle after it."""
        return [int(place) for place in self._np.searchsorted(self.times, [self._begins(day) for day in days])]

    def _begins(self, day: date) -> "np.datetime64":
        if self.timeframe == Timeframe.W1:
            day -= timedelta(days=6)
        elif self.timeframe == Timeframe.MO1:
            day = day.replace(day=1)
        midnight = datetime.combine(day, time(), self.zone).astimezone(UTC)
        return self._np.datetime64(midnight.replace(tzinfo=None), "us")

    def splits(self) -> "Floats":
        """The product of the splits after each candle: new shares for one of that day."""
        found = [action for action in self.actions if action.kind == Kind.SPLIT]
        places = self.places([action.ex_date for action in found])
        return adjustment.backward(len(self.times), places, [_ratio(action) for action in found])

    def total(self, share: "Floats", closes: "Floats | None", adj_closes: "Floats | None") -> "Floats":
        """The factor for splits (`share`) and distributions together."""
        np = self._np
        told = np.full(len(share), np.nan) if closes is None or adj_closes is None else adj_closes
        if closes is not None and np.isfinite(told).all() and np.all(told > 0) and np.all(closes > 0):
            factor: Floats = told / closes
            return factor
        known = share * self._dividends(share, closes)
        if closes is not None and np.isfinite(told).any():
            return adjustment.told_share(closes, told, known)
        both: Floats = known * self._daily_excess()
        return both

    def _dividends(self, share: "Floats", closes: "Floats | None") -> "Floats":
        """The known dividends' factor; shape of the times."""
        paid = [action for action in self.actions if action.kind != Kind.SPLIT and _in_currency(action, self.asset)]
        days = [action.ex_date for action in paid]
        before = self._daily_closes_before(days)
        places = self.places(days)
        ratios = []
        for action, place in zip(paid, places, strict=True):
            close = before.get(action.ex_date)
            if close is None and closes is not None and place:
                close = float(closes[place - 1] * share[place - 1])
            ratios.append(adjustment.dividend_ratio(self._amount(action), close) if close else 1.0)
        return adjustment.backward(len(self.times), places, ratios)

    def _amount(self, action: CorporateAction) -> float:
        """On the basis of today's shares."""
        if action.basis == Basis.SPLIT:
            return float(action.value)
        return float(action.value) / self._product_after(action.ex_date)

    def _product_after(self, day: date) -> float:
        product = 1.0
        for action in self.actions:
            if action.kind == Kind.SPLIT and action.ex_date > day:
                product *= _ratio(action)
        return product

    def _daily_closes_before(self, days: list[date]) -> dict[date, float]:
        """The split-adjusted close of the last stored day before each."""
        if not days:
            return {}
        raw = _daily_basis(self.asset) == Basis.RAW
        found = {}
        for day, at, close in _closes_before(self.asset, days, self.as_of):
            found[day] = float(close) / (self._product_after(at.date()) if raw else 1.0)
        return found

    def _daily_excess(self) -> "Floats":
        """By what the source's share differs from ours, told by the daily candles: 1 where they tell nothing."""
        np = self._np
        rows = _adjusted_days(self.asset, self.as_of)
        if not rows:
            return adjustment.backward(len(self.times), [], [])
        opens, closes, adjusted = zip(*rows, strict=True)
        days = np.array([at.replace(tzinfo=None) for at in opens], "datetime64[us]")
        daily = _Reading(self.asset, days, self.as_of, Timeframe.D1)
        share = 1 / daily.splits() if _daily_basis(self.asset) == Basis.RAW else np.ones(len(days))
        daily_closes = np.array(closes, dtype=np.float64)
        known = share * daily._dividends(share, daily_closes)
        excess = adjustment.told_share(daily_closes, np.array(adjusted, dtype=np.float64), known) / known
        begins = np.array([self._begins(at.date()) for at in opens])
        # The day of a candle is the last that has begun by then.
        place = np.clip(np.searchsorted(begins, self.times, side="right") - 1, 0, len(days) - 1)
        found: Floats = excess[place]
        return found


def _ratio(split: CorporateAction) -> float:
    """As it was meant: of 1:1500 the twelve decimals alone would be wrong in the tenth digit of a price."""
    return float(adjustment.fraction(split.value))


def _in_currency(action: CorporateAction, asset: Asset) -> bool:
    return not action.currency or not asset.currency or action.currency == asset.currency


def _daily_basis(asset: Asset) -> str:
    found = Series.objects.filter(asset=asset, timeframe=Timeframe.D1).values_list("basis", flat=True).first()
    return found or Basis.SPLIT


# What was believed of a candle at a moment is the stored one, if it was known by then, or else the revision that was.
_BEFORE = """
SELECT ex.day, c.open_time, c.close
FROM unnest(%(days)s::date[]) AS ex (day) CROSS JOIN LATERAL (
    (SELECT open_time, close FROM marketdata_candle
     WHERE asset_id = %(asset)s AND timeframe = '1d' AND open_time < ex.day::timestamp AT TIME ZONE 'UTC'
       AND (%(as_of)s::timestamptz IS NULL OR known_at <= %(as_of)s)
     ORDER BY open_time DESC LIMIT 1)
    UNION ALL
    (SELECT open_time, close FROM marketdata_candlerevision
     WHERE asset_id = %(asset)s AND timeframe = '1d' AND open_time < ex.day::timestamp AT TIME ZONE 'UTC'
       AND known_at <= %(as_of)s AND superseded_at > %(as_of)s
     ORDER BY open_time DESC LIMIT 1)
    ORDER BY open_time DESC LIMIT 1
) c
"""

_ADJUSTED = """
SELECT open_time, close::float8, adj_close::float8 FROM marketdata_candle
WHERE asset_id = %(asset)s AND timeframe = '1d' AND adj_close > 0 AND close > 0
  AND (%(as_of)s::timestamptz IS NULL OR known_at <= %(as_of)s)
UNION ALL
SELECT open_time, close::float8, adj_close::float8 FROM marketdata_candlerevision
WHERE asset_id = %(asset)s AND timeframe = '1d' AND adj_close > 0 AND close > 0
  AND known_at <= %(as_of)s AND superseded_at > %(as_of)s
ORDER BY open_time
"""


def _closes_before(asset: Asset, days: list[date], as_of: datetime | None) -> list[tuple[date, datetime, Decimal]]:
    with connection.cursor() as cursor:
        cursor.execute(_BEFORE, {"asset": asset.pk, "days": days, "as_of": as_of})
        return list(cursor.fetchall())


def _adjusted_days(asset: Asset, as_of: datetime | None) -> list[tuple[datetime, float, float]]:
    with connection.cursor() as cursor:
        cursor.execute(_ADJUSTED, {"asset": asset.pk, "as_of": as_of})
        return list(cursor.fetchall())
