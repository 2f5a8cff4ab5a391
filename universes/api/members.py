"""Who is in a universe now: looked at, added, removed, ordered, annotated; and the universe as a file."""

from typing import Annotated, Any, Literal

from django.db.models import Q, QuerySet
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.envelope import REFUSALS, NextAction, Refusal, Refused, answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.paging import Paged, page_of
from marketdata import quotes, validation
from marketdata.verdicts import Verdict
from universes import exporting, membership
from universes.api.common import MOST, Id, Symbol
from universes.loading import owned, seen
from universes.models import Membership, Universe

router = Router()


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


MEMBER_ORDERS = {
    "place": ("position", "asset__symbol", "id"), "symbol": ("asset__symbol", "id"),
    "-symbol": ("-asset__symbol", "-id"), "-joined_at": ("-joined_at", "-id"),
}  # fmt: skip


@router.get("/universes/{universe_id}/assets", response=answers(list[MemberOut]), tags=["members"])
def list_universe_assets(request: Signed, universe_id: Id, wanted: Query[MembersWanted]) -> Any:
    """The members now, with what is known of them and their newest candles."""
    found = seen(request, universe_id)
    stays = _found(membership.members(found), wanted)
    page = page_of(stays, wanted, wanted.order, MEMBER_ORDERS)
    quoted = quotes.quotes([stay.asset for stay in page.rows], 2)
    actions = []
    if page.rows:
        first = page.rows[0].asset.symbol
        actions.append(then("get_asset", "Look at one of them.", symbol=first))
        actions.append(then("get_candles", "Read its candles.", symbol=first))
    elif found.owner_id == request.user.pk:
        actions.append(then("add_assets", "Add members; `symbols` is still wanted.", universe_id=found.pk, symbols=[]))
    words = page.counted("member")
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
def add_assets(request: Signed, universe_id: Id, given: SymbolsIn) -> Any:
    """Add members, each looked at first: what nobody knows is left out with suggestions, unless you say otherwise.

    Symbols that are being looked up (`pending`) are added: they settle by themselves. For lists with dates, notes or
    thousands of doubtful lines there is `create_list`.
    """
    user, found = request.user, owned(request, universe_id)
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
def remove_asset(request: Signed, universe_id: Id, symbol: Symbol) -> Any:
    """End a member's stay now. Its past in the universe stays; adding it within a minute takes the stay up again."""
    found = owned(request, universe_id)
    removed = membership.remove(found, request.user, [symbol])
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
def annotate_asset(request: Signed, universe_id: Id, symbol: Symbol, given: NoteIn) -> Any:
    """Write a member's note and tags, in place of those it has."""
    found = owned(request, universe_id)
    stay = membership.annotate(found, request.user, symbol, given.note, given.tags, version=given.version)
    return said(
        _member(stay, quotes.quotes([stay.asset], 2)[stay.asset_id]), f"The note on {stay.asset.symbol} is written."
    )


class MoveIn(Schema):
    before: str = Field("", max_length=60, description="The member it is to stand before; empty: last.")


@router.post("/universes/{universe_id}/assets/{symbol}/move", response=answers(list[str]), tags=["members"])
def move_asset(request: Signed, universe_id: Id, symbol: Symbol, given: MoveIn) -> Any:
    """Put a member at another place of the owner's order; answers the whole order, as symbols."""
    found = owned(request, universe_id)
    if not membership.move(found, request.user, symbol, given.before):
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
def arrange_assets(request: Signed, universe_id: Id, given: OrderIn) -> Any:
    """Put members in the owner's order; answers the whole order, as symbols."""
    found = owned(request, universe_id)
    membership.arrange(found, request.user, given.symbols)
    return _order(found)


class TagsIn(Schema):
    symbols: list[Annotated[str, Field(max_length=60)]] = Field(max_length=MOST)
    add: list[Annotated[str, Field(max_length=200)]] = Field(default_factory=list, max_length=100)
    take: list[Annotated[str, Field(max_length=200)]] = Field(
        default_factory=list, max_length=100, description="Tags to take off."
    )


@router.post("/universes/{universe_id}/tags", response=answers(list[str]), tags=["members"])
def tag_assets(request: Signed, universe_id: Id, given: TagsIn) -> Any:
    """Put tags on members and take others off; answers the symbols of those that changed."""
    found = owned(request, universe_id)
    data = membership.retag(found, request.user, given.symbols, add=given.add, take=given.take)
    return said(data, f"{figures.counted(len(data), 'member')} changed.", total=len(data))


_STAYS = {"type": "array", "items": {"type": "object", "required": list(exporting.COLUMNS)}}
_FILES = {
    kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}} for kind in exporting.TYPES.values()
} | {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["universe", "members"],
            "properties": {"universe": {"type": "object", "required": ["name", "description"]}, "members": _STAYS},
        }
    }
}


class ExportWanted(Schema):
    form: Literal["json", "csv", "xlsx"] = "json"
    past: bool = Field(False, description="True: every stay there ever was, not only the members now.")


@router.get(
    "/universes/{universe_id}/export", response={200: None, REFUSALS: Refusal}, tags=["members"],
    openapi_extra={"responses": {200: {"description": "The file.", "content": _FILES}}},
)  # fmt: skip
def export_universe(request: Signed, universe_id: Id, wanted: Query[ExportWanted]) -> Any:
    """The universe as a file, which `create_list` reads back without loss: moments, order, notes and tags."""
    return exporting.download(seen(request, universe_id), wanted.form, request.user, past=wanted.past)
