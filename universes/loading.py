"""The one loader of universes, which also decides who may do what."""

from django.core.exceptions import PermissionDenied
from django.http import Http404

from chronos.core.hypermedia import Signed
from universes.models import Universe


def seen(request: Signed, pk: int) -> Universe:
    """The one loader: what a person may not see does not exist."""
    try:
        return Universe.objects.visible_to(request.user).select_related("owner").get(pk=pk)
    except Universe.DoesNotExist:
        raise Http404(f"There is no universe {pk}.") from None


def owned(request: Signed, pk: int) -> Universe:
    """A universe this person may change: their own."""
    found = seen(request, pk)
    if found.is_domain:
        raise PermissionDenied(f"{found.name} is public: everybody sees it, and staff keep it in the admin.")
    if found.owner_id != request.user.pk:
        raise PermissionDenied(
            f"{found.name} is {found.owner}’s: you can read it, or duplicate it and change the copy."
        )
    return found
