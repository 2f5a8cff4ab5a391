"""How members have done beside each other and beside their universe: each rebased to 100 at the start of a span.

The universe's line is that of a portfolio which holds every member of the day with the same weight: the return of a
day is the mean of the returns, since the candle before, of those that were members when the day began (00:00 UTC) and
have a candle of no more than `returns.STALE` before it. One that did not trade on that day counts with nothing won or
lost. Who joined later has no part in what was before; that is what makes it no hindsight.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from marketdata import returns
from marketdata.models import Asset, Series, Timeframe, canonical
from universes import membership
from universes.models import Membership, Universe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Whole = NDArray[np.int64]
    Truths = NDArray[np.bool_]

MOST = 8  # lines of members
FIRST = 5  # of them when nobody has chosen
SPANS: tuple[tuple[str, str], ...] = (
    ("1mo", "1 M"), ("3mo", "3 M"), ("6mo", "6 M"), ("ytd", "YTD"), ("1y", "1 Y"), ("5y", "5 Y"), ("max", "All"),
)  # fmt: skip
MONTHS = {"1mo": 1, "3mo": 3, "6mo": 6, "1y": 12, "5y": 60}
DATED, NOW, OFF = "dated", "now", "off"  # whose line is drawn: the members of each day, today's, nobody's
_DAY = timedelta(days=1)


@dataclass
class Line:
    """`values` are by the days of the comparison, None where there is no candle; the universe's has no asset."""

    asset: Asset | None
    hue: int
    values: list[float | None]

    @property
    def symbol(self) -> str:
        return self.asset.symbol if self.asset else ""

    def ends(self) -> tuple[int, int]:
        """The places of the first and the last value."""
        known = [place for place, value in enumerate(self.values) if value is not None]
        return known[0], known[-1]

    @property
    def change(self) -> float:
        first, last = (self.values[place] for place in self.ends())
        return (last or 0.0) / (first or 1.0) - 1


@dataclass
class Comparison:
    days: list[date] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    universe: Line | None = None
    members: int = 0  # how many had a part in the universe's line on its last day
    left_out: list[str] = field(default_factory=list)  # chosen, and without daily candles in the span


def compare(
    universe: Universe, symbols: Sequence[str], span: str, *, at: datetime | None = None, weigh: str = DATED
) -> Comparison:
    """The chosen members (at most `MOST`; if none is, the first ones with daily candles in the span) over a span that
    ends with the newest candle of theirs, or at `at`.
    """
    stays = [stay.asset for stay in membership.members(universe, at).defer("asset__metadata")]
    daily = {
        series.asset_id: series
        for series in Series.objects.filter(asset__in=[asset.pk for asset in stays], timeframe=Timeframe.D1)
        if series.first_open and series.last_open and (at is None or series.first_open <= at)
    }
    chosen, left_out = _chosen(stays, symbols, daily)
    if not chosen:
        return Comparison(left_out=left_out)
    ends = {asset.pk: min(daily[asset.pk].last_open or _DAWN, at or _DUSK) for asset in chosen}
    end = max(ends.values()).replace(hour=0, minute=0, second=0, microsecond=0)
    if not symbols:
        since = _start(span, end) or _DAWN
        chosen = [asset for asset in chosen if ends[asset.pk] > since][:FIRST]
    start = _start(span, end) or min(daily[asset.pk].first_open or end for asset in chosen)
    return _compared(universe, chosen, left_out, stays, start, end, weigh)


_DAWN, _DUSK = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def _chosen(stays: Sequence[Asset], symbols: Iterable[str], daily: dict[int, Series]) -> tuple[list[Asset], list[str]]:
    wanted = list(dict.fromkeys(canonical(symbol) for symbol in symbols))
    if not wanted:
        return [asset for asset in stays if asset.pk in daily], []
    known = {asset.symbol: asset for asset in stays}
    found = [known[symbol] for symbol in wanted if symbol in known and known[symbol].pk in daily][:MOST]
    taken = {asset.symbol for asset in found}
    return found, [symbol for symbol in wanted if symbol not in taken]


def _start(span: str, end: datetime) -> datetime | None:
    if span == "max":
        return None
    if span == "ytd":
        return datetime(end.year - 1, 12, 31, tzinfo=UTC)
    year, month = divmod(end.year * 12 + end.month - 1 - MONTHS[span], 12)
    for day in range(end.day, 27, -1):
        try:
            return end.replace(year=year, month=month + 1, day=day)
        except ValueError:  # a month without that day begins with its last
            continue
    return end.replace(year=year, month=month + 1)


def _compared(
    universe: Universe, chosen: list[Asset], left_out: list[str], now: list[Asset], start: datetime, end: datetime,
    weigh: str,
) -> Comparison:  # fmt: skip
    import numpy as np

    from marketdata import frames

    stays = _stays(universe, start, end) if weigh == DATED else []
    held = {stay.asset.pk: stay.asset for stay in stays} if weigh == DATED else {a.pk: a for a in now if weigh == NOW}
    every = list({asset.pk: asset for asset in [*chosen, *held.values()]}.values())
    frame = frames.read(every, Timeframe.D1, start - returns.STALE, end + _DAY, columns=("close",))
    days: Whole = frame.times.astype("datetime64[D]").astype(np.int64)
    closes: Floats = frame["close"]
    base = max(0, int(np.searchsorted(days, _number(start), side="right")) - 1)
    lines, drawn = [], np.zeros(len(days), dtype=bool)
    hues = _hues(chosen)
    for row, asset in enumerate(chosen):
        values = rebased(days, closes[row], base)
        if np.isfinite(values).sum() > 1:
            drawn |= np.isfinite(values)
            lines.append((asset, hues[asset.pk], values))
        else:
            left_out.append(asset.symbol)
    told = Comparison(left_out=left_out)
    if not lines:
        return told
    drawn[base] = True
    whole = None
    if held:
        rows = [row for row, asset in enumerate(every) if asset.pk in held]
        inside = _inside(days, [every[row] for row in rows], stays) if weigh == DATED else None
        whole, counts = weighted(days, closes[rows], inside, base)
        told.members = int(counts[-1])
        drawn[np.flatnonzero(np.isfinite(whole))[:1]] = True  # its 100, be that a day on which no chosen one trades
    kept = np.flatnonzero(drawn)
    told.days = [date.fromordinal(_EPOCH + int(day)) for day in days[kept]]
    told.lines = [Line(asset, hue, _plain(values[kept])) for asset, hue, values in lines]
    if whole is not None:
        line = Line(None, 0, _plain(whole[kept]))
        told.universe = line if sum(value is not None for value in line.values) > 1 else None
    return told


