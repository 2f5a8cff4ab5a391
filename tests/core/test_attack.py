"""Every address of the URL conf, attacked: by nobody in particular, by a stranger, and by staff outside the admin."""

import pytest
from django.test import Client

from chronos.core import tenancy
from tests.contracts.attack import Battlefield
from tests.contracts.pages import Address, addresses

pytestmark = pytest.mark.usefixtures("house")

# What one may reach without being signed in.
OPEN = {
    "core:sign-in", "core:sign-in-link", "core:sign-out", "core:sign-in-with-passkey", "core:second-step",
    "core:sign-up", "core:look-into-mail", "core:confirm-email", "core:reset", "core:reset-with-key",
    "core:set-theme", "health-live", "health-ready", "admin:login", "admin:logout",
}  # fmt: skip
SECRETS = (b"Alice&#x27;s secret plan", b"Alice's secret plan", b"a line about Alice", b"token of Alice")
# Numbers only, and a stream.
WORDLESS = {"universes:members-csv", "universes:performance-csv", "universes:performance-json", "universes:history-csv",
            "universes:export", "api:export_universe", "api:stream_job_events", "signals:backtest-equity-csv",
            "signals:backtest-png", "signals:backtest-chart", "signals:backtest-trades-csv"}  # fmt: skip
# What forms of ours understand, filled in to hurt.
FORM = {"name": "Stolen", "symbols": "MSFT", "asset": "NVDA", "asset_id": "1", "confirm": "yes", "username": "x",
        "password": "x", "action": "delete_selected", "_selected_action": "1", "post": "yes",
        "timeframe": "1d", "secret": "x", "choice_1": "yahoo", "usual": "yes", "decision": "reject",
        "id": "1", "pk": "1", "user": "1", "email": "alice@example.org", "may": "write", "days": "", "passkey": "{}",
        "code": "123456"}  # fmt: skip


@pytest.fixture
def field() -> Battlefield:
    return Battlefield()


def every(field: Battlefield) -> list[Address]:
    hers = field.hers
    scene = {
        "universe": hers["universes_universe"],
        "list": hers["universes_symbollist"],
        "strategy": hers["signals_strategy"],
        "backtest": hers["signals_backtest"],
        "job": hers["core_job"],
        "token": hers["core_apitoken"],
        "passkey": hers["mfa_authenticator"],
        **field.hers_to_sign_in,
        "symbol": "NVDA",
        "core_user": field.alice.pk,
        "marketdata_asset": field.asset.pk,
        **hers,
    }
    return list(addresses(scene))


def client_of(user) -> Client:
    client = Client(raise_request_exception=True)
    if user:
        client.force_login(user)
    return client


def attacked(user, field: Battlefield):
    """Each address and its answers to GET and POST, plain and as HTMX asks, with forms that name another's rows."""
    client = client_of(user)
    for address in every(field):
        for answer in _tried(client, address):
            assert answer.status_code != 500, address
            assert not any(secret in body(answer) for secret in SECRETS), address
            yield address, answer
        if user and address.path.endswith(("sign-out/", "logout/", "password/", "elsewhere/")):
            client.force_login(user)


def _tried(client: Client, address: Address):
    for headers in ({}, {"HX-Request": "true"}):
        yield client.get(address.path, headers=headers)
        yield client.post(address.path, FORM, headers=headers)


def body(answer) -> bytes:
    return b"" if answer.streaming and answer.is_async else answer.getvalue()


def test_all_kinds_of_addresses_are_there(field):
    routes = {address.route for address in every(field)}
    assert {"home", "universes:universe", "marketdata:asset", "core:job", "admin:universes_universe_change"} <= routes
    assert len(routes) > 40


def test_nobody_in_particular_reaches_nothing(field):
    for address, answer in attacked(None, field):
        if address.route not in OPEN:
            assert answer.status_code in (302, 401, 403, 404, 405), (address, answer.status_code)
    assert field.state_of(field.alice) == field.before


def test_a_stranger_finds_nothing_of_alice_and_changes_nothing(field):
    for address, answer in attacked(field.eve, field):
        if address.owned:
            assert answer.status_code in (302, 404, 405, 415), (address, answer.status_code)  # 415: a form, to the API
            if answer.status_code == 302:
                assert "/admin/login/" in answer.url, (address, answer.url)
    assert field.state_of(field.alice) == field.before
    with tenancy.as_system("look"):
        field.domain.refresh_from_db()
        field.house_job.refresh_from_db()
    assert field.domain.name == "AI"
    assert field.house_job.state == "queued"


@pytest.mark.prove
def test_another_who_has_work_of_his_own_neither(field):
    assert len(list(attacked(field.bob, field))) > 200
    assert field.state_of(field.alice) == field.before


@pytest.mark.prove
def test_a_reader_sees_what_is_shared_and_changes_nothing(field):
    """Rita reads Alice's universe; of Alice's jobs, lines and tokens she sees none."""
    client, mine = client_of(field.rita), SECRETS[2:]
    for address in every(field):
        if address.route == "universes:unshare":  # the one thing a reader may do: leave
            continue
        for answer in _tried(client, address):
            assert answer.status_code != 500, address
            assert not any(secret in body(answer) for secret in mine), address
        if address.path.endswith(("sign-out/", "logout/", "password/", "elsewhere/")):
            client.force_login(field.rita)
    assert field.state_of(field.alice) == field.before
    assert SECRETS[0] in client.get(f"/universes/{field.hers['universes_universe']}/").content


def test_staff_see_others_only_in_the_admin(field):
    seen = 0
    client = client_of(field.stella)
    for address in every(field):
        answer = client.get(address.path)
        assert answer.status_code != 500, address
        found = any(secret in body(answer) for secret in SECRETS)
        if address.route.startswith("admin:"):
            seen += found
        else:
            assert not found, address
    assert seen >= 4
    assert field.state_of(field.alice) == field.before


def test_the_owner_reaches_what_is_hers(field):
    client = client_of(field.alice)
    for address in every(field):
        if address.owned and not address.route.startswith("admin:"):
            answer = client.get(address.path)
            assert answer.status_code in (200, 405), (address, answer.status_code)
            if answer.status_code == 200 and address.route not in WORDLESS:
                assert any(secret in body(answer) for secret in SECRETS), address
