"""What holds for every page: its headers and the text it takes; and the few files served out of other packages."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.staticfiles.finders import BaseFinder
from django.core.exceptions import BadRequest, RequestDataTooBig
from django.core.files.storage import FileSystemStorage, Storage
from django.http import HttpRequest, QueryDict, UnreadablePostError
from django.http.response import HttpResponseBase
from servestatic.storage import CompressedManifestStaticFilesStorage

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


# Redoc makes two <style>s: one that it fills rule by rule and that is empty to begin with, and its scroll bars' one. By
# their hashes these two are allowed on its page, and no others.
STYLES_OF_REDOC = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
)
POLICY_OF_REDOC = POLICY.replace("style-src 'self'", f"style-src 'self' {STYLES_OF_REDOC}")


class ContentSecurityPolicy:
    """One strict policy for all pages, the admin included: nothing inline, evaluated or from elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
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


class VendorFinder(BaseFinder):
    """Finds `vendor/…`: single files out of installed packages (settings.VENDOR), and nothing else of those."""

    def find(self, path: str, find_all: bool = False, **_: Any) -> Any:
        found = settings.VENDOR.get(path.removeprefix("vendor/")) if path.startswith("vendor/") else None
        if found is None:
            return []
        return [str(found)] if find_all else str(found)

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterable[tuple[str, Storage]]:
        for name, place in settings.VENDOR.items():
            storage = _Renamed(name, place)
            storage.prefix = "vendor"  # type: ignore[attr-defined]  # collectstatic puts it below this
            yield name, storage


class _Renamed(FileSystemStorage):
    """One file, under whatever name."""

    def __init__(self, name: str, place: Path) -> None:
        super().__init__(location=place.parent)
        self.name, self.place = name, place

    def path(self, name: str) -> str:
        return str(self.place)


class Manifest(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Names files after their content. The packages' source maps are not served, so they are not looked for."""

    patterns = tuple(
        (kind, tuple(one for one in found if "sourceMappingURL" not in str(one)))
        for kind, found in CompressedManifestStaticFilesStorage.patterns
    )


class SignInRequired(LoginRequiredMiddleware):
    """As Django's, but it does not look up who asks where anybody may: health answers while the database is away."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)
