"""Files and pasted text as rows of cells, whatever they are written with: text in many encodings, workbooks, JSON.

Nothing in them is executed or followed: of a workbook's formulas only the values count that were stored with them.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from itertools import islice
from typing import IO, Any

import orjson

BIGGEST = 10 * 2**20  # bytes of a file
UNPACKED = 3 * BIGGEST  # bytes of a workbook's parts: a small file may unpack to a great deal
COLUMNS = 60  # of a workbook; what stands further right is not looked at
LINES = 200_000  # of a workbook or JSON; a sheet may claim a million rows
QUOTES = 20  # lines with broken quotes, after which quotes are taken as they stand
SEPARATORS = ("\t", ";", "|", ",")

Row = tuple[int, list[str]]  # the line's number, its cells

_MAGIC = {
    b"\xff\xd8\xff": "a picture (JPEG)",
    b"\x89PNG": "a picture (PNG)",
    b"GIF8": "a picture (GIF)",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "compressed (gzip)",
    b"Rar!": "an archive (RAR)",
    b"7z\xbc\xaf": "an archive (7z)",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "a database",
    b"\x7fELF": "a program",
    b"MZ": "a program",
}
_LEGACY = b"\xd0\xcf\x11\xe0"  # what .xls, .doc and protected workbooks begin with
_NOT_IN_1252 = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
SAVE_AS = "Save the list as CSV, XLSX or plain text and try again."


class Unreadable(ValueError):
    """The file is no list that can be read; the text names it, says why, and what helps."""


@dataclass
class Read:
    """What stands in a file, before anybody asks what it means."""

    rows: list[Row] = field(default_factory=list)  # of a text: as separated by `separator`
    text: str = ""  # of a text: as it is
    records: list[Any] | None = None  # of JSON: what its list holds
    remarks: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)  # of JSON: name and description of the universe


def read_file(name: str, size: int, file: IO[bytes]) -> Read:
    """What stands in an uploaded file. One that is too large is refused before it is read. Raises `Unreadable`."""
    if size > BIGGEST:
        raise Unreadable(
            f"{name} has {size / 2**20:,.0f} MB; a list has at most {BIGGEST // 2**20} MB."
            " Keep only the columns with symbols and dates, or cut it into several files."
        )
    data = file.read(BIGGEST + 1)
    if len(data) > BIGGEST:
        raise Unreadable(f"{name} has more than {BIGGEST // 2**20} MB. Cut it into several files.")
    return read_bytes(name, data)


def read_bytes(name: str, data: bytes) -> Read:
    """What stands in these bytes, by what they are rather than by the file's name. Raises `Unreadable`."""
    if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
        raise Unreadable(f"{name} is empty. It should hold at least one symbol.")
    if data.startswith(_LEGACY):
        raise Unreadable(f"{name} is an old or protected Excel file. Save it as .xlsx without a password, or as CSV.")
    for magic, what in _MAGIC.items():
        if data.startswith(magic):
            raise Unreadable(f"{name} is {what}, whatever it is called. {SAVE_AS}")
    if data.startswith(b"PK"):
        return _workbook(name, data)
    text = decoded(name, data)
    return read_text(name, text)


def read_text(name: str, text: str) -> Read:
    """What stands in a text: JSON, or lines whose meaning is found out later. Raises `Unreadable`."""
    if text.lstrip().startswith(("{", "[")) and text.rstrip().endswith(("}", "]")):
        return _json(name, text)
    return Read(text=text)


