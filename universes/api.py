"""The API's operations on universes: the same verbs as on their pages."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from ninja import Path, Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.api import STARTS, started
from chronos.core.envelope import REFUSALS, NextAction, Refusal, Refused, answers, missing, said, then
from chronos.core.models import Job, User
from chronos.core.paging import Paged, page_of
from marketdata import costs, quotes, validation
from marketdata.models import Asset, Timeframe
from marketdata.verdicts import Verdict
from universes import catalogue, exporting, history, jobs, membership
from universes.loading import owned, seen
from universes.models import Membership, Universe

router = Router()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Symbol = Annotated[
    str, Path(min_length=1, max_length=60, description="As it is kept here, or as a provider writes it.")
]
MOST = membership.AT_ONCE

REFUSED: dict[type[Exception], tuple[int, str, str]] = {
    catalogue.Malformed: (422, "invalid", "Mend what it names."),
    catalogue.Outdated: (409, "outdated", "Read it again, and make your change on the version it has now."),
    Membership.DoesNotExist: (404, "not_found", "Look at the members with list_universe_assets."),
}


# --- Universes ---------------------------------------------------------------------------------------------------


class UniverseOut(Schema):
    """A named set of assets, with a past."""

    id: int
    name: str
    description: str
    owner: str = Field(description="The owner's user name; empty for the house's own.")
    is_mine: bool = Field(description="Whether it is yours to change.")
    visibility: Literal["private", "public"]
    size: int = Field(description="Members now.")
    version: int = Field(description="Raised by each edit of name, description or visibility; name it when you edit.")
    is_archived: bool = Field(description="Kept, but neither listed nor refreshed on schedule.")
    created_at: AwareDatetime
    changed_at: AwareDatetime


class UniverseIn(Schema):
    name: str = Field(min_length=1, max_length=100, examples=["Semiconductors"])
    description: str = Field("", max_length=500, examples=["Makers of chips and of the machines that make them"])


class UniverseReplacement(UniverseIn):
    version: int = Field(ge=1, le=2**31 - 1, description="As you read it. If it is another now, nothing is changed.")


class UniverseChange(Schema):
    name: str | None = Field(None, min_length=1, max_length=100, description="Left out: as it is.")
    description: str | None = Field(None, max_length=500, description="Left out: as it is.")
    version: int = Field(ge=1, le=2**31 - 1, description="As you read it. If it is another now, nothing is changed.")


class UniversesWanted(Paged):
    q: str = Field("", max_length=100, description="Only those with this text in name or description.")
    whose: Literal["all", "mine", "shared", "public"] = Field("all", description="`shared`: opened to you by others.")
    archived: bool = Field(False, description="True: those put away, and only those.")
    order: Literal["name", "-name", "-changed_at", "id", "-id"] = "name"


_ORDERS = {
    "name": ("name", "id"), "-name": ("-name", "-id"), "-changed_at": ("-changed_at", "-id"), "id": ("id",),
    "-id": ("-id",),
}  # fmt: skip


@router.get("/universes", response=answers(list[UniverseOut]), tags=["universes"])
def list_universes(request: HttpRequest, wanted: Query[UniversesWanted]) -> Any:
    """The universes you see: your own, those shared with you, and the public ones."""
    user = _person(request)
    found = catalogue.visible(user, archived=wanted.archived)
    if wanted.q:
        found = found.filter(Q(name__icontains=wanted.q) | Q(description__icontains=wanted.q))
    if wanted.whose == "mine":
        found = found.filter(owner=user)
    elif wanted.whose == "public":
        found = found.filter(visibility="public")
    elif wanted.whose == "shared":
        found = found.exclude(owner=user).exclude(visibility="public")
    page = page_of(found, wanted, wanted.order, _ORDERS)
    actions = [then("get_universe", "Look at one.", universe_id=page.rows[0].pk)] if page.rows else []
    actions.append(then("create_universe", "Make one of your own."))
    words = figures.counted(len(page.rows), "universe")
    return said([_told(row, user) for row in page.rows], f"{words}.", actions, next_cursor=page.next_cursor)


def _person(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # the gate lets nobody else in
    return request.user


def _told(found: Universe, user: User, size: int | None = None) -> dict[str, Any]:
    own = ("name", "description", "visibility", "version", "created_at", "changed_at")
    counted = getattr(found, "size", None) if size is None else size
    return {name: getattr(found, name) for name in own} | {
        "id": found.pk,
        "owner": found.owner.username if found.owner else "",
        "is_mine": found.owner_id == user.pk,
        "size": found.memberships.current().count() if counted is None else counted,
        "is_archived": found.archived_at is not None,
    }


@router.post("/universes", response=answers(UniverseOut, 201), tags=["universes"])
def create_universe(request: HttpRequest, given: UniverseIn) -> Any:
    """Make a private universe of your own. Names need not be unique."""
    made = catalogue.create(_person(request), given.name, given.description)
    return _answer(request, made, f"{made.name} is made.", status=201)


def _answer(request: HttpRequest, found: Universe, words: str, *, status: int = 200) -> Any:
    user = _person(request)
    told = _told(found, user)
    return said(told, words, _next(found, user, told["size"]), status=status)


def _next(found: Universe, user: User, size: int) -> list[NextAction]:
    """What fits: an empty one wants members, one with members wants candles."""
    mine = found.owner_id == user.pk
    actions = []
    if size:
        actions.append(then("list_universe_assets", "See its members.", universe_id=found.pk))
        actions.append(then("refresh_universe", "Fetch what is new of its members.", universe_id=found.pk))
    if mine:
        actions.append(then("add_assets", "Add members; `symbols` is still wanted.", universe_id=found.pk, symbols=[]))
    else:
        actions.append(then("duplicate_universe", "Have a copy of your own to change.", universe_id=found.pk))
    return actions


@router.get("/universes/{universe_id}", response=answers(UniverseOut), tags=["universes"])
def get_universe(request: HttpRequest, universe_id: Id) -> Any:
    """One universe."""
    found = seen(request, universe_id)  # type: ignore[arg-type]
    return _answer(request, found, f"{found.name} has {figures.counted(_size(found), 'member')}.")


def _size(found: Universe) -> int:
    return found.memberships.current().count()


@router.put("/universes/{universe_id}", response=answers(UniverseOut), tags=["universes"])
def replace_universe(request: HttpRequest, universe_id: Id, given: UniverseReplacement) -> Any:
    """Rename and describe it. A change made since the version you name is not overwritten."""
    return _edit(request, universe_id, given.name, given.description, given.version)


@router.patch("/universes/{universe_id}", response=answers(UniverseOut), tags=["universes"])
def update_universe(request: HttpRequest, universe_id: Id, given: UniverseChange) -> Any:
    """Change its name or its description alone."""
    return _edit(request, universe_id, given.name, given.description, given.version)


def _edit(request: HttpRequest, pk: int, name: str | None, description: str | None, version: int) -> Any:
    found = owned(request, pk)  # type: ignore[arg-type]
    kept = found.description if description is None else description
    try:
        catalogue.edit(found, _person(request), found.name if name is None else name, kept, version=version)
    except catalogue.Outdated:
        now = Universe.objects.get(pk=pk)
        raise Refused(
            "outdated", f"{now.name} was changed since you read it: it is at version {now.version}, not {version}.",
            "Read it again, and make your change on the version it has now.", status=409, field="body.version",
            next_actions=[then("get_universe", "Read it again.", universe_id=pk)],
        ) from None  # fmt: skip
    return _answer(request, found, f"{found.name} is at version {found.version}.")


class Dependents(Schema):
    """What goes with a universe."""

    members: int
    past: int = Field(description="Stays that have ended.")
    noted: int = Field(description="Members with a note or tags.")
    readers: list[str] = Field(description="People who read it.")
    unfinished: int = Field(description="Jobs about it that are under way.")


class DeletionWanted(Schema):
    dry_run: bool = Field(False, description="True: say what goes with it, and delete nothing.")


@router.delete("/universes/{universe_id}", response=answers(Dependents), tags=["universes"])
def delete_universe(request: HttpRequest, universe_id: Id, wanted: Query[DeletionWanted]) -> Any:
    """Delete it, for everybody. For an hour you can take that back. Assets and candles stay: others share them."""
    user, found = _person(request), owned(request, universe_id)  # type: ignore[arg-type]
    goes = catalogue.dependents(found, user)
    data = {name: getattr(goes, name) for name in Dependents.model_fields}
    if wanted.dry_run:
        actions = [then("delete_universe", "Delete it.", universe_id=found.pk)]
        return said(data, f"This would go with {found.name}. Nothing was deleted: this is a dry run.", actions)
    catalogue.delete(found, user)
    actions = [then("undelete_universe", "Take that back, within the hour.", universe_id=found.pk)]
    return said(data, f"{found.name} is deleted.", actions)


@router.post("/universes/{universe_id}/undelete", response=answers(UniverseOut), tags=["universes"])
def undelete_universe(request: HttpRequest, universe_id: Id) -> Any:
    """Take a deletion back, as it was; possible for an hour."""
    found = catalogue.undelete(universe_id, _person(request))
    if found is None:
        raise missing(f"You have no deleted universe {universe_id}; after an hour they are gone for good.",
                      "Look at list_universes.")  # fmt: skip
    return _answer(request, found, f"{found.name} is back.")


class CopyIn(Schema):
    name: str = Field("", max_length=100, description="Empty: the original's, with “(copy)”.")


@router.post("/universes/{universe_id}/duplicate", response=answers(UniverseOut, 201), tags=["universes"])
def duplicate_universe(request: HttpRequest, universe_id: Id, given: CopyIn) -> Any:
    """A private copy of your own of any universe you see: all stays with their dates, order, notes and tags."""
    copy = catalogue.duplicate(seen(request, universe_id), _person(request), given.name)  # type: ignore[arg-type]
    return _answer(request, copy, f"{copy.name} is made.", status=201)


class ArchiveIn(Schema):
    away: bool = Field(True, description="False: bring it back.")


@router.post("/universes/{universe_id}/archive", response=answers(UniverseOut), tags=["universes"])
def archive_universe(request: HttpRequest, universe_id: Id, given: ArchiveIn) -> Any:
    """Put it out of the way, where it is neither listed nor refreshed on schedule; or bring it back."""
    found = catalogue.archive(owned(request, universe_id), _person(request), given.away)  # type: ignore[arg-type]
    return _answer(request, found, f"{found.name} is {'put away' if given.away else 'back'}.")


class PublishIn(Schema):
    public: bool = Field(description="True: everybody sees it, which only staff may decide. False: nobody but you and"
                         " its readers.")  # fmt: skip


@router.post("/universes/{universe_id}/publish", response=answers(UniverseOut), tags=["universes"])
def publish_universe(request: HttpRequest, universe_id: Id, given: PublishIn) -> Any:
    """Let everybody see it (staff only), or make it private again."""
    found = catalogue.publish(owned(request, universe_id), _person(request), given.public)  # type: ignore[arg-type]
    return _answer(request, found, f"{found.name} is {found.visibility}.")


# --- Its readers -------------------------------------------------------------------------------------------------


class Reader(Schema):
    username: str
    since: AwareDatetime


class ReadersIn(Schema):
    people: list[Annotated[str, Field(max_length=254)]] = Field(
        min_length=1, max_length=catalogue.READERS, description="User names, or e-mail addresses that are confirmed."
    )


@router.get("/universes/{universe_id}/readers", response=answers(list[Reader]), tags=["sharing"])
def list_readers(request: HttpRequest, universe_id: Id) -> Any:
    """Who reads it. Its owner sees all of them, a reader only themselves."""
    return _readers(seen(request, universe_id), "", _person(request))  # type: ignore[arg-type]


def _readers(found: Universe, words: str, user: User) -> Any:
    data = [{"username": share.reader.username, "since": share.created_at} for share in catalogue.readers(found)]
    actions = []
    if data:
        why = "Close it to one." if found.owner_id == user.pk else "Read it no more."
        actions.append(then("unshare_universe", why, universe_id=found.pk, username=data[0]["username"]))
    return said(data, words or f"{figures.counted(len(data), 'reader')} of {found.name}.", actions, total=len(data))


@router.post("/universes/{universe_id}/readers", response=answers(list[Reader]), tags=["sharing"])
def share_universe(request: HttpRequest, universe_id: Id, given: ReadersIn) -> Any:
    """Let these people read it and who was in it when; they change nothing. All of them, or nobody."""
    found = owned(request, universe_id)  # type: ignore[arg-type]
    new = catalogue.share(found, _person(request), given.people)
    names = ", ".join(sorted(person.username for person in new)) or "nobody who did not before"
    return _readers(found, f"{found.name} is now read by {names}.", _person(request))


@router.delete("/universes/{universe_id}/readers/{username}", response=answers(None), tags=["sharing"])
def unshare_universe(request: HttpRequest, universe_id: Id, username: Annotated[str, Path(max_length=150)]) -> Any:
    """Close it to a reader; or, as the reader, read it no more."""
    found, user = seen(request, universe_id), _person(request)  # type: ignore[arg-type]
    share = catalogue.readers(found).filter(reader__username=username).first()
    if share is None or catalogue.unshare(found, user, share.reader_id) is None:
        raise missing(f"{found.name} is not open to {username}.", "Look at list_readers.")
    return said(None, f"{found.name} is closed to {username}.")


# --- Members now -------------------------------------------------------------------------------------------------


class MemberOut(Schema):
    """A member now, with its newest candle."""

    symbol: str
    name: str
    asset_class: str
    sector: str
    exchange: str
    currency: str
    place: int = Field(description="In the owner's own order, from 1.")
    joined_at: AwareDatetime
    note: str
    tags: list[str]
    version: int = Field(description="Raised by each edit of note or tags; name it when you edit them.")
    last: float | None = Field(description="Close of the newest candle, in `currency`. None without candles.")
    change: float | None = Field(description="From the close before it; 0.0124 is +1.24 %.")
    at: AwareDatetime | None = Field(description="The open of that candle.")
    timeframe: str = Field(description="Of that candle.")
    source: str = Field(description="Who gave it.")
    freshness: str = Field(description="`fresh`, `ageing`, `stale`, `failing`, `empty` or `sample`.")
    freshness_detail: str


class MembersWanted(Paged):
    q: str = Field("", max_length=100, description="Only members with this text in symbol or name.")
    tag: str = Field("", max_length=40, description="Only members with this tag.")
    order: Literal["place", "symbol", "-symbol", "-joined_at"] = "place"


_MEMBER_ORDERS = {
    "place": ("position", "asset__symbol", "id"), "symbol": ("asset__symbol", "id"),
    "-symbol": ("-asset__symbol", "-id"), "-joined_at": ("-joined_at", "-id"),
}  # fmt: skip


@router.get("/universes/{universe_id}/assets", response=answers(list[MemberOut]), tags=["members"])
def list_universe_assets(request: HttpRequest, universe_id: Id, wanted: Query[MembersWanted]) -> Any:
    """The members now, with what is known of them and their newest candles."""
    found = seen(request, universe_id)  # type: ignore[arg-type]
    stays = _found(membership.members(found), wanted)
    page = page_of(stays, wanted, wanted.order, _MEMBER_ORDERS)
    quoted = quotes.quotes([stay.asset for stay in page.rows], 2)
    actions = []
    if page.rows:
        first = page.rows[0].asset.symbol
        actions.append(then("get_asset", "Look at one of them.", symbol=first))
        actions.append(then("get_candles", "Read its candles.", symbol=first))
    elif found.owner_id == request.user.pk:
        actions.append(then("add_assets", "Add members; `symbols` is still wanted.", universe_id=found.pk, symbols=[]))
    words = figures.counted(len(page.rows), "member")
    return said([_member(stay, quoted[stay.asset_id]) for stay in page.rows], f"{words} of {found.name}.", actions,
                next_cursor=page.next_cursor)  # fmt: skip


def _found(stays: QuerySet[Membership], wanted: MembersWanted) -> QuerySet[Membership]:
    if wanted.q:
        stays = stays.filter(Q(asset__symbol__icontains=wanted.q) | Q(asset__name__icontains=wanted.q))
    return stays.filter(tags__contains=[wanted.tag]) if wanted.tag else stays


def _member(stay: Membership, quote: quotes.Quote) -> dict[str, Any]:
    asset = stay.asset
    facts = {name: getattr(asset, name) for name in ("symbol", "name", "asset_class", "sector", "exchange", "currency")}
    return facts | {
        "place": stay.position, "joined_at": stay.joined_at, "note": stay.note, "tags": stay.tags,
        "version": stay.version, "last": quote.last, "change": quote.change, "at": quote.at,
        "timeframe": quote.timeframe, "source": quote.source, "freshness": quote.freshness.level,
        "freshness_detail": quote.freshness.detail,
    }  # fmt: skip


class SymbolsIn(Schema):
    symbols: list[Annotated[str, Field(max_length=200)]] = Field(
        max_length=MOST, examples=[["NVDA", "BTC-USDT", "EUR-USD"]],
        description=f"At most {MOST}, as people or providers write them.",
    )  # fmt: skip
    unknown: Literal["refuse", "add"] = Field(
        "refuse", description="What to do with those that nobody knows or that are delisted: leave them out, or add"
        " them all the same.",
    )  # fmt: skip
    dry_run: bool = Field(False, description="True: say what would become of each, and add nothing.")


class Addition(Schema):
    """What became of one symbol."""

    written: str = Field(description="As it was given.")
    symbol: str = Field(description="As it is kept here; empty if it can't be a symbol.")
    outcome: Literal["added", "already", "refused", "malformed", "would_be_added"]
    verdict: str = Field(description="`valid`, `unknown`, `delisted`, `malformed`, `pending` or `unverified`.")
    reason: str
    suggestions: list[str] = Field(description="What may have been meant.")


@router.post("/universes/{universe_id}/assets", response=answers(list[Addition]), tags=["members"])
def add_assets(request: HttpRequest, universe_id: Id, given: SymbolsIn) -> Any:
    """Add members, each looked at first: what nobody knows is left out with suggestions, unless you say otherwise.

    Symbols that are being looked up (`pending`) are added: they settle by themselves. For lists with dates, notes or
    thousands of doubtful lines there is `create_list`.
    """
    user, found = _person(request), owned(request, universe_id)  # type: ignore[arg-type]
    if not given.symbols:
        raise Refused("invalid", "There is no symbol in `symbols`.", "Name at least one, such as NVDA.",
                      field="body.symbols")  # fmt: skip
    looked = validation.check(given.symbols, user=user, asks=not given.dry_run)
    doubtful = (Verdict.UNKNOWN, Verdict.DELISTED)
    wanted = [one for one in looked if one.symbol and (given.unknown == "add" or one.verdict not in doubtful)]
    there = set(membership.stored({one.symbol for one in wanted}))
    members = set(found.memberships.current().filter(asset__symbol__in=there).values_list("asset__symbol", flat=True))
    added = set() if given.dry_run else set(membership.add(found, user, [one.symbol for one in wanted]).added)
    chosen = {one.symbol for one in wanted}
    data = [_addition(one, chosen, members, dry=given.dry_run) for one in looked]
    many = sum(one["outcome"] == "would_be_added" for one in data) if given.dry_run else len(added)
    left = sum(one["outcome"] in ("refused", "malformed") for one in data)
    verb = "would be added to" if given.dry_run else "added to"
    words = f"{figures.counted(many, 'asset')} {verb} {found.name}" + (f"; {left} left out" if left else "")
    return said(data, f"{words}.", _after_adding(found, data, given.dry_run), total=len(data))


def _addition(one: validation.Answer, chosen: set[str], members: set[str], *, dry: bool) -> dict[str, Any]:
    outcome = "malformed" if not one.symbol else "refused"
    if one.symbol in members:
        outcome = "already"
    elif one.symbol in chosen:
        outcome = "would_be_added" if dry else "added"
    return {"written": one.written, "symbol": one.symbol, "outcome": outcome, "verdict": one.verdict.value,
            "reason": one.reason, "suggestions": list(one.suggestions)}  # fmt: skip


def _after_adding(found: Universe, data: list[dict[str, Any]], dry: bool) -> list[NextAction]:
    """Suggestions taken for what was left out; then candles for what is there."""
    left = [one for one in data if one["outcome"] in ("refused", "malformed")]
    meant = [one["suggestions"][0] for one in left if one["suggestions"]]
    actions = []
    if meant:
        actions.append(
            then("add_assets", "Add what was probably meant instead of those left out.", universe_id=found.pk,
                 symbols=meant[:100])
        )  # fmt: skip
    if not dry and any(one["outcome"] in ("added", "already") for one in data):
        actions.append(then("backfill_universe", "Fetch their history.", universe_id=found.pk, timeframe="1d"))
        actions.append(then("list_universe_assets", "See the members.", universe_id=found.pk))
    return actions


@router.delete("/universes/{universe_id}/assets/{symbol}", response=answers(None), tags=["members"])
def remove_asset(request: HttpRequest, universe_id: Id, symbol: Symbol) -> Any:
    """End a member's stay now. Its past in the universe stays; adding it within a minute takes the stay up again."""
    found = owned(request, universe_id)  # type: ignore[arg-type]
    removed = membership.remove(found, _person(request), [symbol])
    if not removed:
        raise missing(f"{symbol} is no member of {found.name}.", "Look at list_universe_assets.")
    again = then("add_assets", "Take that back.", universe_id=found.pk, symbols=removed)
    return said(None, f"{removed[0]} is no member of {found.name} any more.", [again])


