"""Lists a page at a time: by a cursor that says after which row to go on, so that nothing is skipped or seen twice
while rows come and go, and a late page is as quick as the first.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import orjson
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import Field as Column
from django.db.models import Model, Q, QuerySet
from ninja import Schema
from pydantic import Field

from chronos.core import figures
from chronos.core.envelope import Refused

Row = TypeVar("Row", bound=Model)


class Paged(Schema):
    """What every list takes."""

    limit: int = Field(50, ge=1, le=500, description="Rows of a page.")
    cursor: str = Field("", max_length=600, description="`metadata.next_cursor` of the page before; empty: the first.")


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: list[Row]
    next_cursor: str
    is_first: bool

    def counted(self, one: str, many: str = "") -> str:
        return counted(len(self.rows), one, many, is_first=self.is_first, more=bool(self.next_cursor))


def counted(rows: int, one: str, many: str = "", *, is_first: bool, more: bool) -> str:
    """How many rows a page has, in words that do not take them for all there are: "The first 50 members"."""
    words = figures.counted(rows, one, many)
    if is_first:
        return f"The first {words}" if more else words
    return f"The {'next' if more else 'last'} {words}"


def page_of(
    found: QuerySet[Row], wanted: Paged, order: str, orders: Mapping[str, Sequence[str]]
) -> Page[Row]:  # fmt: skip
    """One page of these rows. `orders` says by which columns (as for `order_by`, none of them NULL, the last unique)
    each name sorts. Raises `Refused` on a cursor that is none of this list.
    """
    columns = orders[order]
    rows = found.order_by(*columns)
    if wanted.cursor:
        rows = rows.filter(_after(columns, _read(wanted.cursor, order, columns, found)))
    page = list(rows[: wanted.limit + 1])
    more = len(page) > wanted.limit
    page = page[: wanted.limit]
    after = _written(order, [_value(page[-1], column) for column in columns]) if more else ""
    return Page(page, after, is_first=not wanted.cursor)


def place_in(cursor: str, of: str) -> int | None:
    """The place (an offset, a moment) that `cursor_at` wrote into a list's cursor; None without one. Raises `Refused`
    on a cursor that is none of this list.
    """
    if not cursor:
        return None
    try:
        name, place = _unpacked(cursor)
        if name != of or type(place) is not int or abs(place) >= 2**63:
            raise ValueError(of)
    except (ValueError, TypeError, binascii.Error):
        raise _bad_cursor() from None
    return place


def cursor_at(of: str, place: int) -> str:
    """A cursor of a list that goes on from a place rather than after a row."""
    return _written(of, [place])


def _after(columns: Sequence[str], values: Sequence[Any]) -> Q:
    """Rows after this one: equal in the first columns and beyond it in the next."""
    after, equal = Q(), Q()
    for column, value in zip(columns, values, strict=True):
        name = column.removeprefix("-")
        beyond = "lt" if column.startswith("-") else "gt"
        after |= equal & Q(**{f"{name}__{beyond}": value})
        equal &= Q(**{name: value})
    return after


def _value(row: Any, column: str) -> Any:
    for part in column.removeprefix("-").split("__"):
        row = getattr(row, part)
    return row


def _written(order: str, values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([order, *(_plain(value) for value in values)])).decode().rstrip("=")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, date | datetime | Decimal) else value


def _read(cursor: str, order: str, columns: Sequence[str], found: QuerySet[Any]) -> list[Any]:
    try:
        told = _unpacked(cursor)
        if not isinstance(told, list) or len(told) != len(columns) + 1 or told[0] != order:
            raise ValueError(order)
        kinds = [_kind(found, column.removeprefix("-")) for column in columns]
        values = [kind.to_python(value) for kind, value in zip(kinds, told[1:], strict=True)]
        if not all(_is_whole(value) for value in values):
            raise ValueError(values)
    except (ValueError, TypeError, ValidationError, binascii.Error, OverflowError):
        raise _bad_cursor() from None
    return values


def _is_whole(value: Any) -> bool:
    """Whether the database can be asked for what comes after it."""
    if isinstance(value, datetime):
        return value.tzinfo is not None
    return value is not None and not (isinstance(value, str) and "\0" in value)


def _unpacked(cursor: str) -> Any:
    padded = cursor + "=" * (-len(cursor) % 4)
    return orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))


def _bad_cursor() -> Refused:
    return Refused(
        "bad_cursor",
        "The cursor is none of this list in this order.",
        "Take `metadata.next_cursor` of the page before unchanged, with the same order and filters.",
        field="query.cursor",
    )


def _kind(found: QuerySet[Any], name: str) -> "Column[Any, Any]":
    if name in found.query.annotations:
        return found.query.annotations[name].output_field
    model: Any = found.model
    *through, last = name.split("__")
    for part in through:
        model = model._meta.get_field(part).related_model
    try:
        column: Column[Any, Any] = model._meta.get_field(last)
    except FieldDoesNotExist:
        column = model._meta.pk
    return column
