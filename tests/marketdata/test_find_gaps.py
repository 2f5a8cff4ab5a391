"""`manage.py find_gaps`: what it prints, for people and for programs, and how it refuses."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from marketdata.models import Asset, Timeframe
from tests.marketdata.test_gaps import at, coin, expected, hours, keep
from tests.sessions import known

pytestmark = pytest.mark.usefixtures("house")


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("find_gaps", *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments: str) -> tuple[str, dict[str, str]]:
    """The sentence, and the JSON object of the last line."""
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("find_gaps", *arguments, "--json", stdout=out)
    assert caught.value.returncode == 1
    return str(caught.value), json.loads(out.getvalue().splitlines()[-1])


def test_it_works():
    keep(coin(), Timeframe.H1, hours(at(2024, 1, 1), 48, 3, 4, 30))
    assert json.loads(said("btc/usdt", "--timeframe", "1h", "--json")) == {
        "symbol": "BTC-USDT", "timeframe": "1h", "calendar": "24/7", "expected": 48, "have": 45, "missing": 3,
        "untraded": 0, "quarantined": 0, "extra": 0,
        "gaps": [
            {"start": "2024-01-01T03:00:00Z", "end": "2024-01-01T04:00:00Z", "candles": 2},
            {"start": "2024-01-02T06:00:00Z", "end": "2024-01-02T06:00:00Z", "candles": 1},
        ],
    }  # fmt: skip
    assert said("BTC-USDT", "--timeframe", "1h").splitlines() == [
        "BTC-USDT 1h: 45 of 48 candles that 24/7 lets expect, 3 missing in 2 gaps.",
        "  2024-01-01 03:00Z to 2024-01-01 04:00Z  2",
        "  2024-01-02 06:00Z  1",
    ]


def test_a_range():
    keep(coin(), Timeframe.H1, hours(at(2024, 1, 1), 48, 3, 4, 30))
    told = json.loads(said("BTC-USDT", "--timeframe", "1h", "--since", "2024-01-01T04:00", "--until", "2024-01-02",
                           "--json"))  # fmt: skip
    assert (told["expected"], told["gaps"]) == (
        20, [{"start": "2024-01-01T04:00:00Z", "end": "2024-01-01T04:00:00Z", "candles": 1}],
    )  # fmt: skip


def test_days_are_dates_and_complete_ones_are_said_to_be():
    known("XNYS")
    nvda = Asset.objects.create(symbol="NVDA")
    days = expected("XNYS", Timeframe.D1, at(2024, 1, 1), at(2024, 3, 1))
    keep(nvda, Timeframe.D1, days)
    assert said("NVDA") == f"NVDA 1d: {len(days)} of {len(days)} candles that XNYS lets expect, none missing.\n"


def test_many_gaps_are_cut_short_for_people_only():
    keep(coin(), Timeframe.H1, [at(2024, 1, 1) + timedelta(hours=2 * n) for n in range(100)])
    lines = said("BTC-USDT", "--timeframe", "1h").splitlines()
    assert (len(lines), lines[-1]) == (42, "  … and 59 more; --json lists all.")
    assert len(json.loads(said("BTC-USDT", "--timeframe", "1h", "--json"))["gaps"]) == 99


def test_refusals_name_the_thing_and_the_remedy():
    text, told = refused("NOSUCH")
    assert text == "There is no asset 'NOSUCH' here. Fetch or import its candles first."
    assert told == {"symbol": "NOSUCH", "timeframe": "1d", "error": text}
    keep(coin(), Timeframe.H1, hours(at(2024, 1, 1), 3))
    text, _ = refused("BTC-USDT")
    assert text == "There are no 1d candles of BTC-USDT. Fetch or import them first. It has 1h."
    text, _ = refused("BTC-USDT", "--timeframe", "1h", "--since", "2024-02-01", "--until", "2024-01-01")
    assert "exchange the two" in text
    Asset.objects.update(calendar="XXXX")
    text, _ = refused("BTC-USDT", "--timeframe", "1h")
    assert text.startswith("The calendar of BTC-USDT: 'XXXX' is no calendar. Write the market's code")


@pytest.mark.parametrize("wrong", [["--timeframe", "2h"], ["--since", "soon"], ["--since", "0001-01-01T00:00+14:00"]])
def test_wrong_usage(wrong):
    with pytest.raises((CommandError, SystemExit)):
        said("BTC-USDT", *wrong)


def test_a_moment_now_is_not_expected_yet():
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    keep(coin(), Timeframe.H1, hours(now - timedelta(hours=5), 5), source="yahoo")
    assert json.loads(said("BTC-USDT", "--timeframe", "1h", "--json"))["missing"] == 0
