"""People's addresses and what is mailed to them, and what allauth asks us about.

`User.email` is the address in use; allauth's `EmailAddress` rows say whether it is confirmed, and hold one that is to
replace it as soon as it is. The verbs here keep both right.
"""

import base64
import contextlib
import logging
import smtplib
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.core.internal.httpkit import get_client_ip
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from chronos.core.guessing import MAILS
from chronos.core.models import User

if TYPE_CHECKING:
    from allauth.account.models import EmailAddress
    from cryptography.fernet import Fernet

log = logging.getLogger(__name__)


class MailNotSent(Exception):
    """The mail server did not take it; the text says why, for the log."""


class AddressTaken(Exception):
    """Another person here has this e-mail address."""


def client_address(request: HttpRequest) -> str:
    """Where a request came from; behind proxies, what `TRUSTED_PROXIES` lets us believe."""
    try:
        found = str(get_client_ip(request) or "")
        ip_address(found)
    except (ImproperlyConfigured, PermissionDenied, ValueError):
        found = request.META.get("REMOTE_ADDR", "")
    try:
        return str(ip_address(found))
    except ValueError:  # a Unix socket has no address
        return "0.0.0.0"  # noqa: S104


def client_network(request: HttpRequest) -> str:
    """For limits: of IPv6 the network, because who has one address of it has them all."""
    address = ip_address(client_address(request))
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


# --- Addresses ---------------------------------------------------------------------------------------------------


def align(person: User) -> None:
    """Whoever wrote `User.email`, staff for example: make it the one address in use."""
    from allauth.account.models import EmailAddress

    email = person.email.strip().lower()
    found = EmailAddress.objects.filter(user=person, primary=True).first()
    if (found.email if found else "") == email:
        return
    with transaction.atomic():
        EmailAddress.objects.filter(user=person, primary=True).delete()
        if email:
            EmailAddress.objects.update_or_create(user=person, email=email, defaults={"primary": True})


def use(person: User, email: str, *, confirmed: bool = False) -> None:
    """Make this the person's address at once, as where no mail can be sent. Raises `AddressTaken`."""
    from allauth.account.models import EmailAddress

    email = email.strip().lower()
    if email and is_taken(email, by_other_than=person):
        raise AddressTaken
    if person.email and email != person.email.lower():
        tell(person, f"Your address with Chronos is {email or 'removed'} now")
    try:
        with transaction.atomic():
            EmailAddress.objects.filter(user=person).delete()
            if email:
                EmailAddress.objects.create(user=person, email=email, primary=True, verified=confirmed)
            person.email = email
            person.save(update_fields=["email"])
    except IntegrityError as error:  # two confirmed it at once
        raise AddressTaken from error


def is_taken(email: str, *, by_other_than: User | None = None) -> bool:
    from allauth.account.models import EmailAddress

    rows = EmailAddress.objects.filter(email=email.lower(), primary=True)
    people = User.objects.filter(email__iexact=email)
    if by_other_than:
        rows, people = rows.exclude(user=by_other_than), people.exclude(pk=by_other_than.pk)
    return rows.exists() or people.exists()


def ask_to_confirm(person: User, email: str) -> None:
    """Mail a link to this address; when it is followed, the address is the person's. Raises `MailNotSent`.

    It is sent to an address that somebody else here has, too, so that asking does not tell who has an account; its
    link then says so to whoever reads that mailbox.
    """
    from allauth.account.models import EmailAddress, EmailConfirmationHMAC

    email = email.strip().lower()
    align(person)
    EmailAddress.objects.filter(user=person, primary=False).exclude(email=email).delete()
    row, _ = EmailAddress.objects.get_or_create(user=person, email=email, defaults={"primary": False})
    link = absolute("core:confirm-email", EmailConfirmationHMAC.create(row).key)
    mail("confirm", email, {"person": person, "link": link, "days": settings.ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS})


def waiting(person: User) -> "EmailAddress | None":
    """The address that is to be the person's once its mailbox has answered."""
    from allauth.account.models import EmailAddress

    rows = EmailAddress.objects.filter(user=person, primary=False, verified=False)
    return rows.exclude(email=person.email.lower()).order_by("pk").last()


def forget_waiting(person: User) -> None:
    from allauth.account.models import EmailAddress

    EmailAddress.objects.filter(user=person, primary=False).delete()


def is_confirmed(person: User) -> bool:
    from allauth.account.models import EmailAddress

    return bool(person.email) and EmailAddress.objects.filter(user=person, email=person.email, verified=True).exists()


def reached_at(email: str) -> User | None:
    """Whose confirmed address this is. One that nobody has confirmed says nothing of who reads its mailbox."""
    from allauth.account.models import EmailAddress

    row = EmailAddress.objects.filter(email=email.strip().lower(), primary=True, verified=True, user__is_active=True)
    found = row.select_related("user").first()
    return found.user if found else None


def mentioned_in(key: str) -> "EmailAddress | None":
    """The address that a mailed link is to confirm; None if the link is old, used or made up."""
    from allauth.account.models import EmailConfirmationHMAC

    found = EmailConfirmationHMAC.from_key(key)
    return found.email_address if found else None


def confirm(address: "EmailAddress") -> User:
    """The mailbox has answered: the address is its person's, the only one. Raises `AddressTaken`."""
    person: User = address.user
    use(person, address.email, confirmed=True)
    if person.awaits_confirmation:
        person.awaits_confirmation = False
        person.save(update_fields=["awaits_confirmation"])
    return person


# --- New people, forgotten passwords -----------------------------------------------------------------------------