class NoteIn(Schema):
    note: str = Field("", max_length=membership.NOTE)
    tags: list[Annotated[str, Field(max_length=200)]] = Field(
        default_factory=list, max_length=100, description=f"At most {membership.TAGS}, of {membership.TAG} characters."
    )
    version: int = Field(ge=1, le=2**31 - 1, description="The member's, as you read it.")


@router.put("/universes/{universe_id}/assets/{symbol}", response=answers(MemberOut), tags=["members"])
def annotate_asset(request: HttpRequest, universe_id: Id, symbol: Symbol, given: NoteIn) -> Any:
    """Write a member's note and tags, in place of those it has."""
    found = owned(request, universe_id)  # type: ignore[arg-type]
    stay = membership.annotate(found, _person(request), symbol, given.note, given.tags, version=given.version)
    return said(
        _member(stay, quotes.quotes([stay.asset], 2)[stay.asset_id]), f"The note on {stay.asset.symbol} is written."
    )


class MoveIn(Schema):
    before: str = Field("", max_length=60, description="The member it is to stand before; empty: last.")


@router.post("/universes/{universe_id}/assets/{symbol}/move", response=answers(list[str]), tags=["members"])
def move_asset(request: HttpRequest, universe_id: Id, symbol: Symbol, given: MoveIn) -> Any:
    """Put a member at another place of the owner's order; answers the whole order, as symbols."""
    found = owned(request, universe_id)  # type: ignore[arg-type]
    if not membership.move(found, _person(request), symbol, given.before):
        raise missing("One of the two is no member, so nothing was moved.", "Look at list_universe_assets.")
    return _order(found)


