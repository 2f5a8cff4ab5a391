from django.urls import path
from django.views.generic import RedirectView

from chronos.core import activity
from chronos.core.views import entrance, preferences

app_name = "core"
urlpatterns = [
    path("sign-in/", entrance.sign_in, name="sign-in"),
    path("sign-in/second-step/", entrance.second_step, name="second-step"),
    path("sign-in/passkey/", entrance.sign_in_with_passkey, name="sign-in-with-passkey"),
    path("sign-in/<str:secret>/", entrance.sign_in_link, name="sign-in-link"),
    path("sign-out/", entrance.sign_out, name="sign-out"),
    path("sign-up/", entrance.sign_up, name="sign-up"),
    path("sign-up/look-into-mail/", entrance.look_into_mail, name="look-into-mail"),
    path("confirm-email/<str:key>/", entrance.confirm_email, name="confirm-email"),
    path("reset/", entrance.reset, name="reset"),
    path("reset/<str:key>/", entrance.reset_with_key, name="reset-with-key"),
    path("account/", RedirectView.as_view(pattern_name="core:settings", query_string=True), name="account"),
    path("settings/", preferences.profile, name="settings"),
    path("settings/email/", preferences.set_email, name="set-email"),
    path("settings/email/forget/", preferences.forget_email, name="forget-email"),
    path("settings/confirm/", preferences.confirm, name="confirm"),
    path("settings/security/", preferences.security, name="security"),
    path("settings/security/password/", preferences.set_password, name="set-password"),
    path("settings/security/two-step/", preferences.two_step, name="two-step"),
    path("settings/security/two-step/off/", preferences.two_step_off, name="two-step-off"),
    path("settings/security/recovery-codes/", preferences.new_recovery_codes, name="new-recovery-codes"),
    path("settings/security/passkeys/", preferences.add_passkey, name="add-passkey"),
    path("settings/security/passkeys/<int:pk>/rename/", preferences.rename_passkey, name="rename-passkey"),
    path("settings/security/passkeys/<int:pk>/remove/", preferences.remove_passkey, name="remove-passkey"),
    path("settings/sessions/", preferences.places, name="sessions"),
    path("settings/sessions/<int:pk>/end/", preferences.end_session, name="end-session"),
    path("settings/sessions/sign-out-elsewhere/", preferences.sign_out_elsewhere, name="sign-out-elsewhere"),
    path("settings/tokens/", preferences.api_tokens, name="tokens"),
    path("settings/tokens/new/", preferences.make_token, name="make-token"),
    path("settings/tokens/<int:pk>/revoke/", preferences.revoke_token, name="revoke-token"),
    path("settings/appearance/", preferences.appearance, name="appearance"),
    path("settings/theme/", preferences.set_theme, name="set-theme"),
    path("activity/", activity.activity, name="activity"),
    path("activity/stream/", activity.stream, name="stream"),
    path("activity/running/", activity.running, name="running"),
    path("activity/<int:pk>/", activity.job, name="job"),
    path("activity/<int:pk>/cancel/", activity.cancel, name="cancel-job"),
    path("activity/<int:pk>/rerun/", activity.rerun, name="rerun-job"),
]
