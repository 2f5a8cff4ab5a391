"""The form that a backtest is asked for by: filled in likely, checked while one types, started."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page, wants_part
from chronos.core.models import User
from marketdata.directory import search
from marketdata.loading import stored_asset
from marketdata.models import Asset, Series, Timeframe
from signals import backtests, catalogue, numerals, wishes
from signals.engine.terms import Impossible
from signals.forms import focus_first_error
from signals.loading import backtest_of, strategy_of
from signals.models import Backtest
from signals.strategies.declaring import BadParameters
from signals.wishes import BacktestForm, usual_lot

OFFERED = 12  # assets at once
LOOKED_BACK = 60  # backtests whose assets are offered before one types
PARTS = ("parameters", "stock")
USUAL = "sma-cross"
FRAMES = [timeframe.value for timeframe in Timeframe]


@require_http_methods(["GET", "HEAD", "POST"])
def new_backtest(request: Signed) -> HttpResponse:
    """The form, filled in like `again`, an earlier backtest, or like the newest one but for its days.

    `strategy`, `kind` or `rule` (either), `asset` and `timeframe` of the address come first. Under HTMX the part that
    is to be swapped: the parameters of another rule, or what candles there are of another asset.
    """
    if request.method != "POST":
        form, said = _filled(request)
        part = request.htmx.target if request.htmx.target in PARTS else ""
        return page(request, "signals/new_backtest.html", _context(form, said), part=part)
    form = BacktestForm(request.user, request.POST)
    if form.is_valid() and (made := _start(request, form)):
        if form.changed and form.strategy and not form.cleaned_data["keep_as"]:
            messages.info(request, f"It has other parameters than {form.strategy.name} and is not listed there.")
        return redirect(made)
    focus_first_error((form, form.parameters))
    return page(request, "signals/new_backtest.html", _context(form), status=422)


def _start(request: Signed, form: BacktestForm) -> Backtest | None:
    """The backtest, queued; or None, and what stood in the way is said in the form."""
    wish, name = form.wish, form.cleaned_data["keep_as"]
    try:
        if name:
            wish = replace(wish, strategy=catalogue.create(request.user, name, wish.kind.name, wish.parameters))
        return backtests.start(wish, request.user)
    except catalogue.Malformed as error:
        form.add_error("keep_as", str(error))
    except (Impossible, BadParameters) as error:  # what changed since it was checked
        form.add_error(None, str(error))
    return None


def _context(form: BacktestForm, said: str = "") -> dict[str, Any]:
    return {
        "form": form, "parameters": form.parameters, "kind": form.kind, "strategy": form.strategy, "said": said,
        "stock": form.stock, "stored": form.stock.told(), "chosen": form["timeframe"].value(),
    }  # fmt: skip


def _filled(request: Signed) -> tuple[BacktestForm, str]:
    """The form as it is first shown, and what must be said about that."""
    asked = {name: request.GET.get(name, "").strip()[:100] for name in
             ("again", "strategy", "kind", "rule", "asset", "timeframe", "lots")}  # fmt: skip
    before = backtest_of(request, numerals.whole(asked["again"])) if asked["again"] else _newest(request.user)
    like: dict[str, Any] = wishes.like(before, dated=bool(asked["again"])) if before else {}
    parameters = before.parameters if before else None
    rule = asked["strategy"] or asked["kind"] or asked["rule"]
    if rule and rule != like.get("rule"):
        like["rule"], parameters = str(strategy_of(request, numerals.whole(rule)).pk) if rule.isdigit() else rule, None
    if asset := stored_asset(asked["asset"]) if asked["asset"] else None:
        if asset.symbol != like.get("asset"):
            like["lots"] = usual_lot(asset)
        like["asset"] = asset.symbol
    elif asked["asset"]:
        like["asset"] = asked["asset"]
    if not like.get("asset") and (offered := _offered(request.user, "")):
        like["asset"], like["lots"] = offered[0].asset.symbol, usual_lot(offered[0].asset)
    if asked["timeframe"] in FRAMES:
        like["timeframe"] = asked["timeframe"]
    like.setdefault("rule", USUAL)
    form = BacktestForm(request.user, like=like, parameters=parameters)
    said = ""
    if form.kind is None and not like["rule"].isdigit():
        said = f"The kind of strategy “{like['rule']}” is not installed here: choose another."
    elif form.kind is None:
        said = f"{before.strategy_name if before else 'That strategy'} can’t be run any more: choose another."
    return form, said


def _newest(user: User) -> Backtest | None:
    return (
        Backtest.objects.of(user)
        .select_related("asset", "benchmark", "strategy")
        .order_by("-created_at", "-pk")
        .first()
    )


@require_POST
def check_backtest(request: Signed) -> HttpResponse:
    """What is wrong so far, and what is going to be run. What is still empty is not complained about."""
    form = BacktestForm(request.user, request.POST)
    good = form.is_valid()
    every = [*form.visible_fields(), *(form.parameters.visible_fields() if form.parameters else ())]
    unsaid = [field for field in every if field.errors and field.data in (None, "") and field.field.required]
    said = [(field, [] if field in unsaid else field.errors) for field in every]
    context = {
        "said": said,
        "wrong": figures.counted(sum(bool(errors) for _, errors in said), "field"),
        "good": good,
        "general": [*form.non_field_errors(), *(form.parameters.non_field_errors() if form.parameters else ())],
        "will": wishes.sentence(form.wish) if good else "",
        "other": form.strategy.name if form.changed and form.strategy else "",
    }
    return page(request, "signals/checked_backtest.html", context)


# --- Assets to choose from ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Offer:
    """An asset and what candles there are of it, in words; none if there are none."""

    asset: Asset
    candles: str


@require_safe
def backtest_assets(request: Signed) -> HttpResponse:
    """Lines for the fields that take an asset: those with candles first."""
    text = request.GET.get("q", "").strip()[: search.LONGEST]
    if not wants_part(request):
        return redirect("signals:new-backtest")
    return page(request, "signals/asset_choices.html", {"offers": _offered(request.user, text), "asked": text})


def _offered(user: User, text: str) -> list[Offer]:
    """What fits the text; without one what was used lately, and then what has daily candles."""
    if text:
        assets = [hit.asset for hit in search.find(text, stored=True, limit=3 * OFFERED).hits if hit.asset]
    else:
        used = list(Backtest.objects.of(user).order_by("-created_at").values_list("asset_id", flat=True)[:LOOKED_BACK])
        late = Asset.objects.in_bulk(set(used))
        assets = [late[pk] for pk in dict.fromkeys(used) if pk in late][:OFFERED]
        if len(assets) < OFFERED:
            daily = Asset.objects.filter(series__timeframe="1d", series__candle_count__gt=0)
            assets += daily.exclude(pk__in=late).order_by("is_sample", "symbol")[: OFFERED - len(assets)]
    stored = _series(assets)
    found = [Offer(asset, _candles(stored.get(asset.pk, []))) for asset in assets]
    return sorted(found, key=lambda offer: not offer.candles)[:OFFERED]


def _series(assets: Iterable[Asset]) -> dict[int, list[Series]]:
    found: dict[int, list[Series]] = {}
    every = Series.objects.filter(asset__in=[asset.pk for asset in assets], candle_count__gt=0, last_open__isnull=False)
    for series in sorted(every, key=lambda series: FRAMES.index(series.timeframe)):
        found.setdefault(series.asset_id, []).append(series)
    return found


def _candles(stored: list[Series]) -> str:
    """ "1h 2023–2025, 1d 2012–2026" """
    return ", ".join(
        f"{series.timeframe} {series.first_open:%Y}–{series.last_open:%Y}"
        for series in stored
        if series.first_open and series.last_open
    )
