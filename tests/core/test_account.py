"""One's account."""

import pytest
from django.test import Client

from chronos.core import tenancy
from chronos.core.models import ApiToken, SignInLink
from tests import cast

pytestmark = pytest.mark.usefixtures("house")
PASSWORD = "a long and odd password"


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    client = Client()
    client.force_login(alice)
    return client


def test_name_and_e_mail(alice, page):
    answer = page.post("/account/", {"first_name": "Ada", "last_name": "L", "email": "ada@example.org"}, follow=True)
    assert "Saved." in answer.text
    alice.refresh_from_db()
    assert alice.get_full_name() == "Ada L"


def test_a_wrong_e_mail_is_kept_and_explained(page):
    answer = page.post("/account/", {"email": "nonsense"})
    assert answer.status_code == 422
    assert 'value="nonsense"' in answer.text
    assert "valid email" in answer.text


def test_setting_a_password_for_the_first_time(alice, page):
    answer = page.post("/account/password/", {"new": PASSWORD, "again": PASSWORD}, follow=True)
    assert "The password is set" in answer.text
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)
    assert "Password now" in answer.text


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"new": "12345678", "again": "12345678"}, "common"),
        ({"new": PASSWORD, "again": "other"}, "differs from the one above"),
        ({"new": "", "again": ""}, "required"),
    ],
)
def test_a_poor_password_is_refused(alice, page, form, why):
    answer = page.post("/account/password/", form)
    assert answer.status_code == 422
    assert why in answer.text
    alice.refresh_from_db()
    assert not alice.has_usable_password()


def test_changing_it_asks_for_the_old_one(alice, page):
    alice.set_password(PASSWORD)
    alice.save()
    page.force_login(alice)
    wrong = page.post("/account/password/", {"old": "no", "new": PASSWORD + "!", "again": PASSWORD + "!"})
    assert "not your password" in wrong.text
    page.post("/account/password/", {"old": PASSWORD, "new": PASSWORD + "!", "again": PASSWORD + "!"})
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD + "!")


def test_signing_out_everywhere_else(alice, page):
    elsewhere, bob = Client(), Client()
    elsewhere.force_login(alice)
    bob.force_login(cast.bob())
    link = SignInLink.issue(alice)
    answer = page.post("/account/sign-out-elsewhere/", follow=True)
    assert "1 other session signed out, and 1 unused sign-in link taken back" in answer.text
    assert elsewhere.get("/account/").status_code == 302
    assert page.get("/account/").status_code == bob.get("/account/").status_code == 200
    assert SignInLink.redeem(link.rsplit("/", 2)[1]) is None


def test_it_lists_ones_own_links_and_tokens_only(alice, page):
    with tenancy.as_system("tests"):
        ApiToken.objects.create(owner=alice, name="notebook", digest="a")
        ApiToken.objects.create(owner=cast.bob(), name="bobs-secret", digest="b")
    SignInLink.issue(alice)
    text = page.get("/account/").text
    assert "notebook" in text
    assert "open until" in text
    assert "bobs-secret" not in text


def test_the_theme_without_javascript(page):
    page.post("/account/theme/", {"theme": "dark"})
    assert 'data-theme="dark"' in page.get("/account/").text
    page.post("/account/theme/", {"theme": '"><script>'})
    assert 'data-theme="system"' in page.get("/account/").text
