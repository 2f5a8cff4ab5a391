"""What a split does to candles that are stored already, and splits that only stored prices tell of."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from fractions import Fraction
from math import prod
from typing import Any

from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from marketdata import actions, adjustment, staging
from marketdata.checks import NUMBERS
from marketdata.models import Asset, Basis, Candle, CorporateAction, Series, Timeframe
from marketdata.providers.base import Action

log = logging.getLogger(__name__)

FILES = ("file", "sample")  # sources that say nothing of the basis of their prices
RECENT = timedelta(days=30)
SAME_CLOSE = 0.05  # closes of one day that are nearer are on one basis; the smallest split is 5:4
_COLUMNS = ", ".join(NUMBERS)

# --- Candles that were stored before a split ---------------------------------------------------------------------

# Volumes in money stay as they are. Rounding is half away from zero, for prices to 10 decimals and volumes to 8; it
# keeps low <= open <= high.
_REBASE = f"""
WITH rebased AS (
    UPDATE marketdata_candle SET
        open = round(open * %(down)s / %(up)s, 10), high = round(high * %(down)s / %(up)s, 10),
        low = round(low * %(down)s / %(up)s, 10), close = round(close * %(down)s / %(up)s, 10),
        adj_close = round(adj_close * %(down)s / %(up)s, 10), volume = round(volume * %(up)s / %(down)s, 8),
        known_at = %(now)s
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND open_time < %(after)s AND known_at < %(happened)s
    RETURNING old.open_time AS at, {", ".join(f"old.{name}" for name in NUMBERS)}, old.source, old.known_at
)
INSERT INTO marketdata_candlerevision (asset_id, timeframe, open_time, {_COLUMNS}, source, known_at, superseded_at)
SELECT %(asset)s, %(timeframe)s, at, {_COLUMNS}, source, known_at, %(now)s FROM rebased
"""  # noqa: S608


def settle(asset: Asset) -> int:
    """Divide what is still on the basis of before a split: candles of split-adjusted series that open before it and
    were stored before it happened, whatever their timeframe and source. Returns how many.

    To be called after a split was learnt and what its source still has was fetched again: what is left then can't be
    fetched (a provider keeps hours for two years, a file is a file). Each series is one transaction under ingestion's
    lock; the old values become revisions. Doing it again does nothing, because a candle that was divided is known
    later than its split; so a worker may die at any point and the next one does it. Looked at are the splits that were
    learnt in the last weeks and happened since the asset is here; others cost one query.
    """
    splits = actions.current(asset).filter(
        kind=CorporateAction.Kind.SPLIT,
        ex_date__gte=asset.created_at.date(),
        known_at__gte=timezone.now() - RECENT,
        derived=False,
    )
    count = 0
    for split in splits:
        for series in Series.objects.filter(asset=asset, basis=Basis.SPLIT):
            count += _divide(asset, Timeframe(series.timeframe), split)
    if count:
        log.info("stored candles were divided by a split", extra={"symbol": asset.symbol, "candles": count})
    return count


def _divide(asset: Asset, timeframe: Timeframe, split: CorporateAction) -> int:
    ratio = adjustment.fraction(split.value)
    scope: dict[str, Any] = {
        "asset": asset.pk,
        "timeframe": timeframe.value,
        "after": actions.begins(asset, split.ex_date, timeframe),
        "happened": datetime.combine(split.ex_date, time(), actions.zone_of(asset)),
        "up": ratio.numerator,
        "down": ratio.denominator,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        scope["now"] = staging.lock(cursor, asset.pk, timeframe)
        cursor.execute(_REBASE, scope)
        count = int(cursor.rowcount)
        if count:
            Series.objects.filter(asset=asset, timeframe=timeframe).update(
                revision=F("revision") + 1, revised_at=scope["now"], changed_at=scope["now"]
            )
    return count


def since(asset: Asset, timeframe: Timeframe) -> Callable[[datetime, datetime], Fraction]:
    """How many shares have become of one by splits that a candle knew nothing of: by its open and when it was told.

    1 where the series is as traded. For candles that are stored only now, such as released ones.
    """
    if not Series.objects.filter(asset=asset, timeframe=timeframe, basis=Basis.SPLIT).exists():
        return lambda opened, told: Fraction(1)
    zone = actions.zone_of(asset)
    steps = [
        (actions.begins(asset, split.ex_date, timeframe), datetime.combine(split.ex_date, time(), zone), split.value)
        for split in actions.current(asset).filter(kind=CorporateAction.Kind.SPLIT, derived=False)
    ]

    def shares(opened: datetime, told: datetime) -> Fraction:
        return prod(
            (adjustment.fraction(value) for after, happened, value in steps if opened < after and told < happened),
            start=Fraction(1),
        )

    return shares


# --- Splits that only the prices tell of -------------------------------------------------------------------------


@dataclass(frozen=True)
class Derived:
    """What a series' own prices told. `basis` is what the series is now said to be."""

    splits: tuple[Action, ...] = ()
    suspected: tuple[Action, ...] = ()
    basis: str = Basis.SPLIT
    changed: bool = False

    @property
    def words(self) -> str:
        """For people; '' if nothing was found."""
        said = []
        if self.splits:
            named = ", ".join(f"{actions.ratio_words(one.value)} on {one.ex_date}" for one in self.splits)
            said.append(f"Its prices are as traded; splits found: {named}.")
        if self.suspected:
            named = ", ".join(f"{actions.ratio_words(one.value)} on {one.ex_date}" for one in self.suspected)
            said.append(f"Might be splits, or not, and were left as they are: {named}.")
        return " ".join(said)


