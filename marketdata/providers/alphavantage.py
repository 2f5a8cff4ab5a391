"""Alpha Vantage: the last hundred trading days of stocks and funds, which is what its free plan gives.

It confirms symbols and fills the last days when the others are away. It can't backfill: full history is a paid plan.
"""

import re
from collections.abc import Mapping
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

if TYPE_CHECKING:
    from marketdata.providers.rest import Question

LABEL = "Alpha Vantage"
COMPACT = 100  # candles of an answer, of everything that was listed long enough
SERIES = "Time Series (Daily)"
REACH = timedelta(days=135)  # 96 weekdays: within the hundred candles, today's unfinished one among them
_REFUSALS = ("Error Message", "Note", "Information")
_COLUMNS = {"open": "1. open", "high": "2. high", "low": "3. low", "close": "4. close", "volume": "5. volume"}
# Of its search: name, type, currency; and its types as our classes.
_FOUND = ("2. name", "3. type", "8. currency")
_CLASSES = {"equity": AssetClass.STOCK, "etf": AssetClass.ETF, "mutual fund": AssetClass.FUND}
# The exchange after the dot, as symbols are usually written and as Alpha Vantage writes it.
_EXCHANGES = {"L": "LON", "TO": "TRT", "V": "TRV", "DE": "DEX", "BO": "BSE", "SS": "SHH", "SZ": "SHZ"}


