"""One asset with its chart, and its candles as figure, table and file. The list is in `directory`."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Asked, Signed, page, wants_part
from chronos.core.streams import streamed
from chronos.core.tokens import open_to_tokens
from marketdata import charts, sources
from marketdata.directory import exchanges
from marketdata.forms import BackfillForm
from marketdata.jobs import refresh_asset
from marketdata.loading import stored_asset
from marketdata.models import Asset, Candle, CorporateAction, Series, Timeframe
from marketdata.quotes import quotes
from marketdata.views import asset_called, directory, paged, upkeep

ROWS = 20  # candles in a page of the table below the chart
CSV_ROWS = 10_000  # candles read at once for a file
CSV_HEAD = "symbol,timeframe,open_time,open,high,low,close,adj_close,volume,source\r\n"
PLACES = {timeframe.value: place for place, timeframe in enumerate(Timeframe)}


# --- One asset ---------------------------------------------------------------------------------------------------


@require_safe
def asset(request: Signed, symbol: str) -> HttpResponse:
    """One asset: its newest close, its chart, its facts, how its series are kept. What is charted is in the address."""
    found = stored_asset(symbol)
    if found is None:
        return directory.listing(request, symbol)
    if found.symbol != symbol and not wants_part(request):
        return redirect(found)
    every = sorted(Series.objects.filter(asset=found), key=lambda series: PLACES[series.timeframe])
    stored = [series for series in every if series.candle_count and series.last_open]
    if wants_part(request) and request.GET.get("as") == "stored":
        kept = {"asset": found, **upkeep.panel(found, every, timezone.now())}
        return page(request, "marketdata/asset.html", kept, part="stored")
    context: dict[str, Any] = {"asset": found, "quote": quotes([found])[found.pk], **_chosen(request, stored)}
    if context["series"]:
        context |= _chart(request, found, context["series"], context["range"], context["adjust"])
    if not wants_part(request):
        context |= {"facts": _facts(found), "backfill_form": BackfillForm(auto_id="backfill_%s")}
        context |= {"strip": upkeep.under_way(request, found), **upkeep.panel(found, every, timezone.now())}
    return page(request, "marketdata/asset.html", context, part="chart")


def _chosen(request: HttpRequest, stored: list[Series]) -> dict[str, Any]:
    """Timeframe, range and scale of the address, each replaced by the usual one where it makes no sense here."""
    by_name = {series.timeframe: series for series in stored}
    usual = by_name.get("1d") or (stored[-1] if stored else None)
    series = by_name.get(request.GET.get("timeframe", ""), usual)
    scale = "log" if request.GET.get("scale") == "log" else "linear"
    if series is None:
        return {"series": None, "timeframes": [], "range": "", "ranges": [], "scale": scale, "adjust": ""}
    timeframe, adjust = Timeframe(series.timeframe), request.GET.get("adjust", "")
    ranges = charts.ranges(timeframe)
    wanted = request.GET.get("range", "")
    return {
        "series": series,
        "timeframe": timeframe.value,
        "timeframes": [(name, Timeframe(name).label) for name in by_name],
        "range": wanted if wanted in {name for name, _, _ in ranges} else charts.usual_range(timeframe),
        "ranges": [(name, label) for name, label, _ in ranges],
        "scale": scale,
        "adjust": adjust if adjust in charts.ADJUSTMENTS else series.basis,
        "adjustments": [(name, *words) for name, words in charts.ADJUSTMENTS.items()],
    }


def _chart(request: HttpRequest, found: Asset, series: Series, chosen: str, adjust: str) -> dict[str, Any]:
    """The sentence about the chart, and a page of the candles behind it, newest first."""
    since, until = charts.limits(series, chosen)
    shown = charts.span(found, series, chosen, adjust=adjust)
    candles = Candle.objects.filter(asset=found, timeframe=series.timeframe, open_time__range=(since, until))
    total = candles.count()
    pager, window = paged(request, total, ROWS)
    rows = candles.order_by("-open_time")[window]
    daily = Timeframe(series.timeframe).is_daily
    return {
        "says": charts.summary(shown),
        "adjusts": charts.ADJUSTMENTS[adjust][1] if adjust != series.basis else "",
        "adjustable": CorporateAction.objects.filter(asset=found, superseded_at=None).exists(),
        "rows": [_candle_row(candle, daily) for candle in rows],
        "candles": figures.counted(total, "candle"),
        **pager,
        "adjusted": any(candle.adj_close is not None for candle in rows),
    }


def _candle_row(candle: Candle, daily: bool) -> dict[str, str]:
    prices = (candle.open, candle.high, candle.low, candle.close)
    first, high, low, close = (figures.price(value) for value in prices)
    return {
        "time": figures.day(candle.open_time) if daily else figures.moment(candle.open_time),
        "open": first,
        "high": high,
        "low": low,
        "close": close,
        "adjusted": figures.price(candle.adj_close),
        "volume": figures.compact(candle.volume),
        "source": sources.label(candle.source),
        "direction": "gain" if candle.close > candle.open else "loss" if candle.close < candle.open else "flat",
    }


def _facts(found: Asset) -> list[tuple[str, str]]:
    """What is known about it; what is not is left out."""
    dividend = f"{figures.percent(found.dividend_yield).lstrip('+')} %" if found.dividend_yield is not None else ""
    confirmed = f"{figures.day(found.validated_at)}" if found.validated_at else "not by a provider yet"
    unknown = f"asked on {figures.day(found.refuted_at)}" if found.refuted_at else ""
    spelt = ", ".join(f"{spelling.spelling} ({sources.label(spelling.provider)})" for spelling in found.spellings.all())
    facts = [
        ("Class", found.get_asset_class_display()),
        ("Exchange", exchanges.name(found.exchange)),
        ("Currency", found.currency),
        ("Country", found.country),
        ("Sector", found.sector),
        ("Industry", found.industry),
        ("Market cap", _market_cap(found)),
        ("P/E", figures.price(found.price_earnings) if found.price_earnings is not None else ""),
        ("Dividend yield", dividend),
        ("Spelt", spelt),
        ("Confirmed", "" if found.is_sample or (unknown and not found.validated_at) else confirmed),
        ("Not known to providers", unknown),
    ]
    return [(name, value) for name, value in facts if value]


def _market_cap(found: Asset) -> str:
    """As a figure where a provider has told it, else the class that the directory gives."""
    return figures.compact(found.market_cap) if found.market_cap is not None else found.get_cap_class_display()


@open_to_tokens
@require_safe
def figure(request: Asked, symbol: str) -> HttpResponse:
    """The chart as JSON, for a drawing `width` pixels wide. Parameters as the page's."""
    found = asset_called(symbol)
    stored = list(Series.objects.filter(asset=found, candle_count__gt=0).exclude(last_open=None))
    chosen = _chosen(request, sorted(stored, key=lambda series: PLACES[series.timeframe]))
    if chosen["series"] is None:
        raise Http404(f"{found.symbol} has no candles yet.")
    text = request.GET.get("width", "")
    width = int(text) if text.isdecimal() and len(text) < 6 else charts.USUAL
    shown = charts.span(found, chosen["series"], chosen["range"], width, chosen["adjust"])
    body = orjson.dumps(charts.figure(shown, logarithmic=chosen["scale"] == "log"))
    return HttpResponse(body, content_type="application/json", headers={"Cache-Control": "private, no-cache"})


