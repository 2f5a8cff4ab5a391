"""What Yahoo says of a company: one request for its quote summary, through yfinance's session, cookie and crumb.

Not `Ticker.info`: that makes three requests, and lays the answer of `v7/finance/quote` over that of the summary.
Both have a `dividendYield`, the summary's is a fraction (0.0125) and the other's a percentage (1.25), so which of the
two `info` holds depends on whether the second request was answered. Here it is the summary's, always.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from yfinance.data import YfData

from marketdata.providers.base import Facts, NoData
from marketdata.providers.yahoo import CLASSES
from marketdata.providers.yahoo_client import asking, named

URL = "https://query2.finance.yahoo.com/v10/finance/quoteSummary/"
MODULES = "quoteType,price,summaryDetail,assetProfile"
MOST = {"market_cap": Decimal(10) ** 22, "price_earnings": Decimal(10) ** 10, "dividend_yield": Decimal(10) ** 4}


def fundamentals(symbol: str) -> Facts:
    """One attempt. What Yahoo leaves out is empty. Raises `ProviderError` only."""
    nothing = NoData(f"Yahoo Finance knows {symbol} and says nothing about it.")
    with asking(symbol, lambda error: named(error, symbol, nothing)) as session:
        params = {"modules": MODULES, "formatted": "false", "corsDomain": "finance.yahoo.com"}
        answer = YfData(session=session).get_raw_json(URL + symbol, params=params)
        results = answer["quoteSummary"]["result"]
        if not results:
            raise nothing
        return _facts(results[0])


def _facts(told: Mapping[str, Any]) -> Facts:
    modules = [told.get(name) or {} for name in ("price", "quoteType", "summaryDetail", "assetProfile")]
    every: dict[str, Any] = {}
    for module in modules:
        every |= {name: value for name, value in module.items() if name not in every}
    # Only the summary's: the percentage of other answers must never be taken for it.
    summary = told.get("summaryDetail") or {}
    return Facts(
        name=_text(every, "longName", "shortName"),
        asset_class=CLASSES.get(_text(every, "quoteType")),
        exchange=_text(every, "exchangeName", "exchange"),
        currency=_text(every, "currency"),
        sector=_text(every, "sector", "sectorDisp"),
        industry=_text(every, "industry", "industryDisp"),
        market_cap=_number(every, "market_cap", "marketCap", "totalAssets"),
        price_earnings=_number(summary, "price_earnings", "trailingPE"),
        dividend_yield=_number(summary, "dividend_yield", "dividendYield", "yield", "trailingAnnualDividendYield"),
    )


def _text(told: Mapping[str, Any], *names: str) -> str:
    return next((told[name].strip() for name in names if isinstance(told.get(name), str) and told[name].strip()), "")


def _number(told: Mapping[str, Any], ours: str, *names: str) -> Decimal | None:
    """The first of these that is a number that fits; Yahoo also says "Infinity", {} and null. Exact decimals."""
    for name in names:
        value = told.get(name)
        if isinstance(value, Mapping):
            value = value.get("raw")
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = Decimal(repr(value))
            if number.is_finite() and abs(number) < MOST[ours]:
                return number
    return None
