"""What a list says: symbols, and where it has columns for that, when each joined and left, notes and tags."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import IO, Any

from django.utils import timezone

from marketdata.models import canonical
from universes import history, membership
from universes.catalogue import Malformed
from universes.lists import cells, reading
from universes.lists.reading import Read, Row, Unreadable

SYMBOLS, ENTRIES = 5_000, 20_000  # of one list; a symbol may have several stays
WRITTEN = 200  # characters of a cell that are kept to show it
_SAMPLE = 60  # lines that show how a text is separated

# What people call the columns. A word of the second line means the symbol only where another known word stands beside.
WORDS = {
    "symbol": ("symbol", "symbols", "ticker", "tickers", "tickersymbol", "tradingsymbol"),
    "symbol?": ("asset", "code", "instrument", "security", "stock", "coin", "pair", "constituent"),
    "joined": ("joined", "joinedat", "join", "joins", "since", "from", "start", "startdate", "added", "addedat",
               "dateadded", "datefirstadded", "entry", "entrydate", "begin"),
    "left": ("left", "leftat", "leaves", "until", "to", "end", "enddate", "removed", "removedat", "dateremoved", "exit",
             "exitdate"),
    "note": ("note", "notes", "comment", "comments", "remark", "remarks"),
    "tags": ("tags", "tag", "labels", "label"),
    "name": ("name", "company", "companyname", "description", "longname", "shortname", "securityname"),
    "position": ("position", "rank", "order", "place"),
}  # fmt: skip
_MEANING = {word: meaning for meaning, words in WORDS.items() for word in words}
_ORDER = ("symbol", "joined", "left", "note", "tags")  # of a table with dates and without a heading
# Exchanges whose symbols have no suffix here, as charting sites write them before the symbol: NASDAQ:NVDA.
_PREFIX = re.compile("(?:NASDAQ|NYSE|AMEX|ARCA|NYSEARCA|BATS|CBOE|NYSEAMERICAN):", re.IGNORECASE)


Told = dict[str, Any]  # what a line says, by the names of `WORDS`


@dataclass
class Entry:
    """One line of a list, or one symbol of a line. `reason` says why it can't be taken, or how it was read."""

    line: int
    written: str
    text: str = ""  # the symbol as it stands there, without an exchange before it
    symbol: str = ""  # canonical
    name: str = ""
    joined: datetime | None = None
    left: datetime | None = None
    note: str = ""
    tags: list[str] = field(default_factory=list)
    position: int = 0  # 0: none was told
    reason: str = ""
    malformed: bool = False


@dataclass
class Parsed:
    """A list, read: what to add, what was remarkable about the file, and how many lines it had beyond the limit."""

    entries: list[Entry] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    beyond: int = 0
    dated: bool = False
    about: dict[str, str] = field(default_factory=dict)


def parse_file(name: str, size: int, file: IO[bytes]) -> Parsed:
    """Raises `Unreadable`, which names the file."""
    return _parsed(name, reading.read_file(name, size, file))


def parse_text(text: str, name: str = "What was pasted") -> Parsed:
    """Raises `Unreadable`."""
    if not text.strip():
        raise Unreadable(f"{name} is empty. Write at least one symbol.")
    return _parsed(name, reading.read_text(name, text.removeprefix("\ufeff")))


def _parsed(name: str, read: Read) -> Parsed:
    parsed = Parsed(remarks=read.remarks, about=read.about)
    symbols: set[str] = set()
    now = timezone.now()
    for line, told in islice(_told(read, parsed), reading.LINES):
        full = len(symbols) >= SYMBOLS and canonical(_text(told.get("symbol"))) not in symbols
        if full or len(parsed.entries) >= ENTRIES:
            parsed.beyond += 1
            continue
        entry = _entry(line, told)
        symbols |= {entry.symbol} - {""}
        _look_at(entry, now)
        parsed.entries.append(entry)
    if not parsed.entries:
        raise Unreadable(f"{name} holds no symbol: every line of it is empty or a heading.")
    parsed.dated = any(entry.joined or entry.left for entry in parsed.entries)
    return parsed


def _told(read: Read, parsed: Parsed) -> Iterator[tuple[int, Told]]:
    """Line by line what is told of one symbol, by the names of `WORDS`."""
    if read.records is not None:
        return _of_records(read.records)
    if read.rows:
        meanings, skipped = _heading(read.rows)
        if meanings:
            return _of_table(read.rows[skipped:], meanings)
        if meanings := _by_looks(read.rows[:_SAMPLE]):
            return _of_table(read.rows, meanings)
        return (one for line, row in read.rows for cell in row for one in _of_words(line, cells.plain(cell.strip())))
    separator, meanings, skipped = _layout(read.text)
    if not meanings:
        lines = enumerate(re.split(r"\r\n|\r|\n", read.text), start=1)
        return (one for line, text in lines for one in _of_words(line, text))
    rows = islice(reading.separated(read.text, separator, parsed.remarks), skipped, None)
    return _of_table(rows, meanings)


# --- What the columns mean ---------------------------------------------------------------------------------------


def _layout(text: str) -> tuple[str, dict[int, str], int]:
    """What separates the cells of a text, what its columns mean (nothing, for symbols in a row), rows of heading."""
    sample = "".join(text.splitlines(keepends=True)[:_SAMPLE])[:100_000]
    found: list[tuple[int, str, dict[int, str], int]] = []
    looked: list[tuple[str, list[Row]]] = []
    for separator in (*reading.SEPARATORS, ""):
        rows = list(reading.separated(sample, separator))
        meanings, skipped = _heading(rows)
        # Between spaces a lone "symbol" further down is a word of a remark, and what stands above it is no preamble.
        if meanings and (separator or skipped == 1 or len(meanings) > 1):
            found.append((len(meanings), separator, meanings, skipped))
        looked.append((separator, rows))
    if found:
        _, separator, meanings, skipped = max(found, key=lambda one: one[0])
        return separator, meanings, skipped
    for separator, rows in looked:
        if meanings := _by_looks(rows, spaced=not separator):
            return separator, meanings, 0
    return "", {}, 0


