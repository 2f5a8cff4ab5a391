"""Coming in and going out: by name and password, in two steps, by passkey, by a one-time link; and signing up."""

from typing import Any
from urllib.parse import urlencode

from allauth.account.internal.flows import login as logins
from allauth.account.models import Login
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from chronos.core import accounts, passkeys, sessions, tenancy, twostep
from chronos.core.accounts import MailNotSent, client_address, client_network
from chronos.core.forms import CodeForm, NewPasswordForm, ResetForm, SignInForm, SignUpForm
from chronos.core.guessing import CODES, LINKS_TRIED, PASSKEYS, PASSWORDS, RESETS_ASKED, SIGN_UPS
from chronos.core.hypermedia import Asked, page
from chronos.core.models import SignInLink, User

GET_POST = ["GET", "HEAD", "POST"]
MAIL_IS_AWAY = (
    "The mail could not be sent: the mail server does not answer. Try again later, or ask for a one-time link."
)


# --- Name and password -------------------------------------------------------------------------------------------


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(GET_POST)
def sign_in(request: Asked) -> HttpResponse:
    """The page before all others. There is no default password: a link from the command line, or one's own."""
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_page(request))
    if request.method != "POST":
        return _sign_in_page(request, SignInForm(request))
    who = (request.POST.get("username", "").strip().lower()[:254], client_network(request))
    if not PASSWORDS.take(*who):
        form = SignInForm(request, initial={"username": request.POST.get("username", "")})
        return _sign_in_page(request, form, status=429, refused="wrong passwords for this name")
    form = SignInForm(request, data=request.POST)
    if not form.is_valid():
        return _sign_in_page(request, form, status=422)
    PASSWORDS.give_back(*who)
    person = form.get_user()
    if person.awaits_confirmation:
        return _ask_again_to_confirm(request, person)
    entering = Login(user=person, redirect_url=next_page(request))
    return logins.perform_password_login(request, {"username": person.get_username()}, entering)  # type: ignore[no-any-return]


def _sign_in_page(request: Asked, form: SignInForm, *, status: int = 200, refused: str = "") -> HttpResponse:
    context = {
        "form": form,
        "next": _wanted(request),
        "refused": refused,
        "minutes": PASSWORDS.minutes,
        "passkeys": passkeys.possible_at(request),
        **_around(),
    }
    return page(request, "core/sign_in.html", context, status=status)


def _around() -> dict[str, Any]:
    return {"sign_up_is_open": settings.SIGN_UP_IS_OPEN, "contact": settings.CONTACT, "mail": settings.MAIL_CAN_BE_SENT}


def _ask_again_to_confirm(request: Asked, person: User) -> HttpResponse:
    if not settings.MAIL_CAN_BE_SENT:
        raise PermissionDenied(
            "This account waits until its e-mail address is confirmed, and no mail can be sent here."
        )
    try:
        accounts.ask_to_confirm(person, person.email)
    except MailNotSent:
        form = SignInForm(request, initial={"username": person.get_username()})
        form.mishap = MAIL_IS_AWAY
        return _sign_in_page(request, form, status=503)
    return redirect("core:look-into-mail")


@login_not_required
def sign_in_for_the_admin(request: Asked) -> HttpResponse:
    """The admin's own sign-in would be a second door, without the first one's bolt."""
    if request.user.is_authenticated:
        raise PermissionDenied("The admin is for staff. Whoever runs this Chronos can make you one.")
    wanted = urlencode({"next": request.GET.get("next") or reverse("admin:index")})
    return redirect(f"{reverse('core:sign-in')}?{wanted}")


def _wanted(request: Asked) -> str:
    return request.POST.get("next") or request.GET.get("next") or ""


def next_page(request: Asked, otherwise: str = "home") -> str:
    """The path that was wanted, if it is one of this house; else home's."""
    wanted = _wanted(request)
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if ours and wanted.startswith("/") else reverse(otherwise)


@login_not_required
@require_POST
def sign_out(request: Asked) -> HttpResponse:
    if isinstance(request.user, User):
        sessions.forget(request.user, request.session.session_key)
    logout(request)
    return redirect("core:sign-in")


# --- The second step ---------------------------------------------------------------------------------------------


@login_not_required
@sensitive_post_parameters("code", "passkey")
@require_http_methods(GET_POST)
def second_step(request: Asked) -> HttpResponse:
    """A code of the app, a recovery code or a passkey, after a right password."""
    if request.user.is_authenticated:
        return redirect("home")
    stage = twostep.halfway(request)
    if stage is None:
        messages.info(request, "Sign in with your password first; the second step then has 15 minutes.")
        return redirect("core:sign-in")
    with tenancy.acting_as(stage.login.user):  # who is half in, and whose codes and passkeys these are
        return _second_step_of(request, stage, stage.login.user)


