"""The providers' keys: where they lie, and where they must never be."""

import io
import logging

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from marketdata import chains, credentials, providers
from marketdata.asking import Foreground
from marketdata.fetching import fetch
from marketdata.models import Asset, FetchWindow, ProviderKey, ProviderState, Series, Timeframe
from tests.house import owner
from tests.loopback.alphavantage import AlphaVantage
from tests.loopback.keyed import alphavantage as alphavantage_fixture
from tests.loopback.keyed import twelvedata as twelvedata_fixture
from tests.loopback.twelvedata import TwelveData

pytestmark = pytest.mark.usefixtures("house")
twelvedata, alphavantage = twelvedata_fixture, alphavantage_fixture
KEY = "abcDEF0123456789"


def run(*words: str, typed: str | None = None, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    out = io.StringIO()
    if monkeypatch and typed is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    call_command("set_provider_key", *words, stdout=out)
    return out.getvalue()


def test_what_is_stored_is_read_again_and_lies_there_encrypted() -> None:
    assert (credentials.secret("twelvedata"), credentials.origin("twelvedata")) == ("", "")
    credentials.store("twelvedata", f" {KEY}\n", "alice")
    assert (credentials.secret("twelvedata"), credentials.origin("twelvedata")) == (KEY, "stored")
    with owner() as database:
        row = database.execute("SELECT provider_key::text FROM marketdata_providerkey provider_key").fetchone()[0]
    assert KEY not in row
    assert KEY.encode().hex() not in row


def test_the_environment_goes_first(settings) -> None:
    credentials.store("twelvedata", KEY, "alice")
    settings.TWELVEDATA_API_KEY = "fromtheenvironment"
    assert (credentials.secret("twelvedata"), credentials.origin("twelvedata")) == ("fromtheenvironment", "environment")


def test_another_secret_key_makes_it_unreadable_and_says_what_to_do(settings) -> None:
    credentials.store("twelvedata", KEY, "alice")
    settings.SECRET_KEY = "another one, as long as it has to be, and not the one before"
    assert (credentials.secret("twelvedata"), credentials.origin("twelvedata")) == ("", "unreadable")
    link = next(link for link in chains.explain("fx") if link.provider.name == "twelvedata")
    assert not link.usable
    assert "SECRET_KEY has changed: set it anew" in link.why
    credentials.store("twelvedata", KEY, "alice")
    assert credentials.secret("twelvedata") == KEY


def test_a_row_copied_to_another_provider_or_tampered_with_is_no_key() -> None:
    credentials.store("twelvedata", KEY, "mallory")
    row = ProviderKey.objects.get()
    ProviderKey.objects.create(provider="alphavantage", secret=row.secret)
    assert credentials.origin("alphavantage") == "unreadable"
    ProviderKey.objects.filter(provider="twelvedata").update(secret=bytes(row.secret)[:-3] + b"AAA")
    assert credentials.origin("twelvedata") == "unreadable"


def test_the_same_key_is_encrypted_otherwise_each_time_and_has_one_fingerprint() -> None:
    seen = []
    for _ in range(2):
        credentials.store("twelvedata", KEY, "alice")
        seen.append((bytes(ProviderKey.objects.get().secret), credentials.fingerprint("twelvedata")))
    assert seen[0][0] != seen[1][0]
    assert seen[0][1] == seen[1][1]
    credentials.store("twelvedata", KEY + "x", "alice")
    assert credentials.fingerprint("twelvedata") != seen[0][1]


@pytest.mark.parametrize("odd", ["", "  ", "two words", "tab\tin it", "ключ", "x" * 201, "nul\0", "line\nline"])
def test_what_can_be_no_key_is_refused_without_repeating_it(odd: str) -> None:
    credentials.store("twelvedata", KEY, "alice")
    with pytest.raises(credentials.BadKey) as refused:
        credentials.store("twelvedata", odd, "alice")
    assert not odd.strip() or odd not in str(refused.value)
    assert credentials.secret("twelvedata") == KEY


def test_a_provider_that_takes_none_is_refused_with_those_that_do() -> None:
    with pytest.raises(credentials.BadKey, match="twelvedata, alphavantage"):
        credentials.store("yahoo", KEY, "alice")
    assert credentials.secret("yahoo") == credentials.origin("yahoo") == credentials.fingerprint("yahoo") == ""


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200))
def test_any_printable_key_survives(key: str) -> None:
    box = credentials._fernet("twelvedata")
    assert box.decrypt(box.encrypt(key.encode())).decode() == key


