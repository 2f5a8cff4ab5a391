"""What a cell of a list holds: text that no spreadsheet takes for a formula, tags, days."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

# What makes a spreadsheet compute a cell; the full-width forms do so where they are what a keyboard writes.
_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
_TAG = re.compile(r'"((?:[^"]|"")*)"|([^;,]+)')
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
           "december")  # fmt: skip
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:?\d{2}.*)?")
_YEAR_FIRST = re.compile(r"(\d{4})(?:[./-](\d{1,2})[./-](\d{1,2})|(\d\d)(\d\d))")
_YEAR_LAST = re.compile(r"(\d{1,2})([./-])(\d{1,2})[./-](\d{2,4})")
_DAY_MONTH = re.compile(r"(\d{1,2})(?:st|nd|rd|th|\.)?[ -]?([a-z]{3,9})\.?,?[ -](\d{4})")
_MONTH_DAY = re.compile(r"([a-z]{3,9})\.?[ -](\d{1,2})(?:st|nd|rd|th)?,?[ -](\d{4})")


class NotADay(ValueError):
    """The text is no day, or could be two; says which, and how to write it."""


def defused(text: str) -> str:
    """Text for a cell: with an apostrophe before it if a spreadsheet would compute it. `plain` takes it away."""
    return f"'{text}" if _FORMULA.match(text) else text


def plain(text: str) -> str:
    """The text of a cell, as it was before `defused`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def joined_tags(tags: Iterable[str]) -> str:
    """Tags in one cell, with semicolons; a tag that holds what separates them stands in quotes."""
    return ";".join(f'"{tag.replace(chr(34), chr(34) * 2)}"' if re.search('[";,]', tag) else tag for tag in tags)


def split_tags(text: str) -> list[str]:
    """The tags of one cell, separated by semicolons or commas."""
    found = (quoted.replace('""', '"') or bare for quoted, bare in _TAG.findall(text))
    return [tag for part in found if (tag := part.strip())]


def looks_like_a_day(text: str) -> bool:
    """Whether whoever wrote it meant a day, be it a possible one or not."""
    text = text.strip().lower()
    return len(text) < 40 and any(
        form.fullmatch(text)
        for form in (_ISO, _YEAR_LAST, _DAY_MONTH, _MONTH_DAY, re.compile(r"\d{4}[./-]\d+[./-]\d+"))
    )


def day(text: str) -> datetime | None:
    """The moment that a cell names: the begin of that day by UTC, or the moment itself; None if it is empty.

    Days are read if they can mean only one: 2024-03-08, 20240308, 8 Mar 2024, March 8, 2024, 08.03.2024, 25/03/2024.
    Raises `NotADay`.
    """
    text = " ".join(text.split())
    if not text:
        return None
    try:
        if len(text) > 60:
            raise ValueError
        if _ISO.fullmatch(text):
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        year, month, number = _numbers(text)
        found = date(year, month, number)
    except NotADay:
        raise
    except (ValueError, OverflowError, StopIteration):
        raise NotADay(f"{text[:40]!r} is no day; write it as 2024-03-08.") from None
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def _numbers(text: str) -> tuple[int, int, int]:
    """Year, month and day."""
    lower = text.lower()
    if found := _YEAR_FIRST.fullmatch(lower):
        return int(found[1]), int(found[2] or found[4]), int(found[3] or found[5])
    if found := _DAY_MONTH.fullmatch(lower):
        return int(found[3]), _month(found[2]), int(found[1])
    if found := _MONTH_DAY.fullmatch(lower):
        return int(found[3]), _month(found[1]), int(found[2])
    if found := _YEAR_LAST.fullmatch(lower):
        if len(found[4]) != 4:
            raise NotADay(f"{text!r} has a year of two digits; write it as 2024-03-08.")
        return int(found[4]), *_month_and_day(int(found[1]), int(found[3]), int(found[4]), found[2])
    raise ValueError


def _month(name: str) -> int:
    return 1 + next(n for n, month in enumerate(_MONTHS) if month.startswith(name) or name == "sept" == month[:4])


def _month_and_day(first: int, second: int, year: int, sign: str) -> tuple[int, int]:
    """Points are written between day and month; other signs in both orders, so that only some can mean one thing."""
    if sign == "." or first > 12 or first == second:
        return second, first
    if second > 12:
        return first, second
    one, other = f"{year}-{second:02}-{first:02}", f"{year}-{first:02}-{second:02}"
    raise NotADay(f"{first:02}{sign}{second:02}{sign}{year} can be two days; write {one} or {other}.")
