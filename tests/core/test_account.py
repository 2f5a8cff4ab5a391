"""Settings: who one is, one's password, where one is signed in, how pages look."""

import re

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.core import mail
from django.test import Client

from chronos.core import accounts, sessions
from chronos.core.models import SignInLink
from tests import cast
from tests.cast import signed_in, with_password

pytestmark = pytest.mark.usefixtures("house", "quick_passwords")
PASSWORD = "a long and odd password"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return signed_in(alice)


@pytest.fixture
def mailing(settings):
    settings.MAIL_CAN_BE_SENT = True
    return mail.outbox


def address_rows(person):
    return sorted(EmailAddress.objects.filter(user=person).values_list("email", "primary", "verified"))


def link_in(message):
    return re.search(r"https?://[^/]+(/\S+)", message.body.split("follow this link")[1])[1]


# --- Profile -----------------------------------------------------------------------------------------------------


def test_the_old_address_leads_here(page):
    assert page.get("/account/?a=b").headers["Location"] == "/settings/?a=b"


def test_a_name(alice, page):
    answer = page.post(
        "/settings/", {"first_name": "Ada", "last_name": "L", "email": "x", "is_staff": "on"}, follow=True
    )
    assert "Saved." in answer.text
    alice.refresh_from_db()
    assert (alice.get_full_name(), alice.email, alice.is_staff) == ("Ada L", "alice@example.org", False)


def test_without_a_mail_server_an_address_counts_at_once(alice, page):
    answer = page.post("/settings/email/", {"email": "Ada@Example.org"}, follow=True)
    assert "Saved." in answer.text
    alice.refresh_from_db()
    assert alice.email == "ada@example.org"
    assert address_rows(alice) == [("ada@example.org", True, False)]
    page.post("/settings/email/", {"email": ""})
    alice.refresh_from_db()
    assert (alice.email, address_rows(alice)) == ("", [])


def test_a_wrong_e_mail_is_kept_and_explained(alice, page):
    answer = page.post("/settings/email/", {"email": "nonsense"})
    assert answer.status_code == 422
    assert 'value="nonsense"' in answer.text
    assert "valid email" in answer.text


def test_nobody_takes_the_address_of_another(alice, page):
    cast.bob()
    answer = page.post("/settings/email/", {"email": "BOB@example.org"})
    assert answer.status_code == 422
    assert "Another person here has this address" in answer.text
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"


def test_a_new_address_counts_once_its_mailbox_has_answered(alice, page, mailing):
    answer = page.post("/settings/email/", {"email": "ada@example.org"}, follow=True)
    assert "becomes your address when you follow the link" in answer.text
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    assert mailing[0].to == ["ada@example.org"]
    path = link_in(mailing[0])
    elsewhere = Client()
    assert "Is <strong>ada@example.org</strong>" in elsewhere.get(path).text
    assert alice.email == "alice@example.org"
    assert "ada@example.org is confirmed" in elsewhere.post(path, follow=True).text
    alice.refresh_from_db()
    assert alice.email == "ada@example.org"
    assert address_rows(alice) == [("ada@example.org", True, True)]
    assert elsewhere.post(path).status_code == 410


def test_a_change_of_address_can_be_given_up(alice, page, mailing):
    page.post("/settings/email/", {"email": "ada@example.org"})
    page.post("/settings/email/forget/")
    assert Client().post(link_in(mailing[0])).status_code == 410
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"


def test_a_mailed_link_does_not_take_what_another_has_meanwhile(alice, page, mailing):
    page.post("/settings/email/", {"email": "new@example.org"})
    bob = cast.bob()
    accounts.use(bob, "new@example.org")
    answer = Client().post(link_in(mailing[0]))
    assert answer.status_code == 409
    assert "belongs to another account" in answer.text
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"


def test_a_mailbox_is_not_filled_with_ours(page, mailing):
    for _ in range(5):
        page.post("/settings/email/", {"email": "victim@example.org"})
    assert len(mailing) == 3


def test_a_mail_server_that_is_away_is_said_and_changes_nothing(alice, page, settings):
    settings.MAIL_CAN_BE_SENT = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    answer = page.post("/settings/email/", {"email": "ada@example.org"})
    assert answer.status_code == 503
    assert "the mail server does not answer" in answer.text
    assert address_rows(alice) == []


