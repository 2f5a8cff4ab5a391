"""Whom to ask for which kind of asset, and whom next.

The usual order can be changed for each asset class; a row of `FallbackChain` then counts instead.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from marketdata import credentials, providers
from marketdata.models import AssetClass, FallbackChain, ProviderKey
from marketdata.providers.base import KnowsSymbols, Provider

_LISTED = ("yahoo", "twelvedata", "alphavantage")
_QUOTED = ("twelvedata", "yahoo")
USUAL: Mapping[AssetClass, tuple[str, ...]] = {
    AssetClass.STOCK: _LISTED,
    AssetClass.ETF: _LISTED,
    AssetClass.INDEX: _LISTED,
    AssetClass.FUND: _LISTED,
    AssetClass.CRYPTO: ("okx", "yahoo"),
    AssetClass.FX: _QUOTED,
    AssetClass.COMMODITY: _QUOTED,
}


class BadChain(Exception):
    """A chain that can't be; the text names what is wrong and what there is."""


class Link(NamedTuple):
    """One provider of a chain. `why` says, in a sentence, what stands in the way of asking it; empty if nothing."""

    provider: Provider
    usable: bool
    why: str


def chain(asset_class: AssetClass | str) -> list[Provider]:
    """The providers to ask for such assets, first choice first, without those that lack a key."""
    return [link.provider for link in explain(asset_class) if link.usable]


def usable(asset_class: AssetClass | str, chosen: Iterable[str] | None, keys: Mapping[str, ProviderKey]) -> list[str]:
    """The names of those, where what was set for the class (None: nothing) and all stored keys are at hand."""
    wanted = USUAL[AssetClass(asset_class)] if chosen is None else chosen
    with credentials.all_at_hand(keys):
        links = [_link(providers.named(name)) for name in wanted if providers.known(name)]
    return [link.provider.name for link in links if link.usable]


def explain(asset_class: AssetClass | str) -> list[Link]:
    """All of the chain, with the reason for which one is passed over."""
    return [_link(providers.named(name)) for name in names(asset_class) if providers.known(name)]


def every() -> dict[AssetClass, list[Link]]:
    """All classes' chains, as `explain` has them, each provider looked at once."""
    rows = FallbackChain.objects.in_bulk()
    named = {kind: list(rows[kind].providers) if kind in rows else list(USUAL[kind]) for kind in AssetClass}
    wanted = {name for names in named.values() for name in names if providers.known(name)}
    links = {name: _link(providers.named(name)) for name in wanted}
    return {kind: [links[name] for name in names if name in links] for kind, names in named.items()}


def names(asset_class: AssetClass | str) -> list[str]:
    """The chain as it is set, or else as it usually is."""
    asset_class = AssetClass(asset_class)
    row = FallbackChain.objects.filter(pk=asset_class).first()
    return list(row.providers) if row else list(USUAL[asset_class])


def set_chain(asset_class: AssetClass | str, names: Iterable[str], by: str) -> None:
    """Ask these providers, in this order, for such assets from now on. Raises `BadChain`."""
    asset_class = AssetClass(asset_class)
    chosen = [name.strip().lower() for name in names]
    if not chosen:
        raise BadChain(f"Name at least one provider for {_assets(asset_class)}.")
    if twice := sorted({name for name in chosen if chosen.count(name) > 1}):
        raise BadChain(f"{', '.join(twice)} is named twice. Name each provider once.")
    for name in chosen:
        try:
            provider = providers.named(name)
        except providers.UnknownProvider as error:
            raise BadChain(str(error)) from None
        if asset_class not in provider.asset_classes:
            raise BadChain(f"{provider.label} has no {_assets(asset_class)}. Leave it out.")
    row = {"providers": chosen, "changed_by": by[:150]}
    FallbackChain.objects.update_or_create(asset_class=asset_class, defaults=row)


def use_usual(asset_class: AssetClass | str) -> None:
    """Forget what was set for such assets: the usual order counts again."""
    FallbackChain.objects.filter(pk=AssetClass(asset_class)).delete()


def nobody(asset_class: AssetClass | str) -> str:
    """Why nobody can be asked for such assets, when `chain` is empty, and what to do about it."""
    reasons = " ".join(link.why for link in explain(asset_class))
    return f"There is nobody to ask for {_assets(AssetClass(asset_class))}. {reasons}".strip()


def surely_unknown(asset_class: AssetClass | str, denied: Collection[str]) -> bool:
    """Whether there is no such symbol, if these providers do not know it: one of them has all there are of the class,
    or there is nobody else to ask. That one exchange does not list a coin says nothing.
    """
    return means_no(chain(asset_class), asset_class, denied)


def means_no(links: Sequence[Provider], asset_class: AssetClass | str, denied: Collection[str]) -> bool:
    """The same of a chain that is at hand."""
    if any(source.name in denied and _is_sure(source, asset_class) for source in links):
        return True
    return bool(links) and all(source.name in denied for source in links)


def _is_sure(source: Provider, asset_class: AssetClass | str) -> bool:
    """Whether a provider's no to a symbol of the class counts."""
    return isinstance(source, KnowsSymbols) and asset_class in source.sure_of


def _assets(asset_class: AssetClass) -> str:
    return f"assets of the class {asset_class.label}"


def _link(provider: Provider) -> Link:
    if not provider.needs_key:
        return Link(provider, True, "")
    why = credentials.lacking(provider.name, provider.label)
    return Link(provider, not why, why)
