"""What an asset is worth and does: market cap, P/E, dividend yield, sector, industry, as a provider says today.

Unlike the facts that come with candles, which only fill in what is not known, these replace what is stored: they
change. What the provider leaves out stays as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from django.db.models import Q, QuerySet
from django.utils import timezone

from marketdata import chains
from marketdata.asking import Unasked, Waits, answer
from marketdata.models import Asset, AssetClass
from marketdata.providers.base import Facts, KnowsFundamentals, Provider, ProviderError, Unavailable

AGE = timedelta(days=7)  # after which facts are asked for again
CLASSES = (AssetClass.STOCK, AssetClass.ETF, AssetClass.FUND)  # of which there are such facts
NUMBERS = {"market_cap": 2, "price_earnings": 4, "dividend_yield": 6}  # and the decimals that the table keeps
TEXTS = {"name": 200, "exchange": 40, "currency": 10, "sector": 100, "industry": 150}  # and how many characters


@dataclass(frozen=True)
class Known:
    """What became of one asset. `error` is a sentence for people; `unanswered` if a provider did not answer at all,
    `unasked` if it was not asked, because it has not answered others.
    """

    asset: Asset
    status: Literal["done", "failed"] = "done"
    changed: tuple[str, ...] = ()
    error: str = ""
    unanswered: bool = False
    unasked: bool = False


def due() -> QuerySet[Asset]:
    """The assets whose facts are a week old or were never told: confirmed stocks, ETFs and funds.

    In no order, so that the same few that can't be read don't come before all others every time.
    """
    old = Q(facts_at=None) | Q(facts_at__lte=timezone.now() - AGE)
    found = Asset.objects.filter(old, asset_class__in=CLASSES, is_sample=False).exclude(validated_at=None)
    return found.order_by("?")


def refresh(asset: Asset, wait: Waits) -> Known:
    """Ask the providers of the asset's chain that know such facts, the next where one fails, and store the answer."""
    first: ProviderError | None = None
    for source, asked in _sources(asset):
        try:
            question = partial(asked.fundamentals, _spelling(asset, source))
            facts = answer(source, asset.symbol, question, wait, lambda error: None)
        except ProviderError as error:
            first = first or error
            continue
        return Known(asset, changed=_store(asset, facts))
    first = first or Unavailable(
        f"No provider that can be asked for {asset.get_asset_class_display()} assets knows the facts of {asset}."
        " Put Yahoo Finance into their chain."
    )
    if first.answered:  # a no is an answer for this week
        Asset.objects.filter(pk=asset.pk).update(facts_at=timezone.now())
    unasked = isinstance(first, Unasked)
    return Known(asset, "failed", error=_plain(str(first)), unanswered=unasked or not first.answered, unasked=unasked)


def _sources(asset: Asset) -> Iterator[tuple[Provider, KnowsFundamentals]]:
    for source in chains.chain(asset.asset_class):
        if isinstance(source, KnowsFundamentals):
            yield source, source


def _spelling(asset: Asset, source: Provider) -> str:
    stored = asset.spellings.filter(provider=source.name).first()
    return stored.spelling if stored else source.spelling(asset.symbol, AssetClass(asset.asset_class))


def _store(asset: Asset, facts: Facts) -> tuple[str, ...]:
    """Write what was told over what was stored; the names of what changed. Only these columns are touched."""
    now = timezone.now()
    told: dict[str, Any] = {}
    for name, places in NUMBERS.items():
        value = getattr(facts, name)
        if value is not None:
            told[name] = round(value, places)
    for name, length in TEXTS.items():
        if text := _plain(getattr(facts, name))[:length]:
            told[name] = text
    changed = tuple(name for name, value in told.items() if getattr(asset, name) != value)
    for name, value in told.items():
        setattr(asset, name, value)
    asset.facts_at = now
    Asset.objects.filter(pk=asset.pk).update(**told, facts_at=now)
    return changed


def _plain(text: str) -> str:
    """Without control characters and half surrogates, which the database or a page can't hold."""
    kept = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(kept.split())
