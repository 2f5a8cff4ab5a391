"""The API's operations on market data as a whole: what there is in all, which series, who gives it."""

from typing import Annotated, Any, Literal

from django.utils import timezone
from ninja import Path, Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.envelope import answers, said, then
from chronos.core.hypermedia import Signed
from chronos.core.paging import Paged, page_of
from marketdata import chains, freshness, overview, providers, standing
from marketdata.api.asked import for_staff
from marketdata.calendars import Book
from marketdata.loading import may_change
from marketdata.models import AssetClass, FallbackChain, Series, Timeframe

router = Router()


# --- In all ------------------------------------------------------------------------------------------------------


class DataOut(Schema):
    """What is stored, over all series."""

    series: int
    candles: int
    missing: int = Field(description="Candles that their markets had and that are not here, as far as counted.")
    gaps: int = Field(description="Runs of such candles.")
    behind: int = Field(description="Series that lack their market's newest candle.")
    failing: int = Field(description="Series for which no provider answers.")
    unaudited: int = Field(description="Series of which nobody has counted yet what is missing.")
    held: int = Field(description="Candles in quarantine.")


@router.get("/data", response=answers(DataOut), tags=["data"])
def get_data(request: Signed) -> Any:
    """What is stored in all and how well it is kept: series, candles, what is missing, late or in quarantine."""
    data = overview.totals(timezone.now(), Book())
    actions = [then("list_providers", "See who gives candles, and whether they answer.")]
    states = [state for state in ("failing", "behind", "gaps") if data[state]]
    actions += [then("list_series", "See which series these are.", state=state) for state in states]
    words = (f"{figures.counted(data['candles'], 'candle')} in {figures.counted(data['series'], 'series', 'series')};"
             f" {figures.integer(data['behind'])} behind, {figures.counted(data['gaps'], 'gap')}.")  # fmt: skip
    return said(data, words, actions)


class SeriesLine(Schema):
    symbol: str
    timeframe: str
    candles: int
    first_open: AwareDatetime | None
    last_open: AwareDatetime | None
    source: str
    freshness: str = Field(description="`fresh`, `ageing`, `stale`, `failing`, `empty` or `sample`.")
    freshness_detail: str
    missing: int = Field(description="Candles, as far as counted.")
    gaps: int
    failure: str = Field(description="Why no provider answers; empty while one does.")


class SeriesWanted(Paged):
    q: str = Field("", max_length=100, description="Only of assets with this in symbol or name, or spelt so.")
    timeframe: Timeframe | None = Field(None, description="Only of this one.")
    state: Literal["all", "gaps", "behind", "failing", "unaudited"] = Field("all", description="Only such.")
    order: Literal["symbol", "-missing", "-candles"] = "symbol"


_ORDERS = {
    "symbol": ("asset__symbol", "timeframe", "id"), "-missing": ("-missing_count", "-id"),
    "-candles": ("-candle_count", "-id"),
}  # fmt: skip


@router.get("/series", response=answers(list[SeriesLine]), tags=["data"])
def list_series(request: Signed, wanted: Query[SeriesWanted]) -> Any:
    """The stored series of all assets, filtered by how they are kept: what is late, failing or has gaps."""
    now, book = timezone.now(), Book()
    timeframe = wanted.timeframe.value if wanted.timeframe else ""
    found = overview.found_series(wanted.q.strip(), timeframe, wanted.state, now).select_related("asset")
    page = page_of(found.defer("coverage_bar", "asset__metadata"), wanted, wanted.order, _ORDERS)
    data = [_line(series, freshness.judge(series.asset, series, now, book)) for series in page.rows]
    actions = []
    if page.rows:
        actions.append(then("get_coverage", "See how complete the first is.", symbol=page.rows[0].asset.symbol))
    return said(data, f"{page.counted('series', 'series')}.", actions, next_cursor=page.next_cursor)


def _line(series: Series, fresh: freshness.Freshness) -> dict[str, Any]:
    own = ("timeframe", "first_open", "last_open", "source", "failure")
    return {name: getattr(series, name) for name in own} | {
        "symbol": series.asset.symbol,
        "candles": series.candle_count,
        "freshness": fresh.level,
        "freshness_detail": fresh.detail,
        "missing": series.missing_count,
        "gaps": series.gap_count,
    }