def test_an_address_that_staff_write_is_the_one_in_use(alice):
    staff = signed_in(cast.stella())
    form = {"username": "alice", "email": "AL@example.org", "is_active": "on"}
    assert staff.post(f"/admin/core/user/{alice.pk}/change/", form).status_code == 302
    assert address_rows(alice) == [("al@example.org", True, False)]
    staff.post(f"/admin/core/user/{alice.pk}/change/", form | {"email": ""})
    assert address_rows(alice) == []


@pytest.mark.parametrize("model", ["account/emailaddress", "mfa/authenticator", "usersessions/usersession"])
def test_staff_do_not_browse_how_people_sign_in(model):
    assert signed_in(cast.stella()).get(f"/admin/{model}/").status_code == 404


# --- Password ----------------------------------------------------------------------------------------------------


def test_setting_a_password_for_the_first_time(alice, page):
    answer = page.post("/settings/security/password/", {"new": PASSWORD, "again": PASSWORD}, follow=True)
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
    answer = page.post("/settings/security/password/", form)
    assert answer.status_code == 422
    assert why in answer.text
    alice.refresh_from_db()
    assert not alice.has_usable_password()


def test_changing_it_asks_for_the_old_one_and_ends_other_sessions(alice):
    page, elsewhere = signed_in(with_password(alice)), signed_in(alice)
    form = {"old": PASSWORD, "new": PASSWORD + "!", "again": PASSWORD + "!"}
    wrong = page.post("/settings/security/password/", form | {"old": "no"})
    assert "not your password" in wrong.text
    assert elsewhere.get("/settings/").status_code == 200
    page.post("/settings/security/password/", form)
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD + "!")
    assert page.get("/settings/sessions/").text.count('class="line"') == 1
    assert elsewhere.get("/settings/").status_code == 302


def test_guessing_the_old_one_is_stopped(alice):
    page = signed_in(with_password(alice))
    form = {"old": "no", "new": PASSWORD + "!", "again": PASSWORD + "!"}
    for _ in range(8):
        assert page.post("/settings/security/password/", form).status_code == 422
    assert page.post("/settings/security/password/", form | {"old": PASSWORD}).status_code == 429
    assert page.post("/settings/confirm/", {"old": PASSWORD}).status_code == 429


def test_who_came_by_a_link_may_have_forgotten_the_old_one(alice):
    with_password(alice)
    page = Client()
    page.get(SignInLink.issue(alice).partition("8000")[2])
    assert "Password now" not in page.get("/settings/security/").text
    page.post("/settings/security/password/", {"new": PASSWORD + "!", "again": PASSWORD + "!"})
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD + "!")


# --- Word of it ------------------------------------------------------------------------------------------------


def test_what_changes_how_one_signs_in_is_told_to_a_confirmed_mailbox(alice, page, mailing):
    page.post("/settings/security/password/", {"new": PASSWORD, "again": PASSWORD})
    assert mailing == []
    accounts.use(alice, "alice@example.org", confirmed=True)
    page.post("/settings/security/password/", {"old": PASSWORD, "new": PASSWORD + "!", "again": PASSWORD + "!"})
    page.post("/settings/confirm/", {"old": PASSWORD + "!"})
    page.post("/settings/tokens/new/", {"name": "x", "may": "read", "days": ""})
    page.post("/settings/security/password/", {"old": "no", "new": PASSWORD, "again": PASSWORD})
    assert [message.subject for message in mailing] == [
        "Your Chronos password was changed",
        "An API token for Chronos was made",
    ]
    assert "127.0.0.1" in mailing[0].body


def test_the_old_mailbox_is_told_of_the_new_address(alice, page, mailing):
    accounts.use(alice, "alice@example.org", confirmed=True)
    page.post("/settings/email/", {"email": "ada@example.org"})
    Client().post(link_in(mailing[0]))
    assert [(message.to, "is ada@example.org now" in message.subject) for message in mailing[1:]] == [
        (["alice@example.org"], True)
    ]


def test_word_that_cant_be_sent_undoes_nothing(alice, page, settings):
    accounts.use(alice, "alice@example.org", confirmed=True)
    settings.MAIL_CAN_BE_SENT = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    assert page.post("/settings/security/password/", {"new": PASSWORD, "again": PASSWORD}).status_code == 302
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


# --- Confirming that it is you -----------------------------------------------------------------------------------


def test_what_changes_who_can_sign_in_asks_again_and_then_goes_on(alice):
    page = signed_in(with_password(alice))
    asked = page.post("/settings/email/", {"email": "ada@example.org"})
    assert asked.headers["Location"] == "/settings/confirm/?next=%2Fsettings%2Femail%2F"
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"
    assert page.post("/settings/confirm/", {"old": "no", "next": "/settings/email/"}).status_code == 422
    answer = page.post("/settings/confirm/", {"old": PASSWORD, "next": "/settings/email/"}, follow=True)
    assert "Saved." in answer.text
    alice.refresh_from_db()
    assert alice.email == "ada@example.org"
    page.post("/settings/email/", {"email": "again@example.org"})
    alice.refresh_from_db()
    assert alice.email == "again@example.org"


