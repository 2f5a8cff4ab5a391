"""The candles of one series as columns in a file that is mapped into memory, and the checksum that they carry.

Layout: a header of 4,096 bytes, then one array of `capacity` × 8 bytes for each of `time` (int64, microseconds since
1970), the seven numbers of a candle (float64) and `running` (uint64). The file is sparse: capacity that is not used
takes no room on the disk, nor does a column that no candle has a value in (its bit in `present` is off).

An append writes the new rows behind the others and the header last, so whoever is killed in the middle leaves a
file that says what it said before; rows that the header does not count are overwritten by the next append. Rows that
are counted never change: a changed past is a new file, and who has the old one mapped keeps it. The header carries a
CRC-32, because reading and writing it at once may mix the two.

After an unclean stop of the machine the header may have reached the disk without the rows. It names the boot that
wrote it; after another boot the rows are checked against `running` once. Where the system tells no boot, the rows are
forced to the disk before the header instead.

Row hash: h = time; for each number in the order of `NUMBERS`: h = mix(bits(number) ^ h), where mix(x) is the output
function of SplitMix64 (Steele, Lea, Flood 2014: x += 0x9E3779B97F4A7C15, then two xor-shift-multiplies and a
xor-shift) and an absent number has the bits 0x7FF8000000000000. `running` is the sum of the hashes up to and with the
row, mod 2^64, so that the checksum of any range is one subtraction, and an append extends it from the new rows alone.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

NUMBERS = ("open", "high", "low", "close", "volume", "adj_close", "quote_volume")
CHUNK = 65_536  # rows that are worked on at once: their columns fit the processor's caches

_HEAD = struct.Struct("<8sQQqqQQQq40s")
_MAGIC = b"CHRCOL01"
_START = 4096
_SLOTS = 2 + len(NUMBERS)
ROW_BYTES = 8 * _SLOTS
_RUNNING = _SLOTS - 1
_NEVER = -(1 << 63)  # a moment that there is none of
_GRAIN = 512  # rows: each array starts on a page of its own
_LEAST = 1024  # rows of capacity

Array = np.ndarray[Any, Any]


class Rows(NamedTuple):
    """Candles in order of time: `times` int64 microseconds since 1970, and a float64 array for each of `NUMBERS`.

    None stands for a number that none of the candles has; NaN for one that is absent from a single candle.
    """

    times: Array
    numbers: tuple[Array | None, ...]


class State(NamedTuple):
    """Which state of a series the candles are; moments in microseconds since 1970, None for never.

    `series`, `revision` and `revised_at` name a past: with the same three, more candles only means that some were
    appended. `last_known` is when the newest candle was stored.
    """

    series: int
    revision: int
    revised_at: int | None
    changed_at: int | None
    candles: int
    last_known: int | None = None

    def has_past_of(self, other: "State") -> bool:
        return self[:3] == other[:3]


@dataclass(frozen=True)
class Columns:
    """The candles of one series, oldest first: read-only arrays of length n, in memory or mapped from a file.

    `times` int64 microseconds since 1970, `numbers` float64 (None: no candle has it), `running` uint64 as above.
    """

    state: State
    times: Array
    numbers: dict[str, Array | None]
    running: Array

    def number(self, name: str, part: slice) -> Array:
        """One column of a part; NaN where a candle has no such number. A view, unless no candle has one."""
        found = self.numbers[name]
        return found[part] if found is not None else np.full(part.stop - part.start, np.nan)

    def between(self, start: int | None, end: int | None) -> slice:
        """Where the candles with start ≤ open < end lie; both in microseconds since 1970."""
        first = 0 if start is None else int(np.searchsorted(self.times, start))
        last = len(self.times) if end is None else int(np.searchsorted(self.times, end))
        return slice(first, max(first, last))

    def checksum(self, part: slice) -> int:
        """The sum of the row hashes of a part, mod 2^64."""
        if part.stop <= part.start:
            return 0
        before = int(self.running[part.start - 1]) if part.start else 0
        return (int(self.running[part.stop - 1]) - before) % (1 << 64)

    def chunks(self) -> Iterator[Rows]:
        for at in range(0, len(self.times), CHUNK):
            part = slice(at, at + CHUNK)
            yield Rows(
                self.times[part], tuple(None if (found := self.numbers[n]) is None else found[part] for n in NUMBERS)
            )


def row_hashes(rows: Rows) -> Array:
    """The hash of each candle, uint64, as the head of this module states it."""
    mixed = rows.times.astype(np.uint64)
    scratch = np.empty_like(mixed)
    absent = np.uint64(0x7FF8000000000000)
    for found in rows.numbers:
        if found is None:
            np.bitwise_xor(mixed, absent, out=mixed)
        else:
            values = np.where(np.isnan(found), np.nan, found + 0.0)  # one NaN and one zero
            np.bitwise_xor(mixed, values.view(np.uint64), out=mixed)
        _mix(mixed, scratch)
    return mixed


def _mix(x: Array, scratch: Array) -> None:
    x += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(x, np.uint64(shift), out=scratch)
        np.bitwise_xor(x, scratch, out=x)
        np.multiply(x, np.uint64(factor), out=x)
    np.right_shift(x, np.uint64(31), out=scratch)
    np.bitwise_xor(x, scratch, out=x)


def gathered(state: State, chunks: list[Rows]) -> Columns:
    """The same as a file would hold, in memory."""
    times = np.concatenate([rows.times for rows in chunks]) if chunks else np.empty(0, np.int64)
    numbers: dict[str, Array | None] = dict.fromkeys(NUMBERS)
    for place, name in enumerate(NUMBERS):
        parts = [rows.numbers[place] for rows in chunks]
        if any(part is not None for part in parts):
            filled = [np.full(len(rows.times), np.nan) if part is None else part
                      for rows, part in zip(chunks, parts, strict=True)]  # fmt: skip
            numbers[name] = np.concatenate(filled)
    hashes = [row_hashes(rows) for rows in chunks]
    running = np.cumsum(np.concatenate(hashes)) if hashes else np.empty(0, np.uint64)
    return Columns(state, times, numbers, running)


# --- The file ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """What the header says. `present` has a bit for each of `NUMBERS`, `boot` the boot of the machine that wrote it."""

    state: State
    capacity: int
    present: int
    boot: str

    def packed(self) -> bytes:
        state = self.state
        moments = [_NEVER if moment is None else moment for moment in (state.revised_at, state.changed_at)]
        text = _HEAD.pack(
            _MAGIC, state.series, state.revision, *moments, state.candles, self.capacity, self.present,
            _NEVER if state.last_known is None else state.last_known, self.boot.encode(),
        )  # fmt: skip
        return text + struct.pack("<I", zlib.crc32(text))

    @classmethod
    def unpacked(cls, raw: bytes) -> "Head | None":
        """None if it is not the header of such a file, or was read while it was written."""
        if len(raw) < _HEAD.size + 4 or struct.unpack_from("<I", raw, _HEAD.size)[0] != zlib.crc32(raw[: _HEAD.size]):
            return None
        magic, series, revision, revised, changed, count, capacity, present, known, boot = _HEAD.unpack_from(raw)
        if magic != _MAGIC or count > capacity:
            return None
        revised, changed, known = (None if moment == _NEVER else moment for moment in (revised, changed, known))
        state = State(series, revision, revised, changed, count, known)
        return cls(state, capacity, present, boot.rstrip(b"\0").decode("ascii", "replace"))

    def offset(self, slot: int) -> int:
        return _START + slot * self.capacity * 8

    @property
    def length(self) -> int:
        return self.offset(_SLOTS)


def capacity_for(rows: int) -> int:
    """Room for twice as many, so that copying the file when it is full is rare; it costs nothing on the disk."""
    return -(-max(2 * rows, _LEAST) // _GRAIN) * _GRAIN


def read_head(fd: int) -> Head | None:
    """The header of an open file; None if it has no valid one. A few looks, in case it is just being written."""
    for _ in range(20):
        if head := Head.unpacked(os.pread(fd, _HEAD.size + 4, 0)):
            return head if os.fstat(fd).st_size >= head.length else None
    return None


def mapped(fd: int, head: Head) -> Columns:
    """The counted rows of an open file, as read-only views into its map; the descriptor may be closed afterwards."""
    if not head.state.candles:
        return gathered(head.state, [])
    memory = mmap.mmap(fd, head.length, access=mmap.ACCESS_READ)
    count = head.state.candles
    numbers: dict[str, Array | None] = {
        name: np.frombuffer(memory, "<f8", count, head.offset(1 + place)) if head.present >> place & 1 else None
        for place, name in enumerate(NUMBERS)
    }
    times = np.frombuffer(memory, "<i8", count, head.offset(0))
    return Columns(head.state, times, numbers, np.frombuffer(memory, "<u8", count, head.offset(_RUNNING)))


def intact(columns: Columns) -> bool:
    """Whether every row still has the hash that `running` was made of; 0.1 s for a million."""
    before, at = np.zeros(1, np.uint64), 0
    for rows in columns.chunks():
        running = np.cumsum(row_hashes(rows)) + before
        if not np.array_equal(running, columns.running[at : at + len(running)]):
            return False
        before, at = running[-1:], at + len(running)
    return True


class Writer:
    """Appends rows to an open file. Nothing counts before `finish`, which returns the new header.

    `OSError` from any of its methods (a full disk) leaves the file saying what it said before.
    """

    def __init__(self, fd: int, head: Head) -> None:
        self._fd, self._head = fd, head
        self._count, self._present = head.state.candles, head.present
        self._last = np.zeros(1, np.uint64)
        if self._count:
            raw = os.pread(fd, 8, head.offset(_RUNNING) + 8 * (self._count - 1))
            self._last = np.frombuffer(raw, "<u8")

    @classmethod
    def create(cls, fd: int, rows: int) -> "Writer":
        """Into a new, empty file that is to hold so many rows and as many again."""
        head = Head(State(0, 0, None, None, 0), capacity_for(rows), 0, "")
        os.ftruncate(fd, head.length)
        return cls(fd, head)

    @property
    def count(self) -> int:
        return self._count

    def has_room(self, rows: int) -> bool:
        return self._count + rows <= self._head.capacity

    def add(self, rows: Rows) -> None:
        """The rows must be later than all before, and there must be room."""
        if not len(rows.times):
            return
        running = np.cumsum(row_hashes(rows)) + self._last
        self._put(0, rows.times)
        for place, found in enumerate(rows.numbers):
            self._number(place, found, len(rows.times))
        self._put(_RUNNING, running)
        self._count, self._last = self._count + len(rows.times), running[-1:]

    def _number(self, place: int, found: Array | None, rows: int) -> None:
        here = self._present >> place & 1
        if found is None and not here:
            return
        if not here:
            self._fill(place)
            self._present |= 1 << place
        self._put(1 + place, np.full(rows, np.nan) if found is None else found)

    def _fill(self, place: int) -> None:
        """The first candle with such a number: those before it have none."""
        for at in range(0, self._count, CHUNK):
            self._put(1 + place, np.full(min(CHUNK, self._count - at), np.nan), at)

    def _put(self, slot: int, values: Array, at: int | None = None) -> None:
        row = self._count if at is None else at
        kind = {0: "<i8", _RUNNING: "<u8"}.get(slot, "<f8")
        _write(self._fd, np.ascontiguousarray(values, kind).data.cast("B"), self._head.offset(slot) + 8 * row)

    def finish(self, state: State) -> Head:
        """Count the rows that were added: from now on readers see them, as the candles of that state."""
        head = replace(self._head, state=state._replace(candles=self._count), present=self._present, boot=boot())
        write_head(self._fd, head)
        return head


def write_head(fd: int, head: Head) -> None:
    if not head.boot:
        os.fsync(fd)
    _write(fd, memoryview(head.packed()), 0)


def _write(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def boot() -> str:
    """What names the time since the machine was started; empty where the system does not tell."""
    global _boot
    if _boot is None:
        try:
            _boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:40]
        except OSError:
            _boot = ""
    return _boot


_boot: str | None = None
