"""The API's operations on assets: found, looked at, kept, and whether symbols are real."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from django.db import connection
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.api import JobOut, told
from chronos.core.envelope import NextAction, answers, said, then
from chronos.core.hypermedia import Signed
from chronos.core.paging import Paged, counted, cursor_at, place_in
from chronos.core.tokens import only_reads
from marketdata import chains, freshness, recognition, validation
from marketdata.api.asked import Symbol, known, may_write
from marketdata.calendars import Book, calendar_of
from marketdata.directory import exchanges, listings, search
from marketdata.directory.search import Hit
from marketdata.jobs import refresh_asset
from marketdata.models import Asset, Listing, ProviderKey, Series, Timeframe
from marketdata.verdicts import Answer, Verdict

router = Router()
PLACES = {timeframe.value: place for place, timeframe in enumerate(Timeframe)}
ClassName = Literal["", "stock", "etf", "index", "fx", "crypto", "commodity", "fund"]
CapName = Literal["", "mega", "large", "mid", "small", "micro", "nano"]
MEANT = 100  # corrected symbols that are named to be asked about again


# --- Found -------------------------------------------------------------------------------------------------------


class Found(Schema):
    """An asset that was found: kept here, or only listed in a directory."""

    symbol: str = Field(examples=["NVDA"])
    name: str
    asset_class: str = Field(examples=["stock"])
    exchange: str = Field(description="The directory's code, as the filter takes it.", examples=["NMS"])
    exchange_name: str = Field(examples=["NASDAQ"])
    country: str
    currency: str = Field(examples=["USD"])
    sector: str
    industry: str
    cap_class: str = Field(description="`mega`, `large`, `mid`, `small`, `micro`, `nano`, or empty if unknown.")
    stored: bool = Field(description="Whether it is kept here, so that it can have candles.")
    is_near_miss: bool = Field(description="True: nothing is called so, and this may have been meant.")


class AssetsWanted(Paged):
    q: str = Field("", max_length=100, description="Symbol or words of the name; empty: what is kept, then what is"
                   " sought most.", examples=["nvidia"])  # fmt: skip
    asset_class: ClassName = Field("", alias="class", description="Only of this class.")
    sector: str = Field("", max_length=100, description="Only of this sector; list_sectors names them.")
    industry: str = Field("", max_length=150, description="Only of this industry.")
    exchange: str = Field("", max_length=40, description="Only on this exchange, by its code.")
    country: str = Field("", max_length=60, description="Only of this country.")
    cap_class: CapName = Field("", description="Only of this size.")
    stored: bool = Field(False, description="True: only what is kept here.")


@router.get("/assets/search", response=answers(list[Found]), tags=["assets"])
def search_assets(request: Signed, wanted: Query[AssetsWanted]) -> Any:
    """Find assets by symbol, name or facts, the likeliest first: the way from a name to a symbol.

    Finds what is kept here and what directories list; typing errors are forgiven. At most 500 are shown: a word more
    finds it sooner.
    """
    at = max(0, place_in(wanted.cursor, "assets") or 0)
    filters = {name: getattr(wanted, name) for name in search.FILTERS}
    found = search.find(wanted.q, **filters, stored=wanted.stored, limit=wanted.limit, offset=at)
    data = [_found(hit) for hit in found.hits]
    words = counted(len(data), "asset", is_first=at == 0, more=found.more or found.cut)
    words += " that may have been meant" if found.near else ""
    cut = f" There are more than {search.DEEPEST}; a word more finds fewer." if found.cut else ""
    after = cursor_at("assets", at + wanted.limit) if found.more else ""
    return said(data, f"{words}.{cut}", _after_search(found.hits, wanted), next_cursor=after)


def _found(hit: Hit) -> dict[str, Any]:
    one = {name: _either(hit, name) for name in ("name", "asset_class", "exchange", "cap_class")}
    return one | {
        "symbol": hit.symbol, "exchange_name": hit.exchange, "country": hit.country, "currency": hit.currency,
        "sector": hit.sector, "industry": hit.industry, "stored": hit.stored,
        "is_near_miss": hit.step == search.NEAR,
    }  # fmt: skip


def _either(hit: Hit, name: str) -> str:
    return str(getattr(hit.asset, name, "") or getattr(hit.listing, name, ""))


def _after_search(hits: list[Hit], wanted: AssetsWanted) -> list[NextAction]:
    if hits:
        first = hits[0]
        actions = [then("get_asset", "Look at the first of them.", symbol=first.symbol)]
        if not first.stored:
            actions.append(then("keep_asset", "Keep the first of them, with its candles.", symbol=first.symbol))
        return actions
    actions = [then("list_sectors", "See what the filters can be.")]
    if wanted.q and (wanted.stored or any(getattr(wanted, name) for name in search.FILTERS)):
        actions.insert(0, then("search_assets", "Look for it without filters.", q=wanted.q))
    return actions


class Choice(Schema):
    value: str = Field(description="What the filter takes.")
    label: str = Field(description="What it is called.")


class Choices(Schema):
    """By filter of search_assets, the values that occur."""

    asset_class: list[Choice] = Field(alias="class")
    sector: list[Choice]
    industry: list[Choice]
    exchange: list[Choice]
    country: list[Choice]
    cap_class: list[Choice]


@router.get("/assets/sectors", response=answers(Choices), tags=["assets"], by_alias=True)
def list_sectors(request: Signed) -> Any:
    """The sectors, industries, exchanges, countries, classes and sizes that occur: what search_assets filters by."""
    named = {("class" if name == "asset_class" else name): pairs for name, pairs in search.choices().items()}
    data = {name: [{"value": value, "label": label} for value, label in pairs] for name, pairs in named.items()}
    actions = []
    if data["sector"]:
        first = data["sector"][0]
        actions.append(then("search_assets", f"Find assets of {first['label']}.", sector=first["value"]))
    words = ", ".join((figures.counted(len(data["sector"]), "sector"),
                       figures.counted(len(data["industry"]), "industry", "industries")))  # fmt: skip
    return said(data, f"{words}.", actions)


# --- Whether symbols are real ------------------------------------------------------------------------------------


class VerdictOut(Schema):
    """What is known of one symbol."""

    written: str = Field(description="As it was given.", examples=["nvda"])
    symbol: str = Field(description="As it is kept here; empty if it can't be a symbol.", examples=["NVDA"])
    verdict: Literal["valid", "delisted", "unknown", "pending", "unverified", "malformed"] = Field(
        description="`pending`: being asked, by `job` if one is named. `unverified`: nobody could be asked."
    )
    name: str
    asset_class: str
    source: str = Field(description="Who says so: a provider, `stored`, `sample` or `directory`.")
    reason: str = Field(description="In a sentence.")
    suggestions: list[str] = Field(description="What may have been meant, the likeliest first.")
    at: AwareDatetime | None = Field(description="When it was found out, where that is known.")
    job: int | None = Field(description="Of the job that is asking.")


class SymbolsToCheck(Schema):
    symbols: list[Annotated[str, Field(max_length=200)]] = Field(
        min_length=1, max_length=validation.AT_ONCE, examples=[["NVDA", "APPL", "BTC/USDT"]],
        description=f"At most {validation.AT_ONCE}, as people or providers write them.",
    )  # fmt: skip
    ask: bool = Field(True, description="Ask providers, as a job, about those that are not known here; a token that may"
                      " only read never does.")  # fmt: skip


@router.post(
    "/assets/validate", response=answers(list[VerdictOut]), tags=["assets"],
    openapi_extra={"x-agent": {"only_reads": True, "open_world": True}},
)  # fmt: skip
@only_reads
def validate_assets(request: Signed, given: SymbolsToCheck) -> Any:
    """Whether symbols are real, each in the order given, with what may have been meant instead of those that are not.

    Good for any list before it is added to a universe. What is `pending` settles by itself: ask again when the job has
    ended.
    """
    asks = given.ask and may_write(request)
    found = validation.check(given.symbols, user=request.user, asks=asks)
    counts = Counter(one.verdict.value for one in found)
    words = ", ".join(f"{figures.integer(many)} {verdict}" for verdict, many in counts.most_common())
    return said([_verdict(one) for one in found], f"{words}.", _after_checking(found, given.ask), total=len(found))


def _verdict(one: Answer) -> dict[str, Any]:
    own = ("written", "symbol", "name", "asset_class", "source", "reason", "at", "job")
    return {name: getattr(one, name) for name in own} | {
        "verdict": one.verdict.value,
        "suggestions": list(one.suggestions),
    }


def _after_checking(found: list[Answer], ask: bool) -> list[NextAction]:
    actions = []
    if job := next((one.job for one in found if one.job), None):
        actions.append(then("get_job", "See whether the others are answered; then ask again.", job_id=job))
    meant = [one.suggestions[0] for one in found if one.suggestions and one.verdict != Verdict.VALID]
    if meant:
        actions.append(then("validate_assets", "Look at what was probably meant.", symbols=meant[:MEANT], ask=ask))
    if valid := next((one.symbol for one in found if one.verdict == Verdict.VALID), ""):
        actions.append(then("get_asset", "Look at the first that is valid.", symbol=valid))
    return actions


# --- One asset ---------------------------------------------------------------------------------------------------


class SeriesOut(Schema):
    """The candles of one timeframe, as a whole."""

    timeframe: str = Field(examples=["1d"])
    candles: int
    first_open: AwareDatetime | None = Field(description="Of the oldest candle, UTC. None without candles.")
    last_open: AwareDatetime | None = Field(description="Of the newest candle, UTC.")
    source: str = Field(description="Who gave the newest candle.", examples=["yahoo"])
    basis: Literal["raw", "split"] = Field(description="How prices are stored: as traded, or divided by later splits.")
    revision: int = Field(description="Raised when a stored candle changes or one is added in the past.")
    freshness: str = Field(description="`fresh`, `ageing`, `stale`, `failing`, `empty` or `sample`.")
    freshness_detail: str = Field(description="The same in a sentence.")
    missing: int | None = Field(description="Candles that its market had and that are not here. None: not counted yet.")
    gaps: int | None = Field(description="Runs of such candles. None: not counted yet.")
    checked_at: AwareDatetime | None = Field(description="When a provider last answered for it.")


class Spelt(Schema):
    provider: str
    spelling: str


class AssetOut(Schema):
    """One tradable thing, with what is known and what is stored of it."""

    symbol: str = Field(examples=["NVDA"])
    name: str
    stored: bool = Field(description="False: only listed in a directory; keep_asset keeps it.")
    asset_class: str = Field(description="`stock`, `etf`, `index`, `fx`, `crypto`, `commodity` or `fund`.")
    exchange: str = Field(description="The directory's code.", examples=["NMS"])
    exchange_name: str = Field(examples=["NASDAQ"])
    currency: str = Field(description="Of prices; ISO 4217, or a coin's code.", examples=["USD"])
    country: str
    sector: str
    industry: str
    cap_class: str = Field(description="`mega`, `large`, `mid`, `small`, `micro`, `nano`, or empty if unknown.")
    market_cap: float | None = Field(description="In `currency`. None: not known.")
    price_earnings: float | None = Field(description="Price by earnings. None: not known.")
    dividend_yield: float | None = Field(description="0.0125 is 1.25 % a year. None: not known.")
    calendar: str = Field(description="Its market's hours, by exchange_calendars' name.", examples=["XNYS"])
    is_sample: bool = Field(description="Bundled history that never moves; not for decisions.")
    recognition: str = Field(
        description="`confirmed` by a provider, `listed` in a directory, `unverified`, `unknown` to providers,"
        " `delisted`, or `sample`."
    )
    recognition_detail: str = Field(description="The same in a sentence.")
    providers: list[str] = Field(description="Who is asked for its candles, first choice first.", examples=[["yahoo"]])
    spellings: list[Spelt] = Field(description="How providers write it, where that differs.")
    series: list[SeriesOut] = Field(description="What is stored, a timeframe each, the shortest first.")


@router.get("/assets/{symbol}", response=answers(AssetOut), tags=["assets"])
def get_asset(request: Signed, symbol: Symbol) -> Any:
    """What is known of a symbol and which candles are stored: the call before reading candles.

    A symbol that a directory lists and nobody keeps answers with `stored: false`.
    """
    found = known(symbol)
    if isinstance(found, Listing):
        actions = [then("keep_asset", "Keep it and fetch its first candles.", symbol=found.symbol)]
        return said(_listing(found), f"{found.symbol} is listed ({found.source}) and not kept here.", actions)
    series = _series(found)
    return said(_asset(found, series), _sentence(found, series), _next(found, series))


_FACTS = ("symbol", "name", "asset_class", "exchange", "currency", "country", "sector", "industry", "cap_class")
_FIGURES = ("market_cap", "price_earnings", "dividend_yield")


def _series(found: Asset) -> list[Series]:
    every = Series.objects.filter(asset=found).order_by().defer("coverage_bar")
    return sorted(every, key=lambda series: PLACES[series.timeframe])


# What stands beside an asset, by one statement instead of four: it is asked for with every asset.
_BESIDE = """
SELECT listing.name, listing.exchange, listing.asset_class,
    (SELECT array_agg(ARRAY[provider, spelling] ORDER BY provider) FROM marketdata_spelling WHERE asset_id = %(pk)s),
    (SELECT providers FROM marketdata_fallbackchain WHERE asset_class = %(class)s),
    keys.names, keys.secrets
