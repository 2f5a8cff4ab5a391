"""Who was in a universe when, and how much it turned over."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures, moments
from chronos.core.envelope import answers, said, then
from chronos.core.hypermedia import Signed
from chronos.core.moments import When
from chronos.core.paging import Paged, page_of
from universes import history, membership
from universes.api.common import MOST, Id
from universes.api.members import MEMBER_ORDERS
from universes.loading import owned, seen

router = Router()
YEAR = timedelta(days=365)
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)  # a year before which there is still a moment


class Stay(Schema):
    """One asset's stay in the universe."""

    symbol: str
    name: str
    joined_at: AwareDatetime
    left_at: AwareDatetime | None = Field(description="The first moment at which it was a member no more; None: it is.")
    note: str
    tags: list[str]


class StaysWanted(Paged):
    as_of: When | None = Field(
        None, description="A day (its end, UTC) or a moment; left out: now.", examples=["2020-06-30"]
    )


@router.get("/universes/{universe_id}/members", response=answers(list[Stay]), tags=["history"])
def list_members(request: Signed, universe_id: Id, wanted: Query[StaysWanted]) -> Any:
    """Who was a member at a moment: what a backtest of the past must ask, lest it knows today's winners."""
    found = seen(request, universe_id)
    at = moments.end(wanted.as_of, "query.as_of")
    page = page_of(membership.members(found, at), wanted, "place", MEMBER_ORDERS)
    data = [
        {"symbol": stay.asset.symbol, "name": stay.asset.name, "joined_at": stay.joined_at, "left_at": stay.left_at,
         "note": stay.note, "tags": stay.tags}
        for stay in page.rows
    ]  # fmt: skip
    when = f"at {figures.moment(at)} UTC" if at else "now"
    return said(data, f"{page.counted('member')} of {found.name} {when}.",
                [then("list_universe_changes", "See who came and went.", universe_id=found.pk)],
                next_cursor=page.next_cursor)  # fmt: skip


class Change(Schema):
    """One day on which somebody joined or left."""

    day: date = Field(description="In UTC.")
    joined: list[str]
    left: list[str]
    size: int = Field(description="Members at its end.")


class ChangesWanted(Schema):
    since: date | None = Field(None, description="Not before this day.")
    until: date | None = Field(None, description="Not after this day.")
    limit: int = Field(100, ge=1, le=1000, description="The newest so many days.")


@router.get("/universes/{universe_id}/changes", response=answers(list[Change]), tags=["history"])
def list_universe_changes(request: Signed, universe_id: Id, wanted: Query[ChangesWanted]) -> Any:
    """Who joined and left on which day, the newest first."""
    found = seen(request, universe_id)
    days = [
        {"day": change.day.date(), "joined": change.joined, "left": change.left, "size": change.size}
        for change in history.timeline(found)
        if (wanted.since is None or change.day.date() >= wanted.since)
        and (wanted.until is None or change.day.date() <= wanted.until)
    ]
    actions = [then("get_turnover", "See how much it turned over.", universe_id=found.pk)]
    words = f"{figures.counted(len(days), 'day')} with changes of {found.name}."
    return said(days[: wanted.limit], words, actions, total=len(days))


class Turnover(Schema):
    """(joins + leaves) / 2 / average size over a window of time."""

    since: AwareDatetime = Field(description="The window's begin, or the moment of the first members if that is later.")
    until: AwareDatetime
    joins: int = Field(description="Without those who founded it.")
    leaves: int
    average_size: float = Field(description="Weighted by time.")
    turnover: float | None = Field(description="0.25 is 25 %. None where there was never a member.")


class TurnoverWanted(Schema):
    since: date | None = Field(None, description="From the begin of this day, UTC; left out: a year before `until`.")
    until: date | None = Field(None, description="Until the end of this day, UTC; left out: now.")


@router.get("/universes/{universe_id}/turnover", response=answers(Turnover), tags=["history"])
def get_turnover(request: Signed, universe_id: Id, wanted: Query[TurnoverWanted]) -> Any:
    """How much of the universe was exchanged over a window of time."""
    found = seen(request, universe_id)
    until = moments.end(wanted.until, "query.until") or timezone.now()
    since = moments.begin(wanted.since, "query.since") or max(until, EARLIEST) - YEAR
    told = history.turnover(found, since, until)
    data = {name: getattr(told, name) for name in Turnover.model_fields}
    much = f"{100 * told.turnover:.1f} %" if told.turnover is not None else "unknown: it had no members"
    return said(data, f"{found.name} had a turnover of {much}.",
                [then("list_universe_changes", "See who came and went.", universe_id=found.pk)])  # fmt: skip


class PastStay(Schema):
    symbol: str = Field(min_length=1, max_length=60)
    joined: When = Field(description="A day (its begin, UTC) or a moment.")
    left: When | None = Field(
        None, description="The first day or moment at which it was a member no more; left out: it still is."
    )
    note: str = Field("", max_length=membership.NOTE)
    tags: list[Annotated[str, Field(max_length=200)]] = Field(default_factory=list, max_length=100)


class PastIn(Schema):
    stays: list[PastStay] = Field(min_length=1, max_length=MOST)


class Recorded(Schema):
    """What became of one stay, by its place in the list that was sent."""

    symbol: str
    outcome: Literal["recorded", "extended", "already", "refused"]
    reason: str


@router.post("/universes/{universe_id}/past", response=answers(list[Recorded]), tags=["history"])
def record_past(request: Signed, universe_id: Id, given: PastIn) -> Any:
    """Store past and present stays beside those that are there; what can't be (an overlap) is refused singly."""
    found = owned(request, universe_id)
    stays = [history.Stay(one.symbol, *_span(one), one.note, one.tags) for one in given.stays]
    report = history.record(found, request.user, stays)
    data = [
        {"symbol": one.symbol, "outcome": outcome, "reason": reason}
        for one, (outcome, reason) in zip(given.stays, report.each, strict=True)
    ]
    stored = len(report.recorded) + len(report.extended)
    words = f"{figures.counted(stored, 'stay')} stored" + (f", {len(report.refused)} refused" if report.refused else "")
    return said(data, f"{words}.", [then("list_universe_changes", "See the past now.", universe_id=found.pk)],
                total=len(data))  # fmt: skip


def _span(one: PastStay) -> tuple[datetime, datetime | None]:
    joined = moments.begin(one.joined, "body.stays")
    assert joined  # the schema wants it
    return joined, moments.begin(one.left, "body.stays")
