"""The sources of candles. A new one is one file here and one line below."""

from marketdata.models import AssetClass
from marketdata.providers import ccxt_exchange
from marketdata.providers.alphavantage import AlphaVantage
from marketdata.providers.base import Provider
from marketdata.providers.okx import Okx
from marketdata.providers.twelvedata import TwelveData
from marketdata.providers.yahoo import Yahoo

# By name. In which order they are asked for an asset, `marketdata.chains` says.
REGISTRY: dict[str, Provider] = {
    Yahoo.name: Yahoo(),
    Okx.name: Okx(),
    TwelveData.name: TwelveData(),
    AlphaVantage.name: AlphaVantage(),
}


class UnknownProvider(Exception):
    """There is no provider of this name; the text lists those there are."""


def named(name: str) -> Provider:
    """The provider that is called so in the database and on the command line: one of the registry, or any exchange by
    ccxt's name for it. Raises `UnknownProvider`.
    """
    plain = name.strip().lower()
    provider = REGISTRY.get(plain) or ccxt_exchange.called(plain)
    if provider is None:
        raise UnknownProvider(
            f"There is no provider called {name!r}; there are: {', '.join(REGISTRY)},"
            " and exchanges for coins by ccxt's names, such as kraken, binance or coinbase."
        )
    return provider


def known(name: str) -> bool:
    """Whether there is a provider of this name."""
    try:
        named(name)
    except UnknownProvider:
        return False
    return True


def for_asset_class(asset_class: AssetClass) -> list[Provider]:
    """Those of the registry that have assets of this class; in which order to ask them, `marketdata.chains` says."""
    return [provider for provider in REGISTRY.values() if asset_class in provider.asset_classes]
