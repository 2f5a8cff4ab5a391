"""Accounts of people's own making, and forgotten passwords: by mail, and without telling who has an account."""

import re

import pytest
from django.core import mail
from django.test import Client

from chronos.core import accounts, tenancy
from chronos.core.guessing import LINKS_TRIED, RESETS_ASKED, SIGN_UPS
from chronos.core.models import User
from tests import cast

pytestmark = pytest.mark.usefixtures("house", "quick_passwords")
PASSWORD = "a long and odd password"
FORM = {"username": "nina", "email": "nina@example.org", "password": PASSWORD, "again": PASSWORD}


@pytest.fixture
def nobody():
    return Client()


@pytest.fixture
def open_house(settings):
    settings.SIGN_UP_IS_OPEN = True


@pytest.fixture
def mailing(settings):
    settings.MAIL_CAN_BE_SENT = True
    return mail.outbox


def link_in(message):
    return re.search(r"https?://[^/\s]+(/\S+)", message.body.split("follow this link")[1])[1]


def words_of(answer):
    return re.search(r"<main.*</main>", answer.text, re.S)[0]


def is_in(client):
    return client.get("/settings/").status_code == 200


# --- Signing up --------------------------------------------------------------------------------------------------


def test_closed_unless_it_is_opened(nobody, settings):
    settings.CONTACT = "Ines at the desk"
    assert "Ines at the desk" in nobody.get("/sign-up/").text
    assert nobody.post("/sign-up/", FORM).status_code == 403
    assert not User.objects.exists()
    assert "/sign-up/" not in nobody.get("/sign-in/").text


def test_without_a_mail_server_one_is_in_at_once(nobody, open_house):
    assert "/sign-up/" in nobody.get("/sign-in/").text
    assert nobody.post("/sign-up/", FORM).headers["Location"] == "/"
    assert is_in(nobody)
    person = User.objects.get()
    assert (person.username, person.email, person.is_staff) == ("nina", "nina@example.org", False)


def test_with_one_the_mailbox_answers_first(nobody, open_house, mailing):
    assert nobody.post("/sign-up/", FORM, follow=True).redirect_chain == [("/sign-up/look-into-mail/", 302)]
    assert not is_in(nobody)
    again = nobody.post("/sign-in/", {"username": "nina", "password": PASSWORD}, follow=True)
    assert "Look into your mailbox" in again.text
    assert not is_in(nobody)
    nobody.post(link_in(mailing[-1]))
    nobody.post("/sign-in/", {"username": "nina@example.org", "password": PASSWORD})
    assert is_in(nobody)
    assert accounts.is_confirmed(User.objects.get())


def test_it_does_not_tell_who_has_an_account(nobody, open_house, mailing):
    cast.alice()
    new = nobody.post("/sign-up/", FORM)
    known = Client().post("/sign-up/", FORM | {"username": "other", "email": "Alice@example.org"})
    assert (known.status_code, known.headers["Location"]) == (new.status_code, new.headers["Location"])
    assert User.objects.count() == 2
    assert "have an account" in mailing[1].subject
    assert mailing[1].to == ["alice@example.org"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"username": "ALICE"}, "has this name already"),
        ({"username": "a@b"}, "Leave out the @"),
        ({"username": "<b>x</b>"}, "valid username"),
        ({"username": "x" * 151}, "at most 150"),
        ({"email": "nonsense"}, "valid email"),
        ({"email": ""}, "required"),
        ({"password": "12345678", "again": "12345678"}, "common"),
        ({"password": "nina@example.org", "again": "nina@example.org"}, "too similar"),
        ({"again": "other"}, "differs from the one above"),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_kept(nobody, open_house, mailing, change, why):
    cast.alice()
    answer = nobody.post("/sign-up/", FORM | change)
    assert answer.status_code == 422
    assert why in answer.text
    assert PASSWORD not in answer.text
    assert 'value="nina' in answer.text
    assert User.objects.count() == 1


def test_too_many_from_one_place_wait(nobody, open_house, mailing):
    for n in range(SIGN_UPS.times):
        nobody.post("/sign-up/", FORM | {"username": f"n{n}", "email": f"n{n}@example.org"})
    answer = nobody.post("/sign-up/", FORM)
    assert answer.status_code == 429
    assert "Try again in an hour" in answer.text
    assert User.objects.count() == SIGN_UPS.times
    assert Client(REMOTE_ADDR="192.0.2.7").post("/sign-up/", FORM).status_code == 302


def test_a_mail_server_that_is_away_makes_no_half_account(nobody, open_house, settings):
    settings.MAIL_CAN_BE_SENT = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert nobody.post("/sign-up/", FORM).status_code == 503
    assert not User.objects.exists()


