"""Yahoo Finance: what it has and how it writes symbols. `yahoo_client`, slow to import, talks to it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings

from marketdata.models import FUTURES, AssetClass, Basis, Timeframe
from marketdata.providers.base import BadRequest, Facts, Fetched

# Yahoo writes share classes with a hyphen (BRK-B) and exchanges with a dot (VOD.L). One letter is a class,
# unless it is an exchange: Frankfurt, London, Tokyo, TSX Venture.
_EXCHANGES_OF_ONE_LETTER = frozenset("FLTV")
_DOLLARS = frozenset({"USDT", "USDC"})  # Yahoo quotes coins in dollars, not in dollar tokens
CLASSES = {
    "EQUITY": AssetClass.STOCK,
    "ETF": AssetClass.ETF,
    "INDEX": AssetClass.INDEX,
    "CURRENCY": AssetClass.FX,
    "CRYPTOCURRENCY": AssetClass.CRYPTO,
    "FUTURE": AssetClass.COMMODITY,
    "MUTUALFUND": AssetClass.FUND,
}


class Yahoo:
    """Free, without a key, for personal use; split-adjusted prices with an adjusted close beside them."""

    name: ClassVar[str] = "yahoo"
    label: ClassVar[str] = "Yahoo Finance"
    asset_classes: ClassVar[frozenset[AssetClass]] = frozenset(AssetClass)
    basis: ClassVar[Basis] = Basis.SPLIT
    needs_key: ClassVar[bool] = False
    sure_of: ClassVar[frozenset[AssetClass]] = frozenset(AssetClass)
    daily_quota: ClassVar[int | None] = None
    windows: ClassVar[Mapping[Timeframe, timedelta]] = {
        Timeframe.M1: timedelta(days=7),  # eight are allowed; the first day of a range counts as a whole one
        Timeframe.M5: timedelta(days=59),
        Timeframe.M15: timedelta(days=59),
        Timeframe.M30: timedelta(days=59),
        Timeframe.H1: timedelta(days=729),
        Timeframe.D1: timedelta(days=36_500),
        Timeframe.W1: timedelta(days=36_500),
        Timeframe.MO1: timedelta(days=36_500),
    }
    reach: ClassVar[Mapping[Timeframe, timedelta]] = {
        Timeframe.M1: timedelta(days=29),
        Timeframe.M5: timedelta(days=59),
        Timeframe.M15: timedelta(days=59),
        Timeframe.M30: timedelta(days=59),
        Timeframe.H1: timedelta(days=729),
    }

    @property
    def requests_per_second(self) -> float:
        return float(settings.YAHOO_REQUESTS_PER_SECOND)

    def spelling(self, symbol: str, asset_class: AssetClass) -> str:
        """`BRK.B` as `BRK-B`, `BTC-USDT` as `BTC-USD`, `EUR-USD` as `EURUSD=X`, `XAU-USD` as `GC=F`; else as it is."""
        base, hyphen, quote = symbol.partition("-")
        if asset_class == AssetClass.CRYPTO and hyphen:
            return f"{base}-USD" if quote in _DOLLARS else symbol
        if symbol in FUTURES:  # it has no spot prices of metals
            return FUTURES[symbol]
        if asset_class == AssetClass.FX and hyphen:
            return f"{base}{quote}=X"
        stem, dot, suffix = symbol.rpartition(".")
        if dot and len(suffix) == 1 and suffix.isalpha() and suffix not in _EXCHANGES_OF_ONE_LETTER:
            return f"{stem}-{suffix}"
        return symbol

    def fetch(self, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
        """Candles with since ≤ open_time < until, both aware UTC. One attempt. Raises `ProviderError` only."""
        if timeframe not in self.windows:
            raise BadRequest(
                f"Yahoo Finance has no {timeframe} candles; it has {', '.join(self.windows)}. Choose one of these."
            )
        from marketdata.providers import yahoo_client

        return yahoo_client.history(spelling, timeframe, since, until)

    def lookup(self, spelling: str) -> Facts:
        """What it is, without candles. One attempt. Raises `ProviderError` only."""
        from marketdata.providers import yahoo_client

        return yahoo_client.lookup(spelling)

    def fundamentals(self, spelling: str) -> Facts:
        """What it says of the company now, without candles. One attempt. Raises `ProviderError` only."""
        from marketdata.providers import yahoo_facts

        return yahoo_facts.fundamentals(spelling)
