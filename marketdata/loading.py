"""The one loader of this floor: an asset as people, programs and providers call it."""

from marketdata.models import Asset, canonical


def stored_asset(symbol: str) -> Asset | None:
    """By canonical symbol, or as a provider spells it."""
    exact = Asset.objects.filter(symbol=canonical(symbol)).first()
    return exact or Asset.objects.called(symbol).order_by("pk").first()
