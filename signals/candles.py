"""What a run is made on: the candles of a stored asset or of a file, as arrays, and what is known of them.

A strategy decides on split-adjusted prices, orders fill at those that were traded: quantities, least fees and whole
lots are those that an account would have had. Splits multiply what is held, dividends are paid on their ex-date.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from marketdata import calendars, multipliers
from marketdata.checks import EPOCH, moment
from marketdata.models import Asset, AssetClass, Basis, CorporateAction, QuarantinedCandle, Series, Timeframe
from marketdata.providers import files
from marketdata.providers.tabular import FileError
from signals import annualising
from signals.annualising import Year
from signals.engine.terms import Fine, Impossible, Market
from signals.strategies.declaring import Bars

if TYPE_CHECKING:
    from signals.engine.terms import Floats, Whole

PRICES = ("open", "high", "low", "close")
US = timedelta(microseconds=1)
TRIES = 20  # to read candles that somebody writes meanwhile


@dataclass(frozen=True)
class Candles:
    """`times` (T,) int64 microseconds, the opens of the run's bars; `bars` for deciding, of `begin` bars before the run
    and the run's; `market` (1, T) for filling; `raised` (T,): what `bars` prices are multiplied by to be the market's.

    `source`: what identifies the data (`fingerprint` of the range that was read, from `since`, with a mark of its
    values as they were used; `revision` of the series, `actions` a digest of splits and dividends). `faults`: what is
    wrong with them, by code.
    """

    symbol: str
    timeframe: Timeframe
    times: Whole
    bars: Bars
    begin: int
    market: Market
    raised: Floats | None
    volume: Floats
    year: Year
    since: datetime
    fingerprint: str
    revision: int | None
    actions: str
    faults: dict[str, Any]

    @property
    def first(self) -> datetime:
        return moment(int(self.times[0]))

    @property
    def last(self) -> datetime:
        return moment(int(self.times[-1]))


def check(
    asset: Asset, timeframe: Timeframe, series: Series | None, start: datetime | None, end: datetime | None
) -> Series:
    """The series, if a run can be made on it as far as can be told without reading it. Raises `Impossible`."""
    if series is None or series.first_open is None or series.last_open is None:
        raise Impossible("timeframe", _no_series(asset, timeframe))
    _in_order(start, end)
    if (start and start > series.last_open) or (end and end <= series.first_open):
        raise Impossible("start", _nothing(asset, timeframe, series, start, end))
    return series


def _in_order(start: datetime | None, end: datetime | None) -> None:
    if start and end and start >= end:
        told = f"The start, {start:%Y-%m-%d}, is not before the end, {end:%Y-%m-%d}: exchange the two."
        raise Impossible("start", told)


def stored(
    asset: Asset, timeframe: Timeframe, start: datetime | None, end: datetime | None, warmup: int, tries: int = TRIES
) -> Candles:
    """An asset's candles with start ≤ open < end, and up to `warmup` ones before, for deciding.

    Raises `Impossible` ("asset", "timeframe", "start") in words if there is nothing to run on.
    """
    import numpy as np

    from marketdata import frames

    series = Series.objects.filter(asset=asset, timeframe=timeframe, candle_count__gt=0).first()
    series = check(asset, timeframe, series, start, end)
    whole = frames.read(asset, timeframe, None, end, (*PRICES, "volume"))
    every = whole.times.view(np.int64)
    begin = 0 if start is None else int(np.searchsorted(every, _micros(start)))
    if begin >= len(every):
        raise Impossible("start", _nothing(asset, timeframe, series, start, end))
    before = min(begin, warmup)
    used = slice(begin - before, len(every))
    times = every[begin:]
    traded = frames.read(asset, timeframe, moment(int(times[0])), end, PRICES, adjust="raw")
    since, until = moment(int(every[begin - before])), moment(int(times[-1])) + US
    fingerprint = frames.fingerprint(asset, timeframe, since, until)
    revisions = {whole.parts[0].revision, traded.parts[0].revision, int(fingerprint.split(":")[1].removeprefix("r"))}
    if len(revisions) > 1:  # a writer came between: what is told of the data must be told of what was read
        if not tries:
            raise Impossible("asset", f"{asset}'s candles are being written just now: run it again when that is done.")
        return stored(asset, timeframe, start, end, warmup, tries - 1)
    prices = [_row(traded[name]) for name in PRICES]
    close = whole["close"][0][begin:]
    actions = list(multipliers.current(asset))
    splits, dividends = _actions(asset, timeframe, actions, times)
    same = bool((prices[3] == close).all())
    bars = Bars(*(np.ascontiguousarray(whole[name][0][used]) for name in (*PRICES, "volume")))
    return Candles(
        asset.symbol,
        timeframe,
        np.array(times),
        bars,
        before,
        Market(*_wide(prices), splits, dividends),
        None if same else prices[3] / close,
        np.array(whole["volume"][0][begin:]) * (1.0 if same else close / prices[3]),
        annualising.year_of(asset, timeframe),
        since,
        f"{fingerprint}:{_mark(bars)}",
        series.revision,
        digest(actions, timeframe, since, until),
        _faults(asset, timeframe, series, since, until, actions),
    )


def are_as(fingerprint: str, asset: Asset, timeframe: Timeframe, since: datetime, until: datetime) -> bool:
    """Whether candles with since ≤ open < until are those that once had this fingerprint: the stored rows, whatever was
    revised elsewhere in the series, or else the values that a run uses. An adjusted close, which a source revises with
    each dividend, is none of these."""
    from marketdata import frames

    now, then = frames.fingerprint(asset, timeframe, since, until).split(":"), fingerprint.split(":")
    if [now[0], *now[2:]] == [then[0], *then[2:5]]:
        return True
    read = frames.read(asset, timeframe, since, until, (*PRICES, "volume"))
    return len(then) > 5 and now[2:4] == then[2:4] and _mark(Bars(*(read[name][0] for name in read.columns))) == then[5]


def with_finer(candles: Candles, fine: Fine) -> Candles:
    """The same, told of the finer candles that decide, too: with other ones the result may be another."""
    return replace(candles, fingerprint=f"{candles.fingerprint}:finer-{_mark(fine)}")


def _mark(bars: Bars | Fine) -> str:
    """Of the bytes of all columns."""
    import numpy as np

    found = hashlib.blake2b(digest_size=8)
    for values in vars(bars).values():
        found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


def finer(candles: Candles, asset: Asset) -> Fine | None:
    """The shortest stored candles within the run's bars; None if there are none.

    Of a market with sessions only what lies in them; a day of currencies or longer bars are not looked into, because
    sources disagree where those begin.
    """
    import numpy as np

    from marketdata import frames

    timeframe = candles.timeframe
    code = calendars.calendar_of(asset)
    if timeframe.length > timedelta(days=1) or (timeframe.is_daily and code == calendars.FX):
        return None
    shorter = [each.value for each in Timeframe if each.length < timeframe.length]
    there = Series.objects.filter(
        asset=asset, timeframe__in=shorter, candle_count__gt=0, first_open__lte=candles.last + timeframe.length,
        last_open__gte=candles.first,
    )  # fmt: skip
    found = sorted(there, key=lambda series: Timeframe(series.timeframe).length)
    if not found:
        return None
    edges = _edges(candles, asset, code)
    if edges is None:
        return None
    begins, ends = edges
    read = frames.read(asset, found[0].timeframe, moment(int(begins[0])), moment(int(ends[-1])), PRICES, adjust="raw")
    times = read.times.view(np.int64)
    first, after = np.searchsorted(times, begins), np.searchsorted(times, ends)
    first, after = (np.ascontiguousarray(each.reshape(1, -1), np.int64) for each in (first, np.maximum(after, first)))
    op, hi, lo, close = (_row(read[name]) for name in PRICES)
    return Fine(op, hi, lo, close, first, after)


def _edges(candles: Candles, asset: Asset, code: str) -> tuple[Whole, Whole] | None:
    """When each of the run's bars begins and ends, in microseconds; None if that is not known."""
    import numpy as np

    length = candles.timeframe.length // US
    if not candles.timeframe.is_daily or code == calendars.ROUND_THE_CLOCK:
        return candles.times, candles.times + length
    sessions = calendars.Book().sessions(code)
    if sessions is None:
        return None
    days = np.frombuffer(sessions.days, np.int64)
    wanted = candles.times // 86_400_000_000
    places = np.minimum(np.searchsorted(days, wanted), len(days) - 1)
    known = days[places] == wanted
    opens = np.frombuffer(sessions.opens, np.int64)[places] * 1_000_000
    closes = np.frombuffer(sessions.closes, np.int64)[places] * 1_000_000
    opens = np.where(known, opens, candles.times)
    return np.maximum.accumulate(opens), np.where(known, closes, opens)


