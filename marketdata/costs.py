"""What long work would take before it is begun: series, requests to providers, and seconds by their limits."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from marketdata import overview
from marketdata.coverage import next_open
from marketdata.models import Asset, Series, Timeframe
from marketdata.providers.base import Provider, ProviderError
from marketdata.walks import pieces, planned, sources


@dataclass(frozen=True)
class Cost:
    """`requests` are the windows that each series' first provider will be asked for, as far as one can know: others
    may be asked as well, or answer less; None where nobody has counted yet. `seconds` counts those providers' paces
    alone, each working beside the others.
    """

    series: int
    requests: int | None
    seconds: float | None


def of_refresh(assets: Iterable[Asset], timeframe: Timeframe) -> Cost:
    """What is new of each since its newest candle."""
    given = list(assets)
    stored = Series.objects.filter(asset__in=[asset.pk for asset in given], timeframe=timeframe)
    newest = dict(stored.values_list("asset_id", "last_open"))
    return _cost([(asset, newest.get(asset.pk)) for asset in given], timeframe)


def of_backfill(assets: Iterable[Asset], timeframe: Timeframe, since: datetime | None) -> Cost:
    """The history of each since then, or as far back as usual, without what is covered."""
    return _cost([(asset, since) for asset in assets], timeframe)


def of_gaps(asset: Asset, timeframe: Timeframe) -> Cost:
    """What is missing of one series, gap by gap, as the last audit has counted it."""
    series = Series.objects.filter(asset=asset, timeframe=timeframe).select_related("asset").first()
    if series is None or series.audited_at is None:
        return Cost(1, None, None)
    gaps, _ = overview.gaps_of(series)
    first = _first(asset)
    if first is None:
        return Cost(1, 0, 0.0)
    many = sum(len(pieces(first, timeframe, start, next_open(end, timeframe))) for start, end, _ in gaps)
    return Cost(1, many, round(many / first.requests_per_second, 1))


def _first(asset: Asset) -> Provider | None:
    """Whom one asks first for it and all others of its class; None if there is nobody, which the job says."""
    try:
        return sources(asset)[0]
    except ProviderError:
        return None


def _cost(wanted: list[tuple[Asset, datetime | None]], timeframe: Timeframe) -> Cost:
    now = timezone.now()
    requests: Counter[str] = Counter()
    pace: dict[str, float] = {}
    firsts: dict[str, Provider | None] = {}
    series = 0
    for asset, since in wanted:
        if asset.is_sample:
            continue
        series += 1
        if asset.asset_class not in firsts:
            firsts[asset.asset_class] = _first(asset)
        if first := firsts[asset.asset_class]:
            pace[first.name] = first.requests_per_second
            requests[first.name] += planned(asset, timeframe, since, now, first)
    seconds = max((many / pace[name] for name, many in requests.items()), default=0.0)
    return Cost(series, requests.total(), round(seconds, 1))
