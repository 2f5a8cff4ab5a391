"""yfinance, driven: one request for history, its answer as candles, its faults as ours.

The library is used as it is, with three things around it, because it never looks at an HTTP status, keeps error
answers in an `lru_cache`, and asks again at once whenever it is refused:

- a session of ours reads each answer's status first, so a 429 costs one request instead of four and an unknown symbol
  one instead of twelve, and the body of an error never becomes the crumb;
- the `lru_cache` is emptied before each request;
- its cookie and time zone files live in the state directory.

What is lost by it: the minute candle of 23:59 of coins and currencies, because Yahoo gives 23:59 as the end of their
day and yfinance drops what begins at an end.
"""

import json
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import curl_cffi.requests as curl
import numpy as np
import pyarrow as pa
import yfinance
from curl_cffi import CurlError
from curl_cffi.requests import exceptions as curl_faults
from django.conf import settings
from django.utils import timezone
from yfinance import cache as yfinance_cache
from yfinance import exceptions as theirs
from yfinance.data import YfData

from marketdata.models import FUTURES, AssetClass, Timeframe
from marketdata.providers import yahoo_events
from marketdata.providers.base import (
    BadRequest,
    Facts,
    Fetched,
    MalformedResponse,
    NoData,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)
from marketdata.providers.yahoo import CLASSES, Yahoo
from marketdata.ratelimit import Bucket, seconds_told

log = logging.getLogger(__name__)
warnings.filterwarnings("ignore", module=r"yfinance\b")  # of what pandas will change: theirs to follow

CHART = "https://query2.finance.yahoo.com/v8/finance/chart/"
CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
SETTLED = timedelta(minutes=15)  # after a session's end its daily candle still moves
INTERVALS = {Timeframe.W1: "1wk"}  # Yahoo's own spelling, where it differs
# An answer whose first candle is further than this from what was asked for, or from the listing, may be cut short: its
# beginning is asked for once more. A halt is as long sometimes; that costs one request.
LATE = {Timeframe.W1: timedelta(days=21), Timeframe.MO1: timedelta(days=62)}
MOST_PIECES = 20
_one_at_a_time = threading.Lock()  # yfinance keeps its session, cookie and crumb in one object for the process


