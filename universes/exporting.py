"""A universe as a file: its members with what is known of them, or every stay there ever was; CSV, XLSX or JSON.

What is written here `universes.lists` reads back without loss: moments, order, notes and tags. In cells of CSV and XLSX
a text that a spreadsheet would compute stands behind an apostrophe, which the import takes away.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import orjson
from asgiref.sync import sync_to_async
from django.db.models import F
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.text import slugify

from chronos.core import tenancy
from chronos.core.models import User
from chronos.core.streams import streamed
from universes.lists import cells
from universes.lists.reading import escaped
from universes.models import Membership, Universe

COLUMNS = ("symbol", "name", "asset_class", "exchange", "currency", "country", "sector", "industry", "joined", "left",
           "position", "note", "tags")  # fmt: skip
TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}
AT_ONCE = 1000  # stays
_WIDTHS = (12, 34, 12, 12, 10, 18, 24, 30, 14, 14, 9, 50, 24)

Line = dict[str, Any]


def keys(universe: Universe, *, past: bool = False) -> list[int]:
    """The stays that are written, in the owner's order; with `past` those that have ended, too.

    One without length, of somebody who left in the moment of joining, says nothing and is passed over.
    """
    stays = universe.memberships.all() if past else universe.memberships.current()
    told = stays.exclude(left_at=F("joined_at")).order_by("position", "asset__symbol", "joined_at")
    return list(told.values_list("pk", flat=True))


def lines(stays: Sequence[int], first: int = 1) -> list[Line]:
    """What is told of these stays, by the names of `COLUMNS`, the first of them at the place `first`; who has gone
    since is passed over."""
    found = Membership.objects.select_related("asset").in_bulk(stays)
    return [_line(found[pk], place) for place, pk in enumerate(stays, start=first) if pk in found]


def _line(stay: Membership, place: int) -> Line:
    asset = stay.asset
    return {
        "symbol": asset.symbol,
        "name": asset.name,
        "asset_class": asset.asset_class,
        "exchange": asset.exchange,
        "currency": asset.currency,
        "country": asset.country,
        "sector": asset.sector,
        "industry": asset.industry,
        "joined": _moment(stay.joined_at),
        "left": _moment(stay.left_at) if stay.left_at else None,
        "position": place,
        "note": stay.note,
        "tags": stay.tags,
    }


def _moment(at: datetime) -> str:
    """A day where it begins with one, else the moment in full."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d}" if at.time() == time() else at.isoformat().replace("+00:00", "Z")


def parts(universe: Universe, form: str, chunks: Iterator[list[Line]]) -> Iterator[bytes]:
    """The file, piece by piece, out of lines that come in chunks."""
    if form == "json":
        return _json(universe, chunks)
    return _csv(chunks) if form == "csv" else _xlsx(chunks)


def chunks(universe: Universe, *, past: bool = False) -> Iterator[list[Line]]:
    stays = keys(universe, past=past)
    for start in range(0, len(stays), AT_ONCE):
        yield lines(stays[start : start + AT_ONCE], start + 1)


def write(universe: Universe, form: str, out: IO[bytes], *, past: bool = False) -> int:
    """Write the whole file; how many stays it has."""
    stays = 0

    def counted() -> Iterator[list[Line]]:
        nonlocal stays
        for chunk in chunks(universe, past=past):
            stays += len(chunk)
            yield chunk

    for part in parts(universe, form, counted()):
        out.write(part)
    return stays


def download(universe: Universe, form: str, user: User, *, past: bool = False) -> StreamingHttpResponse:
    """The file as a response, read chunk by chunk as this person while it is sent."""
    stays = keys(universe, past=past)
    response = streamed(_sent(parts(universe, form, _chunks_for(stays, user))), TYPES[form])
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name(universe, form)}"'
    return response


async def _sent(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await sync_to_async(lambda: next(pieces, None))()) is not None:
        yield piece


def _chunks_for(stays: Sequence[int], user: User) -> Iterator[list[Line]]:
    """The stream outlives the request and its tenant: each chunk has a scope of its own."""
    for start in range(0, len(stays), AT_ONCE):
        with tenancy.acting_as(user):
            chunk = lines(stays[start : start + AT_ONCE], start + 1)
        yield chunk


def file_name(universe: Universe, form: str) -> str:
    return f"{slugify(universe.name)[:60] or 'universe'}_{timezone.now():%Y%m%d}.{form}"


def form_of(path: Path) -> str:
    """The form that a file's name asks for; CSV if it does not."""
    suffix = path.suffix.lower().removeprefix(".")
    return suffix if suffix in TYPES else "csv"


# --- The forms ---------------------------------------------------------------------------------------------------


def _json(universe: Universe, chunks: Iterator[list[Line]]) -> Iterator[bytes]:
    about = {"name": universe.name, "description": universe.description}
    yield b'{"universe": ' + orjson.dumps(about) + b', "members": ['
    between = b"\n"
    for chunk in chunks:
        for line in chunk:
            yield between + orjson.dumps(line)
            between = b",\n"
    yield b"\n]}\n"


def _csv(chunks: Iterator[list[Line]]) -> Iterator[bytes]:
    yield _separated([COLUMNS])
    for chunk in chunks:
        yield _separated([_cells(line) for line in chunk])


def _separated(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cells(line: Line) -> list[Any]:
    return [value if isinstance(value, int) else _cell(value) for value in line.values()]


def _cell(value: str | list[str] | None) -> str:
    text = cells.joined_tags(value) if isinstance(value, list) else value or ""
    return cells.defused(text)


def _xlsx(chunks: Iterator[list[Line]]) -> Iterator[bytes]:
    """Row by row into a temporary file, for a workbook is whole only at its end."""
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Members")
    sheet.freeze_panes = "A2"
    for number, width in enumerate(_WIDTHS, start=1):
        sheet.column_dimensions[get_column_letter(number)].width = width
    heading = [WriteOnlyCell(sheet, name) for name in COLUMNS]
    for cell in heading:
        cell.font = Font(bold=True)
    sheet.append(heading)
    for chunk in chunks:
        for line in chunk:
            sheet.append([value if isinstance(value, int) else escaped(value) or None for value in _cells(line)])
    with TemporaryFile() as file:
        book.save(file)
        file.seek(0)
        while part := file.read(64 * 1024):
            yield part