def _order(found: Universe) -> Any:
    data = list(membership.members(found).values_list("asset__symbol", flat=True))
    return said(data, f"This is the order of {found.name}.", total=len(data))


class OrderIn(Schema):
    symbols: list[Annotated[str, Field(max_length=60)]] = Field(
        max_length=MOST, description="The members that come first, in order; the others follow as they stood."
    )


@router.put("/universes/{universe_id}/order", response=answers(list[str]), tags=["members"])
def arrange_assets(request: HttpRequest, universe_id: Id, given: OrderIn) -> Any:
    """Put members in the owner's order; answers the whole order, as symbols."""
    found = owned(request, universe_id)  # type: ignore[arg-type]
    membership.arrange(found, _person(request), given.symbols)
    return _order(found)


class TagsIn(Schema):
    symbols: list[Annotated[str, Field(max_length=60)]] = Field(max_length=MOST)
    add: list[Annotated[str, Field(max_length=200)]] = Field(default_factory=list, max_length=100)
    take: list[Annotated[str, Field(max_length=200)]] = Field(
        default_factory=list, max_length=100, description="Tags to take off."
    )


@router.post("/universes/{universe_id}/tags", response=answers(list[str]), tags=["members"])
def tag_assets(request: HttpRequest, universe_id: Id, given: TagsIn) -> Any:
    """Put tags on members and take others off; answers the symbols of those that changed."""
    found = owned(request, universe_id)  # type: ignore[arg-type]
    data = membership.retag(found, _person(request), given.symbols, add=given.add, take=given.take)
    return said(data, f"{figures.counted(len(data), 'member')} changed.", total=len(data))