def history(symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
    """One attempt to get the final candles of Yahoo's `symbol` with since ≤ open_time < until.

    Waits for its turn in this process. Requests beyond the one that the caller has a turn for are charged to the
    bucket.
    Raises `ProviderError` only.
    """
    with asking(symbol, lambda error: _named(error, symbol, timeframe, since, until)) as session:
        found = _answer(session, symbol, timeframe, since, until)
        for _ in range(MOST_PIECES):
            first = _first_of_a_part(found, timeframe, since)
            if first is None:
                break
            try:
                found = _joined(_answer(session, symbol, timeframe, since, first), found)
            except Exception as error:
                if not isinstance(_named(error, symbol, timeframe, since, first), NoData):
                    raise
                break
        return found


def lookup(symbol: str) -> Facts:
    """One attempt to learn what Yahoo's `symbol` is: what stands at the head of its last days' candles.

    Those and no quote summary, because it is candles that will be asked for. Raises `ProviderError` only.
    """
    with asking(symbol, lambda error: named(error, symbol, _malformed(symbol, "it says nothing"))) as session:
        address = CHART + quote(symbol, safe="")
        answer = YfData(session=session).get_raw_json(address, params={"range": "5d", "interval": "1d"})
        if error := answer["chart"].get("error"):
            raise _explained(symbol, 200, str(error["description"]))
        (found,) = answer["chart"]["result"]
        meta = found["meta"]
        if str(meta["symbol"]).casefold() != symbol.casefold():
            raise _malformed(symbol, f"it is about {meta['symbol']}")
        traded = meta.get("regularMarketTime")
        return replace(_facts(meta), traded_at=datetime.fromtimestamp(traded, UTC) if traded else None)


def _answer(session: "Session", symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
    asked_at = timezone.now()
    frame, meta = _ask(session, symbol, timeframe, since, until)
    found = _fetched(symbol, timeframe, since, until, frame, meta, asked_at)
    return _with_events(found, session.chart, timeframe, since, until)


def _first_of_a_part(found: Fetched, timeframe: Timeframe, since: datetime) -> datetime | None:
    """The first open of an answer that begins so late that it may have been cut short; None if it does not."""
    if not found.candles.num_rows:
        return None
    first: datetime = found.candles["open_time"][0].as_py().replace(tzinfo=UTC)
    is_crypto = found.facts.asset_class == AssetClass.CRYPTO
    late = timeframe.length if is_crypto else LATE.get(timeframe, timedelta(days=5))
    return first if first - max(since, found.begins or since) > late else None


def _joined(earlier: Fetched, later: Fetched) -> Fetched:
    actions = dict.fromkeys((*(earlier.actions or ()), *(later.actions or ())))
    return replace(later, candles=pa.concat_tables([earlier.candles, later.candles]), actions=tuple(actions))


@contextmanager
def asking(symbol: str, named: Callable[[Exception], ProviderError]) -> Iterator["Session"]:
    """The session, for one question about `symbol`; what goes wrong in the block is raised as `named` calls it."""
    if not _one_at_a_time.acquire(timeout=60):
        raise ProviderTimeout(f"An earlier question to Yahoo Finance still waits; {symbol} was not asked for.")
    try:
        session = _session()
        session.begin(symbol)
        try:
            yfinance.config.debug.hide_exceptions = False
            YfData(session=session).cache_get.cache_clear()
            yield session
        finally:
            Bucket(Yahoo.name, Yahoo().requests_per_second).charge(session.asked - 1)
    except Exception as error:
        fault = named(error)
        if isinstance(fault, MalformedResponse):
            _forget_cookies()
        raise fault from error
    finally:
        _one_at_a_time.release()


def _ask(
    session: "Session", symbol: str, timeframe: Timeframe, since: datetime, until: datetime
) -> tuple[Any, Mapping[str, Any]]:
    """yfinance's data frame, indexed by exchange time, and the metadata of the answer."""
    ticker = yfinance.Ticker(symbol, session=session)
    start: date | datetime = since
    end: date | datetime = until
    if timeframe.is_daily:  # dates, which yfinance reads in the exchange's zone
        start = _period_of(timeframe, since.date())
        end = until.date() if until == _midnight(until.date()) else until.date() + timedelta(days=1)
    frame = ticker.history(
        start=start,
        end=end,
        interval=INTERVALS.get(timeframe, str(timeframe)),
        auto_adjust=False,
        actions=True,
        repair=False,
        timeout=READ_SECONDS,
    )
    return frame, ticker.history_metadata


# --- The answer --------------------------------------------------------------------------------------------------


def _fetched(
    symbol: str,
    timeframe: Timeframe,
    since: datetime,
    until: datetime,
    frame: Any,
    meta: Mapping[str, Any],
    asked_at: datetime,
) -> Fetched:
    frame = frame.dropna(subset=["Open", "High", "Low", "Close"])  # Yahoo's null bars
    zone = ZoneInfo(str(meta["exchangeTimezoneName"]))
    local = [stamp.to_pydatetime() for stamp in frame.index]
    is_final = _final(timeframe, zone, meta, asked_at)
    opens = [_midnight(at.date()) if timeframe.is_daily else at.astimezone(UTC) for at in local]
    wanted = [since <= at < until for at in opens]
    final = [is_final(at) for at in opens]
    keep = [number for number, (in_range, over) in enumerate(zip(wanted, final, strict=True)) if in_range and over]
    unfinished = sum(in_range and not over for in_range, over in zip(wanted, final, strict=True))
    if not keep and not unfinished:
        raise NoData(_nothing(symbol, timeframe, since, until))
    frame = frame.iloc[keep]
    none = pa.nulls(len(keep), pa.string())
    texts = {ours: _texts(frame[name].to_numpy()) for ours, name in _COLUMNS.items()}
    if not timeframe.is_daily:  # there Yahoo adjusts nothing, and yfinance repeats the close
        texts["adj_close"] = none
    opened = pa.array([opens[number] for number in keep], pa.timestamp("us", tz="UTC"))
    return Fetched(pa.table({"open_time": opened, **texts, "quote_volume": none}), _facts(meta), unfinished)


def _with_events(found: Fetched, chart: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
    """The splits and dividends of the days that were asked about, whether there are candles on them or not."""
    told = yahoo_events.read(chart)
    zone = ZoneInfo(found.facts.metadata["timezone"])
    first, last = since.date(), (until - timedelta(microseconds=1)).date()
    actions = tuple(action for action in told.actions if first <= action.ex_date <= last)
    return replace(found, actions=actions, begins=yahoo_events.first_open(told, zone, dated=timeframe.is_daily))


_COLUMNS = {name.lower().replace(" ", "_"): name for name in ("Open", "High", "Low", "Close", "Adj Close", "Volume")}


def _texts(values: Any) -> pa.Array:
    """The numbers as Yahoo meant them, as exact text.

    Its prices were single precision once: 150.28 arrives as 150.27999877929688. If a number survives the way through
    single precision, that precision's shortest text is the one that was meant.
    """
    if np.issubdtype(values.dtype, np.integer):
        return pa.array([str(value) for value in values.tolist()], pa.string())
    single = values.astype(np.float32)
    was_single = single.astype(np.float64) == values
    return pa.array(
        [
            None if np.isnan(wide) else np.format_float_positional(narrow if exact else wide, unique=True, trim="-")
            for wide, narrow, exact in zip(values, single, was_single, strict=True)
        ],
        pa.string(),
    )


def _final(timeframe: Timeframe, zone: ZoneInfo, meta: Mapping[str, Any], now: datetime) -> Callable[[datetime], bool]:
    """Whether the candle of this (UTC) name couldn't change by trading any more when it was asked for."""
    if not timeframe.is_daily:
        return lambda opened: opened + timeframe.length <= now
    if meta.get("instrumentType") == "CRYPTOCURRENCY":
        return lambda opened: _midnight(_next(timeframe, opened.date())) <= now
    if timeframe != Timeframe.D1:
        return lambda opened: _midnight(_next(timeframe, opened.date()), zone) <= now
    session = (meta.get("currentTradingPeriod") or {}).get("regular") or {}
    begins, ends = session.get("start"), session.get("end")

    def over(opened: datetime) -> bool:
        day = opened.date()
        if begins is None or ends is None or day > begins.date():
            return _midnight(day + timedelta(days=1), zone) <= now
        return day < begins.date() or bool(ends + SETTLED <= now)

    return over


def _midnight(day: date, zone: Any = UTC) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _period_of(timeframe: Timeframe, day: date) -> date:
    """The first day of the candle that holds `day`: Monday of a week, the first of a month."""
    if timeframe == Timeframe.W1:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if timeframe == Timeframe.MO1 else day


def _next(timeframe: Timeframe, day: date) -> date:
    """The first day of the candle after the one that `day` names."""
    if timeframe == Timeframe.MO1:
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1)
    return day + timeframe.length


def _facts(meta: Mapping[str, Any]) -> Facts:
    def text(*names: str) -> str:
        return next((str(meta[name]).strip() for name in names if meta.get(name)), "")

    stands_in = text("symbol") in FUTURES.values()
    return Facts(
        name=text("longName", "shortName"),
        asset_class=CLASSES.get(text("instrumentType")),
        exchange=text("fullExchangeName", "exchangeName"),
        currency=text("currency"),
        metadata={
            "timezone": text("exchangeTimezoneName"),
            "instrument_type": text("instrumentType"),
            **({"proxy": f"{text('symbol')}, the next future: not the spot price"} if stands_in else {}),
        },
    )


# --- The session -------------------------------------------------------------------------------------------------


class Session(curl.Session[curl.Response]):
    """curl_cffi's session as yfinance wants it (it passes for Chrome), which reads the status of what it gets."""

    def __init__(self, verify: str | bool) -> None:
        super().__init__(impersonate="chrome", verify=verify, trust_env=True)  # type: ignore[arg-type]
        self.begin("")

    def begin(self, symbol: str) -> None:
        self.asked, self._refusals, self._symbol = 0, 0, symbol
        self.chart = ""  # the answer with the candles, as it came
        self._crumb_refused = False

    def request(self, method: Any, url: str, **options: Any) -> curl.Response:  # type: ignore[override]
        """One HTTP request, never longer than our own limits. Raises what `ProviderError` the status stands for."""
        options["timeout"] = (CONNECT_SECONDS, READ_SECONDS)
        self.asked += 1
        response = super().request(method, url, **options)
        if url.endswith("/getcrumb"):
            self._crumb_refused = True
            _must_be_a_crumb(response)
            self._crumb_refused = False
        elif "/finance/chart/" in url or "/finance/quoteSummary/" in url:
            self._must_be_an_answer(response)
        if "/finance/chart/" in url and "events" in (options.get("params") or {}):
            self.chart = response.text
        return response

    def _must_be_an_answer(self, response: curl.Response) -> None:
        status, symbol = response.status_code, self._symbol
        if status in (429, 999):
            raise _rate_limited(symbol, seconds_told(response.headers.get("Retry-After")))
        if status >= 500 or "Will be right back" in response.text:
            raise Unavailable(f"Yahoo Finance is down (it answered {status} for {symbol}). It is asked again later.")
        if status in (401, 403):  # once is a stale cookie: yfinance gets another and asks again
            self._refusals += 1
            if self._crumb_refused:
                raise _rate_limited(symbol, None)
            if self._refusals > 1:
                _forget_cookies()
                raise Unavailable(
                    f"Yahoo Finance refuses {symbol} ({status}): it may be blocked from this address or by a proxy."
                    " Try another network, or set HTTPS_PROXY."
                )
        elif status >= 400:
            raise _explained(symbol, status, _reason(response))


def _must_be_a_crumb(response: curl.Response) -> None:
    """Candles can be had without a crumb, so yfinance is told to go on without one, not to use an error's text."""
    text = response.text
    if response.status_code != 200 or not 0 < len(text) <= 64 or any(sign.isspace() or sign in "<{" for sign in text):
        raise theirs.YFRateLimitError


def _reason(response: curl.Response) -> str | None:
    """Yahoo's own words in an error answer; None if the answer is not Yahoo's."""
    try:
        (said,) = json.loads(response.text).values()  # {"chart": …}, {"quoteSummary": …}
        return str(said["error"]["description"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


_ours: tuple[str | bool, Session] | None = None


def _session() -> Session:
    """This process's session; a new one if the variables that name the certificates have changed."""
    global _ours
    verify = _certificates()
    if _ours is None:
        place = Path(settings.CHRONOS_VAR) / "cache" / "yfinance"
        place.mkdir(parents=True, exist_ok=True)
        yfinance.set_tz_cache_location(str(place))
    if _ours is None or _ours[0] != verify:
        _ours = (verify, Session(verify))
    return _ours[1]


def _certificates() -> str | bool:
    """The bundle that the usual variables name; curl reads the proxy variables itself, these it does not."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            if not Path(path).is_file():
                raise Unavailable(f"Yahoo Finance was not asked: {name} names {path}, and there is no such file.")
            return path
    return True


def _forget_cookies() -> None:
    """Throw away yfinance's stored cookie: a broken one would fail every request until it expires, in a year."""
    try:
        yfinance_cache.get_cookie_cache().store("curlCffi", None)
    except Exception:
        log.exception("yfinance's cookie file can't be emptied")


# --- Faults ------------------------------------------------------------------------------------------------------


def _named(error: Exception, symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> ProviderError:
    return named(error, symbol, NoData(_nothing(symbol, timeframe, since, until)))


def named(error: Exception, symbol: str, nothing: ProviderError) -> ProviderError:
    """Their fault as ours; `nothing` where they have no answer and say no more.

    The order matters, because curl_cffi's faults are several things at once.
    """
    match error:
        case ProviderError():
            return error
        case theirs.YFRateLimitError():
            return _rate_limited(symbol, None)
        case curl_faults.Timeout() | TimeoutError():
            return ProviderTimeout(
                f"Yahoo Finance did not answer for {symbol} within {CONNECT_SECONDS + READ_SECONDS:.0f} s."
                " Check the network, or the proxy in HTTPS_PROXY."
            )
        case json.JSONDecodeError():
            return _malformed(symbol, "it is not JSON")
        case theirs.YFDataException():
            return Unavailable(f"Yahoo Finance is down ({symbol}: {error}). It is asked again later.")
        case CurlError() | OSError():
            return _unreachable(symbol, error)
        case theirs.YFTzMissingError():
            return _unknown(symbol)
        case theirs.YFPricesMissingError():
            if error.yahoo_reason:
                return _explained(symbol, 200, str(error.yahoo_reason))
            return nothing
        case theirs.YFInvalidPeriodError():
            return BadRequest(f"Yahoo Finance refuses the range asked of {symbol}: {error}")
        case ValueError() if "ISIN" in str(error):
            return _unknown(symbol)
        case _:
            return _malformed(symbol, f"{type(error).__name__}: {error}")


def _rate_limited(symbol: str, retry_after: float | None) -> RateLimited:
    told = f" and asks to wait {retry_after:.0f} s" if retry_after is not None else ""
    return RateLimited(
        f"Yahoo Finance answers no more questions for now{told} (too many requests, at {symbol})."
        " If this persists, raise FETCH_INTERVAL_MINUTES or lower YAHOO_REQUESTS_PER_SECOND.",
        retry_after,
    )


def _explained(symbol: str, status: int, reason: str | None) -> ProviderError:
    """An error answer, by Yahoo's own words where it gives some."""
    if reason is None:
        return Unavailable(
            f"Something answered {status} in Yahoo Finance's place for {symbol}. Check the network and the proxy."
        )
    if "No data found" in reason or "Quote not found" in reason or status == 404:
        return _unknown(symbol)
    if reason.startswith("Data doesn't exist"):
        return NoData(f"Yahoo Finance has no candles of {symbol} in that range ({reason}).")
    return BadRequest(f"Yahoo Finance refuses the question about {symbol}: {reason}")


def _unknown(symbol: str) -> SymbolNotFound:
    return SymbolNotFound(
        f"Yahoo Finance does not know the symbol {symbol}. Check it for a typing error or a delisting;"
        " if Yahoo writes it otherwise, give the asset its spelling in the admin."
    )


def _nothing(symbol: str, timeframe: Timeframe, since: datetime, until: datetime) -> str:
    return (
        f"Yahoo Finance has no {timeframe} candles of {symbol}"
        f" from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC."
    )


def _malformed(symbol: str, how: str) -> MalformedResponse:
    return MalformedResponse(
        f"Yahoo Finance's answer for {symbol} can't be read ({how})."
        " If it stays so, Yahoo has changed its answers: update yfinance."
    )


def _unreachable(symbol: str, error: Exception) -> Unavailable:
    remedy = "Check the network, or the proxy in HTTPS_PROXY."
    if isinstance(error, curl_faults.SSLError):
        remedy = "If a proxy of yours opens TLS, name its certificate authority in SSL_CERT_FILE."
    what = str(error).split(". See https://")[0].removeprefix("Failed to perform, ")
    what = re.sub(r"^curl: \(\d+\) ", "", what)
    return Unavailable(f"Yahoo Finance can't be reached for {symbol} ({what}). {remedy}")