def derive(asset: Asset, timeframe: Timeframe = Timeframe.D1) -> Derived:
    """Find the splits in a stored daily series whose adjusted closes prove them, store them, and say what it is.

    A series of files in whose closes splits show is `raw` from then on. Without adjusted closes nothing is proven and
    nothing stored: what looks like a split is only named, and so it is where a provider's candles are among them,
    which were adjusted. See `adjustment.find_splits`. Dividends are not derived: the adjusted closes tell their
    effect, which is used as it is, but sources differ in the formula (1 - D/C of the day before, or 1/(1 + D/C) of
    the day), so they do not tell the amount. Only days are looked at; intraday series take the daily ones' splits, and
    those of files are `raw` as well if their closes are those of the days.
    """
    if timeframe != Timeframe.D1:
        _follow_days(asset)
    series = Series.objects.filter(asset=asset, timeframe=timeframe).first()
    if series is None or timeframe != Timeframe.D1:
        return Derived(basis=series.basis if series else Basis.SPLIT)
    found = _found(asset)
    splits = tuple(_as_action(jump) for jump in found.splits)
    suspected = tuple(_as_action(jump) for jump in found.suspected)
    if not splits and not found.later:
        return Derived(suspected=suspected, basis=series.basis)
    stored = Candle.objects.filter(asset=asset, timeframe=timeframe)
    if series.basis == Basis.SPLIT and stored.exclude(source__in=FILES).exists():
        return Derived(suspected=(*splits, *suspected), basis=series.basis)
    Series.objects.filter(pk=series.pk).exclude(basis=Basis.RAW).update(basis=Basis.RAW)
    learnt = actions.learn(asset, series.source or FILES[0], Basis.RAW, splits, derived=True)
    _follow_days(asset)
    return Derived(splits, suspected, Basis.RAW, learnt.changed)


# How many times the last close of a day the day's own is, before the newest split.
_TO_DAYS = """
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY (day.close / last.close)::float8)
FROM marketdata_candle day CROSS JOIN LATERAL (
    SELECT close FROM marketdata_candle
    WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s
      AND open_time >= day.open_time AND open_time < day.open_time + interval '1 day'
    ORDER BY open_time DESC LIMIT 1
) last
WHERE day.asset_id = %(asset)s AND day.timeframe = '1d' AND day.open_time < %(before)s AND last.close > 0
"""


def _follow_days(asset: Asset) -> None:
    """Say of intraday series of files that they are as traded, where the days are and both have the same closes."""
    newest = actions.current(asset).filter(kind=CorporateAction.Kind.SPLIT).last()
    if newest is None or not Series.objects.filter(asset=asset, timeframe=Timeframe.D1, basis=Basis.RAW).exists():
        return
    before = actions.begins(asset, newest.ex_date, Timeframe.D1)
    for series in Series.objects.filter(asset=asset, basis=Basis.SPLIT, candle_count__gt=0):
        timeframe = Timeframe(series.timeframe)
        stored = Candle.objects.filter(asset=asset, timeframe=timeframe)
        if timeframe.is_daily or stored.exclude(source__in=FILES).exists():
            continue
        with connection.cursor() as cursor:
            cursor.execute(_TO_DAYS, {"asset": asset.pk, "timeframe": timeframe.value, "before": before})
            (factor,) = cursor.fetchone() or (None,)
        if factor is not None and abs(factor - 1) < SAME_CLOSE:
            Series.objects.filter(pk=series.pk).update(basis=Basis.RAW)


def _found(asset: Asset) -> adjustment.Found:
    import numpy as np

    stored = Candle.objects.filter(asset=asset, timeframe=Timeframe.D1).order_by("open_time")
    rows = list(stored.values_list("open_time", "open", "close", "adj_close"))
    if not rows:
        return adjustment.Found()
    numbers = [[np.nan if value is None else float(value) for value in row[1:]] for row in rows]
    opens, closes, adjusted = np.array(numbers).T
    return adjustment.find_splits([row[0].date() for row in rows], opens, closes, adjusted)


def _as_action(jump: adjustment.Jump) -> Action:
    value = actions.decimal(jump.ratio).quantize(actions.UNIT)
    return Action(CorporateAction.Kind.SPLIT, jump.day, value)
