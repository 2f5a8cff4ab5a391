"""Settings: who one is, how one signs in, where one is signed in, which programs may act as one, and how pages look."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect
from django.urls import resolve, reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chronos.core import accounts, figures, jobs, passkeys, sessions, tokens, twostep
from chronos.core.forms import CodeForm, EmailForm, NameForm, OldPasswordForm, PasswordForm, ProfileForm, TokenForm
from chronos.core.guessing import CODES, PASSWORDS
from chronos.core.hypermedia import Asked, Signed, page
from chronos.core.models import ApiToken, SignInLink, User
from chronos.core.views import THEMES
from chronos.core.views.entrance import GET_POST, MAIL_IS_AWAY, next_page, prove, whence

SUSPENDED = "suspended_form"  # in the session: what was sent before the person had to show who they are
LONGEST = 20_000
P = ParamSpec("P")
View = Callable[Concatenate[Signed, P], HttpResponse]


def _fresh(request: Signed) -> User:
    """The person as stored: a form that fails validation must not leave its mark on `request.user` in the frame."""
    return User.objects.get(pk=request.user.pk)


# --- Asking again who it is --------------------------------------------------------------------------------------


def confirmed(view: View[P]) -> View[P]:
    """The view, for who has shown within 15 minutes who they are; others do that first, then what they sent goes on.

    Who comes by one-time links alone has nothing to show, and is not asked.
    """

    @wraps(view)
    def asking(request: Signed, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if twostep.is_fresh(request, request.user) or not twostep.ways_to_confirm(request.user):
            return view(request, *args, **kwargs)
        if request.method == "POST" and len(sent := request.POST.urlencode()) < LONGEST:
            request.session[SUSPENDED] = {"path": request.path, "form": sent}
        return redirect(f"{reverse('core:confirm')}?{urlencode({'next': request.get_full_path()})}")

    return asking  # type: ignore[return-value]  # the wrapper has a type of its own


@sensitive_post_parameters("old", "code", "passkey")
@require_http_methods(GET_POST)
def confirm(request: Signed) -> HttpResponse:
    """Show again who you are: by password, code or passkey; then go on with what was asked."""
    person, ways = _fresh(request), twostep.ways_to_confirm(request.user)
    if not ways:
        return _go_on(request)
    sent = request.POST if request.method == "POST" else None
    by_password = sent is not None and "old" in sent
    password = OldPasswordForm(person, sent if by_password else None)
    code = CodeForm(sent if sent is not None and not by_password else None)
    status = 200
    if by_password and "password" in ways:
        status = _prove_by_password(request, person, password)
    elif sent is not None:
        row, status = prove(request, person, code)
        if row is not None:
            twostep.note(request, person, "mfa", type=row.type)
            return _go_on(request)
    if by_password and status == 200:
        twostep.note(request, person, "password")
        return _go_on(request)
    context = {
        "password": password if "password" in ways else None,
        "code": code if twostep.Type.TOTP in ways else None,
        "question": passkeys.question(person) if passkeys.possible_at(request) else "",
        "errors": code.non_field_errors(),
        "next": next_page(request, "core:security"),
    }
    return page(request, "core/settings/confirm.html", context, status=status)


def _prove_by_password(request: Signed, person: User, form: OldPasswordForm) -> int:
    if not PASSWORDS.take("confirm", person.pk):
        form.errors.clear()
        form.add_error("old", f"Too many wrong passwords. Wait {PASSWORDS.minutes} minutes.")
        return 429
    if not form.is_valid():
        return 422
    PASSWORDS.give_back("confirm", person.pk)
    return 200


def _go_on(request: Signed) -> HttpResponse:
    """With the form that was sent before, else to the page that was wanted."""
    wanted, suspended = next_page(request, "core:security"), request.session.pop(SUSPENDED, None)
    if not suspended or suspended["path"] != wanted:
        return HttpResponseRedirect(wanted)
    found = resolve(wanted)
    request.method, request.POST = "POST", QueryDict(suspended["form"])
    request.path = request.path_info = wanted
    request.resolver_match = found
    answer: HttpResponse = found.func(request, *found.args, **found.kwargs)
    return answer


# --- Profile -----------------------------------------------------------------------------------------------------


@require_http_methods(GET_POST)
def profile(request: Signed) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=_fresh(request))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("core:settings")
    return _profile_page(request, form=form, status=422 if form.is_bound else 200)


def _profile_page(
    request: Signed, *, form: ProfileForm | None = None, email: EmailForm | None = None, status: int = 200
) -> HttpResponse:
    person = _fresh(request)
    accounts.align(person)
    context = {
        "form": form or ProfileForm(instance=person),
        "email": email or EmailForm(initial={"email": person.email}),
        "address": person.email,
        "address_is_confirmed": accounts.is_confirmed(person),
        "waiting": accounts.waiting(person),
        "mail": settings.MAIL_CAN_BE_SENT,
        "since": figures.day(person.date_joined),
    }
    return page(request, "core/settings/profile.html", context, status=status)


@require_POST
@confirmed
def set_email(request: Signed) -> HttpResponse:
    """Another address: at once where no mail can be sent, else when its mailbox has answered."""
    form, person = EmailForm(request.POST), _fresh(request)
    if not form.is_valid():
        return _profile_page(request, email=form, status=422)
    email = form.cleaned_data["email"].lower()
    if email == person.email.lower() and accounts.is_confirmed(person):
        accounts.forget_waiting(person)
        messages.info(request, "That is your address already.")
        return redirect("core:settings")
    try:
        if email and settings.MAIL_CAN_BE_SENT:
            accounts.ask_to_confirm(person, email)
            messages.success(request, f"Follow the link that was sent to {email}: then it is your address.")
        else:
            accounts.use(person, email)
            messages.success(request, "Saved." if email else "Your address is removed.")
    except accounts.AddressTaken:
        form.add_error("email", "Another person here has this address.")
        return _profile_page(request, email=form, status=422)
    except accounts.MailNotSent:
        form.add_error("email", MAIL_IS_AWAY)
        return _profile_page(request, email=form, status=503)
    return redirect("core:settings")


@require_POST
def forget_email(request: Signed) -> HttpResponse:
    """Give up a change of address that waits for its mailbox."""
    accounts.forget_waiting(_fresh(request))
    messages.success(request, "Your address stays as it was.")
    return redirect("core:settings")


# --- Signing in --------------------------------------------------------------------------------------------------


@require_safe
def security(request: Signed) -> HttpResponse:
    return _security_page(request)


def _security_page(
    request: Signed, *, password: PasswordForm | None = None, rename: NameForm | None = None, status: int = 200
) -> HttpResponse:
    person = _fresh(request)
    context = {
        "password": password or _password_form(request, person),
        "has_password": person.has_usable_password(),
        "is_on": twostep.is_on(person),
        "codes_left": twostep.recovery_codes_left(person),
        "codes_made": settings.MFA_RECOVERY_CODE_COUNT,
        "passkeys": [_passkey_row(row, rename) for row in passkeys.of(person)],
        "passkeys_possible": passkeys.possible_at(request),
        "public_url": settings.PUBLIC_URL,
        "links": [_link_row(link) for link in SignInLink.objects.filter(user=person).order_by("-pk")[:5]],
    }
    return page(request, "core/settings/security.html", context, status=status)


def _password_form(request: Signed, person: User, sent: QueryDict | None = None) -> PasswordForm:
    """Who has just come in by a one-time link may have forgotten the old password, and is not asked for it."""
    return PasswordForm(person, sent, asks_old=not twostep.is_fresh(request, person, "link"))


def _passkey_row(row: Any, rename: NameForm | None) -> dict[str, Any]:
    form = rename if rename and rename.prefix == f"passkey-{row.pk}" else None
    return {
        "pk": row.pk,
        "name": passkeys.name_of(row),
        "made": figures.day(row.created_at),
        "used": figures.ago(row.last_used_at),
        "form": form,
    }


def _link_row(link: SignInLink) -> dict[str, str]:
    if link.used_at:
        state = f"used {figures.moment(link.used_at)}"
    elif link.expires_at < timezone.now():
        state = f"expired {figures.moment(link.expires_at)}"
    else:
        state = f"open until {figures.moment(link.expires_at)}"
    return {"made": figures.moment(link.created_at), "state": state}


@sensitive_post_parameters()
@require_POST
def set_password(request: Signed) -> HttpResponse:
    person = _fresh(request)
    form = _password_form(request, person, request.POST)
    if not PASSWORDS.take("confirm", person.pk):
        form.errors.clear()
        form.add_error("new", f"Too many wrong passwords. Wait {PASSWORDS.minutes} minutes.")
        return _security_page(request, password=form, status=429)
    good = form.is_valid()
    if "old" not in form.errors:
        PASSWORDS.give_back("confirm", person.pk)
    if not good:
        return _security_page(request, password=form, status=422)
    form.save()
    update_session_auth_hash(request, person)
    sessions.end_others(person, request.session.session_key)
    accounts.tell(person, "Your Chronos password was changed", whence(request))
    messages.success(request, "The password is set. Other places where you were signed in are signed out.")
    return redirect("core:security")


@sensitive_post_parameters("code")
@require_http_methods(GET_POST)
@confirmed
def two_step(request: Signed) -> HttpResponse:
    """Set it up: a QR code, and a code of the app to prove that it has arrived; then the recovery codes, once."""
    person = _fresh(request)
    if twostep.is_on(person):
        messages.info(request, "Two-step sign-in is on already.")
        return redirect("core:security")
    form = CodeForm(request.POST if request.method == "POST" else None)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                codes = twostep.switch_on(request, person, form.cleaned_data["code"])
            except twostep.TooManyCodes:
                form.add_error("code", f"Too many wrong codes. Wait {CODES.minutes} minutes.")
                status = 429
            else:
                if codes:
                    accounts.tell(person, "Two-step sign-in to Chronos was switched on", whence(request))
                    return _codes_page(request, codes, "Two-step sign-in is on.")
                form.add_error("code", "That is not the code for this secret. Is the phone's clock right?")
    secret = twostep.secret_to_set_up(request)
    context = {
        "form": form,
        "secret": " ".join(secret[n : n + 4] for n in range(0, len(secret), 4)),
        "qr": twostep.drawing(twostep.address_of(person, secret)),
    }
    return page(request, "core/settings/two_step.html", context, status=status)


def _codes_page(request: Signed, codes: list[str], done: str) -> HttpResponse:
    """Shown in the answer itself and kept nowhere: a reload asks for new ones."""
    shown = [f"{code[:5]} {code[5:]}" for code in codes]
    return page(
        request, "core/settings/recovery_codes.html", {"codes": shown, "done": done, "site": settings.PUBLIC_URL}
    )


@require_POST
@confirmed
def two_step_off(request: Signed) -> HttpResponse:
    person = _fresh(request)
    if twostep.switch_off(person):
        accounts.tell(person, "Two-step sign-in to Chronos was switched off", whence(request))
        messages.success(request, "Two-step sign-in is off, and its recovery codes are void.")
    return redirect("core:security")


@require_POST
@confirmed
def new_recovery_codes(request: Signed) -> HttpResponse:
    person = _fresh(request)
    if not twostep.is_on(person):
        messages.info(request, "Recovery codes come with two-step sign-in, which is off.")
        return redirect("core:security")
    accounts.tell(person, "New recovery codes for Chronos were made", whence(request))
    return _codes_page(request, twostep.new_recovery_codes(person), "These are new; the ones before are void.")


@sensitive_post_parameters("passkey")
@require_http_methods(GET_POST)
@confirmed
def add_passkey(request: Signed) -> HttpResponse:
    """A page with the question for the browser in it, and a name for what the browser makes."""
    person = _fresh(request)
    if not passkeys.possible_at(request):
        messages.warning(request, f"Passkeys need the address that this Chronos is known by: {settings.PUBLIC_URL}/")
        return redirect("core:security")
    if len(passkeys.of(person)) >= passkeys.MOST:
        messages.warning(request, f"Nobody may have more than {passkeys.MOST} passkeys. Remove one first.")
        return redirect("core:security")
    form = NameForm(request.POST if request.method == "POST" else None, initial={"name": _passkey_name(request)})
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                passkeys.add(person, form.cleaned_data["name"], request.POST.get("passkey", ""))
            except passkeys.Refused:
                form.add_error(
                    None, "The browser did not make a passkey, or the page was open for too long. Try again."
                )
            else:
                accounts.tell(person, "A passkey for Chronos was added", whence(request))
                messages.success(
                    request, f"The passkey “{form.cleaned_data['name']}” is added. It signs you in by itself."
                )
                return redirect("core:security")
    try:
        context = {"form": form, "question": passkeys.question_to_add(person)}
    except passkeys.Refused:
        messages.error(request, "One of your passkeys can't be read any more. Remove it, then add another.")
        return redirect("core:security")
    return page(request, "core/settings/add_passkey.html", context, status=status)


def _passkey_name(request: Signed) -> str:
    return sessions.device(request.META.get("HTTP_USER_AGENT", "")).replace("Unknown device", "Passkey")


@require_POST
def rename_passkey(request: Signed, pk: int) -> HttpResponse:
    form = NameForm(request.POST)
    if not form.is_valid():
        if not any(row.pk == pk for row in passkeys.of(request.user)):
            raise Http404("You have no such passkey.")
        messages.error(request, f"The name was not changed: {' '.join(map(str, form.errors['name']))}")
        return redirect("core:security")
    if not passkeys.rename(request.user, pk, form.cleaned_data["name"]):
        raise Http404("You have no such passkey.")
    messages.success(request, f"The passkey is called “{form.cleaned_data['name']}” now.")
    return redirect("core:security")


@require_POST
def remove_passkey(request: Signed, pk: int) -> HttpResponse:
    if not any(row.pk == pk for row in passkeys.of(request.user)):
        raise Http404("You have no such passkey.")
    return _remove_passkey(request, pk)


@confirmed
def _remove_passkey(request: Signed, pk: int) -> HttpResponse:
    name = passkeys.remove(request.user, pk)
    accounts.tell(request.user, "A passkey for Chronos was removed", whence(request))
    messages.success(
        request, f"The passkey “{name}” is removed: it signs nobody in any more. Delete it on the device, too."
    )
    return redirect("core:security")


# --- Sessions ----------------------------------------------------------------------------------------------------


@require_safe
def places(request: Signed) -> HttpResponse:
    found = sessions.places(request.user, request.session.session_key or "")
    rows = [
        {
            "pk": place.pk,
            "device": place.device,
            "agent": place.agent,
            "address": place.address,
            "since": figures.moment(place.since),
            "seen": figures.ago(place.seen),
            "is_this": place.is_this,
        }
        for place in found
    ]
    return page(request, "core/settings/sessions.html", {"places": rows})


@require_POST
def end_session(request: Signed, pk: int) -> HttpResponse:
    if not sessions.end(request.user, pk):
        raise Http404("You have no such session; it may have ended by itself.")
    messages.success(request, "That session is signed out.")
    return redirect("core:sessions")


@require_POST
def sign_out_elsewhere(request: Signed) -> HttpResponse:
    """End every session of this person but this one, and take back the sign-in links that nobody has used."""
    ended = sessions.end_others(request.user, request.session.session_key)
    links = SignInLink.objects.filter(user=request.user, used_at=None).update(used_at=timezone.now())
    taken_back = f", and {figures.counted(links, 'unused sign-in link')} taken back" if links else ""
    messages.success(request, f"{figures.counted(ended, 'other session')} signed out{taken_back}. This one stays.")
    return redirect("core:sessions")


# --- API tokens --------------------------------------------------------------------------------------------------


@require_safe
def api_tokens(request: Signed) -> HttpResponse:
    return _tokens_page(request)


def _tokens_page(
    request: Signed, *, form: TokenForm | None = None, made: ApiToken | None = None, secret: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "form": form or TokenForm(request.user),
        "tokens": [_token_row(token) for token in ApiToken.objects.filter(owner=request.user)],
        "made": made,
        "secret": secret,
        "site": settings.PUBLIC_URL,
    }
    return page(request, "core/settings/tokens.html", context, status=status)


@require_POST
@confirmed
def make_token(request: Signed) -> HttpResponse:
    """The answer holds the secret, the only place where it ever is."""
    form = TokenForm(request.user, request.POST)
    if not form.is_valid():
        return _tokens_page(request, form=form, status=422)
    given = form.cleaned_data
    lifetime = timedelta(days=int(given["days"])) if given["days"] else None
    try:
        made, secret = tokens.issue(
            request.user, given["name"], may_write=given["may"] == "write", lifetime=lifetime,
            compute_minutes=int(given["minutes"]) if given["minutes"] else None,
        )  # fmt: skip
    except tokens.TooMany:
        form.add_error(None, f"Nobody may have more than {tokens.MOST} tokens. Revoke one first.")
        return _tokens_page(request, form=form, status=422)
    accounts.tell(request.user, "An API token for Chronos was made", whence(request))
    return _tokens_page(request, made=made, secret=secret)


@require_POST
def revoke_token(request: Signed, pk: int) -> HttpResponse:
    name = tokens.revoke(request.user, pk)
    if not name:
        raise Http404("You have no such token; it may be revoked already.")
    messages.success(request, f"The token “{name}” is revoked: what uses it gets a 401 from now on.")
    return redirect("core:tokens")


def _token_row(token: ApiToken) -> dict[str, Any]:
    expired = token.expires_at is not None and token.expires_at <= timezone.now()
    return {
        "pk": token.pk,
        "name": token.name,
        "hint": token.hint,
        "may": "read and write" if token.may_write else "read",
        "budget": _budget(token),
        "made": figures.day(token.created_at),
        "used": figures.ago(token.last_used_at) if token.last_used_at else "never",
        "until": figures.day(token.expires_at) if token.expires_at else "never",
        "expired": expired,
        "soon": not expired and token.expires_at is not None and token.expires_at < timezone.now() + timedelta(days=7),
    }


def _budget(token: ApiToken) -> str:
    """How much worker time its jobs have had of what they may; empty without a limit."""
    left = jobs.budget_of(token)
    if left is None or token.compute_minutes is None:
        return ""
    spent = timedelta(seconds=min(60 * token.compute_minutes, 60 * token.compute_minutes - left.seconds))
    return f"{figures.lasted(spent)} of {figures.lasted(timedelta(minutes=token.compute_minutes))} a day used"


# --- Appearance --------------------------------------------------------------------------------------------------


@require_safe
def appearance(request: Signed) -> HttpResponse:
    themes = [(name, name.capitalize() if name != "system" else "As the system") for name in THEMES]
    return page(request, "core/settings/appearance.html", {"themes": themes})


@login_not_required
@require_POST
def set_theme(request: Asked) -> HttpResponse:
    """Without JavaScript; with it the page writes the same cookie itself."""
    theme = request.POST.get("theme", "")
    response = redirect("core:appearance")
    response.set_cookie("chronos_theme", theme if theme in THEMES else "system", 365 * 86_400, samesite="Lax")
    return response