def from_file(
    path: Path, timeframe: str, start: datetime | None, end: datetime | None, warmup: int, symbol: str = ""
) -> Candles:
    """The candles of a file, CSV or Parquet, as `import_candles` reads them, unadjusted. Rows that are no candles are
    left out and counted. Raises `FileError`, or `Impossible` if it has none or several series.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    with files.reading(path, files.Wishes(symbol=symbol, timeframe=timeframe)) as contents:
        if contents.trouble and not contents.series:
            raise FileError(contents.trouble)
        if len(contents.series) != 1:
            told = ", ".join(f"{one.symbol} {one.timeframe}" for one in contents.series[:5])
            why = "; ".join(f"{name}: {text}" for name, text in list(contents.failures.items())[:3])
            raise Impossible(
                "file", f"{path.name} has {len(contents.series)} series ({told or why}): give a file with one."
            )
        (series,) = contents.series
        table = series.candles
        good = pc.is_valid(table["open_time"])
        if "fault" in table.column_names:
            good = pc.and_(good, pc.is_null(table["fault"]))
        kept = table.filter(good)
        times = np.asarray(kept["open_time"].cast(pa.int64()))
        columns = {name: _numbers(kept[name]) for name in (*PRICES, "volume")}
    o, h, lo, c = (columns[name] for name in PRICES)
    volume = np.nan_to_num(columns["volume"])
    possible = (lo >= 0) & (lo <= o) & (lo <= c) & (h >= o) & (h >= c) & (o > 0) & (c > 0) & np.isfinite(h)
    order = np.argsort(times, kind="stable")
    order = order[possible[order]]
    order = order[np.r_[True, np.diff(times[order]) > 0]] if len(order) else order
    left_out = table.num_rows - len(order)
    if not len(order):
        raise Impossible("file", f"{path.name} has no candle that can be used.")
    every = times[order]
    low = 0 if start is None else int(np.searchsorted(every, _micros(start)))
    high = len(every) if end is None else int(np.searchsorted(every, _micros(end)))
    _in_order(start, end)
    if low >= high:
        has = f"it has {_day(every[0])} to {_day(every[-1])}"
        raise Impossible("start", f"{path.name} has no candle in that range; {has}.")
    before = min(low, warmup)
    arrays = [np.ascontiguousarray(column[order][low - before : high]) for column in (o, h, lo, c, volume)]
    run = every[low:high]
    days = {date.fromordinal(719_163 + int(day)) for day in np.unique(run[:50_000] // 86_400_000_000)}
    mark = hashlib.sha256(b"".join(array.tobytes() for array in (every[low - before : high], *arrays))).hexdigest()
    return Candles(
        series.symbol or path.stem.partition(".")[0].upper(),
        series.timeframe,
        np.array(run),
        Bars(*arrays),
        before,
        Market(*_wide([array[before:] for array in arrays[:4]])),
        None,
        arrays[4][before:],
        annualising.of_opens(days, len(run[:50_000]) / max(len(days), 1), series.timeframe),
        moment(int(every[low - before])),
        f"file:{mark[:16]}",
        None,
        "",
        {"left_out": left_out} if left_out else {},
    )


def digest(actions: list[CorporateAction], timeframe: Timeframe, since: datetime, until: datetime) -> str:
    """A short text that is another when a split or dividend that matters to a range is another: those within it, and
    the splits after it, by which prices as traded are found."""
    told = [
        f"{action.kind}:{action.ex_date}:{action.value.normalize()}:{action.basis}"
        for action in actions
        if since.date() <= action.ex_date
        and (_named(action.ex_date, timeframe) <= until.date() or action.kind == CorporateAction.Kind.SPLIT)
    ]
    return hashlib.sha256("|".join(told).encode()).hexdigest()[:16] if told else ""


# --- Pieces ------------------------------------------------------------------------------------------------------


def _row(values: Any) -> Floats:
    import numpy as np

    row: Floats = np.ascontiguousarray(values[0], np.float64)
    return row


def _wide(prices: list[Floats]) -> tuple[Floats, Floats, Floats, Floats]:
    """Open, high, low and close as (1, T)."""
    op, hi, lo, close = (row.reshape(1, -1) for row in prices)
    return op, hi, lo, close


def _numbers(column: Any) -> Floats:
    """Text as numbers, NaN for what is none; what is not finite is none."""
    import numpy as np
    import pyarrow as pa

    try:
        found = np.asarray(column.cast(pa.float64()), dtype=np.float64)
    except pa.ArrowInvalid:
        found = np.array([_number(text) for text in column.to_pylist()], np.float64)
    return found


def _number(text: str | None) -> float:
    try:
        return float(text) if text else float("nan")
    except ValueError:
        return float("nan")


def _micros(at: datetime) -> int:
    return (at - EPOCH) // US


def _day(micros: int) -> str:
    return f"{moment(int(micros)):%Y-%m-%d}"


def _no_series(asset: Asset, timeframe: Timeframe) -> str:
    there = Series.objects.filter(asset=asset, candle_count__gt=0).values_list("timeframe", flat=True)
    others = ", ".join(each.value for each in Timeframe if each.value in set(there))
    remedy = f"choose one that it has: {others}" if others else "fetch or import them first"
    return f"{asset} has no {timeframe.value} candles; {remedy}."


def _nothing(asset: Asset, timeframe: Timeframe, series: Series, start: datetime | None, end: datetime | None) -> str:
    assert series.first_open
    assert series.last_open
    asked = f"from {start:%Y-%m-%d}" if start else ""
    asked += f" until {end:%Y-%m-%d}" if end else ""
    has = f"{series.first_open:%Y-%m-%d} to {series.last_open:%Y-%m-%d}"
    return f"{asset} has no {timeframe.value} candles {asked.strip()}; it has {has}: choose dates within."


def _actions(
    asset: Asset, timeframe: Timeframe, actions: list[CorporateAction], times: Whole
) -> tuple[Floats | None, Floats | None]:
    """Splits and dividends at the bars that trade without them, (1, T); None if none lies in the run."""
    import numpy as np

    splits, dividends = np.ones((1, len(times))), np.zeros((1, len(times)))
    after = 1.0  # new shares that later splits make of one
    for action in sorted(actions, key=lambda one: (one.ex_date, one.kind != CorporateAction.Kind.SPLIT), reverse=True):
        at = _micros(multipliers.begins(asset, _named(action.ex_date, timeframe), timeframe))
        place = int(np.searchsorted(times, at))
        inside = 0 < place < len(times)
        if action.kind == CorporateAction.Kind.SPLIT:
            if inside:
                splits[0, place] *= float(action.value)
            after *= float(action.value)
        elif inside and _in_currency(action, asset):
            # A dividend of the day of a split is told in the new shares.
            dividends[0, place] += float(action.value) * (after if action.basis == Basis.SPLIT else 1.0)
    return (splits if (splits != 1).any() else None, dividends if dividends.any() else None)


def _named(ex_date: date, timeframe: Timeframe) -> date:
    """The first day that a candle after an action can be named by. A week or a month counts as after what happens
    within it, as its close is."""
    if timeframe is Timeframe.W1:
        return ex_date - timedelta(days=6)
    return ex_date.replace(day=1) if timeframe is Timeframe.MO1 else ex_date


def _in_currency(action: CorporateAction, asset: Asset) -> bool:
    return not action.currency or not asset.currency or action.currency == asset.currency


def _faults(
    asset: Asset, timeframe: Timeframe, series: Series, since: datetime, until: datetime, actions: list[CorporateAction]
) -> dict[str, Any]:
    """What is wrong with the candles of a range: what a page says beside the result."""
    from marketdata import gaps

    found: dict[str, Any] = {}
    try:
        missing = sum(gap.candles for gap in gaps.find(asset, timeframe, since, until))
    except calendars.UnknownCalendar:
        missing = 0
    if missing:
        found["missing"] = missing
    held = QuarantinedCandle.objects.filter(
        Q(open_time__gte=since, open_time__lt=until), asset=asset, timeframe=timeframe, state="held"
    ).count()
    if held:
        found["held"] = held
    if asset.is_sample:
        found["sample"] = True
    pays = asset.asset_class in (AssetClass.STOCK, AssetClass.ETF, AssetClass.FUND)
    paid = [action for action in actions if action.kind != CorporateAction.Kind.SPLIT]
    if pays and not paid:
        found["dividends"] = True
    within = (one for one in paid if since.date() <= one.ex_date and _named(one.ex_date, timeframe) <= until.date())
    if foreign := sum(not _in_currency(one, asset) for one in within):
        found["foreign"] = foreign
    return found
