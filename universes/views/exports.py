"""A universe as a file to take away."""

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from chronos.core.hypermedia import Signed
from chronos.core.tokens import open_to_tokens
from universes import exporting
from universes.loading import seen


@require_safe
@open_to_tokens
def export(request: Signed, pk: int, form: str) -> HttpResponse | StreamingHttpResponse:
    """The members as they are now; with `past=1` every stay there ever was."""
    if form not in exporting.TYPES:
        raise Http404(f"A universe can be had as {', '.join(exporting.TYPES)}, not as {form[:20]}.")
    return exporting.download(seen(request, pk), form, request.user, past=request.GET.get("past") == "1")