# --- Members then ------------------------------------------------------------------------------------------------


class Stay(Schema):
    """One asset's stay in the universe."""

    symbol: str
    name: str
    joined_at: AwareDatetime
    left_at: AwareDatetime | None = Field(description="The first moment at which it was a member no more; None: it is.")
    note: str
    tags: list[str]


class StaysWanted(Paged):
    as_of: date | AwareDatetime | None = Field(
        None, description="A day (its end, UTC) or a moment; left out: now.", examples=["2020-06-30"]
    )


@router.get("/universes/{universe_id}/members", response=answers(list[Stay]), tags=["history"])
def list_members(request: HttpRequest, universe_id: Id, wanted: Query[StaysWanted]) -> Any:
    """Who was a member at a moment: what a backtest of the past must ask, lest it knows today's winners."""
    found = seen(request, universe_id)  # type: ignore[arg-type]
    at = _end(wanted.as_of)
    page = page_of(membership.members(found, at), wanted, "place", _MEMBER_ORDERS)
    data = [
        {"symbol": stay.asset.symbol, "name": stay.asset.name, "joined_at": stay.joined_at, "left_at": stay.left_at,
         "note": stay.note, "tags": stay.tags}
        for stay in page.rows
    ]  # fmt: skip
    when = f"at {figures.moment(at)} UTC" if at else "now"
    return said(data, f"{figures.counted(len(data), 'member')} of {found.name} {when}.",
                [then("list_universe_changes", "See who came and went.", universe_id=found.pk)],
                next_cursor=page.next_cursor)  # fmt: skip


