"""OKX, an exchange for coins, at the host of `OKX_BASE_URL`: it has regional ones. Spoken to through ccxt."""

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from django.conf import settings

from marketdata.models import AssetClass, Timeframe
from marketdata.providers.ccxt_exchange import CcxtExchange

PAGE = 100  # its history gives 300 at most by some sources and 100 by others: of 300 asked, 200 might be lost unseen


class Okx(CcxtExchange):
    """Free and without a key; a candle for every interval; the whole history of a market in every timeframe."""

    name: ClassVar[str] = "okx"
    label: ClassVar[str] = "OKX"
    windows: ClassVar[Mapping[Timeframe, timedelta]] = {
        timeframe: PAGE * (timedelta(days=28) if timeframe == Timeframe.MO1 else timeframe.length)
        for timeframe in Timeframe
    }
    reach: ClassVar[Mapping[Timeframe, timedelta]] = {}

    page: ClassVar[int | None] = PAGE
    gapless: ClassVar[bool] = True
    quote_volume_at: ClassVar[int | None] = 7
    final_at: ClassVar[int | None] = 8
    answers_in: ClassVar[str] = "data"
    blocked: ClassVar[str] = "Set OKX_BASE_URL to the host of your region, or HTTPS_PROXY."

    @property
    def base_url(self) -> str:
        return str(settings.OKX_BASE_URL).rstrip("/")

    @property
    def requests_per_second(self) -> float:
        return float(settings.OKX_REQUESTS_PER_SECOND)

    def spelling(self, symbol: str, asset_class: AssetClass) -> str:
        """OKX writes `BTC-USDT`, as we do."""
        return symbol
