"""What can be done to a universe as a whole: described, copied, shared, put away, deleted and taken back."""

from contextlib import suppress
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from universes import catalogue
from universes.forms import EditForm, ShareForm
from universes.loading import owned, seen
from universes.models import Universe, Visibility


@require_http_methods(["GET", "HEAD", "POST"])
def edit_universe(request: Signed, pk: int) -> HttpResponse:
    """Rename it, or say better what it is. Whoever comes second sees both texts and decides."""
    found = owned(request, pk)
    shown = {"name": found.name, "description": found.description, "version": found.version}
    if request.method != "POST":
        return page(request, "universes/edit.html", {"form": EditForm(initial=shown), "universe": found})
    form, theirs = EditForm(request.POST), None
    if form.is_valid():
        given = form.cleaned_data
        try:
            catalogue.edit(found, request.user, given["name"], given["description"], version=given["version"])
        except catalogue.Malformed as error:
            form.add_error("name", str(error))
        except catalogue.Outdated:
            theirs = owned(request, pk)
            again = request.POST.copy()
            again["version"] = str(theirs.version)  # so that saving once more is a decision
            form = EditForm(again)
        else:
            return redirect(found)
    context = {"form": form, "universe": found, "theirs": theirs}
    return page(request, "universes/edit.html", context, status=409 if theirs else 422)


@require_POST
def duplicate_universe(request: Signed, pk: int) -> HttpResponse:
    """A copy of one's own, of any universe one sees."""
    found = seen(request, pk)
    copy = catalogue.duplicate(found, request.user)
    messages.success(request, f"This is your copy of {found.name}, with its past, its order and its notes.")
    return redirect(copy)


@require_POST
def archive_universe(request: Signed, pk: int) -> HttpResponse:
    """Put it away, or with `back` bring it back."""
    found = owned(request, pk)
    back = "back" in request.POST
    try:
        catalogue.archive(found, request.user, away=not back)
    except catalogue.Outdated:
        raise Http404(f"There is no universe {pk} any more.") from None
    if back:
        messages.success(request, f"{found.name} is back among your universes, and refreshed with them.")
        return redirect(found)
    messages.success(request, f"{found.name} is put away: neither listed nor refreshed. It is under Archived, whole.")
    return redirect("universes:universes")


# --- Deleting ----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def delete_universe(request: Signed, pk: int) -> HttpResponse:
    """Says what goes with it; afterwards the list of universes offers to take it back."""
    found = owned(request, pk)
    if request.method != "POST":
        context = {"universe": found, "goes": _goes(catalogue.dependents(found, request.user))}
        return page(request, "universes/delete.html", context)
    with suppress(catalogue.Outdated):  # sent twice: it is gone already
        catalogue.delete(found, request.user)
    return redirect(f"{reverse('universes:universes')}?deleted={found.pk}")


@require_POST
def undelete_universe(request: Signed, pk: int) -> HttpResponse:
    found = catalogue.undelete(pk, request.user)
    if found is None:
        if back := Universe.objects.kept().filter(pk=pk, owner=request.user).first():  # sent twice
            return redirect(back)
        raise Http404(f"There is no deleted universe {pk} to take back.")
    messages.success(request, f"{found.name} is back as it was.")
    return redirect(found)


def _goes(with_it: catalogue.Dependents) -> list[str]:
    """What a deletion takes along, in words."""
    told = [figures.counted(with_it.members, "member")]
    if with_it.past:
        told.append(f"{figures.counted(with_it.past, 'stay')} of former members, with their dates")
    if with_it.noted:
        told.append(f"{figures.counted(with_it.noted, 'member')} with notes or tags of yours")
    if with_it.readers:
        told.append(
            f"the view that {', '.join(with_it.readers)} {'has' if len(with_it.readers) == 1 else 'have'} of it"
        )
    if with_it.unfinished:
        told.append(f"{figures.counted(with_it.unfinished, 'job')} about it, which will end without it")
    return told


# --- Sharing -----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def share_universe(request: Signed, pk: int) -> HttpResponse:
    """Who reads it; and letting more people in."""
    found = owned(request, pk)
    if request.method != "POST":
        return _sharing(request, found, ShareForm())
    form = ShareForm(request.POST)
    if form.is_valid():
        try:
            new = catalogue.share(found, request.user, form.cleaned_data["people"])
        except catalogue.Malformed as error:
            form.add_error("people", str(error))
        else:
            told = f"{', '.join(map(str, new))} can read {found.name} now." if new else "They could read it already."
            messages.success(request, told)
            return redirect("universes:share", found.pk)
    return _sharing(request, found, form, status=422)


@require_POST
def unshare_universe(request: Signed, pk: int) -> HttpResponse:
    """The owner closes it to a reader, or a reader leaves it."""
    found = seen(request, pk)
    given = request.POST.get("reader", "")
    mine = found.owner_id == request.user.pk
    reader = int(given) if mine and given.isdecimal() and len(given) < 19 else request.user.pk
    gone = catalogue.unshare(found, request.user, reader)
    if not mine:
        messages.success(request, f"{found.name} is not among your universes any more." if gone else "You had left it.")
        return redirect("universes:universes")
    messages.success(request, f"{gone} can’t read {found.name} any more." if gone else "They could not read it.")
    return redirect("universes:share", found.pk)


@require_POST
def publish_universe(request: Signed, pk: int) -> HttpResponse:
    """Staff make it public, or with `private` private again."""
    found = owned(request, pk)
    public = "private" not in request.POST
    try:
        catalogue.publish(found, request.user, public)
    except catalogue.Outdated:
        raise Http404(f"There is no universe {pk} any more.") from None
    messages.success(request, f"{found.name} is {'public: everybody here sees it' if public else 'private again'}.")
    return redirect("universes:share", found.pk)


def _sharing(request: Signed, found: Universe, form: ShareForm, *, status: int = 200) -> HttpResponse:
    now = timezone.now()
    readers: list[dict[str, Any]] = [
        {"pk": share.reader_id, "name": str(share.reader), "full": share.reader.get_full_name(),
         "since": figures.ago(share.created_at, now), "at": figures.moment(share.created_at)}
        for share in catalogue.readers(found)
    ]  # fmt: skip
    context = {"universe": found, "form": form, "readers": readers, "public": found.visibility == Visibility.PUBLIC}
    return page(request, "universes/share.html", context, status=status)