def _end(moment: date | datetime | None) -> datetime | None:
    """A moment; of a day its end."""
    if moment is None or isinstance(moment, datetime):
        return moment
    if moment == date.max:
        raise Refused("invalid", "That day is too late.", "Name an earlier one.", field="query.as_of")
    return datetime.combine(moment, time(), UTC) + timedelta(days=1, microseconds=-1)


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
def list_universe_changes(request: HttpRequest, universe_id: Id, wanted: Query[ChangesWanted]) -> Any:
    """Who joined and left on which day, the newest first."""
    found = seen(request, universe_id)  # type: ignore[arg-type]
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
def get_turnover(request: HttpRequest, universe_id: Id, wanted: Query[TurnoverWanted]) -> Any:
    """How much of the universe was exchanged over a window of time."""
    found = seen(request, universe_id)  # type: ignore[arg-type]
    until = _end(wanted.until) or timezone.now()
    since = datetime.combine(wanted.since, time(), UTC) if wanted.since else until - timedelta(days=365)
    told = history.turnover(found, since, until)
    data = {name: getattr(told, name) for name in Turnover.model_fields}
    much = f"{100 * told.turnover:.1f} %" if told.turnover is not None else "unknown: it had no members"
    return said(data, f"{found.name} had a turnover of {much}.",
                [then("list_universe_changes", "See who came and went.", universe_id=found.pk)])  # fmt: skip


