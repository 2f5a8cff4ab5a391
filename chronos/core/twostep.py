"""Two-step sign-in: codes of an authenticator app, recovery codes for when it is lost, and asking again who it is."""

import time
from typing import Any

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.account.stages import LoginStage, LoginStageController
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from chronos.core import tenancy
from chronos.core.guessing import CODES
from chronos.core.models import User

Type = Authenticator.Type
SETUP = "two_step_setup"  # in the session: the secret that is being set up, until a code has proved it


class TooManyCodes(Exception):
    """So many codes were wrong that this person must wait."""


class SecondStep(LoginStage):  # type: ignore[misc]
    """After a right password, if two-step sign-in is on. A passkey is both steps in one; a one-time link needs none."""

    key = "second-step"

    def handle(self) -> tuple[HttpResponse | None, bool]:
        if self.login.user is None or self._came_by_passkey():
            return None, True
        with tenancy.acting_as(self.login.user):
            wanted = is_on(self.login.user)
        return (HttpResponseRedirect(reverse("core:second-step")) if wanted else None), True

    def _came_by_passkey(self) -> bool:
        records = get_authentication_records(self.request, self.login.user)
        return bool(records) and bool(records[-1].get("passwordless"))


def halfway(request: HttpRequest) -> Any:
    """The sign-in that waits for its second step in this browser; None if none was begun within 15 minutes."""
    stage = LoginStageController.enter(request, SecondStep.key)
    return stage if stage and stage.login.user and stage.login.user.is_active else None


# --- The app ---------------------------------------------------------------------------------------------------


def is_on(person: User) -> bool:
    return bool(Authenticator.objects.filter(user=person, type=Type.TOTP).exists())


def secret_to_set_up(request: HttpRequest) -> str:
    """A fresh secret, the same one in this session until it is proved or given up."""
    from allauth.mfa.totp.internal.auth import generate_totp_secret

    if SETUP not in request.session:
        request.session[SETUP] = generate_totp_secret()
    return str(request.session[SETUP])


def address_of(person: User, secret: str) -> str:
    """What the QR code says: otpauth://totp/…"""
    from allauth.mfa.adapter import get_adapter

    return str(get_adapter().build_totp_url(person, secret))


def switch_on(request: HttpRequest, person: User, code: str) -> list[str] | None:
    """Turn it on if the code fits the secret of this session; the recovery codes, or None. Raises `TooManyCodes`."""
    from allauth.mfa.totp.internal.auth import TOTP

    if not CODES.take(person.pk):
        raise TooManyCodes
    secret = secret_to_set_up(request)
    counter = _fitting(secret, code, after=0)
    if counter is None:
        return None
    CODES.give_back(person.pk)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=person.pk)
        Authenticator.objects.filter(user=person, type=Type.TOTP).delete()
        row = TOTP.activate(person, secret).instance
        row.data["counter"] = counter
        row.save(update_fields=["data"])
        codes = new_recovery_codes(person)
    del request.session[SETUP]
    return codes


def switch_off(person: User) -> bool:
    """Turn it off, the recovery codes with it; whether it was on. Passkeys stay."""
    deleted, _ = Authenticator.objects.filter(user=person, type__in=(Type.TOTP, Type.RECOVERY_CODES)).delete()
    return bool(deleted)


def new_recovery_codes(person: User) -> list[str]:
    """Ten codes instead of any there were."""
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes

    with transaction.atomic():
        Authenticator.objects.filter(user=person, type=Type.RECOVERY_CODES).delete()
        codes: list[str] = RecoveryCodes.activate(person).generate_codes()
    return codes


def recovery_codes_left(person: User) -> int:
    """How many are unused."""
    row = Authenticator.objects.filter(user=person, type=Type.RECOVERY_CODES).first()
    return settings.MFA_RECOVERY_CODE_COUNT - int(row.data["used_mask"]).bit_count() if row else 0


def check(person: User, code: str) -> Authenticator | None:
    """The authenticator whose code this is, the app or the recovery codes; the code is then used up.

    Raises `TooManyCodes`.
    """
    if not CODES.take(person.pk):
        raise TooManyCodes
    with transaction.atomic():
        rows = Authenticator.objects.select_for_update().filter(user=person, type__in=(Type.TOTP, Type.RECOVERY_CODES))
        for row in rows.order_by("-type"):
            if _use_up(row, code):
                row.last_used_at = timezone.now()
                row.save(update_fields=["last_used_at"])
                CODES.give_back(person.pk)
                return row
    return None


def _use_up(row: Authenticator, code: str) -> bool:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.utils import decrypt
    from cryptography.fernet import InvalidToken

    try:
        if row.type == Type.RECOVERY_CODES:
            return bool(RecoveryCodes(row).validate_code(code))
        counter = _fitting(decrypt(row.data["secret"]), code, after=row.data.get("counter", 0))
    except InvalidToken:  # SECRET_KEY has changed: a one-time link is the way in
        return False
    if counter is None:
        return False
    row.data["counter"] = counter
    row.save(update_fields=["data"])
    return True


def _fitting(secret: str, code: str, *, after: int) -> int | None:
    """The half minute whose code this is, if it is near now and later than the last one used: no code counts twice."""
    from allauth.core.internal.cryptokit import compare_user_code
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time

    for counter in yield_hotp_counters_from_time():
        if counter > after and compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, counter))):
            return int(counter)
    return None


def drawing(text: str) -> dict[str, Any]:
    """The QR code as one SVG path of runs, and how many modules wide it is with its quiet zone."""
    import qrcode

    code = qrcode.QRCode(border=2, error_correction=qrcode.ERROR_CORRECT_M)
    code.add_data(text)
    matrix = code.get_matrix()
    runs = []
    for y, row in enumerate(matrix):
        x = 0
        while x < len(row):
            start = x
            while x < len(row) and row[x]:
                x += 1
            if x > start:
                runs.append(f"M{start} {y}h{x - start}v1h-{x - start}z")
            x += 1
    return {"path": "".join(runs), "size": len(matrix)}


# --- Asking again ------------------------------------------------------------------------------------------------


def note(request: HttpRequest, person: User, method: str, **more: Any) -> None:
    """Remember in the session that the person has just shown who they are."""
    record_authentication(request, person, method, **more)


def ways_to_confirm(person: User) -> set[str]:
    """How this person can show again who they are; empty for who comes by one-time links alone."""
    ways = set(Authenticator.objects.filter(user=person).values_list("type", flat=True))
    return ways | {"password"} if person.has_usable_password() else ways


def is_fresh(request: HttpRequest, person: User, *methods: str) -> bool:
    """Whether they have shown it within 15 minutes, by any method or one of these."""
    records = get_authentication_records(request, person)
    since = time.time() - settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    return any(record["at"] > since and (not methods or record["method"] in methods) for record in records)
