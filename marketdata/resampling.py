"""Longer candles from shorter ones: arrays in, arrays out.

A bar is its market's: hours are counted from the session's open, and again from the end of its break, and the last of
a stretch ends with it; a day is a session, named by its date at 00:00Z; weeks are named by their Monday, months by
their first. Sessions are moments in UTC, so summer time needs no thought here. Without sessions bars lie on UTC's
clock, as markets that never close have them.

What trades before the open and after the close is left out, as in the daily candles that exchanges publish, unless
`extended` is asked for: then each session has everything that is nearer to it than to its neighbours, and hours are
counted from its open to both sides. A candle that reaches into a session belongs to it, even if it opens before (a
clock hour of New York holds half an hour of trading).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

DAY = 86_400_000_000  # microseconds, as all times here
_LENGTHS = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440, "1w": 10_080, "1mo": 44_640}
LENGTHS = {name: minutes * 60_000_000 for name, minutes in _LENGTHS.items()}
_FAR = 1 << 62


class Sessions(NamedTuple):
    """Trading days, oldest first: `days` since 1970, the others in microseconds since 1970, all int64 of one length.

    `break_from` and `break_until` are 0 where there is no break.
    """

    days: Array
    opens: Array
    closes: Array
    break_from: Array
    break_until: Array


class Bars(NamedTuple):
    """Where bars lie: `names` (their opens), and the candles `starts` to `ends` (exclusive) of each.

    `closes` is when each is over, in microseconds since 1970.
    """

    names: Array
    starts: Array
    ends: Array
    closes: Array


@dataclass(frozen=True)
class Resampled:
    """Bars, oldest first, all of one length: `times` datetime64[us]; `numbers` float64 by name; `complete` says
    whether the candles reach to the end of the bar; `candles` how many it was made of."""

    times: Array
    numbers: dict[str, Array]
    complete: Array
    candles: Array


def resample(
    times: Array,
    numbers: dict[str, Array],
    source: str,
    target: str,
    sessions: Sessions | None = None,
    *,
    extended: bool = False,
    until: int | None = None,
    complete_only: bool = True,
) -> Resampled:
    """Candles of the timeframe `source` as bars of `target`.

    `times` are ascending opens, datetime64[us] or int64 microseconds since 1970; `numbers` are float64 arrays of the
    same length: of each bar open is the first, high the greatest, low the least, close and adj_close the last,
    volume and quote_volume the sum. A bar in which nothing traded is not there.

    `until` is the moment up to which the candles are known, by default the end of the last one. A bar that is not
    over by then is incomplete, and left out with `complete_only`. The first bar is complete only if the candles begin
    early enough, which is the caller's to see to.
    Raises `ValueError` if bars of `target` can't be made of candles of `source`.
    """
    check(source, target)
    at = np.ascontiguousarray(times).view(np.int64) if times.dtype.kind == "M" else times
    known = until if until is not None else (int(at[-1]) + LENGTHS[source] if len(at) else 0)
    if sessions is not None and target in ("1w", "1mo") and LENGTHS[source] < DAY:
        traded = _traded(at, sessions, LENGTHS[source], extended)
        at, numbers = at[traded], {name: values[traded] for name, values in numbers.items()}
    found = bars(at, source, target, sessions, extended=extended)
    complete = found.closes <= known
    if complete_only and not complete.all():
        found = Bars(*(column[complete] for column in found))
        complete = complete[complete]
    reduced = {name: _reduced(name, values, found.starts, found.ends) for name, values in numbers.items()}
    return Resampled(found.names.view("datetime64[us]"), reduced, complete, found.ends - found.starts)


def check(source: str, target: str) -> None:
    """Raises `ValueError` if bars of `target` can't be made of candles of `source`."""
    for name in (source, target):
        if name not in LENGTHS:
            raise ValueError(f"{name!r} is no timeframe; choose one of {', '.join(LENGTHS)}.")
    if LENGTHS[source] >= LENGTHS[target]:
        raise ValueError(f"{target} bars can't be made of {source} candles: read a shorter timeframe than {target}.")
    if source == "1w":
        raise ValueError("Months can't be made of weeks, which lie in two of them: read 1d.")


