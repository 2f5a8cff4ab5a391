"""Two-step sign-in and what passkeys can't do; a real browser makes and uses one in tests/browser/test_passkeys.py."""

import json
import time

import pytest
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chronos.core import passkeys, tenancy, twostep
from chronos.core.guessing import CODES
from chronos.core.models import SignInLink
from tests import cast
from tests.cast import signed_in

pytestmark = pytest.mark.usefixtures("house", "quick_passwords")
PASSWORD = "a long and odd password"


@pytest.fixture
def alice():
    return cast.with_password(cast.alice(), PASSWORD)


@pytest.fixture
def clock(monkeypatch):
    """Codes of now, and of so many half minutes later."""
    at = [time.time()]
    monkeypatch.setattr("allauth.mfa.totp.internal.auth.time.time", lambda: at[0])

    def later(steps):
        at[0] += 30 * steps

    return later


def rows_of(person, **which):
    with tenancy.as_system("tests"):
        return list(Authenticator.objects.filter(user=person, **which))


def is_on(person):
    return bool(rows_of(person, type="totp"))


def made(person, kind, **data):
    with tenancy.as_system("tests"):
        return Authenticator.objects.create(user=person, type=kind, data=data)


def code_of(secret, step=0):
    import allauth.mfa.totp.internal.auth as totp

    return format_hotp_value(hotp_value(secret, int(totp.time.time()) // 30 + step))


def half_in(client, **more):
    return client.post("/sign-in/", {"username": "alice", "password": PASSWORD, **more})


def is_in(client):
    return client.get("/settings/").status_code == 200


def switched_on(alice):
    """The person's secret and recovery codes, set up through the page."""
    page = Client()
    half_in(page)
    page.get("/settings/security/two-step/")
    secret = page.session[twostep.SETUP]
    answer = page.post("/settings/security/two-step/", {"code": code_of(secret)})
    assert answer.status_code == 200
    codes = [line.split("</code>")[0] for line in answer.text.split("<li><code>")[1:]]
    assert len(codes) == 10
    return secret, codes


def test_setting_it_up(alice, clock):
    page = Client()
    half_in(page)
    shown = page.get("/settings/security/two-step/")
    secret = page.session[twostep.SETUP]
    assert " ".join(secret[n : n + 4] for n in range(0, len(secret), 4)) in shown.text
    assert '<svg class="qr"' in shown.text
    wrong = page.post("/settings/security/two-step/", {"code": "000000"})
    assert wrong.status_code == 422
    assert page.session[twostep.SETUP] == secret
    assert not is_on(alice)
    done = page.post("/settings/security/two-step/", {"code": code_of(secret)})
    assert "shown this once" in done.text
    assert done.text.count("<li><code>") == 10
    assert "chronos-recovery-codes.txt" in done.text
    (row,) = rows_of(alice, type="totp")
    assert secret not in str(row.data)
    assert twostep.SETUP not in page.session
    again = page.post("/settings/security/two-step/", {"code": code_of(secret)}, follow=True)
    assert "on already" in again.text
    assert "<li><code>" not in again.text


def test_a_password_alone_lets_nobody_in(alice, clock):
    secret, _ = switched_on(alice)
    page = Client()
    assert half_in(page, next="/universes/?sort=change").headers["Location"] == "/sign-in/second-step/"
    assert not is_in(page)
    wrong = page.post("/sign-in/second-step/", {"code": "000000"})
    assert wrong.status_code == 422
    assert not is_in(page)
    clock(1)
    answer = page.post("/sign-in/second-step/", {"code": f"{code_of(secret)[:3]} {code_of(secret)[3:]}"})
    assert answer.headers["Location"] == "/universes/?sort=change"
    assert is_in(page)


def test_no_code_counts_twice(alice, clock):
    secret, _ = switched_on(alice)
    clock(1)
    code = code_of(secret)
    first, second = Client(), Client()
    for page in (first, second):
        half_in(page)
        page.post("/sign-in/second-step/", {"code": code})
    assert is_in(first)
    assert not is_in(second)
    clock(1)  # the code before is still within what a slow clock may show
    assert second.post("/sign-in/second-step/", {"code": code}).status_code == 422
    assert second.post("/sign-in/second-step/", {"code": code_of(secret)}).status_code == 302


def test_the_code_that_set_it_up_counts_no_more(alice, clock):
    secret, _ = switched_on(alice)
    page = Client()
    half_in(page)
    assert page.post("/sign-in/second-step/", {"code": code_of(secret)}).status_code == 422


@pytest.mark.parametrize(("steps", "fits"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_half_a_minute_off(alice, clock, steps, fits):
    secret, _ = switched_on(alice)
    clock(9)
    page = Client()
    half_in(page)
    page.post("/sign-in/second-step/", {"code": code_of(secret, steps)})
    assert is_in(page) is fits


def test_a_recovery_code_lets_in_once(alice, clock):
    _, codes = switched_on(alice)
    page, again = Client(), Client()
    half_in(page)
    assert "9 of them are left" in page.post("/sign-in/second-step/", {"code": codes[3]}, follow=True).text
    assert is_in(page)
    half_in(again)
    assert again.post("/sign-in/second-step/", {"code": codes[3]}).status_code == 422
    assert again.post("/sign-in/second-step/", {"code": codes[4].replace(" ", "")}).status_code == 302


def test_guessing_codes_is_stopped_from_wherever(alice, clock):
    secret, codes = switched_on(alice)
    for n in range(CODES.times):
        page = Client(REMOTE_ADDR=f"192.0.2.{n}")
        half_in(page)
        assert page.post("/sign-in/second-step/", {"code": f"00000{n}"}).status_code == 422
    clock(2)
    for code in (code_of(secret), codes[0]):
        answer = page.post("/sign-in/second-step/", {"code": code})
        assert answer.status_code == 429
        assert "Too many wrong codes" in answer.text
    assert not is_in(page)


def test_codes_are_not_let_through_uncounted(alice, clock, monkeypatch):
    import redis

    def away(*_):
        raise redis.ConnectionError

    secret, _ = switched_on(alice)
    page = Client()
    half_in(page)
    clock(2)
    monkeypatch.setattr("chronos.core.guessing.cache.incr", away)
    assert page.post("/sign-in/second-step/", {"code": code_of(secret)}).status_code == 429


def test_the_second_step_alone_is_no_way_in(alice, clock):
    secret, _ = switched_on(alice)
    clock(1)
    page = Client()
    assert page.get("/sign-in/second-step/").headers["Location"] == "/sign-in/"
    assert page.post("/sign-in/second-step/", {"code": code_of(secret)}).headers["Location"] == "/sign-in/"
    assert not is_in(page)


def test_a_sign_in_that_stopped_half_way_does_not_wait_for_ever(alice, clock, monkeypatch):
    secret, _ = switched_on(alice)
    page = Client()
    half_in(page)
    now = time.time()
    monkeypatch.setattr("allauth.account.internal.stagekit.time.time", lambda: now + 16 * 60)
    clock(32)
    assert page.post("/sign-in/second-step/", {"code": code_of(secret)}).headers["Location"] == "/sign-in/"


def test_an_account_that_is_closed_half_way_stays_closed(alice, clock):
    secret, _ = switched_on(alice)
    page = Client()
    half_in(page)
    alice.is_active = False
    alice.save()
    clock(1)
    page.post("/sign-in/second-step/", {"code": code_of(secret)})
    assert not is_in(page)


def test_a_one_time_link_needs_no_second_step(alice, clock):
    switched_on(alice)
    page = Client()
    page.get(SignInLink.issue(alice).partition("8000")[2])
    assert is_in(page)
    assert "is off" in page.post("/settings/security/two-step/off/", follow=True).text
    assert not is_on(alice)


def test_switching_it_off_asks_who_it_is(alice, clock):
    secret, _ = switched_on(alice)
    page = signed_in(alice)
    assert page.post("/settings/security/two-step/off/").headers["Location"].startswith("/settings/confirm/")
    assert is_on(alice)
    clock(1)
    page.post("/settings/confirm/", {"code": code_of(secret), "next": "/settings/security/two-step/off/"})
    assert rows_of(alice) == []
    entering = Client()
    assert half_in(entering).headers["Location"] == "/"


def test_new_recovery_codes_void_the_old(alice, clock):
    _, codes = switched_on(alice)
    page = Client()
    page.get(SignInLink.issue(alice).partition("8000")[2])
    fresh = page.post("/settings/security/recovery-codes/").text
    assert codes[0] not in fresh
    assert page.get("/settings/security/recovery-codes/").status_code == 405
    entering = Client()
    half_in(entering)
    assert entering.post("/sign-in/second-step/", {"code": codes[0]}).status_code == 422


def test_after_another_secret_key_a_code_is_wrong_and_a_link_right(alice, clock, settings):
    secret, codes = switched_on(alice)
    page = Client()
    settings.SECRET_KEY = "another" * 9
    half_in(page)
    clock(1)
    assert page.post("/sign-in/second-step/", {"code": code_of(secret)}).status_code == 422
    assert page.post("/sign-in/second-step/", {"code": codes[0]}).status_code == 422
    page.get(SignInLink.issue(alice).partition("8000")[2])
    assert is_in(page)


# --- Passkeys ----------------------------------------------------------------------------------------------------


def test_passkeys_need_a_name(alice):
    page = Client()
    page.force_login(alice)
    half_in(page)
    assert "Add a passkey" in page.get("/settings/security/", headers={"Host": "localhost"}).text
    at_a_number = page.get("/settings/security/", headers={"Host": "127.0.0.1:8000"}).text
    assert "Add a passkey" not in at_a_number
    assert "http://localhost:8000" in at_a_number
    assert Client().get("/sign-in/passkey/", headers={"Host": "127.0.0.1"}).status_code == 422
    assert "passkey" not in Client().get("/sign-in/", headers={"Host": "127.0.0.1"}).text


def passkey_of(person):
    return made(person, "webauthn", name="laptop", credential={})


def test_a_passkey_that_cant_be_read_does_not_shut_out(alice, clock):
    secret, _ = switched_on(alice)
    passkey_of(alice)
    page = Client(headers={"Host": "localhost"})
    half_in(page)
    assert page.get("/sign-in/second-step/").status_code == 200
    clock(1)
    assert page.post("/sign-in/second-step/", {"code": code_of(secret)}).status_code == 302
    assert "can't be read" in page.get("/settings/security/passkeys/", follow=True).text.replace("&#x27;", "'")


def test_nobody_renames_or_removes_anothers(alice):
    row, page = passkey_of(alice), signed_in(cast.bob())
    totp = made(alice, "totp")
    for pk in (row.pk, totp.pk):
        for verb in ("rename", "remove"):
            path = f"/settings/security/passkeys/{pk}/{verb}/"
            assert page.post(path, {"name": "mine", "pk": pk, "user": alice.pk}).status_code == 404
            assert page.post(path, {"name": ""}).status_code == 404
    assert [found.data.get("name") for found in rows_of(alice, pk=row.pk)] == ["laptop"]
    assert len(rows_of(alice)) == 2


def test_an_app_is_not_removed_as_if_it_were_a_passkey(alice):
    totp = made(alice, "totp")
    page = Client()
    page.get(SignInLink.issue(alice).partition("8000")[2])
    assert page.post(f"/settings/security/passkeys/{totp.pk}/remove/").status_code == 404
    assert rows_of(alice) == [totp]


def test_renaming_and_removing_ones_own(alice):
    row, page = passkey_of(alice), signed_in(alice)
    path = f"/settings/security/passkeys/{row.pk}/"
    assert "is called “phone” now" in page.post(path + "rename/", {"name": "phone"}, follow=True).text
    assert "not changed" in page.post(path + "rename/", {"name": "x" * 99}, follow=True).text
    assert page.post(path + "remove/").headers["Location"].startswith("/settings/confirm/")
    page.post("/settings/confirm/", {"old": PASSWORD, "next": path + "remove/"})
    assert rows_of(alice) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["id", "rawId", "type", "response", "clientDataJSON", "attestationObject", "authenticatorData",
                         "signature", "userHandle", "clientExtensionResults"]), inner, max_size=5),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.parametrize(
    "said", ["", "{", "null", "[]", "[" * 100_000, '{"response": {"userHandle": "MQ"}}', '{"id": "\\u0000"}']
)
def test_what_is_no_passkey_is_refused_in_words(said):
    bob = signed_in(cast.bob())
    entering = Client()
    entering.get("/sign-in/passkey/")
    answer = entering.post("/sign-in/passkey/", {"passkey": said}, headers={"Host": "localhost"})
    assert answer.status_code == 422
    assert "not known here" in answer.text
    bob.get("/settings/security/passkeys/", headers={"Host": "localhost"})
    answer = bob.post("/settings/security/passkeys/", {"name": "x", "passkey": said}, headers={"Host": "localhost"})
    assert answer.status_code == 422
    assert "did not make a passkey" in answer.text


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=anything.map(json.dumps) | st.text(max_size=20), adding=st.booleans())
def test_whatever_a_browser_may_say_is_refused(alice, said, adding):
    request = RequestFactory(SERVER_NAME="localhost").get("/")
    request.session = {}
    with request_context(request), tenancy.acting_as(alice) if adding else tenancy.as_system("tests"):
        asked = passkeys.question_to_add(alice) if adding else passkeys.question()
        assert json.loads(asked)["publicKey"]["challenge"]
        with pytest.raises(passkeys.Refused):
            passkeys.add(alice, "x", said) if adding else passkeys.check(said)
