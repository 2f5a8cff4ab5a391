"""The last closes of many assets in a few queries, as cells that a page only has to place."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection
from django.db.models import Case, When
from django.utils import timezone

from chronos.core import figures
from marketdata import freshness
from marketdata.calendars import Book
from marketdata.models import Asset, Series, Timeframe
from marketdata.multipliers import Split, unseen_splits
from marketdata.sources import label

POINTS = 30  # closes in a sparkline
WIDTH, HEIGHT = 96, 24  # of a sparkline's view box
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)

# Daily candles tell the most; without them the longest shorter ones, then the longer.
_PREFERENCE = ("1d", "4h", "1h", "30m", "15m", "5m", "1m", "1w", "1mo")

# `timeframe` arrives with each asset, so that one statement serves them all; PostgreSQL opens only that partition, and
# walks the primary key backwards for as many rows as are asked.
_LAST_CLOSES = """
SELECT wanted.asset_id, latest.opens, latest.closes
FROM unnest(%s::bigint[], %s::text[]) AS wanted (asset_id, timeframe)
CROSS JOIN LATERAL (
    SELECT array_agg(extract(epoch FROM c.open_time)::float8) AS opens, array_agg(c.close::float8) AS closes
    FROM (
        SELECT open_time, close FROM marketdata_candle
        WHERE asset_id = wanted.asset_id AND timeframe = wanted.timeframe AND open_time <= %s
        ORDER BY open_time DESC LIMIT %s
    ) AS c
) AS latest
WHERE latest.closes IS NOT NULL
"""


@dataclass(frozen=True)
class Quote:
    """One asset's newest candles, ready to be shown. `change` is a fraction of the close before."""

    asset: Asset
    timeframe: str
    last: float | None
    change: float | None
    at: datetime | None
    source: str
    freshness: freshness.Freshness
    price: str
    percent: str
    direction: str
    spark: str
    trend: str
    of: str

    @property
    def sample(self) -> bool:
        return self.asset.is_sample


def quotes(assets: Sequence[Asset], points: int = POINTS, now: datetime | None = None) -> dict[int, Quote]:
    """By asset id, for every asset given; a handful of queries however many there are."""
    now, book = now or timezone.now(), Book()
    best = preferred(assets)
    closes = last_closes(best, points)
    return {asset.pk: _quote(asset, best.get(asset.pk), closes.get(asset.pk), now, book) for asset in assets}


def preferred(assets: Iterable[Asset]) -> dict[int, Series]:
    """Each asset's series to quote from: the daily one if it has candles. Those without any candles are kept for their
    failure, if there is nothing better."""
    rank = Case(*(When(timeframe=name, then=place) for place, name in enumerate(_PREFERENCE)))
    best = Series.objects.filter(asset__in=[asset.pk for asset in assets])
    empty = Case(When(last_open=None, then=1), default=0)
    best = best.order_by("asset_id", empty, rank).distinct("asset_id")
    return {series.asset_id: series for series in best}


def last_closes(
    wanted: Mapping[int, Series], points: int, until: datetime | None = None
) -> dict[int, tuple[list[float], list[float]]]:
    """By asset id, of the series given for each: opens, in seconds since 1970, and closes, oldest first; without
    candles absent. Closes before a split are as they would have been after it.

    With `until` the last ones that opened then or before. Seconds, because reading thousands of dates would cost more
    than the query.
    """
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        ids, timeframes = list(wanted), [series.timeframe for series in wanted.values()]
        cursor.execute(_LAST_CLOSES, [ids, timeframes, until or _FOREVER, points])
        found = {pk: (opens[::-1], closes[::-1]) for pk, opens, closes in cursor.fetchall()}
    splits = unseen_splits(series for pk, series in wanted.items() if pk in found)
    return {pk: _since_splits(*told, splits[pk]) if pk in splits else told for pk, told in found.items()}


def _since_splits(
    opens: list[float], closes: list[float], splits: Sequence[Split]
) -> tuple[list[float], list[float]]:  # fmt: skip
    for split in splits:
        begins = split.begins.timestamp()
        if begins <= opens[-1]:
            closes = [close / split.ratio if at < begins else close for at, close in zip(opens, closes, strict=True)]
    return opens, closes


def _quote(
    asset: Asset, series: Series | None, found: tuple[list[float], list[float]] | None, now: datetime, book: Book
) -> Quote:
    opens, closes = found or ([], [])
    at = datetime.fromtimestamp(opens[-1], UTC) if opens else None
    last = closes[-1] if closes else None
    change = closes[-1] / closes[-2] - 1 if len(closes) > 1 and closes[-2] else None
    whole = closes[-1] / closes[0] - 1 if len(closes) > 1 and closes[0] else None
    fresh = freshness.judge(asset, series if closes else _emptied(series), now, book)
    source = label(series.source) if series and closes else ""
    return Quote(
        asset=asset,
        timeframe=series.timeframe if series else "1d",
        last=last,
        change=change,
        at=at,
        source=source,
        freshness=fresh,
        price=figures.price(last),
        percent=figures.percent(change),
        direction=figures.direction(change),
        spark=sparkline(closes),
        trend=figures.direction(whole),
        of=_of(series, at, source),
    )


def _emptied(series: Series | None) -> Series | None:
    """A series whose candles are gone must not be judged by the count it kept of them."""
    if series is not None:
        series.last_open = None
    return series


def _of(series: Series | None, at: datetime | None, source: str) -> str:
    """Of what, from where, as of when: the sentence behind the figure."""
    if series is None or at is None:
        return ""
    daily = Timeframe(series.timeframe).is_daily
    when = figures.day(at) if daily else f"{figures.moment(at)} UTC"
    return f"Close of the {Timeframe(series.timeframe).label} candle of {when}, from {source}"


def sparkline(values: Sequence[float], width: float = WIDTH, height: float = HEIGHT, pad: float = 2) -> str:
    """The points of an SVG polyline; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    across = width / (len(values) - 1)
    scale = (height - 2 * pad) / (high - low) if high > low else 0
    middle = height / 2
    return " ".join(
        f"{n * across:.1f},{height - pad - (value - low) * scale if scale else middle:.1f}"
        for n, value in enumerate(values)
    )
