"""Candles as arrays: the reading side of market data.

    frame = frames.read(["AAPL", "MSFT"], "1d", start=datetime(2015, 1, 1, tzinfo=UTC))
    frame.times      # datetime64[us], the opens (T,)
    frame["close"]   # float64 (A, T), NaN where an asset has no candle

A series comes from its column file (`marketdata.shelf`), so what was read once is there again in milliseconds. Each
asset is in exactly one committed state, that of the call or a later one, whatever is written meanwhile. Only
`as_of`, the world as it was known at a moment, is read from the tables.

For one asset, whole or in part, and without adjustment the arrays are read-only views of the mapped file: nothing is
copied, and nothing of it is lost or changed by later writers while somebody holds the frame.

This module imports numpy, which takes a while: import it inside the function that reads.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from marketdata import actions, calendars, columns, history, resampling, shelf
from marketdata.columns import Array, Columns
from marketdata.models import Asset, CorporateAction, Timeframe, canonical
from marketdata.sessions import Book

Adjust = Literal["raw", "split", "total"]
OHLCV = ("open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")
WIDEST = 1 << 26  # grid places by which opens are joined; beyond, they are sorted
_MARGIN = {"1w": timedelta(days=8), "1mo": timedelta(days=32)}  # by how much a bar's candles may lie beside its name


@dataclass(frozen=True)
class Part:
    """What one asset's row of a frame is made of: the stored candles of the range, before adjusting and resampling.

    `revision` is that of the series (None with `as_of`), `checksum` the sum of the row hashes as
    `marketdata.columns` states them, `adjusted` tells the factors that prices were multiplied by; '' if by none.
    `more`: the range has further candles beyond the limit that was asked for.
    """

    symbol: str
    timeframe: str
    revision: int | None
    source: str
    candles: int
    first: datetime | None
    last: datetime | None
    checksum: int
    adjusted: str = ""
    more: bool = False

    @property
    def fingerprint(self) -> str:
        """Revision, range, count and checksum as one short text: equal for equal data, another if anything differs."""
        revision = "as-of" if self.revision is None else f"r{self.revision}"
        span = f"{self.first:%Y%m%dT%H%M}-{self.last:%Y%m%dT%H%M}" if self.first and self.last else "empty"
        told = f"{self.timeframe}:{revision}:{span}:{self.candles}:{self.checksum:016x}"
        return f"{told}:{self.adjusted}" if self.adjusted else told


@dataclass(frozen=True)
class Frame:
    """Aligned candles: `times` (T,) datetime64[us] opens in UTC, ascending; each column float64 (A, T), C-contiguous,
    in the order of `symbols`. `complete` (T,) is False for a resampled bar that some asset has not to its end.
    """

    timeframe: Timeframe
    times: Array
    columns: dict[str, Array]
    parts: tuple[Part, ...]
    complete: Array = field(repr=False)

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(part.symbol for part in self.parts)

    def __getitem__(self, column: str) -> Array:
        return self.columns[column]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class _Wish:
    """The checked arguments of a call."""

    timeframe: Timeframe
    stored: Timeframe
    start: datetime | None
    end: datetime | None
    columns: tuple[str, ...]
    adjust: Adjust
    as_of: datetime | None
    extended: bool
    complete_only: bool
    limit: int | None = None
    sparse: bool = False

    @property
    def resampled(self) -> bool:
        return self.stored != self.timeframe

    def range(self) -> tuple[int | None, int | None]:
        """What must be read of the stored candles, in microseconds since 1970."""
        beside = _MARGIN.get(self.timeframe, timedelta(days=2)) if self.resampled else timedelta()
        margin = beside // timedelta(microseconds=1)  # whole numbers, because Python's calendar has ends
        start, end = history.micros(self.start), history.micros(self.end)
        return None if start is None else start - margin, None if end is None else end + margin


def read(
    assets: "Asset | str | Iterable[Asset | str]",
    timeframe: str,
    start: datetime | None = None,
    end: datetime | None = None,
    columns: Sequence[str] = OHLCV,
    adjust: Adjust = "split",
    as_of: datetime | None = None,
    *,
    from_timeframe: str | None = None,
    extended: bool = False,
    complete_only: bool = True,
    limit: int | None = None,
    sparse: bool = False,
) -> Frame:
    """The candles of assets (or symbols) with start ≤ open < end, aligned by their opens; NaN where one has none.

    `columns` are of `marketdata.columns.NUMBERS`. `adjust` is "raw" (as they were traded), "split" (divided by later
    splits) or "total" (also for dividends), as `marketdata.actions.factors` states it; `adj_close` and `quote_volume`
    stay as the source gave them. `as_of` reads candles and actions as they were known at that moment.

    `from_timeframe` makes the candles of shorter stored ones, by the sessions of each asset's calendar
    (`marketdata.resampling`; with `extended` what trades outside of them counts too). Its first use may load a
    calendar, which takes seconds. A bar that the candles do not reach to the end of is left out, or with
    `complete_only=False` marked in `Frame.complete`.

    `limit`: of each asset only the first so many stored candles of the range. `sparse`, for a single asset: columns
    that none of its candles has are left out, rather than filled with NaN.

    An asset without candles has a row of NaN. Raises `ValueError` if what is asked for does not exist.
    """
    wish = _checked(
        timeframe, start, end, columns, adjust, as_of, from_timeframe, extended, complete_only, limit, sparse
    )
    found = _assets(assets)
    if sparse and len(found) > 1:
        raise ValueError("Only the columns of a single asset can be left out.")
    reader = _Reader(wish, found)
    if len(found) == 1:
        return _alone(wish, reader.one(found[0]))
    return _aligned(wish, found, reader)


def fingerprint(
    asset: "Asset | str", timeframe: str, start: datetime | None = None, end: datetime | None = None
) -> str:
    """`Part.fingerprint` of the stored candles with start ≤ open < end, without reading them: two rows decide."""
    wish = _checked(timeframe, start, end, (), "split", None, None, False, True)
    (found,) = _assets(asset)
    return _Reader(wish, [found], adjusting=False).one(found).part.fingerprint


class Factors(NamedTuple):
    """Opens, int64 microseconds since 1970, and what prices and volumes of the candle are multiplied by, float64."""

    times: Array
    price: Array
    volume: Array


def factors(asset: Asset, timeframe: str, adjust: Adjust, as_of: datetime | None = None) -> Factors | None:
    """By what `read` multiplies a stored series; None if by nothing but 1."""
    wish = _checked(timeframe, None, None, (), adjust, as_of, None, False, True)
    reader = _Reader(wish, [asset])
    series = reader.series.get((asset.pk, wish.stored.value))
    if series is None:
        return None
    found = reader.found(series)
    by = reader.factors(asset, series, found, slice(0, len(found.times)))
    return None if by is None else Factors(found.times, *by)


# --- What was asked for ------------------------------------------------------------------------------------------


def _checked(
    timeframe: str,
    start: datetime | None,
    end: datetime | None,
    wanted: Sequence[str],
    adjust: str,
    as_of: datetime | None,
    from_timeframe: str | None,
    extended: bool,
    complete_only: bool,
    limit: int | None = None,
    sparse: bool = False,
) -> _Wish:
    for name in (timeframe, from_timeframe or timeframe):
        if name not in Timeframe.values:
            raise ValueError(f"{name!r} is no timeframe; choose one of {', '.join(Timeframe.values)}.")
    for name in (wanted,) if isinstance(wanted, str) else wanted:
        if name not in columns.NUMBERS:
            raise ValueError(f"{name!r} is no column; choose of {', '.join(columns.NUMBERS)}.")
    if adjust not in get_args(Adjust):
        raise ValueError(f"adjust={adjust!r} is not known; choose one of {', '.join(get_args(Adjust))}.")
    for told, moment in (("start", start), ("end", end), ("as_of", as_of)):
        if moment is not None and moment.utcoffset() is None:
            raise ValueError(f"{told}={moment} has no time zone; give it one, such as tzinfo=UTC.")
    if start is not None and end is not None and start > end:
        raise ValueError(f"start={start} lies after end={end}; exchange the two.")
    if from_timeframe and from_timeframe != timeframe:
        resampling.check(from_timeframe, timeframe)
    return _Wish(
        Timeframe(timeframe), Timeframe(from_timeframe or timeframe), start, end,
        (wanted,) if isinstance(wanted, str) else tuple(wanted), adjust, as_of, extended, complete_only, limit,  # type: ignore[arg-type]
        sparse,
    )  # fmt: skip


def _assets(given: "Asset | str | Iterable[Asset | str]") -> list[Asset]:
    several = [given] if isinstance(given, Asset | str) else list(given)
    if not several:
        raise ValueError("There is no asset to read; give at least one.")
    symbols = {canonical(each) for each in several if isinstance(each, str)}
    stored = {asset.symbol: asset for asset in Asset.objects.filter(symbol__in=symbols)} if symbols else {}
    if missing := symbols - stored.keys():
        raise ValueError(f"There is no asset called {', '.join(sorted(missing))}; fetch or import it first.")
    return [stored[canonical(each)] if isinstance(each, str) else each for each in several]


# --- One asset ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _One:
    """One asset's candles: `times` int64 microseconds since 1970, columns (n,), complete (n,) or None if all are."""

    times: Array
    columns: dict[str, Array]
    part: Part
    complete: Array | None = None


