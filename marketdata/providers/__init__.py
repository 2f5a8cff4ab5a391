"""The sources of candles. A new one is one file here and one line below."""

from marketdata.models import AssetClass
from marketdata.providers.alphavantage import AlphaVantage
from marketdata.providers.base import Provider
from marketdata.providers.twelvedata import TwelveData
from marketdata.providers.yahoo import Yahoo

# By name. In which order they are asked for an asset, `marketdata.chains` says.
REGISTRY: dict[str, Provider] = {
    Yahoo.name: Yahoo(),
    TwelveData.name: TwelveData(),
    AlphaVantage.name: AlphaVantage(),
}


class UnknownProvider(Exception):
    """There is no provider of this name; the text lists those there are."""


def named(name: str) -> Provider:
    """The provider that is called so in the database and on the command line. Raises `UnknownProvider`."""
    try:
        return REGISTRY[name.strip().lower()]
    except KeyError:
        raise UnknownProvider(f"There is no provider called {name!r}; there are: {', '.join(REGISTRY)}.") from None


def known(name: str) -> bool:
    """Whether there is a provider of this name."""
    try:
        named(name)
    except UnknownProvider:
        return False
    return True


def for_asset_class(asset_class: AssetClass) -> list[Provider]:
    """Those that can be asked for assets of this class, first choice first."""
    return [provider for provider in REGISTRY.values() if asset_class in provider.asset_classes]
