"""ccxt, driven: the candles of a window from any of its exchanges, complete or refused, its faults as ours.

The library is used as it is, with these things around it:

- the numbers of candles stay the text that the exchange sent: ccxt would make floats of them;
- an answer that is not JSON is a fault: ccxt would make an empty list of it;
- each answer's status and `Retry-After` are kept, because ccxt's names for refusals differ by exchange;
- the proxy variables and the certificates of `SSL_CERT_FILE` count, its own throttle and retries are off;
- the list of markets is shared by the clients of this process and read again after a while, or when a symbol is not in
  it, so that what was listed, renamed or delisted meanwhile is noticed.

A page may bring fewer candles than asked for without saying so. So what is missing in the window is asked for again,
until it is there or has been asked for several times in vain.
"""

import json
import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import ccxt
import pyarrow as pa
from django.utils import timezone

from marketdata.models import AssetClass, Timeframe
from marketdata.providers.base import (
    BadRequest,
    Facts,
    Fetched,
    MalformedResponse,
    NoData,
    SymbolNotFound,
    Unavailable,
)
from marketdata.providers.ccxt_exchange import LIMITED, CcxtExchange
from marketdata.providers.ccxt_faults import named, unknown
from marketdata.ratelimit import Bucket

log = logging.getLogger(__name__)

SECONDS = 10.0  # for one answer
MARKETS_LAST = 3600.0  # seconds for which a list of markets is good
MARKETS_YOUNG = 60.0  # seconds for which a symbol that is not in the list is believed not to exist
PAGE = 100  # candles of a request, where ccxt does not know
BELIEVED = 3  # times that an exchange with a candle for every interval must leave one out before it is believed
PIECES = 30  # requests beyond the expected ones in which a window must be complete
SKEW = timedelta(minutes=15)  # by how much an exchange's clock may be behind ours
LISTED = timedelta(days=2)  # by how much the first candle may be later than the listing
THEIRS = {Timeframe.MO1: "1M"}  # ccxt's spelling, where it differs
_OURS = {THEIRS.get(timeframe, str(timeframe)): timeframe for timeframe in Timeframe}
_MS = timedelta(milliseconds=1)


