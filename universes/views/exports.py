"""A universe as a file to take away."""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from chronos.core import tenancy
from chronos.core.hypermedia import Signed
from chronos.core.models import User
from chronos.core.streams import streamed
from chronos.core.tokens import open_to_tokens
from universes import exporting
from universes.models import Universe
from universes.views.loading import seen


@require_safe
@open_to_tokens
def export(request: Signed, pk: int, form: str) -> HttpResponse | StreamingHttpResponse:
    """The members as they are now; with `past=1` every stay there ever was."""
    if form not in exporting.TYPES:
        raise Http404(f"A universe can be had as {', '.join(exporting.TYPES)}, not as {form[:20]}.")
    found = seen(request, pk)
    stays = exporting.keys(found, past=request.GET.get("past") == "1")
    response = streamed(_parts(found, form, stays, request.user), exporting.TYPES[form])
    response.headers["Content-Disposition"] = f'attachment; filename="{exporting.file_name(found, form)}"'
    return response


async def _parts(found: Universe, form: str, stays: list[int], user: User) -> AsyncIterator[bytes]:
    """The stream outlives the request and its tenant: each chunk is read as the same person, in a moment's scope."""
    parts = exporting.parts(found, form, _chunks(stays, user))
    while (part := await sync_to_async(lambda: next(parts, None))()) is not None:
        yield part


def _chunks(stays: list[int], user: User) -> Iterator[list[exporting.Line]]:
    for start in range(0, len(stays), exporting.AT_ONCE):
        with tenancy.acting_as(user):
            chunk = exporting.lines(stays[start : start + exporting.AT_ONCE], start + 1)
        yield chunk