def test_who_has_just_signed_in_is_not_asked(alice):
    with_password(alice)
    page = Client()
    page.post("/sign-in/", {"username": "alice", "password": PASSWORD})
    page.post("/settings/email/", {"email": "ada@example.org"})
    alice.refresh_from_db()
    assert alice.email == "ada@example.org"


def test_confirming_leads_nowhere_else(alice):
    page = signed_in(with_password(alice))
    answer = page.post("/settings/confirm/", {"old": PASSWORD, "next": "https://evil.example/"})
    assert answer.headers["Location"] == "/settings/security/"


# --- Sessions ----------------------------------------------------------------------------------------------------


def test_sessions_say_what_where_and_since_when(alice, page):
    other = Client(headers={"User-Agent": FIREFOX}, REMOTE_ADDR="192.0.2.7")
    other.force_login(alice)
    other.get("/")
    text = page.get("/settings/sessions/").text
    assert "Firefox on Linux" in text
    assert "192.0.2.7" in text
    assert text.count("This one") == 1


def test_a_session_that_is_ended_is_out(alice, page):
    other = signed_in(alice)
    other.get("/")
    place = UserSession.objects.get(session_key=other.session.session_key)
    page.post(f"/settings/sessions/{place.pk}/end/", follow=True)
    assert other.get("/settings/").status_code == 302
    assert page.get("/settings/").status_code == 200
    assert page.post(f"/settings/sessions/{place.pk}/end/").status_code == 404


def test_nobody_ends_the_session_of_another(alice, page):
    page.get("/")
    place = UserSession.objects.get(user=alice)
    bob = signed_in(cast.bob())
    assert bob.post(f"/settings/sessions/{place.pk}/end/", {"pk": place.pk}).status_code == 404
    assert "127.0.0.1" not in bob.get("/settings/sessions/").text.replace("127.0.0.1", "", 1)
    assert page.get("/settings/").status_code == 200


def test_signing_out_everywhere_else(alice, page):
    elsewhere, bob = signed_in(alice), signed_in(cast.bob())
    link = SignInLink.issue(alice)
    answer = page.post("/settings/sessions/sign-out-elsewhere/", follow=True)
    assert "1 other session signed out, and 1 unused sign-in link taken back" in answer.text
    assert elsewhere.get("/settings/").status_code == 302
    assert page.get("/settings/").status_code == bob.get("/settings/").status_code == 200
    assert SignInLink.redeem(link.rsplit("/", 2)[1]) is None


def test_most_requests_note_nothing(page, django_assert_num_queries):
    page.get("/settings/appearance/")
    with django_assert_num_queries(7):  # session, person, begin, scope, jobs, providers, commit
        page.get("/settings/appearance/")


@pytest.mark.parametrize(
    ("agent", "says"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537.36 Chrome/140 Safari/537 Edg/140", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.9", "curl"),
        ("<script>", "Unknown device"),
        ("", "Unknown device"),
    ],
)  # fmt: skip
def test_devices_in_words(agent, says):
    assert sessions.device(agent) == says


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "198.51.100.1", "127.0.0.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (2, "198.51.100.1", "127.0.0.1"),
        (1, "nonsense", "127.0.0.1"),
    ],
)
def test_what_proxies_say_is_believed_as_far_as_they_are_ours(alice, settings, proxies, forwarded, seen):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    page = signed_in(alice)
    page.get("/", headers={"X-Forwarded-For": forwarded})
    assert UserSession.objects.get(user=alice).ip == seen


# --- Appearance and links ----------------------------------------------------------------------------------------


def test_it_lists_ones_own_links_only(alice, page):
    assert "open until" not in page.get("/settings/security/").text
    SignInLink.issue(cast.bob())
    assert "open until" not in page.get("/settings/security/").text
    SignInLink.issue(alice)
    assert "open until" in page.get("/settings/security/").text


def test_the_theme_without_javascript(page):
    page.post("/settings/theme/", {"theme": "dark"})
    assert 'data-theme="dark"' in page.get("/settings/appearance/").text
    page.post("/settings/theme/", {"theme": '"><script>'})
    assert 'data-theme="system"' in page.get("/settings/appearance/").text
