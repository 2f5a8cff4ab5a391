"""The admin as the place where staff curate everybody's data: system work, named and logged."""

import logging
from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from chronos.core import tenancy

log = logging.getLogger(__name__)


class CurationSite(AdminSite):
    site_header = "Chronos curation"
    site_title = "Chronos curation"
    index_title = "Everybody's data"
    enable_nav_sidebar = True

    def admin_view(self, view: Callable[..., HttpResponseBase], cacheable: bool = False) -> Any:
        """As Django's, inside `as_system`; the template is rendered there too, because it queries."""

        def curating(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with tenancy.as_system(f"admin: {request.user} {request.method} {request.path}"):
                log.info("curation", extra={"user_id": request.user.pk, "path": request.path, "method": request.method})
                return tenancy.rendered(view(request, *args, **kwargs))

        curating.csrf_exempt = getattr(view, "csrf_exempt", False)  # type: ignore[attr-defined]
        return super().admin_view(curating, cacheable)
