"""What a canonical symbol tells by its shape alone, before anybody has been asked."""

import re

from marketdata.models import AssetClass

FIAT = frozenset(
    ("USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "TRY", "ZAR",
     "MXN", "BRL", "CNY", "CNH", "HKD", "SGD", "KRW", "INR", "THB", "ILS", "RUB", "TWD", "IDR", "PHP", "MYR")
)  # fmt: skip
MONEY = FIAT | {"USDT", "USDC", "BUSD", "TUSD", "FDUSD", "DAI"}  # what things are priced in
METALS = frozenset(("XAU", "XAG", "XPT", "XPD"))  # gold, silver, platinum, palladium; ISO 4217's codes
_COINS = frozenset(("BTC", "ETH", "BNB", "SOL"))  # other coins are priced in these too


def likely_classes(symbol: str) -> list[AssetClass]:
    """The likely class, and what else it may be: `RWF-USD` looks like a coin, and Rwanda has francs."""
    first = likely_class(symbol)
    is_pair = re.fullmatch("[A-Z]{3}-[A-Z]{3}", symbol) and first != AssetClass.COMMODITY
    return [first, AssetClass.FX] if is_pair and first != AssetClass.FX else [first]


def likely_class(symbol: str) -> AssetClass:
    """`^GSPC` an index, `EUR-USD` a currency pair, `XAU-USD` a commodity, `BTC-USDT` crypto, `BRK-B` a stock."""
    if symbol.startswith("^"):
        return AssetClass.INDEX
    if symbol.endswith(("=X", "=F")):
        return AssetClass.FX if symbol.endswith("X") else AssetClass.COMMODITY
    base, hyphen, quote = symbol.rpartition("_")[2].partition("-")
    if not hyphen or quote not in MONEY | _COINS:
        return AssetClass.STOCK
    if base in METALS and quote in FIAT:
        return AssetClass.COMMODITY
    return AssetClass.FX if base in FIAT and quote in FIAT else AssetClass.CRYPTO