def test_at_hand_it_needs_no_database(django_assert_num_queries) -> None:
    credentials.store("twelvedata", KEY, "alice")
    with credentials.at_hand("twelvedata"), django_assert_num_queries(0):
        assert credentials.secret("twelvedata") == KEY
        assert credentials.account("twelvedata").startswith("twelvedata ")


class TestCommand:
    def test_the_key_is_read_from_standard_input_and_not_shown(self, monkeypatch) -> None:
        said = run("twelvedata", typed=f"{KEY}\n", monkeypatch=monkeypatch)
        assert credentials.secret("twelvedata") == KEY
        assert KEY not in said
        assert "0 of 800" in said
        assert "command" in ProviderKey.objects.get().set_by

    def test_forgetting(self, monkeypatch) -> None:
        run("twelvedata", typed=KEY, monkeypatch=monkeypatch)
        assert "is forgotten" in run("twelvedata", "--forget")
        assert credentials.origin("twelvedata") == ""
        assert "none was stored" in run("twelvedata", "--forget")

    def test_the_environments_key_is_named_when_it_goes_first(self, monkeypatch, settings) -> None:
        settings.TWELVEDATA_API_KEY = "another"
        assert "TWELVEDATA_API_KEY in the environment goes first" in run(
            "twelvedata", typed=KEY, monkeypatch=monkeypatch
        )

    def test_nonsense_is_one_line(self, monkeypatch) -> None:
        with pytest.raises(CommandError, match="empty"):
            run("twelvedata", typed="\n", monkeypatch=monkeypatch)
        with pytest.raises(CommandError, match="twelvedata"):
            run("yahoo", typed=KEY, monkeypatch=monkeypatch)


@pytest.mark.parametrize("kind", ["echo", "401", "day", "404", "reset", "longwinded"])
def test_the_key_reaches_no_table_and_no_log(
    twelvedata: TwelveData, alphavantage: AlphaVantage, caplog, settings, kind: str
) -> None:
    """Ledger, series, provider state, command output and log lines, whatever the providers repeat."""
    caplog.set_level(logging.DEBUG)
    settings.TWELVEDATA_API_KEY = settings.ALPHAVANTAGE_API_KEY = ""
    for server in (twelvedata, alphavantage):
        server.fail("*", kind)
        credentials.store(type(server).__name__.lower(), server.key, "alice")
    chains.set_chain("stock", ["twelvedata", "alphavantage"], "alice")
    said: list[str] = []
    asset = Asset.objects.create(symbol="AAPL")
    done = fetch(asset, Timeframe.D1, None, Foreground().since, wait=Quick(said.append))
    assert done.status == "failed"
    texts = [done.error, *said, caplog.text]
    for model in (FetchWindow, Series, ProviderState, Asset):
        texts += [str(row) for row in model.objects.values()]
    assert len(texts) > 5
    assert not [text for text in texts if twelvedata.key.lower() in text.lower()]
    assert not connection.in_atomic_block


class Quick(Foreground):
    def sleep(self, seconds: float) -> None:
        pass


def test_every_provider_that_wants_a_key_can_be_given_one() -> None:
    wanting = {name for name, provider in providers.REGISTRY.items() if provider.needs_key}
    assert wanting == set(credentials.VARIABLES)
