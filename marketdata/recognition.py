"""Whether the world knows a stored asset: what providers, the symbol master and its own candles say.

A provider's answer goes into `Asset.validated_at` (it knows it) or `Asset.refuted_at` (it does not). A no is believed
of those whose no says something (`marketdata.chains.surely_unknown`); a provider that does not answer says nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform

from chronos.core import figures
from marketdata import verdicts
from marketdata.directory import exchanges
from marketdata.models import Asset, AssetClass, Listing, Series, Timeframe

State = Literal["confirmed", "listed", "unverified", "unknown", "delisted", "sample"]

# A provider that answers and has no trade of so long a time shows that it has ended. Some listings of a share beside
# its home exchange are not traded for months.
ENDED = timedelta(days=180)
LAST_TRADED = "last traded"  # in an asset's metadata: what the provider said that confirmed one that has ended


@dataclass(frozen=True)
class Recognition:
    """`word` stands in a cell, `detail` says it in a sentence.

    `confirmed` by a provider; `listed` in the symbol master and asked of nobody; `unverified`: neither; `unknown`: a
    provider said so, and nothing shows that it ever was; `delisted`: it was, and providers know it no more or have no
    newer candles of it; `sample`: bundled history.
    """

    state: State
    word: str
    detail: str


def recognised(assets: Iterable[Asset]) -> dict[int, Recognition]:
    """What is known of each asset, by its key: one query, for however many."""
    given = {asset.pk: asset for asset in assets}
    listing = vouching().filter(symbol=OuterRef("symbol")).values("exchange")[:1]
    days = Series.objects.filter(asset=OuterRef("pk"), timeframe=Timeframe.D1, candle_count__gt=0)
    rows = (
        Asset.objects.filter(pk__in=given)
        .order_by()
        .values_list(
            "pk",
            Subquery(listing),
            Subquery(days.values("last_open")),
            Subquery(days.values("checked_at")),
            KeyTextTransform(LAST_TRADED, "metadata"),
        )
    )
    found = {
        pk: judge(given[pk], listed_on=exchange, last=last, checked=at, traded=_moment(said))
        for pk, exchange, last, at, said in rows
    }
    return {pk: found.get(pk) or judge(asset) for pk, asset in given.items()}


def of(asset: Asset, series: Iterable[Series], line: Listing | None) -> Recognition:
    """The same of one asset, all of whose series and whose line of the symbol master are at hand."""
    days = next((one for one in series if one.timeframe == Timeframe.D1 and one.candle_count), None)
    said = asset.metadata.get(LAST_TRADED) if isinstance(asset.metadata, dict) else None
    return judge(
        asset,
        listed_on=None if line is None or is_bare(line) else line.exchange,
        last=days.last_open if days else None,
        checked=days.checked_at if days else None,
        traded=_moment(said if isinstance(said, str) else None),
    )


def _moment(said: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(said) if said else None
    except ValueError:  # staff may write anything there
        return None


def vouching() -> QuerySet[Listing]:
    """The lines of the symbol master that stand for something to be had.

    A stock that a directory lists without a name and an exchange is a leftover: mostly of one that was delisted.
    """
    bare = Q(name="", exchange="", asset_class__in=(AssetClass.STOCK, AssetClass.ETF))
    return Listing.objects.exclude(bare)


def is_bare(line: Listing) -> bool:
    """Whether a line is none of those."""
    return not line.name and not line.exchange and line.asset_class in (AssetClass.STOCK, AssetClass.ETF)


def judge(
    asset: Asset,
    *,
    listed_on: str | None = None,
    last: datetime | None = None,
    checked: datetime | None = None,
    traded: datetime | None = None,
) -> Recognition:
    """The same of one asset. `listed_on`: its exchange in the symbol master, None if it is not in there; `last` and
    `checked`: its newest daily candle, and when a provider last answered for those; `traded`: when it last traded, if
    the provider that knows it said that this was long ago.
    """
    listed = f"The symbol master lists it{at(listed_on or '')}"
    if asset.is_sample:
        return Recognition("sample", "sample", "Bundled sample data; no provider has it.")
    if asset.refuted_at and asset.validated_at:
        return Recognition("delisted", "delisted", refuted(asset))
    if asset.refuted_at and listed_on is not None:
        text = f"{listed}, and providers do not know it (asked on {figures.day(asset.refuted_at)})"
        return Recognition("delisted", "delisted", f"{text}: delisted or renamed.")
    if asset.refuted_at:
        return Recognition("unknown", "unknown", refuted(asset))
    if asset.validated_at and last and checked and checked - last > ENDED:
        text = f"The newest candle is of {figures.day(last)}, and providers that were asked since have none after it"
        return Recognition("delisted", "delisted", f"{text}: delisted, suspended or renamed.")
    if asset.validated_at and traded and not (last and last > traded):
        text = f"A provider that was asked on {figures.day(asset.validated_at)} knows it, and it last traded on"
        return Recognition("delisted", "delisted", f"{text} {figures.day(traded)}: delisted or suspended.")
    if asset.validated_at:
        return Recognition("confirmed", "confirmed", f"A provider confirmed it on {figures.day(asset.validated_at)}.")
    if listed_on is not None:
        return Recognition("listed", "listed", f"{listed}; no provider has confirmed it yet.")
    return Recognition("unverified", "not confirmed", "No provider has confirmed the symbol yet. Refresh asks one.")


def at(exchange: str) -> str:
    """An exchange of the symbol master, for the end of a sentence."""
    return f" ({exchanges.name(exchange)})" if exchange else ""


def refuted(asset: Asset) -> str:
    """What it means that providers do not know it, in a sentence; '' unless they said so."""
    if asset.refuted_at is None:
        return ""
    day = figures.day(asset.refuted_at)
    if asset.validated_at:
        known = f"confirmed on {figures.day(asset.validated_at)}, not known on {day}"
        return f"Providers do not know it any more ({known}): delisted or renamed. What is stored is kept."
    return f"Providers do not know the symbol (asked on {day}). Check it for a typing error."


def refute(asset: Asset, asked_at: datetime) -> None:
    """Remember that providers, asked at that moment, did not know a stored asset; unless one has confirmed it since."""
    now_known = Q(validated_at__gte=asked_at)
    if Asset.objects.filter(pk=asset.pk).exclude(now_known).update(refuted_at=asked_at):
        asset.refuted_at = asked_at
        verdicts.forget([asset.symbol])
