"""What every page's frame shows; the views themselves are in the modules beside this one."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from chronos.core.hypermedia import Asked, page
from chronos.core.models import Job, User

THEMES = ("system", "light", "dark")


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


@login_not_required
def csrf_failure(request: Asked, reason: str = "") -> HttpResponse:
    """A form that was open too long, or sent from elsewhere; Django's own page says less."""
    return page(request, "403_csrf.html", {"reason": reason}, status=403)
