"""The providers' API keys: from the environment, or encrypted in the database.

A stored key is encrypted with Fernet (AES-128-CBC with HMAC-SHA256) under a key of its own, which follows by
HKDF-SHA256 (RFC 5869) from `SECRET_KEY` and the provider's name: a row copied to another provider's name can't be read.
Who has the database alone, a backup for example, has no key.
"""

import base64
import hashlib
import hmac
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from django.conf import settings
from django.utils import timezone

from marketdata.models import ProviderKey

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

log = logging.getLogger(__name__)

# The providers that take a key, and the environment's name for it, which is also the setting's.
VARIABLES = {"twelvedata": "TWELVEDATA_API_KEY", "alphavantage": "ALPHAVANTAGE_API_KEY"}
LONGEST = 200

Origin = Literal["environment", "stored", "unreadable", ""]


class BadKey(Exception):
    """What was given can't be a key, or the provider takes none. The text does not repeat it."""


def secret(provider: str) -> str:
    """The provider's key, the environment's first; empty if there is none that can be read."""
    return _find(provider)[1]


def origin(provider: str) -> Origin:
    """Where the key comes from; `unreadable` if it was stored under another SECRET_KEY; empty if there is none."""
    return _find(provider)[0]


def fingerprint(provider: str) -> str:
    """16 hexadecimal digits that tell one key from another and do not tell the key; empty without one."""
    found = secret(provider)
    return hmac.new(_derived(provider), found.encode(), hashlib.sha256).hexdigest()[:16] if found else ""


def account(provider: str) -> str:
    """The provider with the fingerprint of its key: what it limits. Another key has turns of its own."""
    return f"{provider} {fingerprint(provider)}".strip()


def lacking(provider: str, label: str) -> str:
    """Why a provider that wants a key has none, and what to do about it; empty if it has one."""
    match origin(provider):
        case "":
            return f"{label} has no key: set one on the Data page, or {VARIABLES[provider]} in the environment."
        case "unreadable":
            return f"{label}'s stored key can't be read, because SECRET_KEY has changed: set it anew on the Data page."
        case _:
            return ""


@contextmanager
def at_hand(provider: str) -> Iterator[None]:
    """Within the block, and in threads given its context, the key is what it was at its start.

    Calls to the outside may not touch the database, and one question is asked under one key.
    """
    token = _held.set({**_held.get(), provider: _find(provider)})
    try:
        yield
    finally:
        _held.reset(token)


@contextmanager
def all_at_hand(rows: Mapping[str, ProviderKey]) -> Iterator[None]:
    """The same of all providers, whose stored keys were read already."""
    token = _held.set({**{name: _read(name, rows.get(name)) for name in VARIABLES}, **_held.get()})
    try:
        yield
    finally:
        _held.reset(token)


def store(provider: str, secret: str, by: str) -> None:
    """Keep the key, encrypted, instead of the one before. `by` is who gave it. Raises `BadKey`."""
    if provider not in VARIABLES:
        raise BadKey(f"{provider} takes no key; those that do are {', '.join(VARIABLES)}.")
    secret = secret.strip()
    if not secret:
        raise BadKey("The key is empty. Paste it as the provider shows it.")
    if len(secret) > LONGEST:
        raise BadKey(f"The key has {len(secret)} characters; no key has more than {LONGEST}. Paste the key alone.")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise BadKey("The key has spaces or characters in it that no key has. Paste the key alone.")
    row = {"secret": _fernet(provider).encrypt(secret.encode()), "set_at": timezone.now(), "set_by": by[:150]}
    ProviderKey.objects.update_or_create(provider=provider, defaults=row)


def forget(provider: str) -> bool:
    """Delete the stored key; whether there was one. The environment's is not ours to delete."""
    return ProviderKey.objects.filter(provider=provider).delete()[0] > 0


_held: ContextVar[Mapping[str, tuple[Origin, str]]] = ContextVar("keys at hand", default=MappingProxyType({}))


def _find(provider: str) -> tuple[Origin, str]:
    if provider in _held.get():
        return _held.get()[provider]
    known = provider in VARIABLES and not _given(provider)
    return _read(provider, ProviderKey.objects.filter(provider=provider).first() if known else None)


def _given(provider: str) -> str:
    """By the environment."""
    return str(getattr(settings, VARIABLES.get(provider, ""), ""))


def _read(provider: str, row: ProviderKey | None) -> tuple[Origin, str]:
    if given := _given(provider):
        return "environment", given
    if row is None:
        return "", ""
    from cryptography.fernet import InvalidToken

    try:
        return "stored", _fernet(provider).decrypt(bytes(row.secret)).decode()
    except InvalidToken:
        log.warning("a stored key can't be read: SECRET_KEY has changed; set it anew", extra={"provider": provider})
        return "unreadable", ""


def _fernet(provider: str) -> "Fernet":
    from cryptography.fernet import Fernet

    return Fernet(base64.urlsafe_b64encode(_derived(provider)))


def _derived(provider: str) -> bytes:
    return _expanded(settings.SECRET_KEY, provider)


@lru_cache(maxsize=16)
def _expanded(secret_key: str, provider: str) -> bytes:
    """32 bytes for this purpose and this provider alone."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    purpose = f"chronos: the API key of {provider}"
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(secret_key.encode())