class PastStay(Schema):
    symbol: str = Field(min_length=1, max_length=60)
    joined: date | AwareDatetime = Field(description="A day (its begin, UTC) or a moment.")
    left: date | AwareDatetime | None = Field(
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
def record_past(request: HttpRequest, universe_id: Id, given: PastIn) -> Any:
    """Store past and present stays beside those that are there; what can't be (an overlap) is refused singly."""
    found = owned(request, universe_id)  # type: ignore[arg-type]
    stays = [history.Stay(one.symbol, _begin(one.joined), _begin(one.left) if one.left else None, one.note, one.tags)
             for one in given.stays]  # fmt: skip
    report = history.record(found, _person(request), stays)
    data = [
        {"symbol": one.symbol, "outcome": outcome, "reason": reason}
        for one, (outcome, reason) in zip(given.stays, report.each, strict=True)
    ]
    stored = len(report.recorded) + len(report.extended)
    words = f"{figures.counted(stored, 'stay')} stored" + (f", {len(report.refused)} refused" if report.refused else "")
    return said(data, f"{words}.", [then("list_universe_changes", "See the past now.", universe_id=found.pk)],
                total=len(data))  # fmt: skip


def _begin(moment: date | datetime) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time(), UTC)


# --- To take away ------------------------------------------------------------------------------------------------


