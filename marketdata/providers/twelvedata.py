"""Twelve Data: stocks, funds, indices, currencies, metals and coins, over its REST interface."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from marketdata import credentials
from marketdata.models import AssetClass, Basis, Timeframe
from marketdata.providers.base import (
    AuthError,
    BadRequest,
    Facts,
    Fetched,
    NoData,
    PlanLimit,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)
from marketdata.ratelimit import Bucket

if TYPE_CHECKING:
    from marketdata.providers.rest import Answer, Question

LABEL = "Twelve Data"
MOST = 5_000  # values of one answer
DIGITS = 10  # decimal places, as many as we keep; else it rounds to 5
HOLE = timedelta(days=7)  # no market is closed so long: an answer that lacks more at an end was cut short
PAGES = 20  # requests for one answer that comes in pieces

INTERVALS = {
    Timeframe.M1: "1min",
    Timeframe.M5: "5min",
    Timeframe.M15: "15min",
    Timeframe.M30: "30min",
    Timeframe.H1: "1h",
    Timeframe.H4: "4h",
    Timeframe.D1: "1day",
    Timeframe.W1: "1week",
    Timeframe.MO1: "1month",
}
# Its `type` of an instrument, as ours; the many kinds of shares are all stocks.
_CLASSES = {
    "etf": AssetClass.ETF,
    "index": AssetClass.INDEX,
    "mutual fund": AssetClass.FUND,
    "physical currency": AssetClass.FX,
    "digital currency": AssetClass.CRYPTO,
    "precious metal": AssetClass.COMMODITY,
    "commodity": AssetClass.COMMODITY,
    "common stock": AssetClass.STOCK,
    "common": AssetClass.STOCK,
    "preferred stock": AssetClass.STOCK,
    "american depositary receipt": AssetClass.STOCK,
    "depositary receipt": AssetClass.STOCK,
    "global depositary receipt": AssetClass.STOCK,
    "reit": AssetClass.STOCK,
    "unit": AssetClass.STOCK,
}
_METALS = ("XAU/", "XAG/", "XPT/", "XPD/")  # listed among the currencies
# Indices go by names of their own; what is not here goes without its circumflex.
_INDICES = {"^GSPC": "SPX", "^DJI": "DJI", "^IXIC": "IXIC", "^NDX": "NDX", "^RUT": "RUT", "^VIX": "VIX"}
# Where symbols without an exchange are listed; currencies and coins have no country.
_AT_HOME = ("United States", "", None)
# The exchange after the dot, as symbols are usually written, and after a colon, as Twelve Data takes it.
_EXCHANGES = {"L": "LSE", "TO": "TSX", "V": "TSXV", "DE": "XETR", "F": "FSX", "NS": "NSE", "BO": "BSE", "AX": "ASX",
              "HK": "HKEX", "T": "JPX", "SW": "SIX"}  # fmt: skip


class TwelveData:
    """With a key, free for 8 requests a minute and 800 a day; split-adjusted prices."""

    name: ClassVar[str] = "twelvedata"
    label: ClassVar[str] = LABEL
    asset_classes: ClassVar[frozenset[AssetClass]] = frozenset(AssetClass)
    basis: ClassVar[Basis] = Basis.SPLIT
    needs_key: ClassVar[bool] = True
    sure_of: ClassVar[frozenset[AssetClass]] = frozenset({AssetClass.FX})
    # As many whole days as 5,000 values last in a market that never closes.
    windows: ClassVar[Mapping[Timeframe, timedelta]] = {
        timeframe: min(timedelta(days=36_500), timedelta(days=MOST * timeframe.length // timedelta(days=1)))
        for timeframe in INTERVALS
    }
    reach: ClassVar[Mapping[Timeframe, timedelta]] = {}

    @property
    def requests_per_second(self) -> float:
        return float(settings.TWELVEDATA_REQUESTS_PER_MINUTE) / 60

    @property
    def daily_quota(self) -> int | None:
        return int(settings.TWELVEDATA_REQUESTS_PER_DAY)

    def spelling(self, symbol: str, asset_class: AssetClass) -> str:
        """`EUR-USD` as `EUR/USD`, `^GSPC` as `SPX`, `BRK-B` as `BRK.B`, `VOD.L` as `VOD:LSE`."""
        base, hyphen, quote = symbol.partition("-")
        if asset_class in (AssetClass.FX, AssetClass.CRYPTO, AssetClass.COMMODITY):
            return f"{base}/{quote}" if hyphen else symbol
        if asset_class == AssetClass.INDEX:
            return _INDICES.get(symbol, symbol.removeprefix("^"))
        stem, dot, suffix = symbol.rpartition(".")
        if dot and suffix in _EXCHANGES:
            return f"{stem}:{_EXCHANGES[suffix]}"
        return f"{base}.{quote}" if hyphen and len(quote) == 1 else symbol

    def fetch(self, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
        """Candles with since ≤ open_time < until, both aware UTC. One attempt. Raises `ProviderError` only."""
        if timeframe not in INTERVALS:
            raise BadRequest(f"{LABEL} has no {timeframe} candles; it has {', '.join(INTERVALS)}. Choose one of these.")
        pages = list(_pages(spelling, timeframe, since, until))
        from marketdata.providers import rest

        rows = [row for page in pages for row in page.rows]
        return Fetched(rest.table(rows), pages[0].facts, sum(page.unfinished for page in pages))

    def lookup(self, spelling: str) -> Facts:
        """What its search says of exactly this symbol. One attempt. Raises `ProviderError` only."""
        from marketdata.providers import rest

        name, _, exchange = spelling.partition(":")
        question = _addressed(spelling, "symbol_search", {"symbol": name, "outputsize": "30"})
        content = _content(question, Timeframe.D1, timezone.now(), timezone.now())
        with rest.reading(question):
            for entry in content["data"]:
                same = str(entry["symbol"]).casefold() == name.casefold()
                here = entry.get("exchange") == exchange if exchange else entry.get("country") in _AT_HOME
                if same and here:
                    return _found(question, entry)
        raise _unknown(spelling)


@dataclass(frozen=True)
class _Page:
    """One answer: final candles, oldest first, by the open that we name them by."""

    rows: list[tuple[datetime, dict[str, str | None]]]
    unfinished: int
    facts: Facts


def _pages(spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[_Page]:
    """The answer, and what it lacks at its ends if that is more than a market is ever closed.

    A page may be cut short without a word. Before a listing nothing comes, and costs one request more.
    """
    page = _ask(spelling, timeframe, since, until)
    yield page
    hole, end = max(HOLE, 2 * timeframe.length), min(until, timezone.now())
    for _ in range(PAGES - 1):
        if not page.rows:
            return
        first, last = page.rows[0][0], page.rows[-1][0] + timeframe.length
        if first - since > hole:
            end = first
        elif end - last > hole:
            since = last
        else:
            return
        Bucket(credentials.account(TwelveData.name), TwelveData().requests_per_second).charge(1)
        try:
            page = _ask(spelling, timeframe, since, end)
        except NoData:
            return
        yield page
        hole = timeframe.length  # it was cut short: now every candle is looked for


def _ask(spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> _Page:
    from marketdata.providers import rest

    question = _question(spelling, timeframe, since, until)
    asked_at = timezone.now()
    content = _content(question, timeframe, since, until)
    with rest.reading(question):
        return _page(question, timeframe, since, until, content, asked_at)


def _content(question: "Question", timeframe: Timeframe, since: datetime, until: datetime) -> Mapping[str, Any]:
    """The answer, if it is one."""
    from marketdata.providers import rest

    answer = rest.ask(question)
    content = answer.content
    if answer.status == 200 and not isinstance(content, dict):
        raise rest.malformed(question, "it is a list or a word")
    if answer.status != 200 or content.get("status") == "error":
        raise _refusal(question, answer, timeframe, since, until)
    found: Mapping[str, Any] = content
    return found


def _question(spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> "Question":
    first = _first_day(timeframe, since.date()) if timeframe.is_daily else since
    params = {
        "symbol": spelling,
        "interval": INTERVALS[timeframe],
        "start_date": f"{first:%Y-%m-%d %H:%M:%S}",
        "end_date": f"{until - timedelta(seconds=1):%Y-%m-%d %H:%M:%S}",  # its range has both ends
        "timezone": "UTC",
        "order": "ASC",
        "outputsize": str(MOST),
        "dp": str(DIGITS),
        "format": "JSON",
    }
    return _addressed(spelling, "time_series", params)


def _addressed(spelling: str, what: str, params: Mapping[str, str]) -> "Question":
    """The key goes in a header, so that it is in no address."""
    from marketdata.providers.rest import Question

    key = credentials.secret(TwelveData.name)
    if not key:
        raise AuthError(f"{spelling} was not asked for. {credentials.lacking(TwelveData.name, LABEL)}")
    address = f"{settings.TWELVEDATA_BASE_URL}/{what}"
    return Question(LABEL, spelling, address, params, {"Authorization": f"apikey {key}"}, key)


# --- The answer --------------------------------------------------------------------------------------------------


def _page(
    question: "Question",
    timeframe: Timeframe,
    since: datetime,
    until: datetime,
    content: Mapping[str, Any],
    asked_at: datetime,
) -> _Page:
    from marketdata.providers import rest

    meta = content["meta"]
    rest.must_be_of(question, question.symbol.partition(":")[0], meta.get("symbol"))  # which leaves the exchange out
    zone = ZoneInfo(str(meta.get("exchange_timezone") or "UTC"))
    rows, unfinished = [], 0
    for at, values in _rows(content["values"], timeframe):
        if since <= at < until:
            if _over_at(timeframe, at, zone) <= asked_at:  # one that ended meanwhile came unfinished
                rows.append((at, values))
            else:
                unfinished += 1
    if not rows and not unfinished:
        raise NoData(_nothing(question.symbol, timeframe, since, until))
    return _Page(sorted(rows, key=lambda row: row[0]), unfinished, _facts(question, meta))


def _rows(values: list[Mapping[str, Any]], timeframe: Timeframe) -> Iterator[tuple[datetime, dict[str, str | None]]]:
    """Each bar by the open that we name it by; bars without any price are none."""
    for value in values:
        at = datetime.fromisoformat(value["datetime"]).replace(tzinfo=UTC)
        if timeframe.is_daily:
            at = _midnight(_first_day(timeframe, at.date()))
        prices = {name: _meant(value[name]) for name in ("open", "high", "low", "close")}
        if any(prices.values()):
            yield at, {**prices, "volume": str(value.get("volume") or "0")}


def _meant(value: object) -> str | None:
    """The price as it was meant, as exact text; None for none.

    Some of its prices were single precision once: 148.85 arrives as 148.8500061035. If a text is a single-precision
    number written out, that number's shortest text is the one that was meant.
    """
    if value in (None, "", "NaN"):
        return None
    text = str(value)
    decimals = len(text.partition(".")[2])
    if decimals <= 4 or not re.fullmatch(r"\d+\.\d+", text):
        return text
    import numpy as np

    single = np.float32(text)
    if f"{float(single):.{decimals}f}" != text:
        return text
    return str(np.format_float_positional(single, unique=True, trim="-"))


def _over_at(timeframe: Timeframe, at: datetime, zone: ZoneInfo) -> datetime:
    """When the candle can't change any more: that of a day at the exchange's next midnight, whenever it closes."""
    if not timeframe.is_daily:
        return at + timeframe.length
    return _midnight(_next_day(timeframe, at.date()), zone)


def _first_day(timeframe: Timeframe, day: date) -> date:
    """Monday of a week, the first of a month."""
    if timeframe == Timeframe.W1:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if timeframe == Timeframe.MO1 else day


def _next_day(timeframe: Timeframe, day: date) -> date:
    if timeframe == Timeframe.MO1:
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timeframe.length


def _midnight(day: date, zone: Any = UTC) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _facts(question: "Question", meta: Mapping[str, Any]) -> Facts:
    def text(name: str) -> str:
        return question.without_key(meta.get(name) or "")

    symbol, kind = question.symbol, text("type")
    asset_class = AssetClass.COMMODITY if symbol.startswith(_METALS) else _CLASSES.get(kind.lower())
    base, quote = text("currency_base"), text("currency_quote")
    return Facts(
        name=f"{base} / {quote}" if base and quote else "",
        asset_class=asset_class,
        exchange=text("exchange"),
        currency=text("currency") or (symbol.partition("/")[2] if base else ""),
        metadata={
            name: said
            for name, said in {
                "timezone": text("exchange_timezone"),
                "instrument_type": kind,
                "mic": text("mic_code"),
            }.items()
            if said
        },
    )


def _found(question: "Question", entry: Mapping[str, Any]) -> Facts:
    """An entry of its search."""

    def text(name: str) -> str:
        return question.without_key(entry.get(name) or "")

    kind = text("instrument_type")
    asset_class = AssetClass.COMMODITY if question.symbol.startswith(_METALS) else _CLASSES.get(kind.lower())
    return Facts(text("instrument_name"), asset_class, text("exchange"), text("currency"))


# --- Refusals ----------------------------------------------------------------------------------------------------


def _refusal(
    question: "Question", answer: "Answer", timeframe: Timeframe, since: datetime, until: datetime
) -> ProviderError:
    """An error answer, by its code and its words; the HTTP status is the code's or 200."""
    from marketdata.providers import rest

    content, symbol = answer.content, question.symbol
    ours = isinstance(content, dict) and content.get("status") == "error"
    if not ours and answer.status != 429:
        return rest.in_its_place(question, answer.status)
    said = str(content.get("message") or "")[: rest.HEARD] if ours else ""
    try:
        code = int(content["code"]) if ours else answer.status
    except (KeyError, TypeError, ValueError):
        code = answer.status
    words = question.without_key(said)
    match code:
        case 429:
            return _enough(symbol, said, answer.retry_after)
        case 401:
            return AuthError(f"{LABEL} refuses the key, so {symbol} can't be had ({words}). Set another one.")
        case 400 if "no data is available" in said.lower():
            return NoData(_nothing(symbol, timeframe, since, until))
        case code if code >= 500:
            return Unavailable(f"{LABEL} is down ({symbol}: {words or code}). It is asked again later.")
        case _ if code == 403 or re.search(r"\bplans?\b|/pricing|upgrad", said, re.IGNORECASE):
            return PlanLimit(
                f"{LABEL} keeps {symbol} for another plan than yours ({words}). Change the plan or the chain."
            )
        case 404 | 400 if code == 404 or re.search(r"\*{0,2}symbol\*{0,2}.*(not found|invalid)", said, re.IGNORECASE):
            return _unknown(symbol)
        case _:
            return BadRequest(f"{LABEL} refuses the question about {symbol}: {words or code}")


def _unknown(symbol: str) -> SymbolNotFound:
    return SymbolNotFound(
        f"{LABEL} does not know the symbol {symbol}. Check it for a typing error or a delisting;"
        f" if {LABEL} writes it otherwise, give the asset its spelling in the admin."
    )


def _enough(symbol: str, said: str, retry_after: float | None) -> ProviderError:
    """Credits are counted by the minute and by the day; only the words tell which are used up."""
    if re.search(r"\bday\b|\bdaily\b", said, re.IGNORECASE) and "minute" not in said.lower():
        return QuotaExhausted(
            f"{LABEL} answers no more questions today, {symbol} included: the key's daily credits are used up."
            " They come back at 00:00 UTC; another plan has more."
        )
    told = f" and asks to wait {retry_after:.0f} s" if retry_after is not None else ""
    return RateLimited(
        f"{LABEL} answers no more questions for now{told} (the minute's credits are used up, at {symbol})."
        " If this persists, lower TWELVEDATA_REQUESTS_PER_MINUTE to what your plan allows.",
        retry_after,
    )


def _nothing(symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> str:
    return f"{LABEL} has no {timeframe} candles of {symbol} from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC."
