"""What a new Chronos begins with: public universes of well-known assets, and the bundled sample.

Seeding again adds what is missing and leaves alone whatever somebody has changed since: a name, a member taken out, a
universe deleted, a field of an asset. Two that seed at once wait for one another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from chronos.core import tenancy
from marketdata import splits
from marketdata.directory.listings import adopt
from marketdata.ingestion import Ingested, ingest
from marketdata.models import Asset, AssetClass, Basis, Series, Spelling, Timeframe
from marketdata.providers import sample
from universes.models import Membership, Universe, Visibility

MARK = "seeded into"  # in an asset's metadata: tells a universe that was deleted from one that never was


@dataclass(frozen=True)
class Member:
    """An asset as it is seeded; only what is still empty in the database is filled from it."""

    symbol: str
    name: str
    sector: str = ""
    industry: str = ""
    exchange: str = "NASDAQ"
    calendar: str = "XNAS"
    currency: str = "USD"
    asset_class: AssetClass = AssetClass.STOCK
    yahoo: str = ""  # where Yahoo writes the symbol in another way
    is_sample: bool = False


@dataclass(frozen=True)
class Domain:
    """A public universe that belongs to the house."""

    slug: str
    name: str
    description: str
    members: tuple[Member, ...]


def _nyse(symbol: str, name: str, sector: str, industry: str) -> Member:
    return Member(symbol, name, sector, industry, exchange="NYSE", calendar="XNYS")


def _coin(base: str, name: str, industry: str) -> Member:
    return Member(
        f"{base}-USDT", name, "Cryptocurrency", industry, exchange="", calendar="24/7", currency="USDT",
        asset_class=AssetClass.CRYPTO, yahoo=f"{base}-USD",
    )  # fmt: skip


def _sampled(of: sample.Sample) -> Member:
    return Member(of.symbol, of.title, of.sector, of.industry, of.exchange, of.calendar, is_sample=True)


_CARS = ("Consumer cyclical", "Automobile manufacturers")
DOMAINS = (
    Domain("ai-tech", "AI/Tech", "Chips, clouds and models: three companies that artificial intelligence runs on.", (
        Member("NVDA", "NVIDIA Corporation", "Technology", "Semiconductors"),
        Member("MSFT", "Microsoft Corporation", "Technology", "Software"),
        Member("GOOGL", "Alphabet Inc. (class A)", "Communication services", "Internet content"),
    )),
    Domain("ev", "EV", "Makers of electric vehicles, from the largest to two that are still ramping up.", (
        Member("TSLA", "Tesla, Inc.", *_CARS),
        Member("RIVN", "Rivian Automotive, Inc.", *_CARS),
        Member("LCID", "Lucid Group, Inc.", *_CARS),
    )),
    Domain("finance", "Finance", "Three of the largest banks of the United States.", (
        _nyse("JPM", "JPMorgan Chase & Co.", "Financial services", "Diversified banks"),
        _nyse("BAC", "Bank of America Corporation", "Financial services", "Diversified banks"),
        _nyse("GS", "The Goldman Sachs Group, Inc.", "Financial services", "Capital markets"),
    )),
    Domain("crypto", "Crypto", "Three large cryptocurrencies, priced in Tether; they trade around the clock.", (
        _coin("BTC", "Bitcoin", "Store of value"),
        _coin("ETH", "Ethereum", "Smart-contract platform"),
        _coin("SOL", "Solana", "Smart-contract platform"),
    )),
    Domain("sample", "Sample", "Real daily history of five stocks that ended in March 2013, bundled to look at offline;"
           " nothing in it moves.", tuple(_sampled(of) for of in sample.SAMPLES)),
)  # fmt: skip


def seed_universes() -> list[Universe]:
    """Create the universes that were never there, with their members; returns these."""
    with tenancy.as_system("seed the public universes"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('universes.seeding', 0))")
        return [created for domain in DOMAINS if (created := _seed(domain))]


def seed_samples() -> Iterator[tuple[Asset, Ingested]]:
    """Store the sample's candles where they are missing; yields each asset with what became of its candles."""
    missing = []
    for of in sample.SAMPLES:
        if series := _series(of.symbol):
            count = series.candle_count
            _as_traded(series)
            yield series.asset, Ingested(count, unchanged=count, first=series.first_open, last=series.last_open)
        else:
            missing.append(of)
    if not missing:
        return
    with sample.candles() as tables:
        for of in missing:
            asset = _asset(_sampled(of))
            counts = ingest(asset, Timeframe.D1, tables[of.ticker], source=sample.NAME, origin="bokeh_sampledata")
            if series := _series(of.symbol):
                _as_traded(series)
            yield asset, counts


def _as_traded(series: Series) -> None:
    """The sample's prices are not adjusted; its splits show beside its adjusted closes."""
    if series.basis != Basis.RAW:
        splits.derive(series.asset)
        Series.objects.filter(pk=series.pk).update(basis=Basis.RAW)


def _series(symbol: str) -> Series | None:
    """The stored series of a sample. It is one batch, so it is there as a whole or not at all."""
    found = Series.objects.filter(asset__symbol=symbol, timeframe=Timeframe.D1, candle_count__gt=0)
    return found.select_related("asset").first()


def _seed(domain: Domain) -> Universe | None:
    assets = [_asset(member) for member in domain.members]
    adopt(assets)
    there = Universe.objects.filter(seed=domain.slug).exists()
    was_there = any(domain.slug in asset.metadata.get(MARK, []) for asset in assets)
    if there or was_there:
        return None
    for asset in assets:
        asset.metadata[MARK] = sorted({*asset.metadata.get(MARK, []), domain.slug})
        asset.save(update_fields=["metadata"])
    universe = Universe.objects.create(
        seed=domain.slug, name=domain.name, description=domain.description, visibility=Visibility.PUBLIC
    )
    now = timezone.now()
    Membership.objects.bulk_create(Membership(universe=universe, asset=asset, joined_at=now) for asset in assets)
    return universe


def _asset(member: Member) -> Asset:
    """The asset, created or with its empty fields filled, and how Yahoo writes it."""
    told = {
        name: getattr(member, name)
        for name in ("name", "sector", "industry", "exchange", "calendar", "currency", "asset_class", "is_sample")
    }
    asset, created = Asset.objects.get_or_create(symbol=member.symbol, defaults=told)
    if not created:
        _fill(asset, told)
    if member.yahoo:
        Spelling.objects.get_or_create(asset=asset, provider="yahoo", defaults={"spelling": member.yahoo})
    return asset


def _fill(row: Model, told: dict[str, object]) -> None:
    empty = {name: value for name, value in told.items() if value and getattr(row, name) == ""}
    for name, value in empty.items():
        setattr(row, name, value)
    if empty:
        row.save(update_fields=list(empty))
