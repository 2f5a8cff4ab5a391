"""What can be told of candles before the database sees them: is each number a number that fits, each time a time.

Whether the prices agree with each other is the database's to say, exactly, once the texts are numbers
(`marketdata.ingestion`).
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from marketdata.models import QuarantinedCandle, Timeframe

if TYPE_CHECKING:
    import pyarrow as pa

PRICES = ("open", "high", "low", "close", "adj_close")
VOLUMES = ("volume", "quote_volume")
NUMBERS = ("open", "high", "low", "close", "adj_close", "volume", "quote_volume")
OPTIONAL = ("adj_close", "quote_volume")
DIGITS = dict.fromkeys(PRICES, 10) | dict.fromkeys(VOLUMES, 20)  # before the point, as the table has them
SCALE = dict.fromkeys(PRICES, 10) | dict.fromkeys(VOLUMES, 8)

Kind = QuarantinedCandle.Kind


class Fault(NamedTuple):
    """Why a candle is not stored: of what kind that is, and in plain words."""

    kind: QuarantinedCandle.Kind
    reason: str


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OLDEST = datetime(1600, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_MINUTE = 60_000_000  # microseconds
LONGEST = 1_000  # characters of a number: looking at millions of them takes hours, and no price has so many


def faults(candles: "pa.Table", timeframe: Timeframe, now: datetime, *, final: bool) -> dict[int, Fault]:
    """The rows (by position) that can't be staged, each with the reason.

    `candles` is a table of `marketdata.ingestion.schema()`. With `final` a candle counts as over as soon as it has
    begun, because its source said so; otherwise as soon as its length has passed.
    """
    found: dict[int, Fault] = {}
    for place, fault in (*_told(candles), *_time_faults(candles, timeframe, now, final), *_number_faults(candles)):
        found.setdefault(place, fault)
    return found


def _told(candles: "pa.Table") -> Iterator[tuple[int, Fault]]:
    """What the reader of the rows found wrong with them already."""
    if "fault" in candles.column_names and candles["fault"].null_count < candles.num_rows:
        told = enumerate(candles["fault"].to_pylist())
        yield from ((place, Fault(Kind.UNREADABLE, text)) for place, text in told if text)


def last_complete_open(timeframe: Timeframe, now: datetime) -> datetime:
    """The latest moment at which a candle that is over by its length can have opened; a month ends with the month."""
    if timeframe == Timeframe.MO1:
        return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(microseconds=1)
    return now - timeframe.length


def _time_faults(candles: "pa.Table", timeframe: Timeframe, now: datetime, final: bool) -> Iterator[tuple[int, Fault]]:
    """A day and more opens at 00:00Z; within the day any whole minute can be right, and `marketdata.quality.off_grid`
    says whether it is.
    """
    import numpy as np
    import pyarrow as pa

    column = candles["open_time"]
    empty = column.is_null().to_numpy()
    at = column.cast(pa.int64()).fill_null(0).to_numpy()
    step = 1440 * _MINUTE if timeframe.is_daily else _MINUTE
    over = now if final else last_complete_open(timeframe, now)
    odd = empty | (at % step != 0) | (at > _micros(over)) | (at < _micros(OLDEST))
    for place in np.flatnonzero(odd).tolist():
        if empty[place]:
            yield place, Fault(Kind.UNREADABLE, _unreadable(candles, place))
        else:
            yield place, _time_fault(moment(int(at[place])), timeframe, now)


def _time_fault(at: datetime, timeframe: Timeframe, now: datetime) -> Fault:
    if at < OLDEST:
        return Fault(Kind.GRID, "its time lies before 1600; is the unit of the timestamps what it seems?")
    if at > now:
        return Fault(Kind.UNFINISHED, f"it opens at {at:%Y-%m-%d %H:%M}Z, in the future")
    if timeframe.is_daily and at.time() != at.min.time():
        day = f"{at:%Y-%m-%d %H:%M:%S}Z"
        return Fault(Kind.GRID, f"a {timeframe} candle is named by its date at 00:00Z, and this one opens at {day}")
    if at.second or at.microsecond:
        return Fault(Kind.GRID, f"it opens at {at:%Y-%m-%d %H:%M:%S.%f}Z, which is not a whole minute")
    return Fault(Kind.UNFINISHED, f"the {timeframe} candle of {at:%Y-%m-%d %H:%M}Z is not over yet")


def _unreadable(candles: "pa.Table", place: int) -> str:
    text = candles["time"][place].as_py() if "time" in candles.column_names else None
    return f"its time {shortened(text)} can't be read as one moment" if text else "it has no time"


def _number_faults(candles: "pa.Table") -> Iterator[tuple[int, Fault]]:
    """Vectorised for plain numbers that surely fit; the few others are looked at one by one."""
    import numpy as np
    import pyarrow.compute as pc

    for name in NUMBERS:
        column = candles[name]
        if column.null_count == len(column) and name in OPTIONAL:
            continue
        plain = pc.match_substring_regex(column, rf"^-?[0-9]{{1,{DIGITS[name] - 1}}}(?:\.[0-9]*)?$")
        for place in np.flatnonzero(~plain.fill_null(name in OPTIONAL).to_numpy()).tolist():
            if reason := number_fault(name, column[place].as_py()):
                yield place, Fault(Kind.UNREADABLE, reason)


def number_fault(name: str, text: str | None) -> str | None:
    """Why this text can't be stored as that column's number, or None if it can."""
    if text is None:
        return f"it has no {name}"
    if len(text) > LONGEST:
        return f"its {name} {shortened(text)} does not fit: it has {len(text):,} characters"
    if not _NUMBER.fullmatch(text):
        return f"its {name} is {shortened(text)}, which is not a number"
    value = Decimal(text)
    limit = Decimal(10) ** DIGITS[name] - Decimal(5) * Decimal(10) ** -(SCALE[name] + 1)
    if abs(value) >= limit or (value and value.adjusted() < -100):
        return f"its {name} {shortened(text)} does not fit: at most {DIGITS[name]} digits before the point"
    return None


def shortened(text: Any, length: int = 60) -> str:
    """The text in quotes, cut where it would flood a message."""
    cut = str(text)
    return repr(cut if len(cut) <= length else cut[: length - 1] + "…")


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(micros: int) -> datetime:
    """The moment so many microseconds after 1970, or the end of Python's calendar if it lies beyond."""
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if micros > 0 else datetime.min.replace(tzinfo=UTC)


def short(moment: datetime | None) -> str:
    """A moment in a sentence: a date if that says it all, else minutes too; nothing for None."""
    if moment is None:
        return ""
    at = moment.astimezone(UTC)
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute, at.second) == (0, 0, 0) else f"{at:%Y-%m-%d %H:%M}Z"
