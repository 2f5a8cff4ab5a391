"""How an asset's candles are kept: the panel of its page, its gaps, and the long work that completes them."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chronos.core import activity, figures
from chronos.core.hypermedia import Signed, page, wants_part
from chronos.core.models import Job
from marketdata import actions, calendars, coverage, jobs, overview, sources
from marketdata.forms import BackfillForm
from marketdata.models import Asset, CorporateAction, QuarantinedCandle, Series, Timeframe, TradingSession
from marketdata.views import asset_called, paged

FIRST = 10  # gaps that stand on the asset's page
GAPS = 100  # on a page of their own
DIVIDENDS = 8

_RULES = {
    calendars.ROUND_THE_CLOCK: "Trades around the clock, every day.",
    calendars.FX: "Trades around the clock from Sunday to Friday, 17:00 to 17:00 in New York.",
}


def panel(found: Asset, every: list[Series], now: datetime) -> dict[str, Any]:
    """What the asset's page says of its stored series, its market's hours, its splits and dividends."""
    for series in every:
        series.asset = found
    asked: dict[str, list[dict[str, str]]] = {}
    for line in coverage.summary(found):
        asked.setdefault(line.timeframe, []).append(_asked(line, now))
    rows = overview.series_rows(every, now)
    held = QuarantinedCandle.objects.filter(asset=found, state=QuarantinedCandle.State.HELD).count()
    return {
        "all_series": [row | {"asked": asked.get(row["timeframe"], [])} for row in rows],
        "held": held,
        "held_words": figures.counted(held, "candle"),
        "market": _market(found, now),
        **_actions(found),
    }


def _asked(line: coverage.Asked, now: datetime) -> dict[str, str]:
    failed = f", {figures.integer(line.failures)} failed" if line.failures else ""
    return {
        "provider": sources.label(line.provider),
        "windows": f"{figures.counted(line.windows, 'window')}{failed}",
        "last": figures.ago(line.last_asked_at, now),
    }


def _market(found: Asset, now: datetime) -> dict[str, str]:
    """Which calendar it follows, and when its market is open next; only what is stored is said."""
    code = calendars.calendar_of(found)
    if code in _RULES:
        return {"calendar": code, "says": _RULES[code]}
    if not code:
        return {"calendar": "", "says": "Nothing tells which market’s hours it follows, so gaps can’t be told."}
    session = TradingSession.objects.filter(calendar=code, closes_at__gt=now).order_by("date").first()
    if session is None:
        return {"calendar": code, "says": "Its sessions are not stored yet; the next refresh loads them."}
    if session.opens_at <= now:
        return {"calendar": code, "says": f"Open until {session.closes_at:%H:%M} UTC."}
    hours = f"{session.opens_at:%H:%M} – {session.closes_at:%H:%M} UTC"
    return {"calendar": code, "says": f"Next session {session.date:%A} {figures.day(session.date)}, {hours}."}


def _actions(found: Asset) -> dict[str, Any]:
    """Splits, all of them, and the newest dividends, as they are believed now."""
    believed = CorporateAction.objects.filter(asset=found, superseded_at=None)
    splits = believed.filter(kind=CorporateAction.Kind.SPLIT).order_by("-ex_date")
    paid = list(believed.exclude(kind=CorporateAction.Kind.SPLIT).order_by("-ex_date", "kind"))
    return {
        "splits": [_action(action) for action in splits],
        "dividends": [_action(action) for action in paid[:DIVIDENDS]],
        "more_dividends": [_action(action) for action in paid[DIVIDENDS:]],
    }


def _action(action: CorporateAction) -> dict[str, str]:
    split = action.kind == CorporateAction.Kind.SPLIT
    return {
        "date": figures.day(action.ex_date),
        "value": actions.ratio_words(action.value) if split else figures.price(action.value),
        "kind": action.get_kind_display() if action.kind == CorporateAction.Kind.CAPITAL_GAIN else "",
        "currency": action.currency,
        "source": "found in the prices" if action.derived else sources.label(action.source),
    }


# --- Gaps --------------------------------------------------------------------------------------------------------


@require_safe
def gaps_of(request: Signed, symbol: str) -> HttpResponse:
    """Every gap of one series, oldest first; `as=first` is the beginning of the list, for the asset's page."""
    found = asset_called(symbol)
    series = _series(found, request.GET.get("timeframe", Timeframe.D1))
    lines, trouble = overview.gaps_of(series)
    pager, window = paged(request, len(lines), GAPS)
    first = request.GET.get("as") == "first"
    when = figures.day if Timeframe(series.timeframe).is_daily else figures.moment
    shown = lines[:FIRST] if first else lines[window]
    context = {
        "asset": found,
        "series": series,
        "label": Timeframe(series.timeframe).label,
        "row": overview.series_rows([series])[0],
        "gaps": [
            {
                "start": when(start),
                "end": "" if end == start else f"{end:%H:%M}" if end.date() == start.date() else when(end),
                "candles": figures.counted(candles, "candle"),
            }
            for start, end, candles in shown
        ],
        "total": figures.counted(len(lines), "gap"),
        "more": len(lines) - len(shown),
        "missing": figures.counted(sum(candles for _, _, candles in lines), "candle"),
        "trouble": trouble,
        **pager,
    }
    return page(request, "marketdata/gaps.html", context, part="first" if first else "list")


