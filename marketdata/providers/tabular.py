"""Tables in files, as blocks of text columns: delimited text (also gzipped) and Parquet.

Nothing here knows what the columns mean. A file is read in blocks; what is damaged further on does not take away what
came before.
"""

import codecs
import csv
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 4 << 20  # bytes of text a block
HEAD = 64 << 10  # bytes in which the headings must be
HEADINGS_WITHIN = 10  # lines
_PIECE = 4 << 10  # compressed bytes at a time: what zlib loses of a damaged stream


class FileError(Exception):
    """The file can't be used. The text names what is wrong with it and the remedy, without the file's name."""


@dataclass(frozen=True)
class BadLine:
    """A line that has not as many columns as the headings."""

    number: int
    text: str
    columns: int
    expected: int


@dataclass
class Table:
    """Headings as they stand in the file, and its rows.

    `blocks` gives tables of string columns, one a wanted heading (by its place: "0", "1", …), and `row` (int64): the
    line of a text file, counted from 1 with the headings, or the row of a Parquet file, counted from 1. `bad_lines` and
    `damage` are complete only when the blocks are used up.
    """

    headings: list[str]
    blocks: Callable[[list[int]], Iterator["pa.Table"]]
    constants: dict[str, str] = field(default_factory=dict)  # what the headings say of every row: {"symbol": …}
    bad_lines: list[BadLine] = field(default_factory=list)
    damage: str = ""


