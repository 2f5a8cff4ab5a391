"""A passkey in a real browser with an authenticator of its own: made, signed in with, a second step, removed."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP

from chronos.core import tenancy
from tests import cast

pytestmark = pytest.mark.browser

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def with_authenticator(visitor):
    devtools = visitor.page.context.new_cdp_session(visitor.page)
    devtools.send("WebAuthn.enable")
    made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
    return devtools, made["authenticatorId"]


def signed_out(page):
    page.get_by_role("button", name="Sign out", exact=True).click()
    page.wait_for_url("**/sign-in/")


def test_a_passkey_from_its_making_to_its_end(visit):
    alice = cast.with_password(cast.alice())
    visitor = visit(alice)
    page = visitor.page
    with_authenticator(visitor)

    visitor.open("/settings/security/")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_role("textbox", name="Name").fill("the laptop")
    page.get_by_role("button", name="Make the passkey").click()
    page.wait_for_url("**/settings/security/")
    assert page.locator("#passkeys").get_by_text("the laptop", exact=True).is_visible()
    with tenancy.acting_as(alice):
        assert Authenticator.objects.get().user == alice

    signed_out(page)
    visitor.open("/sign-in/?next=/settings/tokens/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/settings/tokens/")

    # With two-step sign-in on, it is both steps in one, and the second one after a password.
    with tenancy.acting_as(alice):
        TOTP.activate(alice, "JBSWY3DPEHPK3PXP")
    signed_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"{visitor.origin}/")
    signed_out(page)
    page.get_by_label("Name or e-mail").fill("alice@example.org")
    page.get_by_label("Password").fill("a long and odd password")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/sign-in/second-step/")
    page.get_by_role("button", name="Use a passkey instead").click()
    page.wait_for_url(f"{visitor.origin}/")

    visitor.open("/settings/security/")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.locator("dialog").get_by_role("button", name="Remove").click()
    page.get_by_text("signs nobody in any more").wait_for()
    signed_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_text("not known here").wait_for()
    heard = [line for line in visitor.quiet() if "422" not in line]  # the refusal's own status
    assert heard == []


def test_a_ceremony_that_is_given_up_is_said(visit):
    visitor = visit(None)
    page, (devtools, authenticator) = visitor.page, with_authenticator(visitor)
    devtools.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
    visitor.open("/sign-in/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_text("Nothing was chosen").wait_for()
    page.context.set_offline(True)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.get_by_text("Chronos did not answer. Load the page again.").wait_for()
    page.context.set_offline(False)
    assert page.url.endswith("/sign-in/")
