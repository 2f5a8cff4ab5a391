from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from chronos import api, palette, reference, views
from chronos.core import health
from chronos.core.views.entrance import sign_in_for_the_admin

urlpatterns = [
    path("", views.home, name="home"),
    path("palette/", palette.palette, name="palette"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("universes/", include("universes.urls")),
    path("", include("signals.urls")),
    path("", include("marketdata.urls")),
    path("api/v1/docs", reference.swagger, name="swagger"),
    path("api/v1/redoc", reference.redoc, name="redoc"),
    path("api/v1/", api.urls),
    path("admin/login/", sign_in_for_the_admin),
    path("admin/password_change/", RedirectView.as_view(pattern_name="core:security")),
    path("admin/", admin.site.urls),
    path("", include("chronos.core.urls")),
]

handler400 = "chronos.views.bad_request"
handler403 = "chronos.views.forbidden"
handler404 = "chronos.views.not_found"
