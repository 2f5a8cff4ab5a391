"""What can be done to a universe as a whole."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chronos.core import figures
from chronos.core.hypermedia import Signed, page, wants_part
from universes import catalogue
from universes.forms import DeleteForm, UniverseForm
from universes.views.loading import owned


@require_http_methods(["GET", "HEAD", "POST"])
def edit_universe(request: Signed, pk: int) -> HttpResponse:
    """Rename it, or say better what it is."""
    found = owned(request, pk)
    form = UniverseForm(request.POST or None, initial={"name": found.name, "description": found.description})
    if request.method != "POST":
        return page(request, "universes/edit.html", {"form": form, "universe": found})
    if form.is_valid():
        try:
            catalogue.edit(found, request.user, form.cleaned_data["name"], form.cleaned_data["description"])
            return redirect(found)
        except catalogue.Malformed as error:
            form.add_error("name", str(error))
    return page(request, "universes/edit.html", {"form": form, "universe": found}, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
def delete_universe(request: Signed, pk: int) -> HttpResponse:
    """Says what goes and asks for the name: a dialog on the universe's page, a page of its own without JavaScript."""
    found = owned(request, pk)
    form = DeleteForm(found, request.POST or None)
    context = {
        "universe": found,
        "delete_form": form,
        "total": figures.counted(found.memberships.current().count(), "asset"),
    }
    if request.method != "POST":
        return page(request, "universes/delete.html", context)
    if not form.is_valid():
        return page(request, "universes/delete.html", context, part="form", status=422)
    catalogue.delete(found, request.user)
    messages.success(request, f"{found.name} is deleted. Its assets and their candles are still here.")
    if wants_part(request):
        return HttpResponse(headers={"HX-Redirect": reverse("universes:universes")})
    return redirect("universes:universes")