@open_to_tokens
@require_safe
def candles_csv(request: Asked, symbol: str) -> HttpResponse | StreamingHttpResponse:
    """Every stored candle of the range, oldest first, exactly as stored; `range=all` is the whole series."""
    found = asset_called(symbol)
    stored = Series.objects.filter(asset=found, candle_count__gt=0).exclude(last_open=None)
    chosen = _chosen(request, sorted(stored, key=lambda series: PLACES[series.timeframe]))
    if chosen["series"] is None:
        raise Http404(f"{found.symbol} has no candles yet.")
    since, until = charts.limits(chosen["series"], chosen["range"])
    response = streamed(_csv(found, chosen["timeframe"], since, until), "text/csv; charset=utf-8")
    name = f"{found.symbol.replace('^', '')}_{chosen['timeframe']}_{since:%Y%m%d}_{until:%Y%m%d}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _csv(found: Asset, timeframe: str, since: datetime, until: datetime) -> AsyncIterator[str]:
    """Candles are shared facts, so the stream, which outlives the request's transaction, needs no tenant."""
    yield CSV_HEAD
    after: datetime | None = since - timedelta(microseconds=1)
    while after is not None:
        text, after = await sync_to_async(_csv_rows)(found, timeframe, after, until)
        yield text


def _csv_rows(found: Asset, timeframe: str, after: datetime, until: datetime) -> tuple[str, datetime | None]:
    rows = Candle.objects.filter(asset=found, timeframe=timeframe, open_time__gt=after, open_time__lte=until)
    columns = ("open_time", "open", "high", "low", "close", "adj_close", "volume", "source")
    found_rows = list(rows.order_by("open_time").values_list(*columns)[:CSV_ROWS])
    connection.close()  # nobody waits for the reader with a connection in hand
    head = f"{found.symbol},{timeframe}"
    text = "".join(
        f"{head},{at:%Y-%m-%dT%H:%M:%SZ},{','.join(exact(value) for value in numbers)},{source}\r\n"
        for at, *numbers, source in found_rows
    )
    return text, found_rows[-1][0] if len(found_rows) == CSV_ROWS else None


def exact(value: Any) -> str:
    """A stored number in full, without the zeros that only fill its column; nothing for none."""
    if value is None:
        return ""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@require_POST
def refresh(request: Signed, symbol: str) -> HttpResponse:
    """Ask a provider for what is new of the timeframe that is shown: a job, whose progress is shown in place."""
    wanted = request.POST.get("timeframe", "")
    timeframe = Timeframe(wanted) if wanted in Timeframe.values else Timeframe.D1
    return upkeep.started(request, refresh_asset(asset_called(symbol), request.user, timeframe))
