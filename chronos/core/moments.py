"""Days and moments as programs name them: `2024-01-31` or `2024-01-31T14:30:00Z`."""

from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

from chronos.core.envelope import Refused


def _is_day(given: Any) -> Any:
    if isinstance(given, str) and len(given) != len("2024-01-31"):
        raise ValueError("a moment needs its offset, such as 2024-01-31T14:30:00Z, and a day is 2024-01-31")
    return given


# A day would take midnight for itself, and lose its offset.
Day = Annotated[date, BeforeValidator(_is_day)]
When = Annotated[AwareDatetime | Day, Field(union_mode="left_to_right")]


def begin(given: date | datetime | None, field: str) -> datetime | None:
    """The moment, in UTC; of a day its begin. Raises `Refused` if it lies outside of the calendar."""
    if given is None or isinstance(given, datetime):
        return _in_utc(given, field)
    return datetime.combine(given, time(), UTC)


def end(given: date | datetime | None, field: str) -> datetime | None:
    """The moment, in UTC; of a day its last. Raises `Refused` if it lies outside of the calendar."""
    if given is None or isinstance(given, datetime):
        return _in_utc(given, field)
    return datetime.combine(given, time.max, UTC)


def _in_utc(given: datetime | None, field: str) -> datetime | None:
    try:
        return given.astimezone(UTC) if given else None
    except OverflowError:
        raise Refused("invalid", "That moment lies outside of the calendar.", "Name one of the years 1 to 9999, UTC.",
                      field=field) from None  # fmt: skip
