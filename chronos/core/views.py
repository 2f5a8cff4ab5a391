"""Coming in, going out, one's account, and what every page's frame shows."""

import contextlib
from typing import Any
from urllib.parse import urlencode

import redis
from django.contrib import messages
from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from chronos.core import figures
from chronos.core.forms import PasswordForm, ProfileForm, SignInForm
from chronos.core.hypermedia import Asked, Signed, page
from chronos.core.models import ApiToken, Job, SignInLink, User

THEMES = ("system", "light", "dark")
WRONG_PASSWORDS = 8  # a person and address may be wrong this often …
WRONG_FOR = 15 * 60  # … within so many seconds


def frame(request: HttpRequest) -> dict[str, Any]:
    """What `base.html` needs on every page; nothing is queried unless the template asks."""
    theme = request.COOKIES.get("chronos_theme", "")
    user = getattr(request, "user", None)  # a request refused early (a wrong host) has none
    return {
        "theme": theme if theme in THEMES else "system",
        "rail": "narrow" if request.COOKIES.get("chronos_rail") == "narrow" else "wide",
        "room": request.resolver_match.route.split("/")[0] or "home" if request.resolver_match else "",
        "unfinished_jobs": SimpleLazyObject(lambda: Job.objects.of(user).unfinished().count())
        if isinstance(user, User)
        else 0,
    }


# --- Coming in and going out -------------------------------------------------------------------------------------


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: Asked) -> HttpResponse:
    """The page before all others. There is no default password: a link from the command line, or one's own."""
    if request.user.is_authenticated:
        return HttpResponseRedirect(_next(request))
    if request.method != "POST":
        return _sign_in_page(request, SignInForm(request))
    if _too_often_wrong(request):
        form = SignInForm(request, initial={"username": request.POST.get("username", "")})
        return _sign_in_page(request, form, status=429, refused=True)
    form = SignInForm(request, data=request.POST)
    if form.is_valid():
        login(request, form.get_user())
        return HttpResponseRedirect(_next(request))
    _note_wrong(request)
    return _sign_in_page(request, form, status=422)