class _Reader:
    """Reads one asset after the other, with what can be asked for all at once asked once."""

    def __init__(self, wish: _Wish, assets: Sequence[Asset], *, adjusting: bool = True) -> None:
        self.wish, self.adjusting = wish, adjusting
        self.series = shelf.wanted((asset.pk, wish.stored.value) for asset in assets)
        self.split = self._with_splits(assets)
        self.book = Book()

    def _with_splits(self, assets: Sequence[Asset]) -> set[int]:
        """The assets whose prices must be looked at: those with splits, if the stored basis is not what is wanted."""
        if self.wish.adjust == "total" or not self.adjusting:
            return set()
        other = [asset for (asset, _), series in self.series.items() if series.basis != self.wish.adjust]
        if not other:
            return set()
        splits = CorporateAction.objects.filter(asset__in=other, kind=CorporateAction.Kind.SPLIT)
        return set(splits.values_list("asset_id", flat=True))

    def candles(self, asset: Asset) -> int:
        series = self.series.get((asset.pk, self.wish.stored.value))
        return series.state.candles if series else 0

    def one(self, asset: Asset) -> _One:
        series = self.series.get((asset.pk, self.wish.stored.value))
        if series is None:
            return self._none(asset)
        found = self.found(series)
        ranged = found.between(*self.wish.range())
        limit = len(found.times) if self.wish.limit is None else self.wish.limit
        inside = slice(ranged.start, min(ranged.stop, ranged.start + limit))
        there = (name for name in self.wish.columns if not self.wish.sparse or found.numbers[name] is not None)
        numbers = {name: found.number(name, inside) for name in there}
        numbers, adjusted = self._adjusted(asset, series, found, inside, numbers)
        part = replace(self._part(asset, series, found, inside, adjusted), more=inside.stop < ranged.stop)
        if not self.wish.resampled:
            return _One(found.times[inside], numbers, part)
        return self._resampled(asset, found, inside, numbers, part)

    def found(self, series: shelf.Wanted) -> Columns:
        return shelf.take(series) if self.wish.as_of is None else self._as_of(series, self.wish.as_of)

    def _none(self, asset: Asset) -> _One:
        part = Part(asset.symbol, self.wish.stored, 0, "", 0, None, None, 0)
        return _One(np.empty(0, np.int64), {name: np.empty(0) for name in self.wish.columns}, part)

    def _as_of(self, series: shelf.Wanted, as_of: datetime) -> Columns:
        """From the tables. With "total" all of the series, because a factor may come from the close before.

        What is stored no more counts as well: the first or the last candle may have been withdrawn since.
        """
        low, high = self.wish.range() if self.wish.adjust != "total" else (None, None)
        first, last = history.ever(series.asset_id, series.timeframe, series.first_open, series.last_open)
        since = first if low is None else max(first, low)
        until = last + 1 if high is None else min(last + 1, high)
        chunks = history.as_of(
            series.asset_id, series.timeframe, as_of, history.moment(since), history.moment(max(since, until)),
            series.state.candles,
        )  # fmt: skip
        return columns.gathered(series.state, list(chunks))

    def _part(self, asset: Asset, series: shelf.Wanted, found: Columns, inside: slice, adjusted: str) -> Part:
        count = inside.stop - inside.start
        return Part(
            asset.symbol,
            series.timeframe,
            found.state.revision if self.wish.as_of is None else None,
            series.source,
            count,
            history.moment(found.times[inside.start]) if count else None,
            history.moment(found.times[inside.stop - 1]) if count else None,
            found.checksum(inside),
            adjusted,
        )

    def _adjusted(
        self, asset: Asset, series: shelf.Wanted, found: Columns, inside: slice, numbers: dict[str, Array]
    ) -> tuple[dict[str, Array], str]:
        """The columns times their factors, and a word for these; untouched where nothing is to be done."""
        by = self.factors(asset, series, found, inside)
        if by is None:
            return numbers, ""
        price, volume = by
        of = dict.fromkeys(PRICES, price) | {"volume": volume}
        mark = zlib.crc32(np.ascontiguousarray(price).tobytes(), zlib.crc32(np.ascontiguousarray(volume).tobytes()))
        numbers = {name: values * of[name] if name in of else values for name, values in numbers.items()}
        return numbers, f"{self.wish.adjust}-{mark:08x}"

    def factors(self, asset: Asset, series: shelf.Wanted, found: Columns, inside: slice) -> tuple[Array, Array] | None:
        """What prices and volumes of a part are multiplied by; None if by nothing but 1."""
        wish = self.wish
        if not self.adjusting or (wish.adjust != "total" and asset.pk not in self.split):
            return None
        if wish.adjust == "total":
            price, volume = (of[inside] for of in self._total(asset, series, found))
        else:
            price, volume = actions.factors(
                asset, found.times[inside].view("datetime64[us]"), basis=series.basis, adjust=wish.adjust,
                as_of=wish.as_of, timeframe=wish.stored,
            )  # fmt: skip
        return None if bool((price == 1).all()) and bool((volume == 1).all()) else (price, volume)

    def _total(self, asset: Asset, series: shelf.Wanted, found: Columns) -> tuple[Array, Array]:
        """Of the whole series, so that a part has the same factors as the whole."""
        whole = slice(0, len(found.times))
        given = found.numbers["adj_close"]
        return actions.factors(
            asset, found.times.view("datetime64[us]"), basis=series.basis, adjust="total", as_of=self.wish.as_of,
            closes=found.number("close", whole), adj_closes=given, timeframe=self.wish.stored,
        )  # fmt: skip

    def _resampled(self, asset: Asset, found: Columns, inside: slice, numbers: dict[str, Array], part: Part) -> _One:
        wish, times = self.wish, found.times[inside]
        made = resampling.resample(
            times, numbers, wish.stored, wish.timeframe, self._sessions(asset, times),
            extended=wish.extended, complete_only=wish.complete_only,
        )  # fmt: skip
        opens = made.times.view(np.int64)
        low, high = (None if at is None else history.micros(at) for at in (wish.start, wish.end))
        kept = slice(
            0 if low is None else int(np.searchsorted(opens, low)),
            len(opens) if high is None else int(np.searchsorted(opens, high)),
        )
        kept = slice(kept.start, max(kept.start, kept.stop))
        return _One(
            opens[kept], {name: values[kept] for name, values in made.numbers.items()}, part, made.complete[kept]
        )

    def _sessions(self, asset: Asset, times: Array) -> resampling.Sessions | None:
        """The sessions of the asset's market around its candles; None for one that never closes."""
        code = calendars.calendar_of(asset)
        if code == calendars.ROUND_THE_CLOCK or not len(times):
            return None
        if not code:
            if self.wish.stored.is_daily:
                return None
            raise ValueError(
                f"The calendar of {asset} is not known, so its {self.wish.timeframe} bars can't be told:"
                " set it in the admin, for example XNYS, or 24/7."
            )
        sessions = self.book.sessions(code)
        first = history.moment(times[0])
        if sessions is None or not sessions.covers(first) or not sessions.covers(history.moment(times[-1])):
            calendars.load(code, first.date())
            self.book = Book()
            sessions = self.book.sessions(code)
        if sessions is None or not (sessions.covers(first) and sessions.covers(history.moment(times[-1]))):
            if self.wish.stored.is_daily:
                return None
            raise ValueError(f"The sessions of {code} are not known for all of {asset}: give a later start.")
        days, *moments = (
            np.frombuffer(column, np.int64)
            for column in (sessions.days, sessions.opens, sessions.closes, sessions.break_from, sessions.break_until)
        )
        return resampling.Sessions(days, *(column * 1_000_000 for column in moments))