def opened(path: Path, looks_like_headings: Callable[[list[str]], int]) -> Table:
    """The table in a file, whatever its name says it is.

    `looks_like_headings` counts the known headings in a row; the line and the delimiter with the most are taken.
    Raises `FileError`.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise FileError(f"can't be opened: {error.strerror}") from None
    if not start:
        raise FileError("is empty")
    if start == b"PAR1":
        return _parquet(path)
    if start[:2] == b"PK":
        raise FileError("is a ZIP archive or a spreadsheet; unpack it, or save it as CSV")
    return _delimited(path, looks_like_headings)


# --- Delimited text ----------------------------------------------------------------------------------------------


class Text(io.RawIOBase):
    """A text file as UTF-8, however it is compressed and encoded; whole lines only, also where it breaks off."""

    def __init__(self, path: Path) -> None:
        self.damage = ""
        self._lines = self._whole_lines(self._chunks(path))
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._lines, b"")
            if not piece:
                break
            self._rest += piece
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def head(self) -> str:
        """The beginning, left unread."""
        self._rest = self.read(HEAD) + self._rest
        return self._rest[:HEAD].decode("utf-8", "ignore")

    def _chunks(self, path: Path) -> Iterator[bytes]:
        """The uncompressed bytes. A gzip that ends too early or is damaged gives what it has, and says so."""
        with path.open("rb") as stream:
            if stream.read(2) != b"\x1f\x8b":
                stream.seek(0)
                yield from iter(lambda: stream.read(1 << 20), b"")
                return
            stream.seek(0)
            yield from self._unzipped(stream)

    def _unzipped(self, stream: io.BufferedReader) -> Iterator[bytes]:
        member, begun = zlib.decompressobj(31), False
        while piece := stream.read(_PIECE):
            while piece:
                begun = True
                try:
                    yield member.decompress(piece)
                except zlib.error:
                    self.damage = "is damaged"
                    return
                piece = member.unused_data
                if member.eof:  # another member may follow; anything else after the end is padding
                    piece = piece if piece.startswith(b"\x1f\x8b") else b""
                    member, begun = zlib.decompressobj(31), False
        if begun:
            self.damage = "ends in mid-stream"
            yield member.flush()

    def _whole_lines(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        decoder: codecs.IncrementalDecoder | None = None
        rest = ""
        for chunk in chunks:
            if not chunk:
                continue
            if decoder is None:
                decoder = codecs.getincrementaldecoder(_encoding(chunk))()
            text, decoder = _decoded(decoder, chunk)
            lines, newline, rest = (rest + text).rpartition("\n")
            if newline:
                yield (lines + newline).encode()
        if rest and not self.damage:
            yield rest.encode()


def _encoding(start: bytes) -> str:
    return "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _decoded(decoder: codecs.IncrementalDecoder, chunk: bytes) -> tuple[str, codecs.IncrementalDecoder]:
    """The text, and the decoder for what follows: Latin-1, which reads anything, once UTF-8 has failed."""
    state = decoder.getstate()
    try:
        return decoder.decode(chunk), decoder
    except UnicodeDecodeError:
        latin = codecs.getincrementaldecoder("latin-1")()
        return latin.decode(state[0] + chunk), latin


def _delimited(path: Path, looks_like_headings: Callable[[list[str]], int]) -> Table:
    text = Text(path)
    head = text.head()
    if "\0" in head:
        raise FileError("is not a text file; candles are read from CSV, CSV.gz and Parquet")
    lines = head.splitlines(keepends=True)
    if not lines:
        raise FileError(f"{text.damage or 'is empty'}: there is not even a line of headings")
    place, delimiter = _headings_line(lines, looks_like_headings)
    headings = _cells(lines[place], delimiter)
    headings, skipped, constants = _of_yfinance(headings, lines[place + 1 : place + 3], delimiter)
    begin = place + 1 + skipped
    table = Table(headings, lambda wanted: iter(()), constants)
    table.blocks = lambda wanted: _text_blocks(text, table, wanted, lines[:begin], delimiter)
    return table


def _headings_line(lines: list[str], looks_like_headings: Callable[[list[str]], int]) -> tuple[int, str]:
    """Where the headings are: some files begin with a line about their origin."""
    best = max(
        (
            (looks_like_headings(_cells(line, delimiter)), -place, delimiter)
            for place, line in enumerate(lines[:HEADINGS_WITHIN])
            for delimiter in ",;\t|"
        ),
        default=(0, 0, ","),
        key=lambda found: found[:2],
    )
    return -best[1], best[2]


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])]


def _of_yfinance(headings: list[str], following: list[str], delimiter: str) -> tuple[list[str], int, dict[str, str]]:
    """`yfinance.download(…).to_csv()` has three lines of headings: Price,Close,… / Ticker,AAPL,… / Date,,…"""
    rows = [_cells(line, delimiter) for line in following]
    if not headings or headings[0] != "Price" or len(rows) < 2 or rows[0][:1] != ["Ticker"]:
        return headings, 0, {}
    symbols = set(filter(None, rows[0][1:]))
    if len(symbols) != 1:
        raise FileError(
            f"has the columns of {len(symbols)} symbols side by side; write one file for each,"
            " or one row for each candle with a column symbol"
        )
    return [rows[1][0] or "Date", *headings[1:]], 2, {"symbol": symbols.pop()}


def _text_blocks(text: Text, table: Table, wanted: list[int], head: list[str], delimiter: str) -> Iterator["pa.Table"]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    text.read(sum(len(line.encode()) for line in head))
    names = [str(place) for place in range(len(table.headings))]
    before = len(head) + 1

    def keep(line: Any) -> str:
        table.bad_lines.append(BadLine(before + line.number - 1, line.text, line.actual_columns, line.expected_columns))
        return "skip"

    done = 0
    try:
        reader = arrow_csv.open_csv(
            text,
            arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=BLOCK),
            arrow_csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False, invalid_row_handler=keep),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[str(place) for place in wanted],
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        for batch in reader:
            block = pa.Table.from_batches([batch])
            yield block.append_column("row", _numbers(block.num_rows, done, before, table.bad_lines))
            done += block.num_rows
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            table.damage = f"can't be read further ({str(error).splitlines()[0]})"
    table.damage = text.damage or table.damage


def _numbers(rows: int, done: int, before: int, bad: list[BadLine]) -> "pa.Array":
    """The lines of a block's rows: those that were left out have numbers too."""
    import numpy as np
    import pyarrow as pa

    place = np.arange(done, done + rows, dtype=np.int64)
    good_before = np.array([line.number - before - nth for nth, line in enumerate(bad)], dtype=np.int64)
    return pa.array(before + place + np.searchsorted(good_before, place, side="right"))


# --- Parquet -----------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FileError(f"can't be read as Parquet ({str(error).splitlines()[0]}); write it again") from None
    headings = list(file.schema_arrow.names)
    table = Table(headings, lambda wanted: iter(()))
    table.blocks = lambda wanted: _parquet_blocks(file, table, wanted)
    return table


def _parquet_blocks(file: Any, table: Table, wanted: list[int]) -> Iterator["pa.Table"]:
    import numpy as np
    import pyarrow as pa

    done = 0
    try:
        for batch in file.iter_batches(100_000, columns=[table.headings[place] for place in wanted]):
            columns = [_texts(batch.column(table.headings[place])) for place in wanted]
            numbers = pa.array(np.arange(done + 1, done + 1 + batch.num_rows, dtype=np.int64))
            yield pa.Table.from_arrays([*columns, numbers], names=[*map(str, wanted), "row"])
            done += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        table.damage = f"can't be read further ({str(error).splitlines()[0]})"


def _texts(column: "pa.Array") -> "pa.Array":
    """A typed column as text: floats by their shortest exact form, moments with their offset."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC"):
        return pa.array([None if at is None else at.isoformat() for at in column.to_pylist()], pa.string())
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowNotImplementedError:
        return pa.nulls(len(column), pa.string())