class ExportWanted(Schema):
    form: Literal["json", "csv", "xlsx"] = "json"
    past: bool = Field(False, description="True: every stay there ever was, not only the members now.")


@router.get(
    "/universes/{universe_id}/export", response={200: None, REFUSALS: Refusal}, tags=["members"],
    openapi_extra={"responses": {200: {"description": "The file.", "content": {
        kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}} for kind in exporting.TYPES.values()
    }}}},
)  # fmt: skip
def export_universe(request: HttpRequest, universe_id: Id, wanted: Query[ExportWanted]) -> Any:
    """The universe as a file, which `create_list` reads back without loss: moments, order, notes and tags."""
    return exporting.download(seen(request, universe_id), wanted.form, _person(request), past=wanted.past)  # type: ignore[arg-type]


# --- Long work ---------------------------------------------------------------------------------------------------


class RefreshIn(Schema):
    universe_id: int = Field(ge=1, le=2**63 - 1)
    timeframe: Timeframe = Timeframe.D1
    dry_run: bool = Field(False, description="True: say what it would take, and start nothing.")


class BackfillIn(RefreshIn):
    since: date | None = Field(None, description="As far back as this day; left out: as far as is usual.")


@router.post("/jobs/refresh-universe", response=STARTS, tags=["jobs"])
def refresh_universe(request: HttpRequest, given: RefreshIn) -> Any:
    """Fetch what is new of each member, as a job; the one under way if there is one."""
    found = seen(request, given.universe_id)  # type: ignore[arg-type]
    cost = costs.of_refresh(_assets(found), given.timeframe)
    job = None if given.dry_run else jobs.refresh(found, _person(request), given.timeframe)
    return _started(job, cost, f"The refresh of {found.name}")


@router.post("/jobs/backfill-universe", response=STARTS, tags=["jobs"])
def backfill_universe(request: HttpRequest, given: BackfillIn) -> Any:
    """Fetch the history of each member, as a job; the one under way if there is one."""
    found = seen(request, given.universe_id)  # type: ignore[arg-type]
    since = datetime.combine(given.since, time(), UTC) if given.since else None
    cost = costs.of_backfill(_assets(found), given.timeframe, since)
    job = None if given.dry_run else jobs.backfill(found, _person(request), given.timeframe, since)
    return _started(job, cost, f"The backfill of {found.name}")


def _assets(found: Universe) -> Iterable[Asset]:
    return [stay.asset for stay in membership.members(found)]


def _started(job: Job | None, cost: costs.Cost, what: str) -> Any:
    return started(job, {"series": cost.series, "requests": cost.requests, "seconds": cost.seconds}, what)