# --- Several side by side ----------------------------------------------------------------------------------------


def _alone(wish: _Wish, one: _One) -> Frame:
    complete = np.ones(len(one.times), bool) if one.complete is None else one.complete
    arrays = {name: values.reshape(1, -1) for name, values in one.columns.items()}
    return Frame(wish.timeframe, one.times.view("datetime64[us]"), arrays, (one.part,), complete)


def _aligned(wish: _Wish, assets: Sequence[Asset], reader: _Reader) -> Frame:
    """The longest series first: where the others have the same opens, and most have, they go straight to their place.

    The rest waits until all opens are known. No more than one file is mapped at a time.
    """
    order = sorted(range(len(assets)), key=lambda place: -reader.candles(assets[place]))
    parts: list[Part | None] = [None] * len(assets)
    times: Array = np.empty(0, np.int64)
    out: dict[str, Array] = {}
    waiting: dict[int, _One] = {}
    late: list[_One] = []
    for place in order:
        one = reader.one(assets[place])
        parts[place] = one.part
        if place == order[0]:
            times = np.array(one.times)
            out = {name: np.empty((len(assets), len(times))) for name in wish.columns}
        if np.array_equal(one.times, times):
            for name, rows in out.items():
                rows[place] = one.columns[name]
        else:
            waiting[place] = _One(
                np.array(one.times), {name: np.array(values) for name, values in one.columns.items()}, one.part
            )
        if one.complete is not None and not one.complete.all():
            late.append(_One(np.array(one.times), {}, one.part, one.complete))
    if waiting:
        times, out = _joined(times, out, waiting, wish.timeframe)
    complete = np.ones(len(times), bool)
    for one in late:
        complete[np.searchsorted(times, one.times[~one.complete])] = False  # type: ignore[operator]
    return Frame(wish.timeframe, times.view("datetime64[us]"), out, tuple(part for part in parts if part), complete)


