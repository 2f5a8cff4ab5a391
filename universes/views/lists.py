"""The list of universes, and a new one."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from universes import catalogue, membership
from universes.forms import NewUniverseForm
from universes.models import Universe
from universes.views.cards import sketch


@require_safe
def universes(request: Signed) -> HttpResponse:
    """One's own universes, those others share and the public ones, each with what its members did last.

    `archived=1` shows what was put away instead; `deleted=` is the one that has just gone and can be taken back.
    """
    archived = request.GET.get("archived") == "1"
    every = list(catalogue.visible(request.user))
    away = list(catalogue.visible(request.user, archived=True))
    found = [universe for universe in away if universe.owner_id == request.user.pk] if archived else every
    sketches = sketch(found)
    mine = [universe for universe in found if universe.owner_id == request.user.pk]
    others = [universe for universe in found if universe.owner_id != request.user.pk]
    context = {
        "mine": [sketches[universe.pk] for universe in mine],
        "shared": [sketches[universe.pk] for universe in others if not universe.is_public],
        "public": [sketches[universe.pk] for universe in others if universe.is_public],
        "archived": archived,
        "put_away": sum(universe.owner_id == request.user.pk for universe in away),
        "deleted": _deleted(request),
    }
    return page(request, "universes/universes.html", context)


def _deleted(request: Signed) -> Universe | None:
    """The universe that the address says was just deleted, while that is recent enough to offer it back."""
    given = request.GET.get("deleted", "")
    if not (given.isdecimal() and len(given) < 19):
        return None
    recent = timezone.now() - catalogue.UNDO
    return Universe.objects.filter(pk=int(given), owner=request.user, deleted_at__gt=recent).first()


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
    holds = f"with {figures.counted(len(report.added), 'asset')}" if report.added else "still empty"
    messages.success(request, f"{universe.name} is there, {holds}.")
    return redirect(universe)