def history(source: CcxtExchange, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
    """One attempt to get the final candles of `spelling` with since ≤ open_time < until.

    Requests beyond the one that the caller has a turn for are charged to the bucket. Raises `ProviderError` only.
    """
    with _client(source, spelling) as client:
        market = _market(client, source, spelling)
        window = _Window(client, source, market, timeframe, since, until)
        rows = window.rows()
        return _fetched(window, spelling, rows)


def lookup(source: CcxtExchange, spelling: str) -> Facts:
    """What the exchange's list of markets says of `spelling`. Raises `ProviderError` only."""
    with _client(source, spelling) as client:
        market = _market(client, source, spelling)
        if market.get("active") is False:
            raise SymbolNotFound(f"{source.label} has suspended {spelling}. Look for the name it goes on under.")
        return _facts(source, market)


@dataclass(frozen=True)
class Described:
    """What ccxt says about an exchange without asking it; `milliseconds` between two requests."""

    timeframes: tuple[Timeframe, ...]
    page: int
    milliseconds: float


@cache
def described(name: str) -> Described:
    """Of the exchange that ccxt calls so. Raises AttributeError if there is none."""
    exchange = getattr(ccxt, name)()
    spot = (exchange.features or {}).get("spot") or {}
    page = (spot.get("fetchOHLCV") or {}).get("limit") or PAGE
    has = exchange.timeframes if exchange.has.get("fetchOHLCV") is True else None
    offered = tuple(ours for theirs, ours in _OURS.items() if theirs in (has or {}))
    return Described(offered, min(int(page), 1000), float(exchange.rateLimit))


# --- The client --------------------------------------------------------------------------------------------------


class _Exact:
    """What is put before an exchange's class of ccxt: numbers stay text, and what was answered is remembered."""

    source: CcxtExchange
    number: type
    asked = 0
    status: int | None = None
    headers: Mapping[str, str] = {}

    def fetch(self, *arguments: Any, **named_ones: Any) -> Any:
        """One HTTP request. Raises one of ccxt's errors, `BadResponse` too if what came is not JSON."""
        self.asked, self.status, self.headers = self.asked + 1, None, {}
        answer = super().fetch(*arguments, **named_ones)  # type: ignore[misc]
        if not isinstance(answer, dict | list):
            raise ccxt.BadResponse("it is not JSON")
        wanted = self.source.answers_in
        if wanted and not (isinstance(answer, dict) and isinstance(answer.get(wanted), list)):
            raise ccxt.BadResponse(f"it has no list called {wanted}")
        return answer

    def on_rest_response(self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *_: Any) -> str:
        self.status, self.headers = code, headers
        return body.strip()

    def on_json_response(self, body: str) -> Any:
        return json.loads(body, parse_float=str)

    def parse_ohlcv(self, candle: Any, market: Any = None) -> list[Any]:
        """The moment in ms, open, high, low, close, volume as text, then quote volume and the mark of being final."""
        self.number = str
        try:
            row = super().parse_ohlcv(candle, market)  # type: ignore[misc]
        finally:
            self.number = float
        places = (self.source.quote_volume_at, self.source.final_at)
        return [*row[:6], *(candle[at] if at is not None and len(candle) > at else None for at in places)]


@cache
def _class_of(name: str) -> Any:
    return type(name, (_Exact, getattr(ccxt, name)), {})


def _made(source: CcxtExchange, certificates: str | bool) -> Any:
    client = _class_of(source.name)(
        {"enableRateLimit": False, "requests_trust_env": True, "validateServerSsl": certificates}
    )
    client.source = source
    client.has["fetchCurrencies"] = False  # a request, or several, of which we need nothing
    client.options["defaultType"] = "spot"
    asked = client.options.get("fetchMarkets")
    if isinstance(asked, dict) and "spot" in (types := asked.get("types") or ()):
        asked["types"] = {kind: kind == "spot" for kind in types} if isinstance(types, dict) else ["spot"]
    if source.base_url:
        client.urls["api"]["rest"] = source.base_url
    return client


_idle: dict[tuple[Any, ...], list[Any]] = {}


@contextmanager
def _client(source: CcxtExchange, spelling: str) -> Iterator[Any]:
    """A client that nobody else uses meanwhile: they remember things between two steps. Their faults leave as ours."""
    certificates = _certificates(source)
    key = (source.name, source.base_url, certificates, os.getpid())  # the ends of a fork share no connection
    idle = _idle.setdefault(key, [])
    try:
        client = idle.pop()
    except IndexError:
        client = _made(source, certificates)
    client.timeout, client.asked = int(SECONDS * 1000), 0
    try:
        yield client
    except Exception as error:
        fault = named(error, source, spelling, client.status, client.headers, SECONDS)
        if isinstance(fault, SymbolNotFound) and fault is not error:
            _forget(client)
        raise fault from error
    finally:
        Bucket(source.name, source.requests_per_second).charge(client.asked - 1)
        idle.append(client)


def _certificates(source: CcxtExchange) -> str | bool:
    """The bundle that the usual variables name; requests reads the proxy variables itself, not all of these."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            if not Path(path).is_file():
                raise Unavailable(f"{source.label} was not asked: {name} names {path}, and there is no such file.")
            return path
    return True


# --- Markets -----------------------------------------------------------------------------------------------------


@dataclass
class _Markets:
    """An exchange's markets as ccxt keeps them in a client, and when they were read."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    read_at: float = 0.0
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def age(self) -> float:
        return time.monotonic() - self.read_at if self.kept else float("inf")


_KEPT = ("markets", "markets_by_id", "symbols", "ids", "currencies", "currencies_by_id", "codes")
_markets: dict[tuple[str, str], _Markets] = {}


def _market(client: Any, source: CcxtExchange, spelling: str) -> dict[str, Any]:
    """The spot market of this name, by ours or the exchange's spelling. Raises `SymbolNotFound`."""
    listing = _markets.setdefault((source.name, source.base_url), _Markets())
    with listing.lock:
        if listing.age > MARKETS_LAST:
            _read(client, listing)
        found = _found(listing, spelling)
        if found is None and listing.age > MARKETS_YOUNG:
            _read(client, listing)
            found = _found(listing, spelling)
        vars(client).update(listing.kept)
    if found is None:
        raise unknown(source, spelling)
    return found


def _read(client: Any, listing: _Markets) -> None:
    client.load_markets(True)
    listing.kept = {name: getattr(client, name) for name in _KEPT}
    listing.read_at = time.monotonic()


def _found(listing: _Markets, spelling: str) -> dict[str, Any] | None:
    by_symbol, by_id = listing.kept["markets"] or {}, listing.kept["markets_by_id"] or {}
    candidates = [by_symbol.get(spelling), by_symbol.get(spelling.replace("-", "/", 1)), *by_id.get(spelling, ())]
    return next((market for market in candidates if market and market.get("spot")), None)


def _forget(client: Any) -> None:
    """Read the list of markets again next time: the exchange does not know one that is in it."""
    if listing := _markets.get((client.source.name, client.source.base_url)):
        listing.read_at = min(listing.read_at, time.monotonic() - MARKETS_LAST - 1)


# --- The window --------------------------------------------------------------------------------------------------


@dataclass
class _Window:
    """The candles of one market with since ≤ open < until; `rows` are as `_Exact.parse_ohlcv` makes them."""

    client: Any
    source: CcxtExchange
    market: dict[str, Any]
    timeframe: Timeframe
    since: datetime
    until: datetime
    found: dict[datetime, list[Any]] = field(default_factory=dict)
    vain: Counter[datetime] = field(default_factory=Counter)  # how often a candle was asked for, and none came
    followed: set[datetime] = field(default_factory=set)  # those that had one after them, in the answer itself

    def rows(self) -> list[tuple[datetime, list[Any]]]:
        """All there are, oldest first; what is missing is asked for again until it is believed to be missing.

        Raises `MalformedResponse` if the exchange gives them in too small pieces.
        """
        page = self.source.page or described(self.source.name).page
        asked: tuple[datetime, datetime] | None = (self.since, self.until)
        most = PIECES + ceil((self.until - self.since) / self.timeframe.length / page)
        while asked is not None:
            most -= 1
            if most < 0:
                raise MalformedResponse(
                    f"{self.source.label} gives the candles of {self.market['id']} in pieces too small to be whole."
                    " It is asked again later."
                )
            new = self._ask(*asked, page)
            missing = self._missing()
            if not new:
                self.vain.update(at for at in missing if asked[0] <= at < asked[1])
            asked = self._next(missing, page)
        return sorted(self.found.items())

    def _ask(self, since: datetime, until: datetime, page: int) -> bool:
        """One request; whether it brought a candle that was not there. Candles without a price are none.

        Where candles have no mark of being final, one more is asked for: a candle with one after it is over.
        """
        shortest = timedelta(days=28) if self.timeframe == Timeframe.MO1 else self.timeframe.length
        limit = max(1, min(page, ceil((until - since) / shortest) + (self.source.final_at is None)))
        rows = self.client.fetch_ohlcv(
            self.market["symbol"],
            THEIRS.get(self.timeframe, str(self.timeframe)),
            _ms(since),
            limit,
        )
        before = len(self.found)
        opens = [datetime.fromtimestamp(row[0] / 1000, UTC) for row in rows]
        newest = max(opens, default=None)
        for at, row in zip(opens, rows, strict=True):
            if self.since <= at < self.until and all(_text(price) is not None for price in row[1:5]):
                if at not in self.followed:  # what a later answer says of one that formed is newer
                    self.found[at] = row
                if at != newest:
                    self.followed.add(at)
        return len(self.found) > before

    def _missing(self) -> list[datetime]:
        """The candles that should be there and are not. Nothing is expected before the market was listed, unless there
        are candles of before that.
        """
        first, listed, now = min(self.found, default=None), self.listed, timezone.now()
        start = self.since if listed is None or (first and first < listed) else max(self.since, listed)
        opens = _opens(self.timeframe, start, self.until)
        return [at for at in opens if at not in self.found and self.end(at) <= now]

    def _next(self, missing: list[datetime], page: int) -> tuple[datetime, datetime] | None:
        """What to ask now of what is missing and not yet believed to be: the newest, as much as one page holds.

        An exchange without candles for intervals without trades is only asked for what follows those it gave.
        """
        if not self.source.gapless:
            last = max(self.found, default=self.until)
            missing = [at for at in missing if at > last and not self.vain[at]]
            return (missing[0], self.until) if missing else None
        missing = [at for at in missing if self.vain[at] < BELIEVED]
        if not missing:
            return None
        since = max(missing[-page:][0], missing[-1] - self.timeframe.length * (page - 1))
        return since, self.end(missing[-1])

    @property
    def listed(self) -> datetime | None:
        """When the market was opened, if the exchange says."""
        created = self.market.get("created")
        return datetime.fromtimestamp(created / 1000, UTC) if created else None

    def is_final(self, opened: datetime, mark: Any) -> bool:
        """Whether a candle is over by our clock and by theirs, of which we know their mark or that they went on: in the
        same answer, since one that formed in an earlier answer is not over because a later one has others.
        """
        now = timezone.now()
        if self.end(opened) > now or mark == "0":
            return False
        return self.source.final_at is not None or opened in self.followed or self.end(opened) + SKEW <= now

    def end(self, opened: datetime) -> datetime:
        """When the candle of this name is over."""
        if self.timeframe == Timeframe.MO1:
            return (opened.replace(day=28) + timedelta(days=4)).replace(day=1)
        return opened + self.timeframe.length


def _opens(timeframe: Timeframe, since: datetime, until: datetime) -> Iterator[datetime]:
    """The names of all candles with since ≤ open < until, around the clock: weeks from Monday, months from the 1st."""
    if timeframe == Timeframe.MO1:
        month = since.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        at = month if month == since else (month + timedelta(days=32)).replace(day=1)
        while at < until:
            yield at
            at = (at + timedelta(days=32)).replace(day=1)
        return
    length = timeframe.length
    origin = datetime(1970, 1, 5 if timeframe == Timeframe.W1 else 1, tzinfo=UTC)
    at = origin - (origin - since) // length * length
    while at < until:
        yield at
        at += length


def _ms(at: datetime) -> int:
    return -((datetime(1970, 1, 1, tzinfo=UTC) - at) // _MS)


# --- The answer --------------------------------------------------------------------------------------------------


def _fetched(window: _Window, spelling: str, rows: list[tuple[datetime, list[Any]]]) -> Fetched:
    source, market = window.source, window.market
    if not rows:
        if market.get("active") is False:
            raise SymbolNotFound(
                f"{source.label} has suspended {spelling} and gives no candles of it from {window.since:%Y-%m-%d} on."
                " If it goes on under another name, give the asset that spelling in the admin."
            )
        raise NoData(
            f"{source.label} has no {window.timeframe} candles of {spelling}"
            f" from {window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC."
        )
    _must_be_on_our_grid(window, spelling, [at for at, _ in rows])
    final = [(at, row) for at, row in rows if window.is_final(at, row[7])]
    texts = {name: pa.array([_text(row[at]) for _, row in final], pa.string()) for name, at in _COLUMNS.items()}
    opened = pa.array([at for at, _ in final], pa.timestamp("us", tz="UTC"))
    none = pa.nulls(len(final), pa.string())
    prices = {name: texts[name] for name in ("open", "high", "low", "close")}
    volumes = {"volume": texts["volume"].fill_null("0"), "quote_volume": texts["quote_volume"]}
    candles = pa.table({"open_time": opened, **prices, "adj_close": none, **volumes})
    return Fetched(candles, _facts(source, market), len(rows) - len(final), begins=_begins(window, rows[0][0]))


_COLUMNS = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "quote_volume": 6}  # places in a row


def _must_be_on_our_grid(window: _Window, spelling: str, opens: list[datetime]) -> None:
    """Raises `BadRequest` if the exchange's days are not those of UTC, or its weeks do not begin on Monday."""
    if not window.timeframe.is_daily:
        return
    expected = set(_opens(window.timeframe, opens[0], opens[-1] + timedelta(days=1)))
    if strange := next((at for at in opens if at not in expected), None):
        raise BadRequest(
            f"{window.source.label} begins its {window.timeframe} candles of {spelling} at other times than we do"
            f" ({strange:%a %Y-%m-%d %H:%M} UTC). Ask for a shorter timeframe."
        )


def _begins(window: _Window, first: datetime) -> datetime | None:
    """Where the history begins, if this window holds its beginning: nothing was there before, and it agrees with the
    listing. A first candle long after the listing is one after a pause.
    """
    if first - window.since < window.timeframe.length:
        return None
    if window.source.name in LIMITED:
        return first
    if window.listed is None:
        return None
    return first if first <= window.listed + max(LISTED, window.timeframe.length) else None


def _facts(source: CcxtExchange, market: Mapping[str, Any]) -> Facts:
    base, quote = str(market["base"]), str(market["quote"])
    listed = market.get("created")
    day = f"{datetime.fromtimestamp(listed / 1000, UTC):%Y-%m-%d}" if listed else ""
    return Facts(
        name=f"{base} / {quote}",
        asset_class=AssetClass.CRYPTO,
        exchange=source.label,
        currency=quote[:10],
        metadata={name: text for name, text in (("base", base), ("quote", quote), ("listed", day)) if text},
    )


def _text(value: Any) -> str | None:
    """A number's exact text without an exponent; None for what is no number."""
    text = "" if value is None else str(value).strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return f"{number:f}" if number.is_finite() else None