def _joined(
    times: Array, out: dict[str, Array], waiting: dict[int, _One], timeframe: Timeframe
) -> tuple[Array, dict[str, Array]]:
    """Put the rows that have other opens in; the arrays are made anew only if there are opens that they lack."""
    union = _union([times, *(one.times for one in waiting.values())], timeframe)
    if len(union) != len(times):
        spread = _places(union, times)
        wider = {name: np.full((len(rows), len(union)), np.nan) for name, rows in out.items()}
        for name, rows in out.items():
            wider[name][:, spread] = rows
        out = wider
    for place, one in waiting.items():
        spread = _places(union, one.times)
        for name, rows in out.items():
            rows[place] = np.nan
            rows[place, spread] = one.columns[name]
    return union, out


def _union(several: list[Array], timeframe: Timeframe) -> Array:
    """All opens that occur, ascending. They lie on a grid of minutes or days, so marking is quicker than sorting."""
    several = [times for times in several if len(times)]
    if not several:
        return np.empty(0, np.int64)
    unit = resampling.DAY if timeframe.is_daily else 60_000_000
    low = min(int(times[0]) for times in several)
    width = (max(int(times[-1]) for times in several) - low) // unit + 1
    if width > WIDEST:
        return np.unique(np.concatenate(several))
    marked = np.zeros(width, bool)
    for times in several:
        marked[(times - low) // unit] = True
    return np.flatnonzero(marked) * unit + low


def _places(union: Array, times: Array) -> "slice | Array":
    """Where these opens lie among all; a slice if they lie side by side."""
    if not len(times):
        return slice(0, 0)
    first = int(np.searchsorted(union, times[0]))
    beside = slice(first, first + len(times))
    if np.array_equal(union[beside], times):
        return beside
    found: Any = np.searchsorted(union, times)
    return np.asarray(found)
