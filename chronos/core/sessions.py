"""Where a person is signed in: one row a session beside Django's own, with device, address and last visit."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from chronos.core.accounts import client_address
from chronos.core.models import User

NOTED_EVERY = 5 * 60  # seconds
REMEMBERED = 10_000  # sessions

BROWSERS = (("Edge", r"Edg(?:e|A|iOS)?/"), ("Opera", r"OPR/|Opera"), ("Samsung Internet", "SamsungBrowser"),
            ("Firefox", "Firefox/|FxiOS/"), ("Chrome", r"Chrome/|CriOS/|Chromium/"), ("Safari", "Safari/"),
            ("curl", r"curl/"), ("Python", "python|httpx|aiohttp"))  # fmt: skip
SYSTEMS = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
           ("macOS", "Macintosh|Mac OS X"), ("ChromeOS", "CrOS"), ("Linux", "Linux|X11"))  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One session, as its person sees it."""

    pk: int
    device: str
    agent: str
    address: str
    since: datetime
    seen: datetime
    is_this: bool


def places(person: User, this: str) -> list[Place]:
    """The sessions of this person that still let in, this one first, then the last seen; ended ones are forgotten."""
    from allauth.usersessions.models import UserSession

    rows = list(UserSession.objects.filter(user=person).order_by("-last_seen_at"))
    keys = [row.session_key for row in rows]
    alive = set(
        Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now()).values_list(
            "session_key", flat=True
        )
    )
    UserSession.objects.filter(user=person).exclude(session_key__in=alive).delete()
    found = [
        Place(row.pk, device(row.user_agent), row.user_agent, row.ip, row.created_at, row.last_seen_at,
              row.session_key == this)
        for row in rows if row.session_key in alive
    ]  # fmt: skip
    return sorted(found, key=lambda place: not place.is_this)


def forget(person: User, key: str | None) -> None:
    """The session is being signed out."""
    from allauth.usersessions.models import UserSession

    UserSession.objects.filter(user=person, session_key=key).delete()


def end(person: User, pk: int) -> bool:
    """End one session of this person's; whether there was such a one."""
    from allauth.usersessions.models import UserSession

    row = UserSession.objects.filter(user=person, pk=pk).first()
    if row is None:
        return False
    row.end()
    return True


def end_others(person: User, this: str | None) -> int:
    """End every session of this person but `this`; how many there were. Sessions that were never noted count, too."""
    from allauth.usersessions.models import UserSession

    ended = 0
    for session in Session.objects.filter(expire_date__gt=timezone.now()).exclude(pk=this):
        if session.get_decoded().get("_auth_user_id") == str(person.pk):
            session.delete()
            ended += 1
    UserSession.objects.filter(user=person).exclude(session_key=this).delete()
    return ended


def device(agent: str) -> str:
    """ "Firefox on Linux", as far as what a browser says of itself can be read."""
    browser = next((name for name, pattern in BROWSERS if re.search(pattern, agent)), "")
    system = next((name for name, pattern in SYSTEMS if re.search(pattern, agent)), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown device"


class LastSeenMiddleware:
    """Notes a signed-in visit, each session's once in five minutes and process: most requests ask nothing here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.noted: dict[str, float] = {}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith("/health/"):
            self._note(request)
        return self.get_response(request)

    def _note(self, request: HttpRequest) -> None:
        if not isinstance(request.user, User) or getattr(request, "api_token", None):
            return
        key, now = request.session.session_key, time.monotonic()
        if key is None or now - self.noted.get(key, -NOTED_EVERY) < NOTED_EVERY:
            return
        if len(self.noted) >= REMEMBERED:
            self.noted.clear()
        self.noted[key] = now
        note(request)


def note(request: HttpRequest) -> None:
    """This request's session, its device and address, as of now."""
    from allauth.usersessions.models import UserSession

    longest = UserSession._meta.get_field("user_agent").max_length
    UserSession.objects.bulk_create(
        [
            UserSession(
                user=request.user,
                session_key=request.session.session_key,
                ip=client_address(request),
                user_agent=request.META.get("HTTP_USER_AGENT", "").replace("\0", "")[:longest],
                last_seen_at=timezone.now(),
            )
        ],
        update_conflicts=True,
        unique_fields=["session_key"],
        update_fields=["user", "ip", "user_agent", "last_seen_at"],
    )