def _second_step_of(request: Asked, stage: Any, person: User) -> HttpResponse:
    form = CodeForm(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        row, status = prove(request, person, form)
        if row is not None:
            twostep.note(request, person, "mfa", type=row.type)
            if row.type == twostep.Type.RECOVERY_CODES:
                _say_how_many_are_left(request, person)
            return stage.exit()  # type: ignore[no-any-return]
    question = passkeys.question(person) if passkeys.possible_at(request) else ""
    context = {"form": form, "person": person, "question": question}
    return page(request, "core/second_step.html", context, status=status)


def prove(request: Asked, person: User, form: CodeForm) -> tuple[Any, int]:
    """What the person has shown, a passkey or a code; or None, with the error in `form` and the answer's status."""
    if answer := request.POST.get("passkey", ""):
        form.errors.clear()  # no code was asked for
        if not PASSKEYS.take(client_network(request)):
            form.add_error(None, f"Too many passkeys were refused. Wait {PASSKEYS.minutes} minutes.")
            return None, 429
        try:
            row = passkeys.check(answer, person)
        except passkeys.Refused:
            form.add_error(None, "That passkey was not accepted. Try it again, or use a code.")
            return None, 422
        PASSKEYS.give_back(client_network(request))
        return row, 200
    if not form.is_valid():
        return None, 422
    try:
        row = twostep.check(person, form.cleaned_data["code"])
    except twostep.TooManyCodes:
        form.add_error("code", f"Too many wrong codes. Wait {CODES.minutes} minutes, or use a one-time link.")
        return None, 429
    if row is None:
        form.add_error("code", "That code is wrong, or was used already. Wait for the app's next one.")
    return row, 422


def _say_how_many_are_left(request: Asked, person: User) -> None:
    left = twostep.recovery_codes_left(person)
    messages.warning(
        request, f"You came in with a recovery code, which is used up. {left} of them are left: see Settings, Sign-in."
    )


def whence(request: Asked) -> str:
    """For a mail: the device and address that something was done from."""
    return f"{sessions.device(request.META.get('HTTP_USER_AGENT', ''))} at {client_address(request)}"


# --- Passkeys ----------------------------------------------------------------------------------------------------


@login_not_required
@sensitive_post_parameters("passkey")
@require_http_methods(["GET", "POST"])
def sign_in_with_passkey(request: Asked) -> HttpResponse:
    """GET asks the question that the browser puts to its passkeys; POST has the answer."""
    if request.user.is_authenticated:
        return HttpResponseRedirect(next_page(request))
    if not passkeys.possible_at(request):
        return _passkey_refused(
            request, f"Passkeys need the address that this Chronos is known by: {settings.PUBLIC_URL}/"
        )
    if request.method == "GET":
        return HttpResponse(
            passkeys.question(), content_type="application/json", headers={"Cache-Control": "private, no-store"}
        )
    if not PASSKEYS.take(client_network(request)):
        return _passkey_refused(request, f"Too many passkeys were refused. Wait {PASSKEYS.minutes} minutes.", 429)
    try:
        with tenancy.as_system("find out whose passkey this is"):
            row = passkeys.check(request.POST.get("passkey", ""))
    except passkeys.Refused:
        return _passkey_refused(request, "That passkey is not known here, or the question was too old. Try again.")
    PASSKEYS.give_back(client_network(request))
    twostep.note(request, row.user, "mfa", type=row.type, passwordless=True)
    return logins.perform_login(request, Login(user=row.user, redirect_url=next_page(request)))  # type: ignore[no-any-return]


def _passkey_refused(request: Asked, why: str, status: int = 422) -> HttpResponse:
    form = SignInForm(request)
    form.mishap = why
    return _sign_in_page(request, form, status=status)


# --- One-time links ----------------------------------------------------------------------------------------------


@login_not_required
@require_http_methods(["GET", "HEAD"])
def sign_in_link(request: Asked, secret: str) -> HttpResponse:
    """Redeem a one-time link. Only a visit may use it up, not a look ahead by a browser or a HEAD by a tool.

    It needs no second step: it is made by whoever has the machine, and is the way back in for who has lost a phone.
    """
    if request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", "")):
        return HttpResponse(status=204 if request.method == "HEAD" else 503, headers={"Cache-Control": "no-store"})
    person = SignInLink.redeem(secret)
    if person is not None:
        login(request, person)
        twostep.note(request, person, "link")
        return redirect("home")
    if request.user.is_authenticated:
        return redirect("home")
    return page(request, "core/sign_in_link.html", {"contact": settings.CONTACT}, status=410)


# --- Signing up --------------------------------------------------------------------------------------------------


@login_not_required
@sensitive_post_parameters("password", "again")
@require_http_methods(GET_POST)
def sign_up(request: Asked) -> HttpResponse:
    """An account of one's own making, where the house allows it; where not, whom to ask."""
    if request.user.is_authenticated:
        return redirect("home")
    if not settings.SIGN_UP_IS_OPEN:
        return page(request, "core/sign_up_closed.html", _around(), status=200 if request.method != "POST" else 403)
    form = SignUpForm(request.POST if request.method == "POST" else None)
    if request.method != "POST":
        return page(request, "core/sign_up.html", {"form": form})
    if not SIGN_UPS.take(client_network(request)):
        form.mishap = "Too many accounts were asked for from where you are. Try again in an hour."
        return page(request, "core/sign_up.html", {"form": form}, status=429)
    if not form.is_valid():
        SIGN_UPS.give_back(client_network(request))  # a slip is no attempt
        return page(request, "core/sign_up.html", {"form": form}, status=422)
    try:
        given = form.cleaned_data
        person = accounts.sign_up(given["username"], given["email"], given["password"])
    except MailNotSent:
        form.mishap = MAIL_IS_AWAY
        return page(request, "core/sign_up.html", {"form": form}, status=503)
    except IntegrityError:  # two at once
        form.add_error("username", "Somebody has this name already.")
        return page(request, "core/sign_up.html", {"form": form}, status=422)
    if person is None or person.awaits_confirmation:
        return redirect("core:look-into-mail")
    return logins.perform_password_login(request, {"username": person.username}, Login(user=person, signup=True))  # type: ignore[no-any-return]


@login_not_required
@require_http_methods(["GET", "HEAD"])
def look_into_mail(request: Asked) -> HttpResponse:
    """The same for who is new and for who has an account already."""
    return page(request, "core/look_into_mail.html", {})


@login_not_required
@require_http_methods(GET_POST)
def confirm_email(request: Asked, key: str) -> HttpResponse:
    """A mailed link. It asks for a press of a button, because mail programs look at links by themselves."""
    if not LINKS_TRIED.take(client_network(request)):
        return _link_page(request, "That was tried too often. Wait a quarter of an hour.", 429)
    found = accounts.mentioned_in(key)
    if found is None:
        return _link_page(request, "It works once and within three days. Sign in to be sent another.", 410)
    LINKS_TRIED.give_back(client_network(request))
    if request.method != "POST":
        return page(request, "core/confirm_email.html", {"address": found.email, "person": found.user})
    try:
        person = accounts.confirm(found)
    except accounts.AddressTaken:
        return _link_page(
            request, f"{found.email} belongs to another account here, so it can't be this one's, too.", 409
        )
    messages.success(request, f"{person.email} is confirmed.")
    return redirect("core:settings" if request.user.is_authenticated else "core:sign-in")


def _link_page(request: Asked, why: str, status: int) -> HttpResponse:
    return page(request, "core/mailed_link.html", {"why": why}, status=status)


# --- Forgotten passwords -----------------------------------------------------------------------------------------


@login_not_required
@require_http_methods(GET_POST)
def reset(request: Asked) -> HttpResponse:
    """Ask for a link by mail. The answer is the same whether there is such an account or not."""
    if not settings.MAIL_CAN_BE_SENT:
        return page(request, "core/reset.html", _around(), status=200 if request.method != "POST" else 503)
    form = ResetForm(request.POST if request.method == "POST" else None)
    status, sent = 200, ""
    if request.method == "POST":
        if not RESETS_ASKED.take(client_network(request)):
            form.mishap, status = "Too many were asked for from where you are. Try again in an hour.", 429
        elif not form.is_valid():
            status = 422
        else:
            try:
                sent = form.cleaned_data["email"]
                accounts.ask_for_reset(sent)
            except MailNotSent:
                form.mishap, status, sent = MAIL_IS_AWAY, 503, ""
    context = {"form": form, "sent": sent, "minutes": settings.PASSWORD_RESET_TIMEOUT // 60, **_around()}
    return page(request, "core/reset.html", context, status=status)


@login_not_required
@sensitive_post_parameters("new", "again")
@require_http_methods(GET_POST)
def reset_with_key(request: Asked, key: str) -> HttpResponse:
    """A mailed link that sets a new password, once. Every session ends; two-step sign-in stays on."""
    if not LINKS_TRIED.take(client_network(request)):
        return _link_page(request, "That was tried too often. Wait a quarter of an hour.", 429)
    person = accounts.person_of_reset(key)
    if person is None:
        return _link_page(request, "It sets a password once and within an hour. Ask for another.", 410)
    LINKS_TRIED.give_back(client_network(request))
    form = NewPasswordForm(person, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        accounts.reset(person, form.cleaned_data["new"])
        sessions.end_others(person, None)
        accounts.tell(person, "Your Chronos password was reset by a mailed link", whence(request))
        messages.success(request, "Your new password is set, and you are signed out everywhere. Sign in with it.")
        return redirect("core:sign-in")
    return page(
        request, "core/reset_with_key.html", {"form": form, "person": person}, status=422 if form.is_bound else 200
    )
