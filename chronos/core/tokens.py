"""API tokens: a program's way in as a person, through one door.

`Authorization: Bearer chr_…` signs a single request in, on views that are marked `open_to_tokens`, without session or
CSRF token. What is stored is a hash; the secret's prefix lets scanners find one that was published by mistake.
"""

import re
import secrets
import string
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import unquote

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.envelope import Refused
from chronos.core.models import ApiToken, User, digest

PREFIX = "chr_"
ALPHABET = string.ascii_letters + string.digits
LENGTH = 43  # of 62 letters: 256 bits
MOST = 50  # of one person
USED_EVERY = timedelta(minutes=1)  # `last_used_at` is no finer than that
SAFE = ("GET", "HEAD", "OPTIONS")

in_an_address = re.compile(rf"{PREFIX}[A-Za-z0-9]{{20,}}").search

View = TypeVar("View", bound=Callable[..., Any])


class TooMany(Exception):
    """This person has as many tokens as anybody may."""


def issue(
    owner: User,
    name: str,
    *,
    may_write: bool = False,
    lifetime: timedelta | None = None,
    compute_minutes: int | None = None,
) -> tuple[ApiToken, str]:
    """A new token and its secret, which is nowhere afterwards. Call it as its owner. Raises `TooMany`."""
    if ApiToken.objects.filter(owner=owner).count() >= MOST:
        raise TooMany
    secret = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    token = ApiToken.objects.create(
        owner=owner,
        name=name,
        digest=digest(secret),
        hint=secret[-4:],
        may_write=may_write,
        expires_at=timezone.now() + lifetime if lifetime else None,
        compute_minutes=compute_minutes,
    )
    return token, secret


def redeem(secret: str) -> ApiToken | None:
    """The token with its owner; None if it is unknown, revoked or expired, or its owner's account is closed."""
    if not secret.startswith(PREFIX) or len(secret) != len(PREFIX) + LENGTH:
        return None
    now = timezone.now()
    with tenancy.as_system("look up an API token"):
        valid = Q(expires_at=None) | Q(expires_at__gt=now)
        found = ApiToken.objects.filter(valid, digest=digest(secret), owner__is_active=True)
        token = found.select_related("owner").first()
        if token and (token.last_used_at is None or token.last_used_at < now - USED_EVERY):
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def revoke(owner: User, pk: int) -> str:
    """Delete this token of theirs; its name, or '' if there is no such one."""
    token = ApiToken.objects.filter(owner=owner, pk=pk).first()
    if token is None:
        return ""
    token.delete()
    return token.name


def open_to_tokens(view: View) -> View:
    """Marks a view that programs may ask. Goes above the other decorators."""
    view.open_to_tokens = True  # type: ignore[attr-defined]
    return view


def only_reads(operation: View) -> View:
    """Marks an operation of the API that only reads although its method is POST: a token that may not write may ask."""
    operation.only_reads = True  # type: ignore[attr-defined]
    return operation


def _refusal(status: int, error: str, message: str, remedy: str = "") -> Refused:
    """In the words and with the header of RFC 6750."""
    named = {"WWW-Authenticate": f'Bearer realm="Chronos", error="{error}"'} if status in (401, 403) else {}
    return Refused(error, message, remedy, status=status, headers=named)


IN_THE_ADDRESS = _refusal(
    400, "invalid_request", "An API token does not belong in an address, where logs and histories keep it.",
    "Revoke it in the settings, and send the new one in a header: Authorization: Bearer …",
)  # fmt: skip
BAD = _refusal(401, "invalid_token", "This API token is unknown, revoked or expired.", "Make another in the settings.")
NOT_HERE = _refusal(403, "insufficient_scope", "This address is for people, not for API tokens.",
                    "Look into the OpenAPI document for what programs may ask.")  # fmt: skip
ONLY_READS = _refusal(403, "insufficient_scope", "This API token may only read.",
                      "Make one that may write in the settings.")  # fmt: skip


def refused(status: int, said: str) -> HttpResponse:
    """What a view refuses to a program, which has no use for a page."""
    error, message = {
        400: ("invalid_request", "The request can't be read."),
        403: ("insufficient_scope", "Its person may not do this."),
    }.get(status, ("not_found", "There is nothing at this address."))
    return _refusal(status, error, said or message).answer()


# The token that the request at hand came with: a job that is started meanwhile is its.
in_use: ContextVar[ApiToken | None] = ContextVar("the token in use", default=None)


class BearerMiddleware:
    """The one door for programs. A token counts alone: a session that comes with it is not looked at."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if in_an_address(unquote(request.get_full_path())):
            return IN_THE_ADDRESS.answer()
        scheme, _, secret = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer" or request.path.startswith("/health/"):
            return self.get_response(request)
        token = redeem(secret.strip())
        if token is None:
            return BAD.answer()
        self._let_in(request, token)
        before = in_use.set(token)
        try:
            return self.get_response(request)
        finally:
            in_use.reset(before)

    @staticmethod
    def _let_in(request: HttpRequest, token: ApiToken) -> None:
        async def person() -> User:
            return token.owner

        request.api_token = token  # type: ignore[attr-defined]
        request.user = token.owner
        request.auser = person
        request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]  # no browser adds this header by itself

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        token = getattr(request, "api_token", None)
        if token is None:
            return None
        if not getattr(view, "open_to_tokens", False):
            return NOT_HERE.answer()
        reading = (*SAFE, *getattr(view, "reading_methods", ()))
        if request.method not in reading and not token.may_write:
            return ONLY_READS.answer()
        return None
