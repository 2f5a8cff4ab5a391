"""Does a strategy look ahead? Asked on candles of one's own, answered by a job's report."""

from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chronos.core import activity, figures
from chronos.core.hypermedia import Signed, page
from chronos.core.models import Job
from marketdata.checks import moment
from marketdata.models import Asset, Series, Timeframe
from signals import jobs, wording
from signals.loading import strategy_of
from signals.models import Strategy

SHOWN = 10  # decisions that later candles changed


class GuardForm(forms.Form):
    """Whose candles the strategy is tried on."""

    symbol = forms.CharField(
        max_length=60, label="Asset", help_text="One whose candles are stored here.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    timeframe = forms.ChoiceField(choices=Timeframe.choices, initial=Timeframe.D1)

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if self.errors:
            return given
        asset = Asset.objects.called(given["symbol"]).order_by("is_sample").first()
        if asset is None:
            self.add_error("symbol", f"There is no asset called {given['symbol']} here; fetch or import it first.")
            return given
        there = set(Series.objects.filter(asset=asset, candle_count__gt=0).values_list("timeframe", flat=True))
        if given["timeframe"] not in there:
            others = ", ".join(each.value for each in Timeframe if each.value in there)
            remedy = f"choose one that it has: {others}" if others else "fetch or import them first"
            self.add_error("timeframe", f"{asset} has no {given['timeframe']} candles; {remedy}.")
        given["asset"] = asset
        return given


@require_http_methods(["GET", "HEAD", "POST"])
def look_ahead(request: Signed, pk: int) -> HttpResponse:
    """The form, and the report of the newest check; a POST starts one."""
    found = strategy_of(request, pk)
    trouble = wording.trouble(found.kind, found.parameters)
    form = GuardForm(request.POST if request.method == "POST" else None, initial=_usual(found))
    status = 200
    if request.method == "POST":
        if not trouble and form.is_valid():
            given = form.cleaned_data
            asked = jobs.CheckStrategy(
                kind=found.kind, parameters=found.parameters, asset_id=given["asset"].pk, timeframe=given["timeframe"]
            )
            jobs.check_strategy(asked, given["asset"], request.user, reverse("signals:look-ahead", args=[pk]), _key(pk))
            return redirect("signals:look-ahead", pk)
        status = 422
    last = Job.objects.filter(owner=request.user, kind="check-strategy", key=_key(pk)).order_by("-pk").first()
    context = {
        "strategy": found, "form": form, "trouble": trouble, "job": activity.row(last) if last else None,
        "part": "strip", "report": _report(last) if last and last.result else None,
        "changed": bool(last and last.result and last.params.get("parameters") != found.parameters),
    }  # fmt: skip
    return page(request, "signals/look_ahead.html", context, part="answer", status=status)


def _key(pk: int) -> str:
    return f"strategy:{pk}"


def _usual(found: Strategy) -> dict[str, str]:
    """What it was backtested on last."""
    last = found.backtests.order_by("-pk").values_list("asset__symbol", "timeframe").first()
    return {"symbol": last[0], "timeframe": last[1]} if last else {"timeframe": Timeframe.D1}


def _report(job: Job) -> dict[str, Any]:
    """The report with bars as the days that they are."""
    told = job.result
    series = Series.objects.filter(asset=job.params["asset_id"], timeframe=job.params["timeframe"]).first()
    opens = _opens(series, [change["bar"] for change in told["changes"]]) if series else {}
    changes = [
        change | {"when": opens.get(change["bar"], f"bar {change['bar']}")} for change in told["changes"][:SHOWN]
    ]
    return {
        "sound": told["sound"], "text": told["text"], "guilty": told["guilty"], "suspect": told["suspect"],
        "faults": told["faults"], "changes": changes, "on": job.subject, "when": figures.ago(job.finished_at),
    }  # fmt: skip


def _opens(series: Series, bars: list[int]) -> dict[int, str]:
    if not bars:
        return {}
    from marketdata import frames

    times = frames.read(series.asset, series.timeframe, columns=("close",)).times.view("int64")
    return {bar: figures.moment(moment(int(times[bar]))) for bar in bars if 0 <= bar < len(times)}
