"""Ways in and out."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.test import Client

from chronos.core.guessing import PASSWORDS
from chronos.core.models import SignInLink
from tests import cast

pytestmark = pytest.mark.usefixtures("house", "quick_passwords")
PASSWORD = "a long and odd password"


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def nobody():
    return Client()


def path_of(link):
    return urlsplit(link).path


def signed_in(client):
    return client.get("/settings/").status_code == 200


def test_the_page_explains_that_there_is_no_default_password(nobody):
    answer = nobody.get("/sign-in/")
    assert answer.status_code == 200
    assert "no default password" in answer.text
    assert "manage.py create_login_link" in answer.text


def test_everything_else_leads_there_and_back(nobody, alice):
    answer = nobody.get("/universes/?sort=change")
    assert answer.headers["Location"] == "/sign-in/?next=/universes/%3Fsort%3Dchange"
    alice.set_password(PASSWORD)
    alice.save()
    answer = nobody.post("/sign-in/", {"username": "alice", "password": PASSWORD, "next": "/universes/?sort=change"})
    assert answer.headers["Location"] == "/universes/?sort=change"


@pytest.mark.parametrize("away", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_it_leads_nowhere_else(nobody, alice, away):
    alice.set_password(PASSWORD)
    alice.save()
    answer = nobody.post("/sign-in/", {"username": "alice", "password": PASSWORD, "next": away})
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize("word", ["foo", "home", "core:settings", "sign-out/", "."])
def test_what_is_no_path_leads_home(nobody, alice, word):
    nobody.force_login(alice)
    assert nobody.get("/sign-in/", {"next": word}).headers["Location"] == "/"
    assert nobody.get("/sign-in/", {"next": "/settings/?a=b"}).headers["Location"] == "/settings/?a=b"


def test_a_wrong_password_keeps_the_name(nobody, alice):
    answer = nobody.post("/sign-in/", {"username": "alice", "password": "wrong"})
    assert answer.status_code == 422
    assert "do not fit together" in answer.text
    assert 'value="alice"' in answer.text


def test_guessing_is_stopped_even_when_the_guess_is_right(nobody, alice):
    alice.set_password(PASSWORD)
    alice.save()
    for _ in range(PASSWORDS.times):
        nobody.post("/sign-in/", {"username": "alice", "password": "wrong"})
    answer = nobody.post("/sign-in/", {"username": "ALICE", "password": PASSWORD})
    assert answer.status_code == 429
    assert "Too many wrong passwords" in answer.text
    assert not signed_in(nobody)


def test_who_has_one_ipv6_address_has_no_more_guesses_by_the_next(alice):
    for n in range(PASSWORDS.times):
        Client(REMOTE_ADDR=f"2001:db8::{n:x}").post("/sign-in/", {"username": "alice", "password": "wrong"})
    form = {"username": "alice", "password": "wrong"}
    assert Client(REMOTE_ADDR="2001:db8::ffff").post("/sign-in/", form).status_code == 429
    assert Client(REMOTE_ADDR="2001:db8:0:1::1").post("/sign-in/", form).status_code == 422


@pytest.mark.parametrize("name", ["alice", "Alice", "alice@example.org", "ALICE@Example.org"])
def test_by_name_or_address_however_it_is_written(nobody, alice, name):
    cast.with_password(alice, PASSWORD)
    nobody.post("/sign-in/", {"username": name, "password": PASSWORD})
    assert signed_in(nobody)


def test_two_whose_names_differ_by_case_are_two(nobody, alice):
    cast.with_password(alice, PASSWORD)
    cast.with_password(cast.person("ALICE", email=""), "another odd password")
    for name, password in (("alice", "another odd password"), ("ALICE", PASSWORD)):
        nobody.post("/sign-in/", {"username": name, "password": password})
        assert not signed_in(nobody)
    nobody.post("/sign-in/", {"username": "ALICE", "password": "another odd password"})
    assert signed_in(nobody)


def test_a_link_lets_in_once(nobody, alice):
    path = path_of(SignInLink.issue(alice))
    assert nobody.get(path).headers["Location"] == "/"
    assert signed_in(nobody)
    again = Client().get(path)
    assert again.status_code == 410
    assert "has been used or has expired" in again.text
    assert "create_login_link" in again.text


def test_a_used_link_leads_home_for_who_is_already_in(nobody, alice):
    path = path_of(SignInLink.issue(alice))
    nobody.get(path)
    assert nobody.get(path).headers["Location"] == "/"


def test_an_expired_link_lets_nobody_in(nobody, alice):
    assert nobody.get(path_of(SignInLink.issue(alice, timedelta(seconds=-1)))).status_code == 410
    assert not signed_in(nobody)


def test_a_closed_account_stays_closed(nobody, alice):
    path = path_of(SignInLink.issue(alice))
    alice.is_active = False
    alice.save()
    assert nobody.get(path).status_code == 410


def test_looking_ahead_does_not_use_it_up(nobody, alice):
    path = path_of(SignInLink.issue(alice))
    assert nobody.get(path, headers={"Sec-Purpose": "prefetch;prerender"}).status_code == 503
    assert nobody.get(path, headers={"Purpose": "prefetch"}).status_code == 503
    assert nobody.head(path).status_code == 204
    assert not signed_in(nobody)
    assert nobody.get(path).status_code == 302
    assert signed_in(nobody)


def test_signing_out_takes_a_post(nobody, alice):
    nobody.force_login(alice)
    assert nobody.get("/sign-out/").status_code == 405
    assert nobody.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert not signed_in(nobody)


def test_the_admin_has_no_door_of_its_own(nobody, alice):
    assert nobody.get("/admin/").status_code == 302
    assert nobody.get("/admin/login/?next=/admin/").headers["Location"] == "/sign-in/?next=%2Fadmin%2F"
    nobody.force_login(alice)
    answer = nobody.get("/admin/", follow=True)
    assert answer.status_code == 403
    assert "for staff" in answer.text


def test_nor_one_for_passwords():
    client = cast.signed_in(cast.stella())
    assert client.post("/admin/password_change/").headers["Location"] == "/settings/security/"


def test_a_form_from_elsewhere_is_refused_in_words(alice):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    answer = strict.post("/settings/", {"first_name": "x"})
    assert answer.status_code == 403
    assert "Send it again" in answer.text