def bars(at: Array, source: str, target: str, sessions: Sessions | None = None, *, extended: bool = False) -> Bars:
    """Which candles each bar is made of; bars without candles are left out. Arguments as of `resample`.

    Weeks and months take all candles between their first session and their last.
    """
    if not len(at):
        none = np.empty(0, np.int64)
        return Bars(none, none, none, none)
    first, last = int(at[0]), int(at[-1])
    if LENGTHS[source] >= DAY or (sessions is None and LENGTHS[target] >= DAY):
        edges = _days(first, last)
    elif sessions is None:
        return _even(at, LENGTHS[target])
    elif LENGTHS[target] >= DAY:
        edges = _session_days(_near(sessions, first, last), LENGTHS[source], extended)
    else:
        edges = _session_bars(_near(sessions, first, last), LENGTHS[source], LENGTHS[target], extended)
    if target in ("1w", "1mo"):
        edges = _joined(edges, target, _over(sessions, LENGTHS[source], extended))
    return _filled(at, edges)


# --- Edges: name, from, until, over ------------------------------------------------------------------------------


class _Edges(NamedTuple):
    """Bars before it is known whether they have candles: those that open in [since, until); `closes` as in `Bars`."""

    names: Array
    since: Array
    until: Array
    closes: Array


def _even(at: Array, length: int) -> Bars:
    """Bars at the multiples of a length."""
    first, last = int(at[0]) // length, int(at[-1]) // length
    if last - first <= len(at):  # so many bars are quickly looked up among the candles
        names = np.arange(first, last + 1) * length
        starts = np.searchsorted(at, names)
        ends = np.append(starts[1:], len(at))
        if not (starts < ends).all():
            there = starts < ends
            names, starts, ends = names[there], starts[there], ends[there]
        return Bars(names, starts, ends, names + length)
    labels = at // length
    starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    names = labels[starts] * length
    return Bars(names, starts, np.append(starts[1:], len(at)), names + length)


