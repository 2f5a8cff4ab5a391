"""Passkeys: a key in a device or a password manager that signs in by itself, bound to this host's name.

fido2 is imported inside functions: reading its list of public suffixes takes longer than a page.
"""

import json
import logging
import struct
from ipaddress import ip_address
from typing import Any

from allauth.mfa.models import Authenticator
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils import timezone

from chronos.core.models import User

log = logging.getLogger(__name__)

MOST = 20  # of one person
NAME_LENGTH = 60
# What a made-up answer can make the parsers of it say.
UNREADABLE = (
    ValidationError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError,
    struct.error,
)  # fmt: skip


class Refused(Exception):
    """The browser's answer is not that of a passkey we know, or not to our last question."""


def possible_at(request: HttpRequest) -> bool:
    """Browsers make passkeys for names only, and over HTTPS or on this very machine."""
    host = split_domain_port(request.get_host())[0]
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return request.is_secure() or host == "localhost" or host.endswith(".localhost")
    return False


def of(person: User) -> list[Authenticator]:
    return list(Authenticator.objects.filter(user=person, type=Authenticator.Type.WEBAUTHN).order_by("pk"))


def question_to_add(person: User) -> str:
    """What the browser is to be asked, as JSON, so that it makes a passkey. The session remembers it for the answer.

    Raises `Refused` if a passkey that is stored can't be read.
    """
    from allauth.mfa.webauthn.internal import auth

    try:
        return _plain(auth.begin_registration(person, passwordless=True))
    except UNREADABLE as error:
        raise Refused from error


def add(person: User, name: str, answer: str) -> Authenticator:
    """Keep the passkey that the browser has made. Raises `Refused`."""
    from allauth.mfa.webauthn.internal import auth

    try:
        credential = json.loads(answer)
        auth.parse_registration_response(credential)
        made = auth.complete_registration(credential)
        if not made.is_user_verified() or made.credential_data is None:
            raise Refused
        row: Authenticator = auth.WebAuthn.add(person, name[:NAME_LENGTH], credential).instance
    except UNREADABLE as error:
        raise Refused from error
    finally:
        auth.clear_state()
    return row


def question(person: User | None = None) -> str:
    """What the browser is to be asked for a passkey, as JSON; '' if this person has none, or one that can't be read."""
    from allauth.mfa.webauthn.internal import auth

    if person is not None and not of(person):
        return ""
    try:
        return _plain(auth.begin_authentication(person))
    except UNREADABLE as error:
        log.error("a stored passkey can't be read", exc_info=error)
        return ""


def check(answer: str, person: User | None = None) -> Authenticator:
    """The passkey that has answered our last question; of this person, if one is given. Raises `Refused`."""
    from allauth.mfa.webauthn.internal import auth

    try:
        credential = json.loads(answer)
        auth.parse_authentication_response(credential)
        row: Authenticator = auth.complete_authentication(
            person or auth.extract_user_from_response(credential), credential
        )
    except UNREADABLE as error:
        raise Refused from error
    finally:
        auth.clear_state()
    if not row.user.is_active:
        raise Refused
    row.last_used_at = timezone.now()
    row.save(update_fields=["last_used_at"])
    return row


def rename(person: User, pk: int, name: str) -> bool:
    """Whether this person has such a passkey, which is now called so."""
    row = Authenticator.objects.filter(user=person, type=Authenticator.Type.WEBAUTHN, pk=pk).first()
    if row is None:
        return False
    row.data["name"] = name[:NAME_LENGTH]
    row.save(update_fields=["data"])
    return True


def remove(person: User, pk: int) -> str:
    """The name of the passkey that is gone, or '' if this person has none such."""
    row = Authenticator.objects.filter(user=person, type=Authenticator.Type.WEBAUTHN, pk=pk).first()
    if row is None:
        return ""
    row.delete()
    return name_of(row)


def name_of(row: Authenticator) -> str:
    return str(row.data.get("name") or "Passkey")


def _plain(options: dict[str, Any]) -> str:
    """With bytes as base64url, as browsers read it."""
    from fido2.utils import websafe_encode

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return websafe_encode(value)
        return dict(value)

    return json.dumps(options, default=plain)