FROM (SELECT array_agg(provider) AS names, array_agg(secret) AS secrets FROM marketdata_providerkey) AS keys
LEFT JOIN marketdata_listing listing ON listing.symbol = %(symbol)s
"""


@dataclass(frozen=True)
class _Beside:
    """An asset's line in the symbol master, how providers spell it, and who is asked for such assets."""

    line: Listing | None
    spellings: list[dict[str, str]]
    providers: list[str]

    @classmethod
    def of(cls, symbol: str, asset_class: str, pk: int | None = None) -> "_Beside":
        with connection.cursor() as cursor:
            cursor.execute(_BESIDE, {"pk": pk, "class": asset_class, "symbol": symbol})
            name, exchange, kind, spelt, chain, names, secrets = cursor.fetchone()
        line = None if kind is None else Listing(symbol=symbol, name=name, exchange=exchange, asset_class=kind)
        keys = {
            one: ProviderKey(provider=one, secret=secret)
            for one, secret in zip(names or (), secrets or (), strict=True)
        }
        chosen = orjson.loads(chain) if isinstance(chain, str) else chain
        return cls(
            line,
            [{"provider": provider, "spelling": spelling} for provider, spelling in spelt or ()],
            chains.usable(asset_class, chosen, keys),
        )


def _asset(found: Asset, series: list[Series]) -> dict[str, Any]:
    beside = _Beside.of(found.symbol, found.asset_class, found.pk)
    stands = recognition.of(found, series, beside.line)
    now, book = timezone.now(), Book()
    numbers = {name: getattr(found, name) for name in _FIGURES}
    return {name: getattr(found, name) for name in _FACTS} | {
        **{name: None if value is None else float(value) for name, value in numbers.items()},
        "stored": True,
        "exchange_name": exchanges.name(found.exchange),
        "calendar": calendar_of(found),
        "is_sample": found.is_sample,
        "recognition": stands.state,
        "recognition_detail": stands.detail,
        "providers": [] if found.is_sample else beside.providers,
        "spellings": beside.spellings,
        "series": [_series_out(found, one, now, book) for one in series],
    }


