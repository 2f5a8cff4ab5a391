"""Where the column files of series stand: found, built, extended, and cleared away when they take too much room.

Below `CHRONOS_VAR/frames/<timeframe>/` each series has `<asset>.columns`, and `<asset>.lock`, which writers hold by
`flock`: many processes share the shelf, and one of them builds while the others wait for it. Readers take no lock. A
file is built as `<asset>.new` and renamed into place. Whatever the file system refuses, the answer comes from the
database all the same, and the log says why it is slow.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from marketdata import columns, history
from marketdata.columns import Columns, Head, Rows, State, Writer

logger = logging.getLogger(__name__)

TOUCH_SECONDS = 60  # how exactly the time of the last use is kept
SWEEP_SECONDS = 60  # how often a process that only appends looks at the room taken
SWEEP_SHARE = 50  # a process that wrote this part of the room looks at once
LEAVE = 0.9  # of the room that is left taken after clearing away

Key = tuple[int, str]  # asset and timeframe


class Wanted(NamedTuple):
    """A series as its row told it."""

    asset_id: int
    timeframe: str
    state: State
    first_open: datetime
    last_open: datetime
    source: str
    basis: str

    def place(self, suffix: str = "columns") -> str:
        return f"{settings.CHRONOS_VAR}/frames/{self.timeframe}/{self.asset_id}.{suffix}"


def root() -> Path:
    return Path(settings.CHRONOS_VAR) / "frames"


def wanted(keys: Iterable[Key]) -> dict[Key, Wanted]:
    """The states of series, by one query; a series that has no candles is left out."""
    from marketdata.models import Series

    keys = list(keys)
    rows = Series.objects.filter(
        asset_id__in={asset for asset, _ in keys},
        timeframe__in={timeframe for _, timeframe in keys},
        candle_count__gt=0,
    ).values_list(
        "asset_id", "timeframe", "first_open", "last_open", "source", "basis",
        "pk", "revision", "revised_at", "changed_at", "candle_count",
    )  # fmt: skip
    micros = history.micros
    return {
        (asset, timeframe): Wanted(
            asset, timeframe, State(series, revision, micros(revised), micros(changed), candles),
            first, last, source, basis,
        )
        for asset, timeframe, first, last, source, basis, series, revision, revised, changed, candles in rows
        if first and last
    }  # fmt: skip


def take(series: Wanted) -> Columns:
    """The candles of a series exactly as they were committed when `series` was read, or at one later moment.

    1. What stands on the shelf is used as far as it is of the same past and has the candles.
    2. With more candles than `series` tells, it is of a later moment, or of a database that has been replaced since:
       the row is read again, and tells which.
    3. Otherwise it is extended or built, by whoever gets the lock first.
    """
    try:
        found = _standing(series)
        if found and found.state.candles > series.state.candles and found.state.has_past_of(series.state):
            series = wanted([(series.asset_id, series.timeframe)]).get((series.asset_id, series.timeframe), series)
        if found and (fitting := _fitting(found, series.state)):
            return fitting
        with _locked(series):
            return _brought(series)
    except OSError as error:
        logger.warning(
            "The columns of series %s can't be kept in %s (%s): they are read from the database, which takes longer."
            " Make room on the disk or look at the rights of the directory.",
            series.state.series, root(), error.strerror or error,
        )  # fmt: skip
        return _unkept(series)


def _fitting(found: Columns, state: State) -> Columns | None:
    """The part of what was found that is that state; None if it is of another past or too short."""
    if not found.state.has_past_of(state) or found.state.candles < state.candles:
        return None
    if found.state.candles == state.candles:
        return found if found.state.changed_at == state.changed_at else None
    return None


def _standing(series: Wanted) -> Columns | None:
    """What stands on the shelf for a series; None if nothing does that can be used without a lock."""
    try:
        fd = os.open(series.place(), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        head = columns.read_head(fd)
        if head is None or not _trusted(head):
            return None
        if time.time() - os.fstat(fd).st_mtime > TOUCH_SECONDS:
            with suppress(OSError):  # another user's file, or gone
                os.utime(series.place())
        return columns.mapped(fd, head)
    finally:
        os.close(fd)


def _trusted(head: Head) -> bool:
    """Whether the machine ran on since the file was written; where it can't tell, the rows went to the disk first."""
    return head.boot == columns.boot()


# --- Under the lock ----------------------------------------------------------------------------------------------


