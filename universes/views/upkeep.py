"""Fetching the candles of a universe's members."""

from django.http import HttpResponse
from django.views.decorators.http import require_http_methods, require_POST

from chronos.core.hypermedia import Signed, wants_part
from marketdata.forms import BackfillForm
from marketdata.models import Timeframe
from marketdata.views.upkeep import form_again, started
from universes import jobs
from universes.loading import seen


@require_POST
def refresh_universe(request: Signed, pk: int) -> HttpResponse:
    """Ask for what is new of every member: a job, whose progress is shown in place."""
    return started(request, jobs.refresh(seen(request, pk), request.user))


@require_http_methods(["GET", "HEAD", "POST"])
def backfill_universe(request: Signed, pk: int) -> HttpResponse:
    """Fetch older candles of every member: a dialog on the universe's page, a page of its own without it."""
    found = seen(request, pk)
    form = BackfillForm(auto_id="backfill_%s")
    if request.method == "POST":
        form = BackfillForm(request.POST, auto_id="backfill_%s")
        if form.is_valid():
            timeframe, since = Timeframe(form.cleaned_data["timeframe"]), form.cleaned_data["since"]
            return started(request, jobs.backfill(found, request.user, timeframe, since))
    context = {"universe": found, "backfill_form": form, "dialog": wants_part(request)}
    return form_again(request, "universes/backfill.html", context)
