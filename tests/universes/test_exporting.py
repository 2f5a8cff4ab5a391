"""A universe as a file, and back."""

import asyncio
import csv
import io
from datetime import UTC, datetime, timedelta

import openpyxl
import orjson
import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronos.core import tenancy, tokens
from marketdata.models import Asset
from tests import cast
from universes import catalogue, exporting, history, membership
from universes.lists import adding, drafts
from universes.lists.parsing import parse_file
from universes.models import Membership

pytestmark = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


def body(answer) -> bytes:
    async def read():
        return b"".join([part async for part in answer.streaming_content])

    return asyncio.run(read())


def told(universe):
    """All that an export is about, but for the order."""
    rows = universe.memberships.order_by("asset__symbol", "joined_at")
    return list(rows.values_list("asset__symbol", "joined_at", "left_at", "note", "tags"))


def test_it_works(alice):
    Asset.objects.create(symbol="NVDA", name="NVIDIA", sector="Technology", country="United States", exchange="NMS")
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Chips & Co", "Makers")
        membership.add(mine, alice, ["NVDA", "MSFT"], datetime(2024, 3, 8, tzinfo=UTC))
        membership.annotate(mine, alice, "NVDA", "=1+1", ["ai", "a;b"])
        membership.remove(mine, alice, ["MSFT"])
    page = cast.signed_in(alice)
    answer = page.get(f"/universes/{mine.pk}/export.csv")
    assert 'filename="chips-co_' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(body(answer).decode())))
    assert [(row["symbol"], row["name"], row["sector"], row["joined"], row["left"]) for row in rows] == [
        ("NVDA", "NVIDIA", "Technology", "2024-03-08", "")
    ]
    assert (rows[0]["note"], rows[0]["tags"]) == ("'=1+1", 'ai;"a;b"')
    past = orjson.loads(body(page.get(f"/universes/{mine.pk}/export.json?past=1")))
    assert past["universe"] == {"name": "Chips & Co", "description": "Makers"}
    assert [(row["symbol"], row["left"] is None, row["note"]) for row in past["members"]] == [
        ("NVDA", True, "=1+1"), ("MSFT", False, ""),
    ]  # fmt: skip
    book = openpyxl.load_workbook(io.BytesIO(body(page.get(f"/universes/{mine.pk}/export.xlsx"))))
    cell = book["Members"]["L2"]
    assert (cell.value, cell.data_type) == ("'=1+1", "s")  # text, not a formula
    assert page.get(f"/universes/{mine.pk}/export.pdf").status_code == 404


def test_who_sees_a_universe_can_take_it_away_and_nobody_else(alice):
    with tenancy.acting_as(alice):
        mine = catalogue.create(alice, "Chips")
        membership.add(mine, alice, ["NVDA"])
        rita, bob = cast.rita(), cast.bob()
        catalogue.share(mine, alice, ["rita"])
    url = f"/universes/{mine.pk}/export.csv"
    answer = cast.signed_in(rita).get(url)
    assert b"NVDA" in body(answer)
    assert cast.signed_in(bob).get(url).status_code == 404
    with tenancy.acting_as(alice):
        _, secret = tokens.issue(alice, "a program")
    answer = Client().get(url, headers={"Authorization": f"Bearer {secret}"})
    assert b"NVDA" in body(answer)


NASTY = ["=1+1", "'=x", "''@", "-5", "+49", "\ttab", "a\r\nb", "a\rb", '"', ",;|", "_x000D_",
         "_x005F_x0041_x0042_", "#N/A", "TRUE", "1.0", "2024-01-01", "\x0b\x1f", "\ufffe", "null", "'"]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NOTE = (TEXT | st.sampled_from(NASTY)).map(str.strip)
SIGNS = st.characters(categories=["L", "N", "P", "S"])
TAG = st.text(SIGNS, min_size=1, max_size=8) | st.sampled_from(["=x", "a;b", 'say "x"', "a,b", "'=", "@", "two words"])
MOMENT = st.datetimes(datetime(2001, 1, 1), datetime(2019, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))


def brought_back(universe, user, form):
    """A second universe, out of an export of the first."""
    out = io.BytesIO()
    exporting.write(universe, form, out, past=True)
    second = catalogue.create(user, "Second")
    found = drafts.keep(second, user, parse_file(f"x.{form}", out.tell(), io.BytesIO(out.getvalue())), "x")
    adding.confirm(found, user)
    adding.add_all(found, user)
    return second


@pytest.mark.parametrize("form", exporting.TYPES)
def test_nasty_notes_and_tags_come_back(alice, form):
    notes = dict(enumerate(text.strip() for text in NASTY))
    with tenancy.acting_as(alice):
        first = catalogue.create(alice, "First")
        stays = [history.Stay(f"A{n}", datetime(2020, 1, 1, tzinfo=UTC), None, note) for n, note in notes.items()]
        history.record(first, alice, stays)
        tags = ["=x", "a;b", 'say "x"', "a,b", "'=", "@", "two words", '"', "_x0041_"]
        membership.annotate(first, alice, "A0", notes[0], tags)
        second = brought_back(first, alice, form)
        assert dict(second.memberships.values_list("asset__symbol", "note")) == {f"A{n}": notes[n] for n in notes}
        assert second.memberships.get(asset__symbol="A0").tags == tags


TAGS = st.lists(TAG, max_size=3, unique_by=str.casefold)
STAY = st.tuples(MOMENT, st.integers(1, 300), NOTE, TAGS, st.integers(0, 99))
SYMBOL = st.sampled_from(["NVDA", "^GSPC", "BTC-USDT", "EUR-USD", "MAR", "A.B"])
STAYS = st.lists(st.tuples(SYMBOL, STAY), min_size=1, max_size=5, unique_by=lambda one: one[0])


@settings(max_examples=9, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given=STAYS, form=st.sampled_from(["csv", "xlsx", "json"]))
def test_the_round_trip_is_lossless(house, given, form):
    user = cast.person(f"p{cast.User.objects.count()}")
    with tenancy.acting_as(user):
        first = catalogue.create(user, "First")
        for number, (symbol, (joined, days, note, tags, position)) in enumerate(given):
            left = joined + timedelta(days=days) if number % 2 else None
            stays = [history.Stay(symbol, joined, left, note, tags)]
            stays += [history.Stay(symbol, left + timedelta(days=1), None, note[::-1].strip())] if left else []
            report = history.record(first, user, stays)
            assert not report.refused
            Membership.objects.filter(universe=first, asset__symbol=symbol).update(position=position)
        second = brought_back(first, user, form)
        assert told(second) == told(first)
        assert list(exporting.chunks(second, past=True)) == list(exporting.chunks(first, past=True))
        now = [stay.asset.symbol for stay in membership.members(first)]
        assert [stay.asset.symbol for stay in membership.members(second)] == now
        catalogue.delete(first, user)