@contextmanager
def _locked(series: Wanted) -> Iterator[None]:
    """The one writer of a series' file; the lock ends with the process, however it ends."""
    path = Path(series.place("lock"))
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _brought(series: Wanted) -> Columns:
    """Use, extend or build the file; the caller holds the lock."""
    try:
        fd = os.open(series.place(), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _built(series)
    try:
        head = columns.read_head(fd)
        if head and (_trusted(head) or _checked(fd, head)):
            found = columns.mapped(fd, head)
            if fitting := _fitting(found, series.state):  # somebody else was here first
                return fitting
            if extended := _extended(fd, head, found, series):
                return extended
    finally:
        os.close(fd)
    return _built(series)


def _checked(fd: int, head: Head) -> bool:
    """After another boot: were all rows written before the machine stopped? Asked once."""
    if not columns.intact(columns.mapped(fd, head)):
        return False
    columns.write_head(fd, Head(head.state, head.capacity, head.present, columns.boot()))
    return True


def _extended(fd: int, head: Head, found: Columns, series: Wanted) -> Columns | None:
    """The file with what was appended to the series since; None if its past is not that of the file.

    The newest candle that the file has is read again: it must be the same and have been stored at the same moment.
    That, the count and the revision tell a series that has grown from one that was replaced.
    """
    if not found.state.candles or not head.state.has_past_of(series.state):
        return None
    newest = history.moment(int(found.times[-1]))
    expected = max(1, series.state.candles - head.state.candles) + 1
    chunks, state, since_known = [], None, None
    with closing(history.snapshot(series.asset_id, series.timeframe, expected, since=newest)) as parts:
        for part in parts:
            state, since_known = part.state, part.since_known
            chunks.append(part.rows)
    if state is None or not state.has_past_of(head.state) or since_known != head.state.last_known:
        return None
    overlap, *rest = _without_first(chunks)
    last = columns.row_hashes(overlap)
    added = sum(len(rows.times) for rows in rest)
    if len(last) != 1 or int(last[0]) != found.checksum(slice(head.state.candles - 1, head.state.candles)):
        return None
    if head.state.candles + added != state.candles:
        return None
    return _appended(fd, head, found, series, state, rest)


def _without_first(chunks: list[Rows]) -> list[Rows]:
    """The very first candle alone, then the others."""
    first, *more = chunks
    numbers = first.numbers
    return [
        Rows(first.times[:1], tuple(None if found is None else found[:1] for found in numbers)),
        Rows(first.times[1:], tuple(None if found is None else found[1:] for found in numbers)),
        *more,
    ]


def _appended(fd: int, head: Head, found: Columns, series: Wanted, state: State, rows: list[Rows]) -> Columns:
    writer = Writer(fd, head)
    added = sum(len(part.times) for part in rows)
    if not writer.has_room(added):
        return _replaced(series, lambda fresh: _copied(fresh, state, [*found.chunks(), *rows]))
    for part in rows:
        writer.add(part)
    grown = columns.mapped(fd, writer.finish(state))
    _sweep_if_due(added * columns.ROW_BYTES)
    return grown


def _copied(fd: int, state: State, rows: list[Rows]) -> Head:
    writer = Writer.create(fd, state.candles)
    for part in rows:
        writer.add(part)
    return writer.finish(state)


def _built(series: Wanted) -> Columns:
    """All of the series from the database, into a new file if one of that size may stand here."""
    if series.state.candles * columns.ROW_BYTES > _room():
        return _unkept(series)
    return _replaced(series, lambda fresh: _poured(fresh, series))


def _replaced(series: Wanted, pour: Callable[[int], Head | None]) -> Columns:
    """A new file in the place of the old, with what `pour` writes into it; the caller holds the lock."""
    fresh = Path(series.place("new"))
    fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        if (head := pour(fd)) is None:
            return _unkept(series)
        fresh.rename(series.place())
        found = columns.mapped(fd, head)
        _sweep_if_due(os.fstat(fd).st_blocks * 512)
        return found
    finally:
        os.close(fd)
        fresh.unlink(missing_ok=True)


def _poured(fd: int, series: Wanted) -> Head | None:
    """The rows of one snapshot, written as they come; None if the series' row and its candles contradict each other."""
    writer, state = None, None
    with closing(history.snapshot(series.asset_id, series.timeframe, series.state.candles)) as parts:
        for part in parts:
            state = part.state
            if writer is None:
                writer = Writer.create(fd, state.candles)
            if not writer.has_room(len(part.rows.times)):
                return None
            writer.add(part.rows)
    if writer is None or state is None:  # its last candle went since the row was read
        return Writer.create(fd, 0).finish(series.state)
    return writer.finish(state) if writer.count == state.candles else None


def _unkept(series: Wanted) -> Columns:
    """The candles of one snapshot, in memory alone."""
    chunks, state = [], series.state
    with closing(history.snapshot(series.asset_id, series.timeframe, state.candles)) as parts:
        for part in parts:
            state = part.state
            chunks.append(part.rows)
    found = columns.gathered(state, chunks)
    if len(found.times) != state.candles:
        logger.warning(
            "Series %s tells %s candles and has %s: its columns are not kept. Import or fetch it again.",
            state.series, state.candles, len(found.times),
        )  # fmt: skip
    return found


# --- Room --------------------------------------------------------------------------------------------------------


@dataclass
class _Written:
    """What this process has written since it last looked at the room taken, and when that was."""

    octets: int = 0
    at: float = 0.0


_written_here = _Written()


def _room() -> int:
    return settings.FRAMES_MAX_MB << 20


def _sweep_if_due(octets: int) -> None:
    """Look at the room taken when this process has written a fair part of it, or has not looked for a while."""
    done, now = _written_here, time.monotonic()
    done.octets += octets
    if done.octets * SWEEP_SHARE < _room() and done.at and now - done.at < SWEEP_SECONDS:
        return
    done.octets, done.at = 0, now
    sweep()


def sweep() -> int:
    """Remove the files that were not used for longest until the rest fits the room; returns how many went.

    What somebody is just building stays. A file that somebody reads may go: its map stays with the reader.
    """
    entries = []
    for path in root().glob("*/*"):
        with suppress(FileNotFoundError):
            found = path.stat()
            entries.append((found.st_mtime, found.st_blocks * 512, path))
    taken = sum(octets for _, octets, _ in entries)
    gone = 0
    if taken <= _room():
        return gone
    for _, octets, path in sorted(entries):
        if taken <= LEAVE * _room():
            break
        if path.suffix != ".lock" and _removed(path):
            taken, gone = taken - octets, gone + 1
    return gone


def _removed(path: Path) -> bool:
    try:
        fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:  # being written, or not ours
        return False
    finally:
        os.close(fd)
    return True
