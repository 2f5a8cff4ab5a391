"""Exchanges for coins that the library ccxt speaks to, by its names: what they have and how they write symbols.

`ccxt_client`, slow to import, talks to them. Here ccxt is only looked at as files, so that the web process can name an
exchange; what an exchange's timeframes are is read from ccxt when somebody asks for them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from marketdata.models import AssetClass, Basis, Timeframe
from marketdata.providers.base import BadRequest, Facts, Fetched

CAREFUL = 5.0  # requests a second to an exchange of which we only know ccxt's figure
LIMITED = {"kraken": 720}  # candles before now that are kept of any timeframe, where not all are
# Candles of a name that are not what we call so: Kraken's weeks begin on Thursday, of Bitstamp ccxt asks three days.
UNLIKE = {"kraken": {Timeframe.W1}, "bitstamp": {Timeframe.W1}}
_QUOTE_VOLUME_AT = {"binance": 7, "binanceus": 7}


class CcxtExchange:
    """An exchange by ccxt's name for it. Those that are asked often have a subclass in a file of their own."""

    name: ClassVar[str]
    label: ClassVar[str]
    asset_classes: ClassVar[frozenset[AssetClass]] = frozenset({AssetClass.CRYPTO})
    windows: ClassVar[Mapping[Timeframe, timedelta]]
    reach: ClassVar[Mapping[Timeframe, timedelta]]
    basis: ClassVar[Basis] = Basis.SPLIT  # coins have no splits
    needs_key: ClassVar[bool] = False
    sure_of: ClassVar[frozenset[AssetClass]] = frozenset()  # it lists its own markets and no others
    daily_quota: ClassVar[int | None] = None

    page: ClassVar[int | None] = None  # candles that one request brings; None: as many as ccxt says
    gapless: ClassVar[bool] = False  # whether there is a candle for every interval, traded or not
    quote_volume_at: ClassVar[int | None] = None  # its place in a candle of the exchange, which ccxt leaves out
    final_at: ClassVar[int | None] = None  # the place of the exchange's "1" for a candle that is over
    answers_in: ClassVar[str] = ""  # the list that every good answer has
    blocked: ClassVar[str] = "Try another network, or set HTTPS_PROXY."  # what to do about being refused

    @property
    def base_url(self) -> str:
        """Where to ask instead of where ccxt knows; empty for there."""
        return ""

    @property
    def requests_per_second(self) -> float:
        return min(CAREFUL, 1000 / _described(self.name).milliseconds)

    def spelling(self, symbol: str, asset_class: AssetClass) -> str:
        """`BTC-USDT` as ccxt writes it for all exchanges: `BTC/USDT`."""
        return symbol.replace("-", "/", 1)

    def fetch(self, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
        """Candles with since ≤ open_time < until, both aware UTC. One attempt. Raises `ProviderError` only."""
        if timeframe not in self.windows:
            has = ", ".join(self.windows) or "none at all"
            raise BadRequest(f"{self.label} has no {timeframe} candles; it has {has}. Choose one of these.")
        from marketdata.providers.ccxt_client import history

        return history(self, spelling, timeframe, since, until)

    def lookup(self, spelling: str) -> Facts:
        """What its list of markets says, which is read once an hour. One attempt. Raises `ProviderError` only."""
        from marketdata.providers import ccxt_client

        return ccxt_client.lookup(self, spelling)


@lru_cache(maxsize=256)  # people type these names
def called(name: str) -> CcxtExchange | None:
    """The exchange that ccxt calls so; None if there is none. Does not import ccxt."""
    if not re.fullmatch(r"[a-z0-9]{2,30}", name) or not (place := _place() / f"{name}.py").is_file():
        return None
    found = re.search(r"'name': '([^']+)'", place.read_text()[:10_000])
    known = {
        "name": name,
        "label": found[1] if found else name.capitalize(),
        "windows": _Lengths(lambda: _described(name).windows),
        "reach": _Lengths(lambda: _described(name).reach),
        "quote_volume_at": _QUOTE_VOLUME_AT.get(name),
    }
    made: type[CcxtExchange] = type(name, (CcxtExchange,), known)
    return made()


def _place() -> Path:
    spec = find_spec("ccxt")
    return Path((spec and spec.origin) or "").parent


class _Described:
    """What ccxt says about an exchange, without asking it."""

    def __init__(self, name: str) -> None:
        from marketdata.providers.ccxt_client import described

        told = described(name)
        self.milliseconds = max(told.milliseconds, 1.0)
        offered = [timeframe for timeframe in told.timeframes if timeframe not in UNLIKE.get(name, ())]
        self.windows = {timeframe: timeframe.length * told.page for timeframe in offered}
        kept = LIMITED.get(name)
        self.reach = {timeframe: timeframe.length * kept for timeframe in offered} if kept else {}


@cache
def _described(name: str) -> _Described:
    return _Described(name)


class _Lengths(Mapping[Timeframe, timedelta]):
    """A mapping that is made when it is first looked into."""

    def __init__(self, make: Callable[[], Mapping[Timeframe, timedelta]]) -> None:
        self._make = make

    def __getitem__(self, timeframe: Timeframe) -> timedelta:
        return self._make()[timeframe]

    def __iter__(self) -> Iterator[Timeframe]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())