def _sign_in_page(request: Asked, form: SignInForm, *, status: int = 200, refused: bool = False) -> HttpResponse:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    context = {"form": form, "next": wanted, "refused": refused, "minutes": WRONG_FOR // 60}
    return page(request, "core/sign_in.html", context, status=status)


@login_not_required
def sign_in_for_the_admin(request: Asked) -> HttpResponse:
    """The admin's own sign-in would be a second door, without the first one's bolt."""
    if request.user.is_authenticated:
        raise PermissionDenied("The admin is for staff. Whoever runs this Chronos can make you one.")
    wanted = urlencode({"next": request.GET.get("next") or reverse("admin:index")})
    return redirect(f"{reverse('core:sign-in')}?{wanted}")


def _next(request: Asked) -> str:
    """The path that was wanted, if it is one of this house; else home's."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if ours and wanted.startswith("/") else reverse("home")


def _attempts_key(request: HttpRequest) -> str:
    name = request.POST.get("username", "").strip().lower()[:150]
    return f"wrong-password:{name.encode().hex()}:{request.META.get('REMOTE_ADDR', '')}"


def _too_often_wrong(request: HttpRequest) -> bool:
    with contextlib.suppress(redis.RedisError):
        return int(cache.get(_attempts_key(request), 0)) >= WRONG_PASSWORDS
    return False


def _note_wrong(request: HttpRequest) -> None:
    with contextlib.suppress(redis.RedisError, ValueError):
        cache.add(_attempts_key(request), 0, WRONG_FOR)
        cache.incr(_attempts_key(request))


@login_not_required
@require_http_methods(["GET", "HEAD"])
def sign_in_link(request: Asked, secret: str) -> HttpResponse:
    """Redeem a one-time link. Only a visit may use it up, not a look ahead by a browser or a HEAD by a tool."""
    if request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", "")):
        return HttpResponse(status=204 if request.method == "HEAD" else 503, headers={"Cache-Control": "no-store"})
    person = SignInLink.redeem(secret)
    if person is not None:
        login(request, person, backend="django.contrib.auth.backends.ModelBackend")
        return redirect("home")
    if request.user.is_authenticated:
        return redirect("home")
    return page(request, "core/sign_in_link.html", {}, status=410)


@login_not_required
@require_POST
def sign_out(request: Asked) -> HttpResponse:
    logout(request)
    return redirect("core:sign-in")


# --- Account -----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def account(request: Signed) -> HttpResponse:
    """Name and e-mail; the page's other forms have addresses of their own."""
    form = ProfileForm(request.POST or None, instance=_fresh(request))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("core:account")
    return _account_page(request, profile=form, status=422 if form.is_bound else 200)


@sensitive_post_parameters()
@require_POST
def set_password(request: Signed) -> HttpResponse:
    form = PasswordForm(_fresh(request), request.POST)
    if not form.is_valid():
        return _account_page(request, password=form, status=422)
    form.save()
    update_session_auth_hash(request, form.user)
    messages.success(request, "The password is set. Other places where you were signed in are signed out.")
    return redirect("core:account")


@login_not_required
@require_POST
def set_theme(request: Asked) -> HttpResponse:
    """Without JavaScript; with it the page writes the same cookie itself."""
    theme = request.POST.get("theme", "")
    response = redirect("core:account")
    response.set_cookie("chronos_theme", theme if theme in THEMES else "system", 365 * 86_400, samesite="Lax")
    return response


@require_POST
def sign_out_elsewhere(request: Signed) -> HttpResponse:
    """End every session of this person but this one, and take back the sign-in links that nobody has used."""
    ended = 0
    for session in Session.objects.filter(expire_date__gt=timezone.now()).exclude(pk=request.session.session_key):
        if session.get_decoded().get("_auth_user_id") == str(request.user.pk):
            session.delete()
            ended += 1
    links = SignInLink.objects.filter(user=request.user, used_at=None).update(used_at=timezone.now())
    taken_back = f", and {figures.counted(links, 'unused sign-in link')} taken back" if links else ""
    messages.success(request, f"{figures.counted(ended, 'other session')} signed out{taken_back}. This one stays.")
    return redirect("core:account")


def _fresh(request: Signed) -> Any:
    """The person as stored: a form that fails validation must not leave its mark on `request.user` in the frame."""
    return get_user_model().objects.get(pk=request.user.pk)


def _account_page(
    request: Signed, *, profile: ProfileForm | None = None, password: PasswordForm | None = None, status: int = 200
) -> HttpResponse:
    user = _fresh(request)
    links = SignInLink.objects.filter(user=user).order_by("-pk")[:5]
    return page(
        request,
        "core/account.html",
        {
            "profile": profile or ProfileForm(instance=user),
            "password": password or PasswordForm(user),
            "has_password": user.has_usable_password(),
            "links": [_link_row(link) for link in links],
            "tokens": [_token_row(token) for token in ApiToken.objects.filter(owner=user)],
            "themes": [(name, name.capitalize() if name != "system" else "As the system") for name in THEMES],
        },
        status=status,
    )


def _link_row(link: SignInLink) -> dict[str, str]:
    if link.used_at:
        state = f"used {figures.moment(link.used_at)}"
    elif link.expires_at < timezone.now():
        state = f"expired {figures.moment(link.expires_at)}"
    else:
        state = f"open until {figures.moment(link.expires_at)}"
    return {"made": figures.moment(link.created_at), "state": state}


def _token_row(token: ApiToken) -> dict[str, str]:
    return {
        "name": token.name,
        "may": "read and write" if token.may_write else "read",
        "used": figures.ago(token.last_used_at),
        "until": figures.day(token.expires_at) if token.expires_at else "no end",
    }


@login_not_required
def csrf_failure(request: Asked, reason: str = "") -> HttpResponse:
    """A form that was open too long, or sent from elsewhere; Django's own page says less."""
    return page(request, "403_csrf.html", {"reason": reason}, status=403)