class AlphaVantage:
    """With a key, free for 25 requests a day; prices as they were traded."""

    name: ClassVar[str] = "alphavantage"
    label: ClassVar[str] = LABEL
    asset_classes: ClassVar[frozenset[AssetClass]] = frozenset(
        (AssetClass.STOCK, AssetClass.ETF, AssetClass.INDEX, AssetClass.FUND)
    )
    basis: ClassVar[Basis] = Basis.RAW
    needs_key: ClassVar[bool] = True
    sure_of: ClassVar[frozenset[AssetClass]] = frozenset()
    windows: ClassVar[Mapping[Timeframe, timedelta]] = {Timeframe.D1: REACH}
    reach: ClassVar[Mapping[Timeframe, timedelta]] = {Timeframe.D1: REACH}

    @property
    def requests_per_second(self) -> float:
        return float(settings.ALPHAVANTAGE_REQUESTS_PER_SECOND)

    @property
    def daily_quota(self) -> int | None:
        return int(settings.ALPHAVANTAGE_REQUESTS_PER_DAY)

    def spelling(self, symbol: str, asset_class: AssetClass) -> str:
        """`BRK.B` as `BRK-B`, `VOD.L` as `VOD.LON`, `^GSPC` as `GSPC`; what has no rule stays as it is."""
        stem, dot, suffix = symbol.rpartition(".")
        if dot and suffix in _EXCHANGES:
            return f"{stem}.{_EXCHANGES[suffix]}"
        if dot and len(suffix) == 1 and suffix.isalpha():
            return f"{stem}-{suffix}"
        return symbol.removeprefix("^")

    def fetch(self, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
        """Candles with since ≤ open_time < until, both aware UTC. One attempt. Raises `ProviderError` only.

        `begins` is the oldest candle of a whole answer: for this plan, history begins there.
        """
        if timeframe not in self.windows:
            raise BadRequest(f"{LABEL}'s free plan has no {timeframe} candles; it has 1d. Choose that.")
        from marketdata.providers import rest

        asked = {"function": "TIME_SERIES_DAILY", "symbol": spelling, "outputsize": "compact"}
        question = _question(spelling, asked)
        asked_at = timezone.now()
        content = _content(question)
        with rest.reading(question):
            return _fetched(question, since, until, content, asked_at)

    def lookup(self, spelling: str) -> Facts:
        """What its search says of exactly this symbol. One attempt. Raises `ProviderError` only."""
        from marketdata.providers import rest

        question = _question(spelling, {"function": "SYMBOL_SEARCH", "keywords": spelling})
        content = _content(question)
        with rest.reading(question):
            for entry in content["bestMatches"]:
                if str(entry["1. symbol"]).casefold() == spelling.casefold():
                    name, kind, money = (question.without_key(entry.get(part) or "") for part in _FOUND)
                    return Facts(name, _CLASSES.get(kind.lower()), currency=money)
        raise _unknown(spelling)


def _content(question: "Question") -> Mapping[str, Any]:
    """The answer, if it is one."""
    from marketdata.providers import rest

    answer = rest.ask(question)
    if not isinstance(answer.content, dict) and answer.status == 200:
        raise rest.malformed(question, "it is a list or a word")
    if not isinstance(answer.content, dict) and answer.status != 429:
        raise rest.in_its_place(question, answer.status)
    if refusal := _refusal(question, answer.content or {}, answer.status, answer.retry_after):
        raise refusal
    found: Mapping[str, Any] = answer.content
    return found


def _question(spelling: str, asked: Mapping[str, str]) -> "Question":
    """The interface takes its key in the address only; nobody is shown that."""
    from marketdata.providers.rest import Question

    key = credentials.secret(AlphaVantage.name)
    if not key:
        raise AuthError(f"{spelling} was not asked for. {credentials.lacking(AlphaVantage.name, LABEL)}")
    address = f"{settings.ALPHAVANTAGE_BASE_URL}/query"
    return Question(LABEL, spelling, address, {**asked, "apikey": key}, secret=key)


# --- The answer --------------------------------------------------------------------------------------------------


def _fetched(
    question: "Question", since: datetime, until: datetime, content: Mapping[str, Any], asked_at: datetime
) -> Fetched:
    from marketdata.providers import rest

    zone = ZoneInfo(str(content["Meta Data"]["5. Time Zone"]))
    days = {_midnight(date.fromisoformat(day)): bar for day, bar in content[SERIES].items()}
    if not days:
        raise NoData(f"{LABEL} has no daily candles of {question.symbol}.")
    rest.must_be_of(question, question.symbol, content["Meta Data"].get("2. Symbol"))
    begins = min(days)
    if until <= begins:
        raise PlanLimit(
            f"{LABEL}'s free plan has {question.symbol} from {begins:%Y-%m-%d} only, not what is older."
            " Ask another provider for that."
        )
    rows, unfinished = [], 0
    for at, bar in days.items():
        if since <= at < until and any(bar[_COLUMNS[name]] for name in ("open", "high", "low", "close")):
            if _midnight(at.date() + timedelta(days=1), zone) <= asked_at:  # whenever its market closes
                rows.append((at, {name: _text(bar[theirs]) for name, theirs in _COLUMNS.items()}))
            else:
                unfinished += 1
    if not rows and not unfinished:
        raise NoData(f"{LABEL} has no daily candles of {question.symbol} from {since:%Y-%m-%d} to {until:%Y-%m-%d}.")
    whole = len(days) >= COMPACT  # else it may be a young listing, or a page cut short: nobody can tell
    return Fetched(
        rest.table(rows), Facts(metadata={"timezone": str(zone)}), unfinished, begins=begins if whole else None
    )


def _text(value: object) -> str | None:
    return None if value in (None, "", "NaN") else str(value)


def _midnight(day: date, zone: Any = UTC) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


# --- Refusals ----------------------------------------------------------------------------------------------------


def _refusal(
    question: "Question", content: Mapping[str, Any], status: int, retry_after: float | None
) -> ProviderError | None:
    """What its words of refusal stand for; None if there are none. The status is 200 nearly always."""
    from marketdata.providers import rest

    symbol = question.symbol
    said = next((str(content[name])[: rest.HEARD] for name in _REFUSALS if content.get(name)), "")
    if not said:
        if status >= 500:
            return Unavailable(f"{LABEL} is down (it answered {status} for {symbol}). It is asked again later.")
        if status == 429:
            return _too_fast(symbol, retry_after)
        return rest.in_its_place(question, status) if status != 200 else _unknown(symbol) if not content else None
    words, lower = question.without_key(said), said.lower()
    # The order matters: the advice to go slower names the daily limit and the premium plans too.
    if re.search(r"per second\)|per minute|sparingly|burst pattern", lower):
        return _too_fast(symbol, retry_after)
    if re.search(r"per day|daily (api )?(rate|request) limit", lower):
        return QuotaExhausted(
            f"{LABEL} answers no more questions today, {symbol} included: the key's daily requests are used up."
            " Another plan has more."
        )
    if re.search(r"apikey|api key|\bdemo\b", lower):
        return AuthError(f"{LABEL} refuses the key, so {symbol} can't be had ({words}). Set another one.")
    if "premium" in lower:
        return PlanLimit(f"{LABEL} keeps {symbol} for other plans than yours ({words}). Change plan or chain.")
    if "invalid api call" in lower:
        return _unknown(symbol)
    return BadRequest(f"{LABEL} refuses the question about {symbol}: {words}")


def _too_fast(symbol: str, retry_after: float | None) -> RateLimited:
    told = f" and asks to wait {retry_after:.0f} s" if retry_after is not None else ""
    return RateLimited(
        f"{LABEL} answers no more questions for now{told} (too many at once, at {symbol})."
        " If this persists, lower ALPHAVANTAGE_REQUESTS_PER_SECOND.",
        retry_after,
    )


def _unknown(symbol: str) -> SymbolNotFound:
    return SymbolNotFound(
        f"{LABEL} does not know the symbol {symbol}. Check it for a typing error or a delisting;"
        f" if {LABEL} writes it otherwise, give the asset its spelling in the admin."
    )
