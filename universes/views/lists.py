"""The list of universes, and a new one."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from universes import catalogue, membership
from universes.forms import NewUniverseForm
from universes.views.cards import sketch


@require_safe
def universes(request: Signed) -> HttpResponse:
    """One's own universes, then the public ones, each with what its members did last."""
    found = list(catalogue.visible(request.user))
    sketches = sketch(found)
    mine = [sketches[universe.pk] for universe in found if universe.owner_id == request.user.pk]
    public = [sketches[universe.pk] for universe in found if universe.owner_id != request.user.pk]
    return page(request, "universes/universes.html", {"mine": mine, "public": public})


@require_http_methods(["GET", "HEAD", "POST"])
def new_universe(request: Signed) -> HttpResponse:
    form = NewUniverseForm(request.POST or None)
    if request.method != "POST":
        return page(request, "universes/new.html", {"form": form})
    if not form.is_valid():
        return page(request, "universes/new.html", {"form": form}, status=422)
    given = form.cleaned_data
    symbols = membership.split_symbols(given["symbols"])
    try:
        universe = catalogue.create(request.user, given["name"], given["description"])
    except catalogue.Malformed as error:
        form.add_error("name", str(error))
        return page(request, "universes/new.html", {"form": form}, status=422)
    report = membership.add(universe, request.user, symbols)
    for written, why in report.malformed:
        messages.error(request, f"{written} was not added. {why}")
    messages.success(request, f"{universe.name} is there, with {figures.counted(len(report.added), 'asset')}.")
    return redirect(universe)
