"""The gate of the API: each request passes it, whichever operation it is for.

1. Who asks: a token (`tokens.BearerMiddleware` has let it in) or a person's session, whose writes need the CSRF token.
2. Whether it is their turn (`pace`).
3. Whether it was asked before: a POST with an `Idempotency-Key` is done once, and answered the same again.
Refusals of Django's own on the way become the API's.
"""

import re
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, RequestDataTooBig
from django.db import connection
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.http.request import RawPostDataException
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt

from chronos.core import pace
from chronos.core.envelope import Refused, then
from chronos.core.models import IdempotencyKey, User
from chronos.core.tokens import open_to_tokens

View = Callable[..., Any]
PLAIN = re.compile(r"[!-~]{1,200}")


def guarded(view: View) -> View:
    """A view of the API, whose every request passes the gate."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def passing(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                await sync_to_async(_pass)(request)
            except Refused as refused:
                return refused.answer()
            return _in_words(request, await view(request, *args, **kwargs))

        found: View = passing
    else:

        @wraps(view)
        def guarding(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                _pass(request)
                return _in_words(request, _once(request, lambda: view(request, *args, **kwargs)))
            except Refused as refused:
                return refused.answer()

        found = guarding
    # The gate says it in JSON, rather than Django by a page.
    return login_not_required(csrf_exempt(open_to_tokens(found)))


def _pass(request: HttpRequest) -> None:
    if not isinstance(request.user, User) or not request.user.is_active:
        raise unnamed()
    token = getattr(request, "api_token", None)
    if token is None and (why := _Csrf().refuses(request)):
        raise Refused(
            "csrf", f"A browser's session needs its CSRF token to change anything: {why}",
            "Send the header X-CSRFToken with the token of the page, or use an API token.", status=403,
        )  # fmt: skip
    if seconds := pace.seconds_until_turn(request.user, token):
        raise Refused(
            "throttled", f"That is too many requests at once; there is a turn in {seconds} s.",
            f"Wait for {seconds} seconds, as Retry-After says.", status=429, headers={"Retry-After": str(seconds)},
        )  # fmt: skip


class _Csrf(CsrfViewMiddleware):
    """Django's check, asked for by hand."""

    def __init__(self) -> None:
        super().__init__(lambda _: HttpResponse())

    def refuses(self, request: HttpRequest) -> str:
        """Why the request is refused; '' if it is not."""
        self.process_request(request)
        refusal = self.process_view(request, HttpResponse, (), {})
        return str(refusal) if refusal else ""

    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


# --- Done once ---------------------------------------------------------------------------------------------------


def _once(request: HttpRequest, act: Callable[[], HttpResponse]) -> HttpResponse:
    """Do it, unless this person's key was used before: then what was answered, without doing anything.

    1. The key is inserted in the request's own transaction. Whoever comes second with it waits here for the first.
    2. The first acts and keeps its answer with the key; if it is refused or fails, the key goes with all the rest.
    3. The second finds the key, and answers what is kept, if it asks for the same.
    """
    key = request.headers.get("Idempotency-Key", "")
    if request.method != "POST" or not key:
        return act()
    if not PLAIN.fullmatch(key):
        raise Refused("invalid", "The Idempotency-Key can't be read.", "Send 1 to 200 visible characters, such as a"
                      " UUID.", field="header.Idempotency-Key")  # fmt: skip
    asked = sha256(b"\0".join((request.get_full_path().encode(), _body(request)))).hexdigest()
    person = request.user.pk
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core_idempotencykey (owner_id, key, asked, status, answer, created_at)"
            " VALUES (%s, %s, %s, 0, '', now()) ON CONFLICT (owner_id, key) DO NOTHING",
            [person, key, asked],
        )
        is_first = cursor.rowcount == 1
    if not is_first:
        return _again(IdempotencyKey.objects.get(owner=person, key=key), asked)
    response = act()
    if response.status_code < 400 and not response.streaming:
        IdempotencyKey.objects.filter(owner=person, key=key).update(
            status=response.status_code, answer=response.content.decode()
        )
    return response


def _again(found: IdempotencyKey, asked: str) -> HttpResponse:
    if found.asked != asked or not found.status:
        raise Refused(
            "idempotency_key_reused", "This Idempotency-Key was used for another request.",
            "Take a new key for each thing that is to be done once.", status=409, field="header.Idempotency-Key",
        )  # fmt: skip
    response = HttpResponse(found.answer, content_type="application/json", status=found.status)
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _body(request: HttpRequest) -> bytes:
    try:
        return request.body
    except RequestDataTooBig:
        raise too_big() from None
    except RawPostDataException:
        raise no_form() from None
    except UnreadablePostError:
        raise BadRequest("The request broke off.") from None


def unnamed() -> Refused:
    return Refused(
        "unauthenticated", "Nobody is signed in.", "Send an API token in a header: Authorization: Bearer chr_…; people"
        " make one in their settings.", status=401, headers={"WWW-Authenticate": 'Bearer realm="Chronos"'},
    )  # fmt: skip


def no_form() -> Refused:
    return Refused("unsupported_media_type", "The body is a form.", "Send JSON, with Content-Type: application/json.",
                   status=415)  # fmt: skip


def too_big() -> Refused:
    return Refused(
        "too_large", "The body is too large.", "Send at most 10 MB; cut long lists into several.", status=413
    )


# --- Refusals of others ------------------------------------------------------------------------------------------


def _in_words(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if response.status_code == 405:
        allowed = response.headers.get("Allow", "")
        return Refused(
            "method_not_allowed", f"{request.method} is nothing that can be done here.", f"Possible are: {allowed}.",
            status=405, headers={"Allow": allowed},
        ).answer()  # fmt: skip
    response.headers.setdefault("Cache-Control", "private, no-store")
    return response


def nothing_here() -> Refused:
    return Refused(
        "not_found", "There is nothing at this address of the API.", "Look into the OpenAPI document.", status=404,
        next_actions=[then("list_universes", "A place to begin.")],
    )  # fmt: skip