def decoded(name: str, data: bytes) -> str:
    """The bytes as text: UTF-8, UTF-16 and -32 by their marks, else UTF-8 if it is that, else Windows-1252."""
    for mark, encoding in (
        (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
    ):  # fmt: skip
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise Unreadable(
                    f"{name} says that it is {encoding.removesuffix('-sig').upper()} but is not, from byte"
                    f" {error.start:,} on. Save it again as UTF-8."
                ) from None
    if data[:2000].count(0) > len(data[:2000]) // 4:
        raise Unreadable(f"{name} is no plain text, or is UTF-16 without its mark. Save it as UTF-8 and try again.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1" if any(byte in data for byte in _NOT_IN_1252) else "cp1252")
    begin = text[:20_000]
    if "\0" in begin and len(_CONTROL.findall(begin)) > len(begin) // 50 + 2:
        raise Unreadable(f"{name} is no text: it is full of control characters. {SAVE_AS}")
    return text


# --- Separated values --------------------------------------------------------------------------------------------


def separated(text: str, separator: str, remarks: list[str] | None = None) -> Iterator[Row]:
    """Rows of cells, empty lines left out. A quote that never closes is a remark, and costs nothing but itself."""
    lines = io.StringIO(text, newline="").readlines()
    if not separator:  # any white space
        yield from ((number, line.split()) for number, line in enumerate(lines, start=1) if line.strip())
        return
    start, broken = 0, 0
    while start < len(lines):
        rest = islice(lines, start, None)
        quotes = '"' if broken < QUOTES else None
        reader = csv.reader(rest, delimiter=separator, quotechar=quotes, strict=True, skipinitialspace=True)
        at = start
        try:
            for cells in reader:
                number, at = at + 1, start + reader.line_num
                if any(cell.strip() for cell in cells):
                    yield number, cells
            return
        except csv.Error:
            broken += 1
            if remarks is not None and broken <= QUOTES:
                also = " So do others; from here on quotes are taken as they stand." if broken == QUOTES else ""
                remarks.append(f"Line {at + 1} has a quote that does not close; it was read as it stands.{also}")
            cells = lines[at].replace('"', "").strip("\r\n").split(separator)
            if any(cell.strip() for cell in cells):
                yield at + 1, cells
            start = at + 1


# --- JSON --------------------------------------------------------------------------------------------------------


def _json(name: str, text: str) -> Read:
    try:
        told = orjson.loads(text)
    except ValueError as error:
        raise Unreadable(f"{name} looks like JSON but is not: {str(error)[:120]}.") from None
    read = Read()
    if isinstance(told, dict):
        universe = told.get("universe")
        if isinstance(universe, dict):
            read.about = {key: text for key, text in universe.items() if isinstance(text, str)}
        told = next((told[key] for key in ("members", "symbols", "stays") if isinstance(told.get(key), list)), None)
    if not isinstance(told, list):
        raise Unreadable(f'{name} is JSON without a list of members. Write {{"members": [{{"symbol": "NVDA"}}]}}.')
    read.records = told[:LINES]
    return read


# --- Workbooks ---------------------------------------------------------------------------------------------------


def _workbook(name: str, data: bytes) -> Read:
    """The first sheet that holds something. Its size is looked at before it is unpacked, row after row."""
    import warnings

    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            if not any(part.filename == "[Content_Types].xml" for part in parts):
                raise Unreadable(f"{name} is a ZIP archive. Unpack it, and choose the list in it.")
            if sum(part.file_size for part in parts) > UNPACKED or len(parts) > 2000:
                raise Unreadable(f"{name} unpacks to more than {UNPACKED // 2**20} MB. Save its list alone, as CSV.")
            for part in parts:
                if part.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.open(part).read(2000):
                    raise Unreadable(f"{name} holds definitions that no workbook has. Save it again as XLSX or CSV.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which do not matter here
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"] or book.worksheets
            for sheet in sheets:
                if rows := list(_sheet(sheet)):
                    others = [other.title for other in sheets if other is not sheet]
                    also = f"Only the sheet {sheet.title!r} was read, not {', '.join(others[:5])}."
                    return Read(rows=rows, remarks=[also] if others else [])
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes of its reader
        raise Unreadable(
            f"{name} is no workbook that can be read ({type(error).__name__}). Open and save it again as XLSX or CSV."
        ) from None
    raise Unreadable(f"{name} has no cell with anything in it.")


def _sheet(sheet: Any) -> Iterator[Row]:
    sheet.reset_dimensions()  # what a file says of its size is not believed
    found = sheet.iter_rows(max_row=LINES, max_col=COLUMNS, values_only=True)
    for number, values in enumerate(found, start=1):
        cells = [_cell(value) for value in values]
        if any(cells):
            yield number, cells


def _cell(value: object) -> str:
    """As the sheet shows it, more or less: 700 rather than 700.0, days as ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, str):
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
        # two halves of a sign become that sign; a half alone is in no text that can be stored
        return value if text == value else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, bool):
        return str(value).upper()  # TRUE is a symbol, too
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    return str(value)


def escaped(text: str) -> str:
    """For a workbook's cell: signs that XML can't hold, or would change, in the way that workbooks write them."""
    text = re.sub("_(?=x[0-9A-Fa-f]{4}_)", "_x005F_", text)
    return re.sub("[\x00-\x08\x0b-\x1f\ufffe\uffff]", lambda found: f"_x{ord(found[0]):04X}_", text)