def _heading(rows: list[Row]) -> tuple[dict[int, str], int]:
    """Column to meaning, and how many rows go before the first entry; nothing if no row names a symbol's column."""
    for skipped, (_, row) in enumerate(rows[:10], start=1):
        meanings: dict[int, str] = {}
        for column, cell in enumerate(row[: reading.COLUMNS]):
            meaning = _MEANING.get(re.sub(r"[^a-z]", "", cell.lower()[:40]), "")
            if meaning and meaning not in meanings.values():
                meanings[column] = meaning
        told = set(meanings.values())
        if "symbol" in told:
            return {column: meaning for column, meaning in meanings.items() if meaning != "symbol?"}, skipped
        if "symbol?" in told and len(told) > 1:
            return {column: meaning.removesuffix("?") for column, meaning in meanings.items()}, skipped
    return {}, 0


def _by_looks(rows: list[Row], *, spaced: bool = False) -> dict[int, str]:
    """Without a heading: dates behind the symbol make it a list of stays, words in small letters a name."""
    several = [row for _, row in rows if len(row) > 1]
    if not several or len(several) < len(rows) / 2:
        return {}
    if sum(cells.looks_like_a_day(row[1]) for row in several) > len(several) / 2:
        return dict(enumerate(_ORDER[: 3 if spaced else 5]))
    named = sum(any(re.search(r"[a-z]{2}.* |^[A-Z][a-z]{2,}$", cell.strip()) for cell in row[1:]) for row in several)
    return {0: "symbol", 1: "name"} if named > len(several) / 2 and not spaced else {}


# --- Entries -----------------------------------------------------------------------------------------------------


def _of_table(rows: Iterable[Row], meanings: dict[int, str]) -> Iterator[tuple[int, Told]]:
    for line, row in rows:
        told = {meaning: cells.plain(row[column]) for column, meaning in meanings.items() if column < len(row)}
        if any(told.values()):
            yield line, told


def _of_records(records: list[Any]) -> Iterator[tuple[int, Told]]:
    for line, record in enumerate(records, start=1):
        if isinstance(record, dict):
            named = {_MEANING.get(str(key).lower(), "").removesuffix("?"): value for key, value in record.items()}
            yield line, {meaning: value for meaning, value in named.items() if meaning and value is not None}
        else:
            yield line, {"symbol": _text(record)}


def _of_words(line: int, text: str) -> Iterator[tuple[int, Told]]:
    """Symbols in a row, between spaces, commas, semicolons, pipes or tabs. A line that begins with # is a remark."""
    if text.lstrip().startswith("#"):
        return
    for word in re.split(r"[\s,;|]+", text):
        if word := word.strip("\"'“”‘’"):
            yield line, {"symbol": word}


def _entry(line: int, told: Told) -> Entry:
    written = _text(told.get("symbol", "")).strip()
    entry = Entry(line, written[:WRITTEN].replace("\0", "�"))
    entry.text = bare(written)
    if entry.text != written:
        entry.reason = f"Read as {canonical(entry.text)}."
    try:
        if "\0" in written:
            raise Malformed("It holds a NUL character, which no text here can have.")
        if not written:
            entry.written = ", ".join(_text(value) for value in told.values())[:WRITTEN].replace("\0", "�")
            raise Malformed("No symbol stands in this line.")
        if len(entry.text) > 60:
            raise Malformed(f"It has {len(entry.text):,} characters, a symbol at most 40.")
        if cells.looks_like_a_day(written):
            raise Malformed("It is a date. A spreadsheet makes one of symbols such as MAR1: write it as text there.")
        entry.symbol = canonical(entry.text)
        entry.name = " ".join(_text(told.get("name", "")).split())[:200]
        entry.joined, entry.left = cells.day(_text(told.get("joined", ""))), cells.day(_text(told.get("left", "")))
        entry.note = membership.clean_note(_text(told.get("note", "")))
        entry.tags = membership.clean_tags(_tags(told.get("tags", "")))
        entry.position = _position(told.get("position", ""))
        if "\0" in entry.name + entry.note:
            raise Malformed("Its name or note holds a NUL character, which no text here can have.")
    except (Malformed, cells.NotADay) as error:
        entry.malformed, entry.reason = True, str(error)
        entry.name = entry.name.replace("\0", "")
        entry.note = entry.note.replace("\0", "")
    return entry


def bare(written: str) -> str:
    """A symbol without what charting sites write before it."""
    return _PREFIX.sub("", written.removeprefix("$"), count=1) if len(written) < 60 else written


def _look_at(entry: Entry, now: datetime) -> None:
    """Dates that can't be are found before anybody is asked for the symbol."""
    if entry.malformed or not (entry.joined or entry.left):
        return
    if entry.joined is None:
        why = "It says when it left, but not when it joined."
    else:
        why = history.impossible(history.Stay(entry.symbol, entry.joined, entry.left), now)
    if why:
        entry.malformed, entry.reason = True, why


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _tags(value: Any) -> list[str]:
    return [_text(tag) for tag in value] if isinstance(value, list) else cells.split_tags(_text(value))


def _position(value: Any) -> int:
    text = _text(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