def _series_out(found: Asset, series: Series, now: Any, book: Book) -> dict[str, Any]:
    fresh = freshness.judge(found, series, now, book)
    counted = series.audited_at is not None and bool(series.expected_count)
    own = ("timeframe", "first_open", "last_open", "source", "basis", "revision", "checked_at")
    return {name: getattr(series, name) for name in own} | {
        "candles": series.candle_count,
        "freshness": fresh.level,
        "freshness_detail": fresh.detail,
        "missing": series.missing_count if counted else None,
        "gaps": series.gap_count if counted else None,
    }


def _listing(found: Listing) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(_FIGURES)
    return {name: getattr(found, name) for name in _FACTS} | nothing | {
        "stored": False,
        "exchange_name": exchanges.name(found.exchange),
        "calendar": listings.facts_of(found).get("calendar", ""),
        "is_sample": False,
        "recognition": "listed",
        "recognition_detail": f"Listed in a directory ({found.source}); no provider was asked.",
        "providers": _Beside.of(found.symbol, found.asset_class).providers,
        "spellings": [],
        "series": [],
    }  # fmt: skip


def usual(series: list[Series]) -> Series | None:
    """The series that one most likely wants: the daily one, else the longest with candles."""
    stored = [one for one in series if one.candle_count]
    return next((one for one in stored if one.timeframe == Timeframe.D1), stored[-1] if stored else None)


