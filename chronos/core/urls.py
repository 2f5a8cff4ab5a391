from django.urls import path

from chronos.core import activity, views

app_name = "core"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-in/<str:secret>/", views.sign_in_link, name="sign-in-link"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("account/", views.account, name="account"),
    path("account/password/", views.set_password, name="set-password"),
    path("account/theme/", views.set_theme, name="set-theme"),
    path("account/sign-out-elsewhere/", views.sign_out_elsewhere, name="sign-out-elsewhere"),
    path("activity/", activity.activity, name="activity"),
    path("activity/stream/", activity.stream, name="stream"),
    path("activity/running/", activity.running, name="running"),
    path("activity/<int:pk>/", activity.job, name="job"),
    path("activity/<int:pk>/cancel/", activity.cancel, name="cancel-job"),
    path("activity/<int:pk>/rerun/", activity.rerun, name="rerun-job"),
]