# --- Who gives it ------------------------------------------------------------------------------------------------


class ProviderOut(Schema):
    """An outside source of candles, and how it stands."""

    name: str = Field(examples=["yahoo"])
    label: str = Field(examples=["Yahoo Finance"])
    asset_classes: list[str]
    timeframes: list[str] = Field(description="That it has.")
    level: str = Field(description="`fresh`: it answers; `failing`; `ageing`: its quota is used up; `empty`: no key, or"
                       " never asked.")  # fmt: skip
    state: str = Field(description="The same in a word or two.")
    detail: str = Field(description="The same in a sentence.")
    used: int = Field(description="Requests of today's quota (UTC) that are used.")
    limit: int | None = Field(description="Today's quota. None: it has none.")
    needs_key: bool
    key: str = Field(description="`stored`, `environment`, `unreadable`, or empty if it has none. Keys are set by"
                     " people, on the Data page.")  # fmt: skip
    asked: int = Field(description="Windows in the last 24 hours.")
    failed: int = Field(description="Of those, without an answer.")


@router.get("/providers", response=answers(list[ProviderOut]), tags=["data"])
def list_providers(request: Signed) -> Any:
    """Who gives candles: whether each answers, what is left of its quota today, and whether it has its key."""
    data = [_provider(row) for row in standing.provider_rows(timezone.now())]
    failing = [one["label"] for one in data if one["level"] == "failing"]
    words = f"{figures.counted(len(data), 'provider')}" + (f"; not answering: {', '.join(failing)}" if failing else "")
    return said(data, f"{words}.", [then("list_chains", "See who is asked for what.")], total=len(data))


def _provider(row: dict[str, Any]) -> dict[str, Any]:
    known = providers.named(row["name"])
    own = ("name", "label", "level", "detail", "used", "limit", "needs_key", "asked", "failed")
    return {name: row[name] for name in own} | {
        "state": row["word"],
        "key": row["origin"],
        "asset_classes": sorted(kind.value for kind in known.asset_classes),
        "timeframes": [timeframe.value for timeframe in Timeframe if timeframe in known.windows],
    }


class LinkOut(Schema):
    provider: str
    usable: bool
    why: str = Field(description="What stands in the way of asking it; empty if nothing does.")


class ChainOut(Schema):
    """Who is asked for assets of one class, first choice first."""

    asset_class: str
    providers: list[LinkOut]


@router.get("/chains", response=answers(list[ChainOut]), tags=["data"])
def list_chains(request: Signed) -> Any:
    """For each class of assets who is asked for candles, in which order, and who is passed over and why."""
    data = [_chain(kind, links) for kind, links in chains.every().items()]
    actions = [then("list_providers", "See whether they answer.")]
    return said(data, f"{figures.counted(len(data), 'chain')}.", actions, total=len(data))


def _chain(kind: AssetClass, links: list[chains.Link]) -> dict[str, Any]:
    told = [{"provider": link.provider.name, "usable": link.usable, "why": link.why} for link in links]
    return {"asset_class": kind.value, "providers": told}


class ChainIn(Schema):
    providers: list[Annotated[str, Field(max_length=40)]] = Field(
        max_length=20, examples=[["yahoo", "twelvedata"]],
        description="Names, first choice first; none: the usual order counts again.",
    )  # fmt: skip


@router.put("/chains/{asset_class}", response=answers(ChainOut), tags=["data"])
def set_chain(request: Signed, asset_class: Annotated[AssetClass, Path()], given: ChainIn) -> Any:
    """Choose who is asked for assets of a class, from the next request on. For staff."""
    user = request.user
    if not may_change(user, FallbackChain):
        raise for_staff("Staff choose whom Chronos asks; list_chains shows the order.")
    if given.providers:
        chains.set_chain(asset_class, given.providers, user.get_username())
    else:
        chains.use_usual(asset_class)
    data = _chain(asset_class, chains.explain(asset_class))
    return said(data, f"{asset_class.label}: the {'new' if given.providers else 'usual'} order counts from now on.",
                [then("list_chains", "See all of them.")])  # fmt: skip
