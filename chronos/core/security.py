"""Headers that hold for every page, and the one file that is served out of another package."""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage, Storage
from django.http import HttpRequest
from django.http.response import HttpResponseBase

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",  # blob: the chart's PNG export draws an SVG blob
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "manifest-src 'self'",
    )
)


class ContentSecurityPolicy:
    """One strict policy for all pages, the admin included: nothing inline, evaluated or from elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        return response


class PlotlyFinder(BaseFinder):
    """Finds `vendor/plotly.min.js` in the plotly wheel, and nothing else of it (its data sets stay unserved)."""

    NAME = "vendor/plotly.min.js"

    def find(self, path: str, find_all: bool = False, **_: Any) -> Any:
        if path != self.NAME:
            return []
        return [str(settings.PLOTLY_JS)] if find_all else str(settings.PLOTLY_JS)

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterable[tuple[str, Storage]]:
        storage = FileSystemStorage(location=settings.PLOTLY_JS.parent)
        storage.prefix = "vendor"  # type: ignore[attr-defined]  # collectstatic puts it below this
        yield settings.PLOTLY_JS.name, storage
