"""One URL, one template: the whole page, or the part of it that an HTMX request asked for."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

from chronos.core.models import User


class Asked(HttpRequest):
    """A request after the middleware."""

    htmx: HtmxDetails


class Signed(Asked):
    """A request whose person is known: every view but the few marked `login_not_required`."""

    user: User


def wants_part(request: Asked) -> bool:
    """Whether HTMX will swap the answer in. Going back asks for a whole page, like a fresh visit."""
    return bool(request.htmx) and not request.htmx.history_restore_request


def page(
    request: Asked,
    template: str,
    context: dict[str, Any],
    *,
    part: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """`template`, or only its partial `part` under HTMX.

    `no-store`, so that going back neither shows a part as if it were the page nor, after signing out, the page itself.
    """
    name = f"{template}#{part}" if part and wants_part(request) else template
    response = render(request, name, context, status=status)
    for header, value in (headers or {}).items():
        response.headers[header] = value
    patch_vary_headers(response, ["HX-Request"])
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response
