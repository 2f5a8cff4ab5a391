"""The reference of the API, read in a browser: Swagger UI, which can also try it, and Redoc, both from this server."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from chronos.core.hypermedia import Signed
from chronos.core.security import POLICY_OF_REDOC


@require_safe
def swagger(request: Signed) -> HttpResponse:
    return render(request, "reference/swagger.html")


@require_safe
def redoc(request: Signed) -> HttpResponse:
    response = render(request, "reference/redoc.html")
    response.headers["Content-Security-Policy"] = POLICY_OF_REDOC
    return response