def _series(found: Asset, timeframe: str) -> Series:
    series = Series.objects.filter(asset=found, timeframe=timeframe[:4]).select_related("asset").first()
    if series is None:
        raise Http404(f"{found.symbol} has no candles of {timeframe[:40]}.")
    return series


# --- Long work ---------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def backfill(request: Signed, symbol: str) -> HttpResponse:
    """Fetch older candles: a dialog on the asset's page, a page of its own without it. The work is a job."""
    found = asset_called(symbol)
    form = BackfillForm(auto_id="backfill_%s")
    if request.method == "POST" and not found.is_sample:
        form = BackfillForm(request.POST, auto_id="backfill_%s")
        if form.is_valid():
            timeframe, since = Timeframe(form.cleaned_data["timeframe"]), form.cleaned_data["since"]
            return started(request, jobs.backfill_asset(found, request.user, timeframe, since))
    context = {"asset": found, "backfill_form": form, "dialog": wants_part(request)}
    return form_again(request, "marketdata/backfill.html", context)


@require_POST
def fill_gaps(request: Signed, symbol: str) -> HttpResponse:
    """Ask again for exactly what is missing of one series: a job."""
    found = asset_called(symbol)
    series = _series(found, request.POST.get("timeframe", Timeframe.D1))
    if found.is_sample:
        messages.info(request, f"{found.symbol} is a bundled sample: nobody can be asked for it.")
        return redirect(found)
    return started(request, jobs.fill_gaps(found, request.user, Timeframe(series.timeframe)))


def started(request: Signed, job: Job) -> HttpResponse:
    """A job's progress in place, or its page."""
    if wants_part(request):
        return page(request, "core/job.html", {"job": activity.row(job), "part": "strip"}, part="held")
    return redirect(job)


def under_way(request: Signed, found: Asset) -> dict[str, Any] | None:
    """The job that is just working on it, so that a page opened again goes on showing it."""
    job = Job.objects.of(request.user).unfinished().filter(subject_url=found.get_absolute_url()).order_by("-pk").first()
    return activity.row(job) if job else None


def form_again(request: Signed, template: str, context: dict[str, Any]) -> HttpResponse:
    """A form's page; or the form alone, with what was wrong, back into its dialog whatever its answer aimed at."""
    wrong = request.method == "POST"
    headers = {"HX-Retarget": "#backfill-form", "HX-Reswap": "outerHTML"} if wrong and wants_part(request) else {}
    return page(request, template, context, part="form", status=422 if wrong else 200, headers=headers)