# --- Forgotten passwords -----------------------------------------------------------------------------------------


def test_without_a_mail_server_the_page_says_what_to_do_instead(nobody):
    answer = nobody.get("/reset/")
    assert "manage.py create_login_link" in answer.text
    assert "<form" not in answer.text
    assert nobody.post("/reset/", {"email": "alice@example.org"}).status_code == 503
    assert mail.outbox == []


def test_the_whole_round_trip(nobody, mailing):
    alice = cast.alice()
    alice.set_password("the old password")
    alice.save()
    elsewhere = cast.signed_in(alice)
    assert "a link is on its way" in nobody.post("/reset/", {"email": "ALICE@example.org"}).text
    path = link_in(mailing[0])
    assert not accounts.is_confirmed(alice)
    assert accounts.waiting(alice) is None
    assert nobody.post(path, {"new": "12345678", "again": "12345678"}).status_code == 422
    assert "Sign in with it" in nobody.post(path, {"new": PASSWORD, "again": PASSWORD}, follow=True).text
    assert not is_in(nobody)
    assert not is_in(elsewhere)
    nobody.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert is_in(nobody)
    assert accounts.is_confirmed(alice)
    again = Client().get(path)
    assert again.status_code == 410
    assert "once and within an hour" in again.text


def test_an_address_that_waits_to_be_confirmed_opens_nothing(nobody, mailing):
    alice = cast.alice()
    accounts.ask_to_confirm(alice, "mistyped@example.org")
    nobody.post("/reset/", {"email": "mistyped@example.org"})
    assert "No account" in mailing[-1].subject
    nobody.post("/reset/", {"email": "alice@example.org"})
    assert nobody.get(link_in(mailing[-1])).status_code == 200


def test_two_step_sign_in_stays_on(nobody, mailing):
    from allauth.mfa.totp.internal.auth import TOTP

    alice = cast.alice()
    with tenancy.acting_as(alice):
        TOTP.activate(alice, "JBSWY3DPEHPK3PXP")
    nobody.post("/reset/", {"email": "alice@example.org"})
    nobody.post(link_in(mailing[0]), {"new": PASSWORD, "again": PASSWORD})
    answer = nobody.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    assert answer.headers["Location"] == "/sign-in/second-step/"


def test_the_answer_is_the_same_for_a_stranger(nobody, mailing):
    cast.alice()
    known = nobody.post("/reset/", {"email": "alice@example.org"})
    unknown = nobody.post("/reset/", {"email": "eve@example.org"})
    assert known.status_code == unknown.status_code
    assert words_of(known).replace("alice@", "") == words_of(unknown).replace("eve@", "")
    assert "No account" in mailing[1].subject


@pytest.mark.parametrize(
    "spoil", [lambda key: key[:-1] + "x", lambda key: "1-", lambda key: "zzzzzzzzzzzzzzzzzzzzz-" + key, lambda key: "–"]
)
def test_made_up_links_set_nothing(nobody, spoil):
    path = f"/reset/{spoil(accounts.reset_key(cast.alice()))}/"
    assert nobody.get(path).status_code == 410
    assert nobody.post(path, {"new": PASSWORD, "again": PASSWORD}).status_code == 410


def test_a_link_is_void_when_the_address_has_changed_or_the_account_is_closed(nobody):
    alice, bob = cast.alice(), cast.bob()
    first, second = accounts.reset_key(alice), accounts.reset_key(bob)
    accounts.use(alice, "else@example.org")
    bob.is_active = False
    bob.save()
    assert nobody.get(f"/reset/{first}/").status_code == nobody.get(f"/reset/{second}/").status_code == 410


def test_mails_go_to_the_known_address_by_the_known_name(nobody, mailing, settings):
    cast.alice()
    nobody.post("/reset/", {"email": "alice@example.org"}, headers={"Host": "127.0.0.1"})
    assert f"{settings.PUBLIC_URL}/reset/" in mailing[0].body
    assert "127.0.0.1" not in mailing[0].body


def test_asking_and_trying_are_limited(nobody, mailing):
    for n in range(RESETS_ASKED.times):
        nobody.post("/reset/", {"email": f"n{n}@example.org"})
    assert nobody.post("/reset/", {"email": "alice@example.org"}).status_code == 429
    for _ in range(LINKS_TRIED.times):
        assert nobody.get("/reset/1-guess/").status_code == 410
    assert nobody.get("/reset/1-guess/").status_code == 429
    assert nobody.get("/confirm-email/guess/").status_code == 429
