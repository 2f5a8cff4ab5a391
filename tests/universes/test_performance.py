"""Members beside each other and their universe: the arithmetic told slowly, and the pages."""

import csv
import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronos.core import tenancy
from tests import cast
from tests.prices import stored, walk
from tests.universes.test_universe_pages import HTMX, made, queries
from universes import performance
from universes.views import performance as drawn

pytestmark = pytest.mark.usefixtures("house")
LAST = datetime(2024, 3, 8, tzinfo=UTC)


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return cast.signed_in(alice)


def joined(alice, universe, **since):
    with tenancy.acting_as(alice):
        for symbol, at in since.items():
            universe.memberships.filter(asset__symbol=symbol).update(joined_at=at)


# --- The arithmetic, against the same in plain loops -------------------------------------------------------------


def slowly(days, closes, inside, base):
    """A day after the other, an asset after the other."""
    level, counts, value, begun = {}, [], 100.0, False
    for place, day in enumerate(days):
        gains = []
        for row, held in zip(closes, inside, strict=True):
            before = [at for at in range(place) if row[at] is not None]
            if not before or day - days[before[-1]] > 10 or not held[place]:
                continue
            gains.append(0.0 if row[place] is None else row[place] / row[before[-1]] - 1)
        counts.append(len(gains))
        if place <= base:
            continue
        if gains:
            if not begun:
                begun, level[place - 1] = True, 100.0
            value *= 1 + sum(gains) / len(gains)
            level[place] = value
    return level, counts


prices = st.one_of(st.none(), st.floats(1, 1000))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_the_universes_line_is_what_plain_loops_say(data):
    steps = data.draw(st.lists(st.sampled_from([1, 1, 1, 3, 4, 12]), min_size=2, max_size=20))
    days = np.cumsum(steps).tolist()
    many = data.draw(st.integers(1, 4))
    closes = [data.draw(st.lists(prices, min_size=len(days), max_size=len(days))) for _ in range(many)]
    inside = [data.draw(st.lists(st.booleans(), min_size=len(days), max_size=len(days))) for _ in range(many)]
    base = data.draw(st.integers(0, len(days) - 1))
    table = np.array([[np.nan if close is None else close for close in row] for row in closes])
    level, counts = performance.weighted(np.array(days), table, np.array(inside), base)
    expected, members = slowly(days, closes, inside, base)
    assert counts.tolist() == members
    assert {n: pytest.approx(v) for n, v in enumerate(level.tolist()) if v == v} == expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_a_line_begins_with_the_last_close_before_the_span(data):
    days = np.cumsum(data.draw(st.lists(st.sampled_from([1, 3, 12]), min_size=2, max_size=20))).tolist()
    closes = data.draw(st.lists(prices, min_size=len(days), max_size=len(days)))
    base = data.draw(st.integers(0, len(days) - 1))
    values = performance.rebased(np.array(days), np.array([np.nan if c is None else c for c in closes]), base)
    before = [n for n in range(base + 1) if closes[n] is not None][-1:]
    after = [n for n in range(base + 1, len(days)) if closes[n] is not None]
    recent = [n for n in before if days[base] - days[n] <= 10]
    begin = next(iter(recent or after), None)
    expected = {n: 100 * closes[n] / closes[begin] for n in after} if begin is not None else {}
    if begin is not None and begin <= base:
        expected[base] = 100.0
    assert {n: pytest.approx(v) for n, v in enumerate(values.tolist()) if v == v} == expected


# --- As it is stored ---------------------------------------------------------------------------------------------


def test_who_joined_later_has_no_part_in_what_was_before(alice):
    stored("AAA", [100, 110, 121, 133.1, 146.41], last=LAST)
    stored("BBB", [100, 50, 25, 25, 25.0], last=LAST)
    universe = made(alice, "AAA", "BBB")
    joined(alice, universe, AAA=LAST - timedelta(days=30), BBB=LAST - timedelta(days=2, hours=-1))
    with tenancy.acting_as(alice):
        dated = performance.compare(universe, [], "1mo")
        now = performance.compare(universe, [], "1mo", weigh="now")
        off = performance.compare(universe, [], "1mo", weigh="off")
    assert dated.universe.values[-1] == pytest.approx(100 * 1.1 * 1.1 * 1.05 * 1.05)
    assert dated.members == 2
    assert now.universe.values[-1] == pytest.approx(100 * 0.8 * 0.8 * 1.05 * 1.05)
    assert off.universe is None
    assert {line.symbol: line.values[-1] for line in dated.lines} == {
        "AAA": pytest.approx(146.41), "BBB": pytest.approx(25),
    }  # fmt: skip


