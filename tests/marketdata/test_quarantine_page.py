"""The page of held candles: beside their neighbours, under filters, and what staff decide."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from marketdata.models import Asset, Candle, CandleRevision, QuarantinedCandle
from tests import cast
from tests.cast import signed_in
from tests.prices import stored

pytestmark = pytest.mark.usefixtures("house")

FRIDAY = datetime(2024, 3, 8, tzinfo=UTC)
PAGE, DECIDE = "/data/quarantine/", "/data/quarantine/decide/"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def staff():
    return signed_in(cast.stella())


@pytest.fixture
def nvda() -> Asset:
    return stored("NVDA", [100, 110, 120], last=FRIDAY)


def held(asset: Asset, at=FRIDAY, close="1234.5", **more) -> QuarantinedCandle:
    given = {
        "timeframe": "1d",
        "raw": {"open": "118", "high": "1300", "low": "117", "close": close, "volume": "1003000"},
        "kind": "spike",
        "reason": "its close is 10 times that of the candles on both sides",
        "source": "yahoo",
        "fingerprint": f"{asset.pk} {at} {close}",
    }
    return QuarantinedCandle.objects.create(asset=asset, open_time=at, **(given | more))


def test_nothing_is_held(staff):
    assert "Nothing is held" in staff.get(PAGE).text


def test_a_held_candle_stands_beside_its_neighbours(staff, nvda):
    held(nvda, FRIDAY - timedelta(days=1), origin="row 7 of nvda.csv")
    text = staff.get(PAGE).text
    for words in ("its close is 10 times", "Spike", "1 candle", "row 7 of nvda.csv", "Yahoo Finance", "1\u202f234.5"):
        assert words in text
    order = [text.index(f'scope="row">{place}<') for place in ("Before", "As received", "Stored for it", "After")]
    assert order == sorted(order)
    for close in ("100", "110", "120"):
        assert f'<td class="number">{close}</td>' in text


def test_a_row_without_a_time_or_with_strange_words_is_shown(staff, nvda):
    held(nvda, None, raw={"time": "yesterday", "open": "<b>12</b>", "high": None, "close": "1" * 60}, kind="unreadable")
    held(nvda, FRIDAY, raw=["a", "list"], kind="", fingerprint="list")
    text = staff.get(PAGE).text
    assert "yesterday" in text
    assert "<b>12</b>" not in text
    assert "&lt;b&gt;12" in text
    assert "Unreadable" in text
    assert "Other" in text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"NVDA", "MSFT"}),
        ("q=nvd", {"NVDA"}),
        ("kind=twin", {"MSFT"}),
        ("timeframe=1h", {"MSFT"}),
        ("source=file", {"MSFT"}),
        ("state=rejected", {"IBM"}),
        ("state=all", {"NVDA", "MSFT", "IBM"}),
        ("q=zzz", set()),
        ("kind=x&timeframe=7x&state=%01&page=99", {"NVDA", "MSFT"}),
    ],
)
def test_filters_are_in_the_address(staff, nvda, query, found):
    held(nvda)
    held(Asset.objects.create(symbol="MSFT"), kind="twin", timeframe="1h", source="file")
    held(Asset.objects.create(symbol="IBM"), state="rejected", decided_by="stella")
    text = staff.get(f"{PAGE}?{query}", headers=HTMX).text
    assert "<html" not in text
    assert {name for name in ("NVDA", "MSFT", "IBM") if name in text} == found


def test_a_group_says_how_many_it_has_beyond_the_page(staff, nvda):
    for n in range(45):
        held(nvda, FRIDAY - timedelta(days=n), fingerprint=str(n))
    text = staff.get(f"{PAGE}?page=2").text
    assert "45 candles" in text
    assert "Page 2 of 2" in text
    assert text.count('name="id"') == 5


def test_of_several_groups_examples_are_shown_and_the_rest_by_a_link(staff, nvda):
    for n in range(6):
        held(nvda, FRIDAY - timedelta(days=n), fingerprint=str(n))
    held(Asset.objects.create(symbol="NVDA.X"))
    text = staff.get(PAGE).text
    assert text.count('name="id"') == 3
    assert "Show the other 4" in text
    only = re.search(r'href="(\?symbol=NVDA&amp;[^"]+)">Show', text)
    assert only
    alone = staff.get(PAGE + unescape(only[1])).text
    assert alone.count('name="id"') == 6
    assert "NVDA.X" not in alone


def test_a_whole_group_is_decided_about_but_nothing_that_came_meanwhile(staff, nvda):
    for n in range(45):
        held(nvda, FRIDAY - timedelta(days=n), fingerprint=str(n))
    other = held(Asset.objects.create(symbol="IBM"))
    text = staff.get(PAGE).text
    asked_for = unescape(re.search(r'href="([^"]+)">Reject all', text)[1])
    asked = staff.get(asked_for).text
    assert "Reject 45 candles?" in asked
    assert "And 41 more" in asked
    late = held(nvda, FRIDAY - timedelta(days=50), fingerprint="late")
    fields = dict(re.findall(r'<input type="hidden" name="(decision|group|last|back)" value="([^"]*)">', asked))
    answer = staff.post(DECIDE, {name: unescape(value) for name, value in fields.items()}, follow=True)
    assert "45 candles rejected." in answer.text
    assert set(QuarantinedCandle.objects.filter(state="held").values_list("pk", flat=True)) == {other.pk, late.pk}


def test_a_whole_group_that_cannot_be_stored_says_so_once(staff, nvda):
    for n in range(110):
        held(nvda, FRIDAY - timedelta(days=n), fingerprint=str(n), raw={"open": "10", "high": "1"}, kind="impossible")
    group = f"{nvda.pk}:1d:impossible:"
    answer = staff.post(DECIDE, {"decision": "release", "group": group}, follow=True).text
    assert answer.count("can’t be released") + answer.count("can&#x27;t be released") == 1
    assert "Nothing of these 110 was released" in answer
    assert not QuarantinedCandle.objects.exclude(state="held").exists()


@pytest.mark.parametrize("group", ["", "x", "1", "1:1d", "9" * 30 + ":1d:spike:", "1:9q:spike:"])
def test_a_group_that_is_none_decides_nothing(staff, nvda, group):
    held(nvda)
    answer = staff.post(DECIDE, {"decision": "reject", "group": group, "last": "x"}, follow=True)
    assert "nothing was decided" in answer.text
    assert QuarantinedCandle.objects.get().state == "held"


def test_release_first_says_what_it_does_and_then_does_it(staff, nvda):
    row = held(nvda)
    asked = staff.get(DECIDE, {"decision": "release", "id": row.pk, "back": "q=nvda&page=2"})
    assert "Release 1 candle?" in asked.text
    assert "replaces the candle that is stored" in asked.text
    assert QuarantinedCandle.objects.get().state == "held", "looking is not deciding"
    answer = staff.post(DECIDE, {"decision": "release", "id": row.pk, "back": "q=nvda&page=2"})
    assert answer.headers["Location"] == f"{PAGE}?q=nvda&page=2"
    assert "1 candle released." in staff.get(PAGE).text
    row.refresh_from_db()
    assert (row.state, row.decided_by) == ("released", "stella")
    assert Candle.objects.get(asset=nvda, open_time=FRIDAY).close == 1234.5
    assert CandleRevision.objects.get().close == 120
    assert "Released by stella" in staff.get(f"{PAGE}?state=released").text


def test_several_are_rejected_at_once(staff, nvda):
    rows = [held(nvda, FRIDAY - timedelta(days=n)) for n in range(3)]
    answer = staff.post(DECIDE, {"decision": "reject", "id": [row.pk for row in rows[:2]]}, follow=True)
    assert "2 candles rejected." in answer.text
    assert sorted(QuarantinedCandle.objects.values_list("state", flat=True)) == ["held", "rejected", "rejected"]
    assert Candle.objects.count() == 3


def test_what_cannot_be_released_is_said_and_stops_nothing_else(staff, nvda):
    bad = held(nvda, raw={"open": "10", "high": "1", "low": "9", "close": "10", "volume": "1"}, kind="impossible")
    good = held(nvda, FRIDAY - timedelta(days=1), close="1300")
    answer = staff.post(DECIDE, {"decision": "release", "id": [bad.pk, good.pk]}, follow=True)
    assert "be released" in answer.text
    assert "1 candle released." in answer.text
    states = {row.pk: row.state for row in QuarantinedCandle.objects.all()}
    assert states == {bad.pk: "held", good.pk: "released"}


def test_wrong_input_changes_nothing(staff, nvda):
    row = held(nvda)
    assert staff.post(DECIDE, {"decision": "eat", "id": row.pk}).status_code == 404
    assert "No candle was chosen" in staff.post(DECIDE, {"decision": "reject"}, follow=True).text
    for strange in ("x", "-1", "9" * 30, "²"):
        assert staff.post(DECIDE, {"decision": "reject", "id": strange}).status_code == 302
    away = staff.post(DECIDE, {"decision": "reject", "back": "https://example.org/?a=b"})
    assert away.headers["Location"].startswith(PAGE)
    row.refresh_from_db()
    assert row.state == "held"


def test_others_look_and_do_not_decide(nvda):
    row = held(nvda)
    page = signed_in(cast.alice())
    text = page.get(PAGE).text
    assert "its close is 10 times" in text
    assert 'name="id"' not in text
    assert 'name="decision"' not in text
    for answer in (
        page.get(DECIDE, {"decision": "release", "id": row.pk}),
        page.post(DECIDE, {"decision": "release", "id": row.pk}),
    ):
        assert answer.status_code == 403
        assert "Staff release and reject candles" in answer.text
    row.refresh_from_db()
    assert row.state == "held"
