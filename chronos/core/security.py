"""What holds for every page: its headers and the text it takes; and the one file served out of another package."""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.staticfiles.finders import BaseFinder
from django.core.exceptions import BadRequest, RequestDataTooBig
from django.core.files.storage import FileSystemStorage, Storage
from django.http import HttpRequest, QueryDict, UnreadablePostError
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


class PlainText:
    """Refuses text with a NUL character, which PostgreSQL can't store or even be asked for, before a view sees it.

    The refusal is made when everything outside the view is in place, so that it is a page like the others.
    """

    FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        """Raises `BadRequest`. Files that are sent along are not looked into."""
        if "\0" in request.path or _has_nul(request.GET) or self._form_has_nul(request):
            raise BadRequest("It contains a NUL character, which no text here can have. Take it out and try again.")

    def _form_has_nul(self, request: HttpRequest) -> bool:
        if request.method in ("GET", "HEAD") or request.content_type not in self.FORMS:
            return False
        try:
            return _has_nul(request.POST)
        except UnreadablePostError:  # whoever sent it is gone
            return False
        except RequestDataTooBig:
            most = (settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0) // 2**20
            raise BadRequest(f"What was written has more than {most} MB. Cut it into several parts.") from None


def _has_nul(fields: QueryDict) -> bool:
    return any("\0" in text for name, values in fields.lists() for text in (name, *values))


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


class SignInRequired(LoginRequiredMiddleware):
    """As Django's, but it does not look up who asks where anybody may: health answers while the database is away."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)