def _days(first: int, last: int) -> _Edges:
    """UTC's days."""
    names = np.arange(first // DAY, last // DAY + 1) * DAY
    return _Edges(names, names, names + DAY, names + DAY)


def _near(sessions: Sessions, first: int, last: int) -> Sessions:
    """The sessions that candles between two moments can belong to, and one more on both sides."""
    low = max(int(np.searchsorted(sessions.closes, first)) - 1, 0)
    high = int(np.searchsorted(sessions.opens, last, side="right")) + 1
    return Sessions(*(column[low:high] for column in sessions))


def _reach(sessions: Sessions, source: int, extended: bool) -> tuple[Array, Array]:
    """From where to where candles that open then belong to each session."""
    if not extended:
        since = sessions.opens - source + 1
        since[1:] = np.maximum(since[1:], sessions.closes[:-1])
        return since, sessions.closes
    middle = (sessions.closes[:-1] + sessions.opens[1:]) // 2
    outer = DAY // 2
    return (
        np.concatenate([sessions.opens[:1] - outer, middle]),
        np.concatenate([middle, sessions.closes[-1:] + outer]),
    )


def _session_days(sessions: Sessions, source: int, extended: bool) -> _Edges:
    since, until = _reach(sessions, source, extended)
    return _Edges(sessions.days * DAY, since, until, until if extended else sessions.closes)


def _traded(at: Array, sessions: Sessions, source: int, extended: bool) -> Array:
    """Which candles belong to any session."""
    since, until = _reach(sessions, source, extended)
    if not len(since):
        return np.zeros(len(at), bool)
    number = np.searchsorted(since, at, side="right") - 1
    return np.asarray((number >= 0) & (at < until[number]))


def _session_bars(sessions: Sessions, source: int, length: int, extended: bool) -> _Edges:
    """Bars counted from where each stretch of trading begins."""
    if extended:
        since, until = _reach(sessions, source, extended)
        begins = sessions.opens - -(-(sessions.opens - since) // length) * length
        return _counted(begins, until, since, length)
    breaks = sessions.break_from > 0
    ends = np.where(breaks, sessions.break_from, sessions.closes)
    begins = np.concatenate([sessions.opens, sessions.break_until[breaks]])
    ends = np.concatenate([ends, sessions.closes[breaks]])
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], ends[order]
    before = np.concatenate([[-_FAR], ends[:-1]])
    return _counted(begins, ends, np.maximum(begins - source + 1, before), length)


def _counted(begins: Array, ends: Array, reach: Array, length: int) -> _Edges:
    """The bars of each stretch; the first one has the candles from `reach` on, the last one ends with the stretch."""
    counts = np.maximum(-(-(ends - begins) // length), 0)
    stretch = np.repeat(np.arange(len(begins)), counts)
    within = np.arange(len(stretch)) - np.repeat(np.cumsum(counts) - counts, counts)
    names = begins[stretch] + within * length
    since = np.where(within == 0, reach[stretch], names)
    until = np.minimum(names + length, ends[stretch])
    return _Edges(names, since, until, until)


class _Over(NamedTuple):
    """Trading days since 1970, and when the last candle of each is over."""

    days: Array
    closes: Array


def _over(sessions: Sessions | None, source: int, extended: bool) -> _Over | None:
    """With its close; with its date if candles are of days; with what trades after it if that counts too."""
    if sessions is None or not len(sessions.days):
        return None
    if source >= DAY:
        return _Over(sessions.days, (sessions.days + 1) * DAY)
    return _Over(sessions.days, _reach(sessions, source, extended)[1])


def _joined(edges: _Edges, target: str, sessions: _Over | None) -> _Edges:
    """Days joined to weeks or months, which are over with their last session."""
    days = edges.names // DAY
    if target == "1w":
        names = days - (days + 3) % 7  # 1 January 1970 was a Thursday
        after = names + 7
    else:
        months = days.view("datetime64[D]").astype("datetime64[M]")
        names, after = (month.astype("datetime64[D]").view(np.int64) for month in (months, months + 1))
    firsts = np.flatnonzero(np.concatenate([[len(names) > 0], names[1:] != names[:-1]]))
    lasts = np.append(firsts[1:], len(names)) - 1
    names, closes = names[firsts], after[firsts] * DAY
    if sessions is not None:
        newest = np.searchsorted(sessions.days, after[firsts]) - 1
        told = (sessions.days[newest] >= names) & (newest >= 0) & (sessions.days[-1] >= after[firsts])
        closes = np.where(told, sessions.closes[newest], closes)
    return _Edges(names * DAY, edges.since[firsts], edges.until[lasts], closes)


def _filled(at: Array, edges: _Edges) -> Bars:
    starts, ends = np.searchsorted(at, edges.since), np.searchsorted(at, edges.until)
    there = starts < ends
    return Bars(edges.names[there], starts[there], ends[there], edges.closes[there])


# --- Numbers -----------------------------------------------------------------------------------------------------


def _reduced(name: str, values: Array, starts: Array, ends: Array) -> Array:
    if not len(starts):
        return np.empty(0)
    if name == "open":
        return np.asarray(values[starts])
    if name in ("close", "adj_close"):
        return np.asarray(values[ends - 1])
    operation = {"high": np.maximum, "low": np.minimum}.get(name, np.add)
    if np.array_equal(ends[:-1], starts[1:]):
        return np.asarray(operation.reduceat(values[: ends[-1]], starts))
    pairs = np.stack([starts, ends], axis=1).ravel()
    if pairs[-1] == len(values):
        pairs = pairs[:-1]
    return np.asarray(operation.reduceat(values, pairs)[::2])
