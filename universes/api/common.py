"""What the operations on universes share."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from django.http import HttpRequest
from ninja import Path

from chronos.core.envelope import Refused
from chronos.core.models import User
from universes import membership

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Symbol = Annotated[
    str, Path(min_length=1, max_length=60, description="As it is kept here, or as a provider writes it.")
]
MOST = membership.AT_ONCE


def person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # the gate lets nobody else in
    return request.user


def end_of(moment: date | datetime | None) -> datetime | None:
    """A moment; of a day its end."""
    if moment is None or isinstance(moment, datetime):
        return moment
    if moment == date.max:
        raise Refused("invalid", "That day is too late.", "Name an earlier one.", field="query.as_of")
    return datetime.combine(moment, time(), UTC) + timedelta(days=1, microseconds=-1)
