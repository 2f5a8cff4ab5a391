"""The times in files: what is written there, and which moment it means.

Four things can be written: a date (a trading date); a wall-clock time without an offset, which is no moment until
somebody says of which zone; a time with an offset; a count of seconds, milli-, micro- or nanoseconds since 1970.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from marketdata.checks import EPOCH
from marketdata.models import Timeframe

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

UNREADABLE, DATE, NAIVE, AWARE = 0, 1, 2, 3
DAY = 86_400_000_000  # microseconds

_CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_WITH_ZONE = rf"^(?P<clock>{_CLOCK}) ?(?P<zone>Z|z|UTC|GMT|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)$"
_EPOCH = r"^-?[0-9]{9,19}(?:\.[0-9]*)?$"
_UNITS = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (float("inf"), 0.001))  # to microseconds


@dataclass(frozen=True)
class Written:
    """One column of times: `kind` (uint8) of each, its wall clock and offset from UTC in microseconds (int64).

    `offset` means something for AWARE only; `clock` for all but UNREADABLE.
    """

    kind: "np.ndarray[Any, Any]"
    clock: "np.ndarray[Any, Any]"
    offset: "np.ndarray[Any, Any]"

    def whole_days(self) -> bool:
        """Whether nothing in it has a time of day."""
        readable = self.clock[self.kind != UNREADABLE]
        return bool((readable % DAY == 0).all())


def read(texts: "pa.ChunkedArray", chunk: int = 200_000) -> Written:
    """What a column of texts says; bounded memory beside the result's 17 bytes a row."""
    import numpy as np

    parts = [_read(texts.slice(at, chunk).combine_chunks()) for at in range(0, max(len(texts), 1), chunk)]
    return Written(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def spacing(written: Written) -> timedelta | None:
    """The most frequent distance between neighbouring times, or None with fewer than two."""
    import numpy as np

    times = np.unique(written.clock[written.kind != UNREADABLE])
    if len(times) < 2:
        return None
    distances, counts = np.unique(np.diff(times), return_counts=True)
    return timedelta(microseconds=int(distances[np.argmax(counts)]))


def timeframe_of(written: Written) -> Timeframe | None:
    """The timeframe that the distances speak for, or None if they speak for none."""
    apart = spacing(written)
    if apart is None:
        return Timeframe.D1 if (written.kind == DATE).any() else None
    if timedelta(days=28) <= apart <= timedelta(days=31):
        return Timeframe.MO1
    if timedelta(days=1) <= apart < timedelta(days=6):  # a few daily rows around a weekend
        return Timeframe.D1 if written.whole_days() or apart == timedelta(days=1) else None
    return next((timeframe for timeframe in Timeframe if timeframe.length == apart), None)


def moments(written: Written, timeframe: Timeframe, zone: ZoneInfo | None) -> tuple["pa.Array", dict[int, str]]:
    """The opens (timestamp[us, UTC], null where there is no telling) and the faults of those, by place.

    A candle of a day or more is named by its date: a date, or a midnight on the clock that the row itself (or else
    `zone`) gives, becomes that date at 00:00Z.
    """
    import numpy as np
    import pyarrow as pa

    at = written.clock - np.where(written.kind == AWARE, written.offset, 0)
    faults: dict[int, str] = {}
    midnight = written.clock % DAY == 0
    if timeframe.is_daily:
        named = midnight & (written.kind != UNREADABLE)
        at[named] = written.clock[named]
        rest = (written.kind == NAIVE) & ~midnight
        if zone:
            _name_by_date(at, np.flatnonzero((written.kind == AWARE) & ~midnight), zone)
    else:
        rest = (written.kind == NAIVE) | (written.kind == DATE)
    if zone:
        _place_in(zone, at, np.flatnonzero(rest), faults)
        if timeframe.is_daily:
            _name_by_date(at, np.flatnonzero(rest), zone)
    else:
        faults.update(dict.fromkeys(np.flatnonzero(rest).tolist(), NO_ZONE))
    missing = written.kind == UNREADABLE
    missing[list(faults)] = True
    return pa.array(at, pa.int64(), mask=missing).cast(pa.timestamp("us", "UTC")), faults


SAY_ZONE = "add one to the file, or say whose clock it is, e.g. --timezone America/New_York"
NO_ZONE = f"its time has no offset from UTC: {SAY_ZONE}"


def _place_in(zone: ZoneInfo, at: Any, places: Any, faults: dict[int, str]) -> None:
    """Turn the wall-clock times at these places into UTC. One that a clock change skips or repeats is no moment."""
    for place in places.tolist():
        clock = EPOCH.replace(tzinfo=zone) + timedelta(microseconds=int(at[place]))
        offset = clock.utcoffset()
        if offset != clock.replace(fold=1).utcoffset():
            faults[place] = f"the clock of {zone.key} shows {clock:%Y-%m-%d %H:%M} twice or not at all"
        at[place] -= (offset or timedelta()) // timedelta(microseconds=1)


def _name_by_date(at: Any, places: Any, zone: ZoneInfo) -> None:
    """Where it is midnight in the zone, put that date's midnight UTC instead."""
    for place in places.tolist():
        local = (EPOCH + timedelta(microseconds=int(at[place]))).astimezone(zone)
        if local.time() == local.min.time():
            at[place] = (local.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


def _read(texts: "pa.Array") -> tuple[Any, Any, Any]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = _usual(texts)
    kind = np.zeros(len(texts), np.uint8)
    clock, offset = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    zoned = pc.extract_regex(texts, _WITH_ZONE)
    for what, pattern, of in (
        (AWARE, None, zoned.field("clock")),
        (DATE, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", texts),
        (NAIVE, rf"^{_CLOCK}$", texts),
    ):
        found = zoned.is_valid() if pattern is None else pc.match_substring_regex(texts, pattern)
        mask = found.fill_null(False).to_numpy(zero_copy_only=False)
        if mask.any():
            micros, readable = _clocks(of.filter(pa.array(mask)))
            clock[mask], kind[mask] = micros, np.where(readable, what, UNREADABLE)
            if what == AWARE:
                offset[mask] = _offsets(zoned.field("zone").filter(pa.array(mask)))
    counted = pc.match_substring_regex(texts, _EPOCH).fill_null(False).to_numpy(zero_copy_only=False)
    if counted.any():
        clock[counted], kind[counted] = _since_1970(texts.filter(pa.array(counted))), AWARE
    return kind, clock, offset


def _usual(texts: "pa.Array") -> "pa.Array":
    """2024.01.02, 2024/01/02 and 20240102 as 2024-01-02; no more than six decimals of a second."""
    import pyarrow.compute as pc

    texts = pc.utf8_trim_whitespace(texts)
    for pattern, replacement in (
        (r"^([0-9]{4})[./]([0-9]{2})[./]([0-9]{2})", r"\1-\2-\3"),
        (r"^([0-9]{4})([0-9]{2})([0-9]{2})$", r"\1-\2-\3"),
        (r"^([0-9]{4})([0-9]{2})([0-9]{2})[T ]", r"\1-\2-\3 "),
        (r"(:[0-9]{2}\.[0-9]{6})[0-9]+", r"\1"),
    ):
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts


def _clocks(texts: "pa.Array") -> tuple[Any, Any]:
    """Microseconds since 1970 of `YYYY-MM-DD[ HH:MM[:SS[.f]]]`, and which could be read (there is no 30 February)."""
    import numpy as np
    import pyarrow as pa

    try:
        return texts.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(), np.ones(len(texts), bool)
    except pa.ArrowInvalid:
        each = [_clock(text) for text in texts.to_pylist()]
    return np.array([at or 0 for at in each], np.int64), np.array([at is not None for at in each])


def _clock(text: str) -> int | None:
    try:
        return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None


def _offsets(zones: "pa.Array") -> Any:
    """Microseconds east of UTC; a file has few different offsets."""
    import numpy as np

    coded = zones.dictionary_encode()
    each = np.array([_offset(text) for text in coded.dictionary.to_pylist()], np.int64)
    return each[coded.indices.to_numpy()]


def _offset(text: str) -> int:
    digits = re.sub(r"[^0-9]", "", text).ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (-minutes if text.startswith("-") else minutes) * 60_000_000


def _since_1970(texts: "pa.Array") -> Any:
    """Microseconds; the unit is told by the size: seconds have ten digits in our time, nanoseconds nineteen."""
    import numpy as np
    import pyarrow as pa

    counts = texts.cast(pa.float64()).to_numpy()
    size = np.abs(counts)
    scale = np.select([size < limit for limit, _ in _UNITS], [factor for _, factor in _UNITS])
    return np.rint(counts * scale).astype(np.int64)