def test_the_universes_line_begins_with_100_on_a_day_without_any_chosen_one(alice):
    stored("COIN", [100, 100, 120, 120, 120], last=LAST)
    stored("STK", [50] * 2, last=LAST)
    stored("STK", [50], last=LAST - timedelta(days=4))
    universe = made(alice, "STK", "COIN")
    since = LAST - timedelta(days=2, hours=12)
    joined(alice, universe, STK=since, COIN=since)
    with tenancy.acting_as(alice):
        told = performance.compare(universe, ["STK"], "max")
    assert told.universe.values == [None, 100, pytest.approx(110), pytest.approx(110)]
    assert told.universe.change == pytest.approx(0.1)


def test_who_left_has_no_part_afterwards_and_is_not_offered(alice):
    stored("AAA", [100, 100, 100, 100.0], last=LAST), stored("BBB", [100, 110, 121, 133.1], last=LAST)
    universe = made(alice, "AAA", "BBB")
    joined(alice, universe, AAA=LAST - timedelta(days=30), BBB=LAST - timedelta(days=30))
    with tenancy.acting_as(alice):
        universe.memberships.filter(asset__symbol="BBB").update(left_at=LAST - timedelta(days=1))
        told = performance.compare(universe, [], "1mo")
        then = performance.compare(universe, ["BBB"], "1mo", at=LAST - timedelta(days=1, seconds=1))
    assert [line.symbol for line in told.lines] == ["AAA"]
    assert told.universe.values[-1] == pytest.approx(100 * 1.05)
    assert then.lines[0].values[-1] == pytest.approx(110)
    assert then.universe.values[-1] == pytest.approx(105)


def test_unasked_it_draws_those_that_have_candles_in_the_span(alice):
    ended = [f"E{n}" for n in range(performance.FIRST)]
    for symbol in ended:
        stored(symbol, walk(30), last=LAST - timedelta(days=400))
    stored("ALIVE", walk(30), last=LAST), stored("ALSO", walk(30), last=LAST)
    universe = made(alice, *ended, "ALIVE", "ALSO")
    with tenancy.acting_as(alice):
        year, ever = performance.compare(universe, [], "1y"), performance.compare(universe, [], "max")
    assert [line.symbol for line in year.lines] == ["ALIVE", "ALSO"]
    assert year.left_out == []
    assert [line.symbol for line in ever.lines] == ended


def test_an_asset_keeps_its_colour_when_others_come_and_go(alice):
    symbols = [f"S{n}" for n in range(10)]
    for symbol in symbols:
        stored(symbol, walk(5), last=LAST)
    universe = made(alice, *symbols)
    with tenancy.acting_as(alice):
        all_of_them = performance.compare(universe, symbols, "1mo")
        some = performance.compare(universe, symbols[3:6], "1mo")
    assert len(all_of_them.lines) == performance.MOST
    assert all_of_them.left_out == ["S8", "S9"]
    hues = {line.symbol: line.hue for line in all_of_them.lines}
    assert sorted(hues.values()) == list(range(1, 9))
    assert {line.symbol: line.hue for line in some.lines} == {symbol: hues[symbol] for symbol in symbols[3:6]}


@pytest.mark.parametrize(
    ("span", "begins"),
    [
        ("1mo", datetime(2024, 2, 29)),
        ("3mo", datetime(2023, 12, 31)),
        ("ytd", datetime(2023, 12, 31)),
        ("1y", datetime(2023, 3, 31)),
        ("max", datetime(2022, 11, 18)),
    ],
)
def test_spans(alice, span, begins):
    stored("AAA", walk(500), last=datetime(2024, 3, 31, tzinfo=UTC))
    universe = made(alice, "AAA")
    with tenancy.acting_as(alice):
        told = performance.compare(universe, [], span)
    assert (told.days[0], told.days[-1]) == (begins.date(), datetime(2024, 3, 31).date())


