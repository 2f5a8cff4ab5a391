"""What tables of strategies and of trades have in common: columns that the address sorts by."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.http import HttpRequest, QueryDict

from marketdata.views import heading


@dataclass(frozen=True)
class Column:
    """`by` is what it is sorted by, in the database; `falling`: how it is sorted at first."""

    key: str
    label: str
    by: str
    kind: str = ""
    falling: bool = False
    note: str = ""


def sort_of(asked: QueryDict, columns: Mapping[str, Column], usual: Column) -> tuple[Column, bool]:
    """The column that an address sorts by, and whether downwards; what it can't mean is passed over."""
    text = asked.get("sort", "")
    column = columns.get(text.removeprefix("-"))
    return (column, text.startswith("-")) if column else (usual, False)


def headed(request: HttpRequest, column: Column, sorted_by: Column, falling: bool, *without: str) -> dict[str, str]:
    """A column's heading, whose address sorts by it and leaves out what belongs to the order that was."""
    first = f"{'-' if column.falling else ''}{column.key}"
    found = heading(request, column.key, column.label, first, sorted_by.key, falling)
    query = QueryDict(found["query"].removeprefix("?"), mutable=True)
    for name in without:
        query.pop(name, None)
    return found | {"query": f"?{query.urlencode()}", "kind": column.kind, "note": column.note}