def sign_up(name: str, email: str, password: str) -> User | None:
    """A new person; None if the address has an account already, whose owner is then told by mail instead.

    Where mail can be sent the person can sign in once the address is confirmed. Raises `MailNotSent`: nobody is kept.
    """
    email = email.strip().lower()
    if email and settings.MAIL_CAN_BE_SENT and is_taken(email):
        User().set_password(password)  # takes as long as the other way
        mail("already", email, {"reset": absolute("core:reset")})
        return None
    with transaction.atomic():
        person = User(username=name, email=email, awaits_confirmation=settings.MAIL_CAN_BE_SENT)
        person.set_password(password)
        person.save()
        align(person)
        if person.awaits_confirmation:
            ask_to_confirm(person, email)
    return person


def ask_for_reset(email: str) -> None:
    """Mail a link to set a new password, or word that there is no account. Raises `MailNotSent`.

    An address that only waits to become somebody's may be mistyped: whoever reads it is not let into the account.
    """
    from allauth.account.internal.userkit import filter_users_by_email

    email = email.strip().lower()
    found = filter_users_by_email(email, is_active=True, prefer_verified=True)
    people = [person for person in found if person.email.lower() == email]
    if not people:
        mail("unknown", email, {})
    for person in people:
        align(person)
        link = absolute("core:reset-with-key", reset_key(person))
        mail("reset", email, {"person": person, "link": link, "minutes": settings.PASSWORD_RESET_TIMEOUT // 60})


def reset_key(person: User) -> str:
    from allauth.account.forms import EmailAwarePasswordResetTokenGenerator
    from allauth.account.utils import user_pk_to_url_str

    return f"{user_pk_to_url_str(person)}-{EmailAwarePasswordResetTokenGenerator().make_token(person)}"


def person_of_reset(key: str) -> User | None:
    """Whose password this link may set: not once it was used, is old, or the password or address has changed since."""
    from allauth.account.forms import EmailAwarePasswordResetTokenGenerator
    from allauth.account.utils import url_str_to_user_pk

    uid, _, token = key.partition("-")
    try:
        person = User.objects.filter(pk=url_str_to_user_pk(uid), is_active=True).first()
    except (ValueError, ValidationError, OverflowError):
        return None
    return person if person and EmailAwarePasswordResetTokenGenerator().check_token(person, token) else None


def reset(person: User, password: str) -> None:
    """The mailbox has answered, so its address is confirmed along with it."""
    from allauth.account.models import EmailAddress

    with transaction.atomic():
        person.set_password(password)
        person.awaits_confirmation = False
        person.save(update_fields=["password", "awaits_confirmation"])
        row = EmailAddress.objects.filter(user=person, primary=True).first()
        if row and row.can_set_verified():
            row.set_verified()


# --- Mail --------------------------------------------------------------------------------------------------------


def absolute(route: str, *parameters: str) -> str:
    """An address for a mail: by PUBLIC_URL, never by what a request called us."""
    return f"{settings.PUBLIC_URL}{reverse(route, args=parameters)}"


def tell(person: User, what: str, whence: str = "") -> None:
    """Word of a change to how they sign in, to an address that is known to be theirs, once the change is stored.

    That it can't be sent is no reason to undo the change; the log has it.
    """
    if not settings.MAIL_CAN_BE_SENT or not is_confirmed(person):
        return
    context = {"person": person, "what": what, "whence": whence, "settings": absolute("core:security")}
    to = person.email

    def send() -> None:
        with contextlib.suppress(MailNotSent):
            mail("changed", to, context)

    transaction.on_commit(send)


def mail(template: str, to: str, context: dict[str, Any]) -> None:
    """Send `core/mail/<template>.txt`, whose first line is the subject. Raises `MailNotSent`.

    A mailbox that has had its share is passed over without a word.
    """
    if not MAILS.take(template, to, context.get("what", "")):
        log.info("a mailbox has had its share of mails", extra={"template": template})
        return
    text = render_to_string(f"core/mail/{template}.txt", {**context, "site": settings.PUBLIC_URL, "email": to})
    subject, _, body = text.strip().partition("\n")
    try:
        EmailMessage(subject, body.lstrip(), to=[to]).send()
    except (OSError, smtplib.SMTPException) as error:
        log.error("mail can't be sent", exc_info=error)
        raise MailNotSent(str(error)) from error


# --- What allauth asks -------------------------------------------------------------------------------------------


class ByNameOrAddress(AuthenticationBackend):  # type: ignore[misc]
    def _authenticate_by_username(self, username: str, password: str) -> User | None:
        """The name as it is written goes first: two people's may differ by case alone."""
        exact = User.objects.filter(username=username).first()
        found: User | None = (
            self._check_password(exact, password) if exact else super()._authenticate_by_username(username, password)
        )
        return found


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def get_login_stages(self) -> list[str]:
        return ["chronos.core.twostep.SecondStep"]

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Our pages say themselves what has happened."""


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets of apps lie encrypted under a key that follows from SECRET_KEY: a stolen backup has no codes."""

    def encrypt(self, text: str) -> str:
        return _fernet(settings.SECRET_KEY).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises `cryptography.fernet.InvalidToken` after SECRET_KEY has changed."""
        return _fernet(settings.SECRET_KEY).decrypt(encrypted_text.encode()).decode()

    def get_totp_label(self, user: User) -> str:
        return user.get_username()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": "Chronos"}


@lru_cache(maxsize=2)
def _fernet(secret_key: str) -> "Fernet":
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(SHA256(), 32, salt=None, info=b"chronos: second step").derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