# --- The pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [103, 130, 1_000, 10_000_000, 1e12, 1e30])
def test_there_are_a_few_levels_however_far_a_line_rose(most):
    levels = drawn._levels(99, most, False)
    assert 2 <= len(levels) <= 6
    assert len(set(np.diff(levels))) <= 1


@pytest.fixture
def pair(alice):
    stored("AAA", walk(60), last=LAST), stored("BBB", walk(60, 50), last=LAST)
    return made(alice, "AAA", "BBB", "EMPTY")


def test_the_part_on_the_universes_page(page, pair):
    url = f"/universes/{pair.pk}/performance/"
    text = page.get(url, headers=HTMX).text
    assert "<html" not in text
    assert text.count("<polyline") == 2
    assert "AAA gained" in text
    assert "had no members during this span" in text  # it was made today
    assert "today’s members throughout, which is hindsight" in page.get(f"{url}?weigh=now").text
    assert "Without daily candles in this span: EMPTY" in page.get(f"{url}?compare=AAA,EMPTY").text
    assert "no daily candles in this span" in page.get(f"{url}?compare=EMPTY").text
    assert url in page.get(pair.get_absolute_url()).text


def test_what_was_ticked_is_compared_and_in_the_address(page, pair):
    url, on_page = f"/universes/{pair.pk}/performance/", f"http://testserver{pair.get_absolute_url()}?q=a&span=3mo"
    asked = HTMX | {"HX-Current-URL": on_page, "HX-Trigger": "compare-chosen"}
    answer = page.post(url, {"symbol": ["BBB"]}, headers=asked)
    assert answer.text.count("<polyline") == 1
    assert answer.headers["HX-Replace-Url"] == f"{pair.get_absolute_url()}?q=a&compare=BBB&span=3mo"
    assert page.post(url, {"symbol": ["BBB", "AAA"]}).url == f"{url}?compare=BBB,AAA"
    rows = page.get(pair.get_absolute_url(), headers=HTMX | {"HX-Current-URL": f"{on_page}&compare=BBB"})
    assert rows.headers["HX-Push-Url"] == f"{pair.get_absolute_url()}?compare=BBB&span=3mo"


def test_the_file_and_what_the_pointer_reads(page, pair):
    rows = list(csv.reader(io.StringIO(page.get(f"/universes/{pair.pk}/performance.csv?span=max&weigh=now").text)))
    assert rows[0] == ["date", "AAA", "BBB", "universe"]
    assert rows[1][1:3] == ["100.000000", "100.000000"]
    assert len(rows) == 61
    told = page.get(f"/universes/{pair.pk}/performance.json?span=max").json()
    assert len(told["days"]) == len(told["at"]) == len(told["lines"]["AAA"]) == 60
    assert told["at"][-1] == 1


@pytest.mark.parametrize("key", ["compare", "span", "scale", "weigh", "at"])
def test_whatever_is_written_in_the_address_is_answered(page, pair, key):
    for value in ("%01", "<script>alert(1)</script>", "a," * 900, "9" * 300, ",", "2024-02-31"):
        for path in ("performance/", "performance.csv"):
            answer = page.get(f"/universes/{pair.pk}/{path}?{key}={value}")
            assert answer.status_code == 200, value
            assert b"<script>alert" not in answer.getvalue()


def test_it_takes_the_same_queries_for_few_and_for_many(alice, page, pair):
    url = f"/universes/{pair.pk}/performance/?weigh=dated"
    few = queries(page, url)
    more = [f"S{n}" for n in range(12)]
    for symbol in more:
        stored(symbol, walk(20), last=LAST)
    from universes import membership

    with tenancy.acting_as(alice):
        membership.add(pair, alice, more)
        pair.memberships.update(joined_at=LAST - timedelta(days=400))
    page.get(url)  # makes their column files
    assert len(queries(page, url)) <= len(few) + 3


def test_a_stranger_sees_none_of_it(pair):
    bob = cast.signed_in(cast.bob())
    for path in ("performance/", "performance.csv", "performance.json"):
        assert bob.get(f"/universes/{pair.pk}/{path}").status_code == 404


def test_numbers_are_not_loaded_with_the_pages():
    import subprocess
    import sys

    code = (
        "import django; django.setup(); import chronos.urls, sys;"
        " print([m for m in ('numpy', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("[]")