_EPOCH = date(1970, 1, 1).toordinal()


def _number(moment: datetime) -> int:
    return moment.date().toordinal() - _EPOCH


def _stays(universe: Universe, start: datetime, end: datetime) -> list[Membership]:
    """The stays that have a part in start < day ≤ end."""
    over = Q(left_at=None) | Q(left_at__gt=start)
    found = universe.memberships.filter(over, joined_at__lte=end + _DAY).select_related("asset")
    return list(found.defer("asset__metadata"))


def _hues(chosen: Sequence[Asset]) -> dict[int, int]:
    """An asset keeps its colour whichever others are drawn, as long as no other has the same."""
    taken: dict[int, int] = {}
    for asset in sorted(chosen, key=lambda asset: asset.pk):
        hue = asset.pk % MOST
        while hue in taken.values():
            hue = (hue + 1) % MOST
        taken[asset.pk] = hue
    return {pk: hue + 1 for pk, hue in taken.items()}


def _plain(values: "Floats") -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


# --- The arithmetic: arrays in, arrays out -----------------------------------------------------------------------


def rebased(days: "Whole", closes: "Floats", base: int) -> "Floats":
    """Closes (T,) as shares of 100 from place `base` on; NaN before, and where there is no close.

    100 is the last close at or before `base`, unless it is older than `returns.STALE`; then the first one after.
    """
    import numpy as np

    known = np.flatnonzero(np.isfinite(closes) & (closes > 0))
    values = np.full(len(closes), np.nan)
    before, after = known[known <= base], known[known > base]
    begin = -1
    if len(before) and days[base] - days[before[-1]] <= returns.STALE.days:
        begin = int(before[-1])
        values[base] = 100.0
    elif len(after):
        begin = int(after[0])
    if begin >= 0:
        values[after] = 100 * closes[after] / closes[begin]
    return values


def weighted(days: "Whole", closes: "Floats", inside: "Truths | None", base: int) -> "tuple[Floats, Whole]":
    """The level (T,) of the portfolio of equal weights, and how many had a part in each day.

    `closes` is (A, T), NaN without a candle, `inside` (A, T) tells who was a member when the day began; None: all.
    The level is 100 on the day before the first with members after `base`, and NaN while there are none.
    """
    import numpy as np

    _, count = closes.shape
    known = np.isfinite(closes) & (closes > 0)
    newest = np.maximum.accumulate(np.where(known, np.arange(count), -1), axis=1)
    before = np.concatenate([np.full((len(closes), 1), -1), newest[:, :-1]], axis=1)
    there = before >= 0
    age = days[None, :] - days[np.where(there, before, 0)]
    live = there & (age <= returns.STALE.days)
    if inside is not None:
        live &= inside
    held = np.take_along_axis(closes, np.where(there, before, 0), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gains = np.where(live & known, closes / held - 1, 0.0).sum(axis=0)
    counts = live.sum(axis=0)
    level = np.full(count, np.nan)
    following = np.flatnonzero(counts[base + 1 :] > 0)
    if len(following):
        first = base + 1 + int(following[0])
        steps = np.where(counts[first:] > 0, 1 + gains[first:] / np.maximum(counts[first:], 1), 1.0)
        level[first - 1] = 100.0
        level[first:] = np.where(counts[first:] > 0, 100 * np.cumprod(steps), np.nan)
    return level, counts.astype(np.int64)


def _inside(days: "Whole", assets: Sequence[Asset], stays: Sequence[Membership]) -> "Truths":
    """Who was a member when each day began."""
    import numpy as np

    rows = {asset.pk: row for row, asset in enumerate(assets)}
    inside = np.zeros((len(assets), len(days)), dtype=bool)
    for stay in stays:
        begins = np.searchsorted(days, _first_day(stay.joined_at))
        ends = len(days) if stay.left_at is None else np.searchsorted(days, _first_day(stay.left_at))
        inside[rows[stay.asset_id], begins:ends] = True
    return inside


def _first_day(moment: datetime) -> int:
    """The first day that begins at this moment or after it."""
    at = moment.astimezone(UTC)
    whole = (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
    return _number(at) + (0 if whole else 1)


def exact(comparison: Comparison) -> Iterable[list[Any]]:
    """The comparison as rows for a file: a day, then the value of each line."""
    lines = [*comparison.lines, *([comparison.universe] if comparison.universe else [])]
    yield ["date", *(line.symbol or "universe" for line in lines)]
    for place, day in enumerate(comparison.days):
        values = (line.values[place] for line in lines)
        yield [day.isoformat(), *("" if value is None else f"{value:.6f}" for value in values)]