def _sentence(found: Asset, series: list[Series]) -> str:
    name = f"{found.symbol} ({found.name})" if found.name else found.symbol
    stored = [f"{figures.counted(one.candle_count, 'candle')} of {one.timeframe}" for one in series if one.candle_count]
    return f"{name} has {', '.join(stored)}." if stored else f"{name} has no candles yet."


def _next(found: Asset, series: list[Series]) -> list[NextAction]:
    actions, best = [], usual(series)
    if best:
        read = {"symbol": found.symbol, "timeframe": best.timeframe}
        actions.append(then("get_candles", "Read its candles.", **read))
        if best.gap_count:
            actions.append(then("list_gaps", "See what is missing.", **read))
    if not found.is_sample:
        timeframe = best.timeframe if best else Timeframe.D1.value
        actions.append(then("refresh_asset", "Fetch what is new.", symbol=found.symbol, timeframe=timeframe))
        actions.append(then("backfill_asset", "Fetch its history.", symbol=found.symbol, timeframe=timeframe))
    return actions


class Kept(Schema):
    asset: AssetOut
    job: JobOut | None = Field(description="The one that fetches its first candles. None: it has some already.")


@router.post("/assets/{symbol}/keep", response=answers(Kept), tags=["assets"])
def keep_asset(request: Signed, symbol: Symbol) -> Any:
    """Keep a symbol that a directory lists, and fetch its first daily candles as a job. Twice is once."""
    found = known(symbol)
    new = isinstance(found, Listing)
    if isinstance(found, Listing):
        Asset.objects.bulk_create(listings.unsaved([found.symbol]), ignore_conflicts=True)
        found = Asset.objects.get(symbol=found.symbol)
    series = _series(found)
    job = None if found.is_sample or series else refresh_asset(found, request.user)
    actions = [then("get_job", "See whether its candles are there.", job_id=job.pk)] if job else []
    words = f"{found.symbol} is kept from now on." if new else f"{found.symbol} was kept already."
    data = {"asset": _asset(found, series), "job": told(job) if job else None}
    return said(data, words, [*actions, then("get_asset", "Look at it.", symbol=found.symbol)])
