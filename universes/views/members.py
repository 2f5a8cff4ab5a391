"""One member, or several chosen ones: its place in the order, its note and tags."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from chronos.core import figures
from chronos.core.hypermedia import Signed, page, wants_part
from chronos.core.models import Job
from marketdata import recognition, validation
from marketdata.models import canonical
from marketdata.views.upkeep import started
from universes import membership
from universes.catalogue import Malformed, Outdated
from universes.forms import MemberForm
from universes.loading import owned, seen
from universes.models import Membership, Universe
from universes.views.universe import address, as_on_the_page, members_page


@require_POST
def move_member(request: Signed, pk: int) -> HttpResponse:
    """Put `symbol` before another (last without one), or the one called `up` or `down` a place further."""
    found = owned(request, pk)
    as_on_the_page(request, found)
    given = request.POST
    if nudged := given.get("up") or given.get("down"):
        moved = membership.nudge(found, request.user, nudged, -1 if given.get("up") else 1)
    else:
        moved = membership.move(found, request.user, given.get("symbol", ""), given.get("before", ""))
    refused = (
        "" if moved else "Nothing was moved: one of the two is no member any more. The order below is as it is now."
    )
    return _answer(request, found, refused=refused)


@require_POST
def tag_members(request: Signed, pk: int) -> HttpResponse:
    """Put a tag on the chosen members, or with `act=take` take it off them."""
    found = owned(request, pk)
    as_on_the_page(request, found)
    tag, symbols = request.POST.get("tag", ""), request.POST.getlist("symbol")
    taking = request.POST.get("act") == "take"
    if not tag.strip() or not symbols:
        return _answer(request, found, refused="Choose members by their boxes and write a tag.")
    try:
        tags = {"take" if taking else "add": tag.split(",")}
        changed = membership.retag(found, request.user, symbols, **tags)
    except Malformed as error:
        return _answer(request, found, refused=str(error))
    words = f"“{tag.strip()[:60]}” was {'taken off' if taking else 'put on'} {figures.counted(len(changed), 'member')}."
    return _answer(request, found, did=words)


@require_POST
def check_members(request: Signed, pk: int) -> HttpResponse:
    """Ask providers about the members that nobody has confirmed: a job, whose progress is shown in place."""
    found = seen(request, pk)
    assets = {stay.asset.pk: stay.asset for stay in membership.members(found).defer("asset__metadata")}
    states = recognition.recognised(assets.values())
    doubtful = [asset.symbol for pk, asset in assets.items() if states[pk].state == "unverified"]
    answers = validation.check(doubtful[: validation.AT_ONCE], user=request.user, asks=True)
    if begun := next((answer.job for answer in answers if answer.job), None):
        return started(request, Job.objects.get(pk=begun))
    wait = max((answer.wait for answer in answers), default=0)
    said = f"You have asked often just now; ask again in {wait} seconds." if wait else "There is nothing left to ask."
    if wants_part(request):
        return page(request, "universes/universe.html", {"said": said}, part="said")
    messages.info(request, said)
    return redirect(found)


def _answer(request: Signed, found: Universe, *, refused: str = "", did: str = "") -> HttpResponse:
    """The table again, or without HTMX the page, with what was done or why not."""
    if wants_part(request):
        return members_page(request, found, refused=refused, did=did, status=422 if refused else 200)
    if refused:
        messages.error(request, refused)
    elif did:
        messages.success(request, did)
    return redirect(address(request, found))


@require_http_methods(["GET", "HEAD", "POST"])
def member(request: Signed, pk: int, symbol: str) -> HttpResponse:
    """A member's note and tags: in a dialog on the universe's page, on a page of its own without JavaScript.

    What was changed elsewhere meanwhile is not overwritten: both are shown, and saving again decides.
    """
    found = owned(request, pk)
    stay = _stay(found, symbol)
    if request.method != "POST":
        return _editor(request, found, stay, MemberForm(initial=_told(stay)))
    form = MemberForm(request.POST)
    if not form.is_valid():
        return _editor(request, found, stay, form, status=422)
    told = form.cleaned_data
    try:
        membership.annotate(found, request.user, stay.asset.symbol, told["note"], told["tags"], version=told["version"])
    except Malformed as error:
        form.add_error("tags", str(error))
        return _editor(request, found, stay, form, status=422)
    except Outdated:
        stay.refresh_from_db()
        mine = MemberForm(initial=_told(stay) | {"note": told["note"], "tags": ", ".join(told["tags"])})
        return _editor(request, found, stay, mine, status=422, lost=True)
    except Membership.DoesNotExist:
        raise Http404(f"{symbol} is not a member of {found.name} any more.") from None
    if not wants_part(request):
        messages.success(request, f"The note on {stay.asset.symbol} is kept.")
        return redirect(found)
    as_on_the_page(request, found)
    return members_page(request, found)


def _stay(found: Universe, symbol: str) -> Membership:
    stays = found.memberships.current().select_related("asset")
    try:
        return stays.get(asset__symbol=canonical(symbol))
    except Membership.DoesNotExist:
        raise Http404(f"{symbol} is not a member of {found.name}.") from None


def _told(stay: Membership) -> dict[str, Any]:
    return {"note": stay.note, "tags": ", ".join(stay.tags), "version": stay.version}


def _editor(
    request: Signed, found: Universe, stay: Membership, form: MemberForm, *, status: int = 200, lost: bool = False
) -> HttpResponse:
    """The form; refused, it takes its own place in the dialog rather than the table's."""
    context = {"universe": found, "stay": stay, "form": form, "lost": lost}
    headers = {"HX-Retarget": "#note-body", "HX-Reswap": "innerHTML"} if status != 200 else {}
    return page(request, "universes/member.html", context, part="form", status=status, headers=headers)
