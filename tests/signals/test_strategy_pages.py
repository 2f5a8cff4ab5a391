"""The pages of strategies: listed, made by the form that a kind declares, read, changed, copied, deleted and back."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from chronos.core import tenancy
from signals import catalogue, jobs
from signals.models import Backtest, Curve, Strategy, Trade
from signals.strategies import registry
from signals.strategies.declaring import Kind, Parameter, Rule
from tests import cast
from tests.cast import signed_in
from tests.signals.test_models import ran, with_result

pytestmark = pytest.mark.usefixtures("house")

PART = {"HX-Request": "true"}
# Of a package of somebody's own: every type of parameter.
MOODS = Kind(
    name="moods",
    label="Moods",
    summary="Trades by mood.",
    parameters=(
        Parameter("depth", "Depth", float, 2.5, 0.5, 10, 0.5, "σ", "How far."),
        Parameter("short", "Goes short", bool, False, help="Both ways."),
        Parameter("mood", "Mood", str, "calm", choices=("calm", "wild")),
        Parameter("motto", "Motto", str, "Buy & hold"),
    ),
    warmup=lambda p: 20,
    decide=lambda bars, p: Rule(),
    explanation="Nobody knows.",
    origin="moods-package",
)


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return signed_in(alice)


@pytest.fixture
def trend(alice) -> Strategy:
    with tenancy.acting_as(alice):
        return catalogue.create(alice, "Trend", "sma-cross", {"fast": 20, "slow": 50}, "Trends last.")


@pytest.fixture
def moods():
    """As if a package that offers it were installed."""
    registry.kinds()["moods"] = MOODS
    yield
    registry.forget()


def stored(strategy) -> Strategy:
    with tenancy.as_system("tests"):
        return Strategy.objects.get(pk=strategy.pk)


def every() -> list[Strategy]:
    with tenancy.as_system("tests"):
        return list(Strategy.objects.order_by("pk"))


def form(**changes) -> dict[str, str]:
    return {"name": "Trend", "notes": "", "p-fast": "20", "p-slow": "50"} | changes


class TestList:
    def test_it_says_what_each_has_shown(self, alice, page, trend, django_assert_max_num_queries):
        now = timezone.now()
        with tenancy.acting_as(alice):
            for gain, days, symbol in ((0.31, 5, "GOOG"), (-0.125, 1, "NVDA"), (9.99, 3, "GONE")):
                run = ran(alice, trend, symbol, total_return=gain, finished_at=now, trade_count=12)
                Backtest.objects.filter(pk=run.pk).update(created_at=now - timedelta(days=days))
            Backtest.objects.filter(asset__symbol="GONE").update(deleted_at=now)
            catalogue.create(alice, "Never run", "sma-cross", {})
        with django_assert_max_num_queries(15):
            text = page.get("/strategies/").text
        for words in ("Trend", "SMA cross", "Fast average 20 bars, Slow average 50 bars", "+31.00", "GOOG", "−12.50",
                      "NVDA", ">2<", "24 h ago", "never", "2 strategies"):  # fmt: skip
            assert words in text, words
        assert "999" not in text

    def test_it_is_sorted_by_any_column_with_those_without_a_figure_last(self, alice, page, trend):
        with tenancy.acting_as(alice):
            better = catalogue.create(alice, "Better", "sma-cross", {})
            catalogue.create(alice, "Nothing yet", "sma-cross", {})
            ran(alice, trend, total_return=0.1, finished_at=timezone.now())
            ran(alice, better, total_return=0.2, finished_at=timezone.now())
            ran(alice, better, failure="x", finished_at=timezone.now())

        def order(sort):
            text = page.get(f"/strategies/?sort={sort}", headers=PART).text
            assert "<html" not in text
            return sorted(("Better", "Trend", "Nothing yet"), key=lambda name: text.index(f">{name}</a>"))

        assert order("name") == ["Better", "Nothing yet", "Trend"]
        assert order("-name") == ["Trend", "Nothing yet", "Better"]
        assert order("best") == ["Trend", "Better", "Nothing yet"]
        assert order("-best") == ["Better", "Trend", "Nothing yet"]
        assert order("-runs") == ["Better", "Trend", "Nothing yet"]
        assert order("ran") == ["Trend", "Better", "Nothing yet"]
        assert order("nonsense") == ["Better", "Nothing yet", "Trend"]

    @pytest.mark.parametrize(("text", "found"), [("tre", True), ("sma cro", True), ("LAST", True), ("rsi", False)])
    def test_it_is_searched_by_name_kind_and_notes(self, page, trend, text, found):
        answer = page.get("/strategies/", {"q": text}).text
        assert ("Fast average 20 bars" in answer) is found
        assert ("No strategy fits" in answer) is not found

    def test_hostile_addresses_are_a_list_all_the_same(self, page, trend):
        for query in ("page=9", "page=x", "page=²", "page=-1", f"page={'9' * 40}", "deleted=x", f"deleted={'9' * 30}",
                      "deleted=1", "sort=%2D", "q=%25", "archived=2"):  # fmt: skip
            assert page.get(f"/strategies/?{query}").status_code == 200, query

    def test_there_are_fifty_on_a_page(self, alice, page):
        with tenancy.acting_as(alice):
            Strategy.objects.bulk_create(
                Strategy(owner=alice, name=f"s{n:03}", kind="sma-cross", parameters={}) for n in range(51)
            )
        first, second = page.get("/strategies/").text, page.get("/strategies/?page=2").text
        assert "s049" in first
        assert "s050" not in first
        assert "s050" in second
        assert "Page 2 of 2" in second

    def test_with_nothing_in_it_it_offers_the_next_step(self, page):
        assert "Make the first" in page.get("/strategies/").text
        assert "Nothing is put away" in page.get("/strategies/?archived=1").text


class TestNew:
    def test_first_a_kind_is_chosen(self, page, moods):
        text = page.get("/strategies/new/").text
        for words in ("SMA cross", "?kind=sma-cross", "Fast average, Slow average", "Moods", "moods-package"):
            assert words in text
        answer = page.get("/strategies/new/?kind=nonsense")
        assert answer.status_code == 404
        assert "no kind of strategy called “nonsense”" in answer.text

    def test_the_form_is_the_declaration(self, page, moods):
        text = page.get("/strategies/new/?kind=moods").text
        for words in (
            'type="number" name="p-depth" value="2.5"', 'step="0.5"', 'min="0.5"', 'max="10"', "σ",
            "How far. From 0.5 to 10 σ; usually 2.5.", 'type="checkbox" name="p-short"', "Both ways. Usually no.",
            '<option value="calm" selected>', "Buy &amp; hold", "Nobody knows.", 'value="Moods"',
        ):  # fmt: skip
            assert words in text, words

    def test_it_is_made_with_typed_parameters(self, page, moods):
        given = {"name": "  My   moods ", "notes": "Why\nnot", "p-depth": "3", "p-short": "on", "p-mood": "wild",
                 "p-motto": "<b>"}  # fmt: skip
        answer = page.post("/strategies/new/?kind=moods", given, follow=True)
        made = every()[0]
        assert answer.redirect_chain[-1][0] == made.get_absolute_url()
        assert (made.name, made.kind, made.notes) == ("My moods", "moods", "Why\nnot")
        assert made.parameters == {"depth": 3.0, "short": True, "mood": "wild", "motto": "<b>"}
        for words in ("My moods", "Moods", "Depth", "20 bars", "yes", "&lt;b&gt;", "Why<br>not"):
            assert words in answer.text, words

    @pytest.mark.parametrize(
        ("field", "typed", "said"),
        [
            ("p-fast", "0", "Fast average must be from 1 to 500 bars; it is 0."),
            ("p-fast", "1.5", "Fast average must be a whole number"),
            ("p-fast", "x" * 150, "Fast average must be a whole number"),
            ("p-fast", "nan", "Fast average must be a whole number"),
            ("p-fast", "9" * 190, "Fast average must be from 1 to 500 bars"),
            ("p-fast", "50", "must be shorter than the slow one (50)"),
            ("p-slow", "", "Slow average is missing. From 2 to 1000 bars. Usually 30."),
            ("name", " ", "This field is required"),
            ("name", "x" * 101, "at most 100 characters"),
            ("name", "tREND", "You have a strategy called “tREND” already"),
            ("notes", "x" * 10_001, "at most 10000 characters"),
        ],
    )
    def test_what_is_wrong_stands_below_its_field_and_nothing_is_lost(self, page, trend, field, typed, said):
        answer = page.post("/strategies/new/?kind=sma-cross", form(name="New one", notes="Kept") | {field: typed})
        assert answer.status_code == 422
        error = answer.text.split(f'id="id_{field}_error"')[1].split("</p>")[0]
        assert said in error.replace("&#x27;", "'")
        if field != "notes":
            assert "Kept" in answer.text
        assert answer.text.split(f'name="{field}"')[1].split(">")[0].count("autofocus") == 1
        assert len(every()) == 1

    def test_all_that_is_wrong_is_said_at_once(self, page):
        text = page.post("/strategies/new/?kind=sma-cross", {"name": "", "p-fast": "x", "p-slow": ""}).text
        assert "This field is required" in text
        assert "Fast average must be a whole number" in text
        assert "Slow average is missing" in text
        assert "shorter" not in text  # which nobody knows yet

    def test_its_name_is_proposed_as_long_as_it_is_free(self, alice, page):
        for name in ("SMA cross", "SMA cross 2"):
            assert f'name="name" value="{name}"' in page.get("/strategies/new/?kind=sma-cross").text
            page.post("/strategies/new/?kind=sma-cross", form(name=name))
        assert [made.name for made in every()] == ["SMA cross", "SMA cross 2"]


class TestWhileOneTypes:
    def test_only_what_is_filled_in_is_complained_about(self, page, trend):
        text = page.post("/strategies/check/?kind=sma-cross", form(name="TREND", **{"p-fast": "60"})).text
        errors = dict(part.split("</p>")[0].split('"', 1) for part in text.split('<p class="error" id="')[1:])
        assert errors.keys() == {"id_name_error", "id_notes_error", "id_p-fast_error", "id_p-slow_error"}
        assert "already" in errors["id_name_error"]
        assert "shorter" in errors["id_p-fast_error"]
        assert errors["id_p-slow_error"].endswith(">")
        assert "required" not in page.post("/strategies/check/?kind=sma-cross", {}).text
        assert "missing" not in page.post("/strategies/check/?kind=sma-cross", {}).text

    def test_its_own_name_is_free_for_it(self, page, trend):
        assert "already" not in page.post(f"/strategies/check/?kind=sma-cross&strategy={trend.pk}", form()).text

    @pytest.mark.parametrize("query", ["", "kind=nonsense", "strategy=x", f"strategy={'9' * 18}", "strategy=²"])
    def test_nonsense_is_answered(self, page, query):
        assert page.post(f"/strategies/check/?{query}", form()).status_code == 200
        assert page.get(f"/strategies/check/?{query}").status_code == 405


class TestStrategy:
    def test_it_says_what_it_is_and_what_it_did(self, alice, page, trend, django_assert_max_num_queries):
        now = timezone.now()
        with tenancy.acting_as(alice):
            for n in range(25):
                ran(alice, trend, total_return=n / 100, sharpe_ratio=-1.234, finished_at=now, first_open=now,
                    last_open=now, trade_count=1234)  # fmt: skip
            ran(alice, trend, "NVDA", failure="No candles before 2012.", finished_at=now)
            ran(alice, trend, "AMD", stale="A candle of 2012 was revised.")
        with django_assert_max_num_queries(13):
            text = page.get(f"/strategies/{trend.pk}/").text
        for words in ("Trends last.", "SMA cross", "It needs 50 bars", "27 backtests", "+24.00", "−1.23", "1\u202f234",
                      "No candles before 2012.", "Cancelled", "AMD", "stale"):  # fmt: skip
            assert words in text, words
        assert text.count("<tr>") == 21

    def test_one_of_a_kind_that_is_gone_can_be_read_renamed_and_deleted(self, alice, page, trend):
        with tenancy.acting_as(alice):
            Strategy.objects.filter(pk=trend.pk).update(kind="moods", parameters={"depth": 3, "short": True})
        text = page.get(f"/strategies/{trend.pk}/").text
        for words in ("The kind “moods” is not installed here any more", "depth", "short", "yes"):
            assert words in text
        assert "can’t run" in page.get("/strategies/").text
        assert "Name and notes can" in page.get(f"/strategies/{trend.pk}/edit/").text
        page.post(f"/strategies/{trend.pk}/edit/", {"name": "Renamed", "notes": "n", "version": "1"})
        assert (stored(trend).name, stored(trend).parameters) == ("Renamed", {"depth": 3, "short": True})

    def test_parameters_that_do_not_fit_any_more_are_told_and_mended(self, alice, page, trend):
        with tenancy.acting_as(alice):
            Strategy.objects.filter(pk=trend.pk).update(parameters={"fast": 9999, "gone": 1})
        text = page.get(f"/strategies/{trend.pk}/").text
        assert "do not fit SMA cross any more" in text
        assert "bars before" not in text
        assert 'value="9999"' in page.get(f"/strategies/{trend.pk}/edit/").text
        page.post(f"/strategies/{trend.pk}/edit/", form(version="1"))
        assert stored(trend).parameters == {"fast": 20, "slow": 50}

    def test_a_parameter_that_was_declared_since_has_its_default(self, alice, page, trend):
        with tenancy.acting_as(alice):
            Strategy.objects.filter(pk=trend.pk).update(parameters={"fast": 20})
        text = page.get(f"/strategies/{trend.pk}/").text
        assert "Slow average" in text
        assert "It needs 30 bars" in text

    def test_another_s_is_not_there(self, trend):
        other = signed_in(cast.bob())
        for verb in ("", "edit/", "delete/"):
            assert other.get(f"/strategies/{trend.pk}/{verb}").status_code == 404
        for verb in ("edit/", "duplicate/", "archive/", "delete/", "undelete/"):
            assert other.post(f"/strategies/{trend.pk}/{verb}", form(version="1")).status_code == 404


class TestEdit:
    def test_the_later_is_told_sees_both_and_decides(self, page, trend):
        url = f"/strategies/{trend.pk}/edit/"
        assert 'name="version" value="1"' in page.get(url).text
        page.post(url, form(name="Theirs", version="1", **{"p-fast": "7"}))
        answer = page.post(url, form(name="Mine", version="1"))
        assert answer.status_code == 409
        for text in ("changed elsewhere", "Theirs", "Fast average 7 bars", 'value="Mine"', 'name="version" value="2"'):
            assert text in answer.text, text
        assert stored(trend).name == "Theirs"
        for _ in range(2):  # pressed twice: the second is no conflict with the first
            assert page.post(url, form(name="Mine", version="2")).status_code == 302
        assert (stored(trend).name, stored(trend).parameters) == ("Mine", {"fast": 20, "slow": 50})

    @pytest.mark.parametrize("version", ["", "x", "0", "-1", "9" * 40])
    def test_a_version_that_is_none(self, page, trend, version):
        answer = page.post(f"/strategies/{trend.pk}/edit/", form(name="Mine", version=version))
        assert answer.status_code in (409, 422)
        assert stored(trend).name == "Trend"

    def test_two_at_once_take_one_name(self, alice, trend):
        """The form's look at the names is no lock: the database's word counts, and is told."""
        with tenancy.acting_as(alice):
            others = [catalogue.create(alice, f"Other {n}", "sma-cross", {}) for n in range(2)]
        together, refused = threading.Barrier(2), []

        def rename(other):
            try:
                with tenancy.acting_as(alice):
                    together.wait(10)
                    catalogue.edit(other, name="Both")
            except catalogue.Taken as error:
                refused.append(str(error))
            finally:
                connection.close()

        threads = [threading.Thread(target=rename, args=[other]) for other in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(refused) == 1
        assert "“Both” already" in refused[0]


class TestCopyingAndPuttingAway:
    def test_a_copy_has_all_but_the_backtests(self, alice, page, trend):
        with tenancy.acting_as(alice):
            ran(alice, trend)
        for name in ("Trend (copy)", "Trend (copy) 2"):
            assert "None yet" in page.post(f"/strategies/{trend.pk}/duplicate/", follow=True).text
            assert every()[-1].name == name
        copy = every()[-1]
        assert (copy.kind, copy.parameters, copy.notes) == (trend.kind, trend.parameters, trend.notes)

    def test_archived_it_is_out_of_the_way_and_whole(self, page, trend):
        page.post(f"/strategies/{trend.pk}/archive/")
        assert "Fast average 20" not in page.get("/strategies/", headers=PART).text
        assert "Fast average 20" in page.get("/strategies/?archived=1").text
        assert "Archived" in page.get(f"/strategies/{trend.pk}/").text
        page.post(f"/strategies/{trend.pk}/archive/", {"back": "1"})
        assert "Fast average 20" in page.get("/strategies/").text


class TestDelete:
    def test_it_says_what_stays_and_can_be_taken_back(self, alice, page, trend):
        with tenancy.acting_as(alice):
            run = ran(alice, trend)
        assert "Kept: its 1 backtest," in page.get(f"/strategies/{trend.pk}/delete/").text
        gone = page.post(f"/strategies/{trend.pk}/delete/", follow=True)
        assert "Trend is deleted" in gone.text
        assert page.get(f"/strategies/{trend.pk}/").status_code == 404
        with tenancy.acting_as(alice):
            assert Backtest.objects.get(pk=run.pk).strategy_name == "Trend"
        assert page.post(f"/strategies/{trend.pk}/undelete/", follow=True).status_code == 200
        assert page.post(f"/strategies/{trend.pk}/undelete/").status_code == 302  # sent twice
        assert "Trend is back" in page.get("/strategies/").text or stored(trend).deleted_at is None

    def test_taken_back_under_another_name_if_its_own_is_taken(self, page, trend):
        page.post(f"/strategies/{trend.pk}/delete/")
        page.post("/strategies/new/?kind=sma-cross", form())
        text = page.post(f"/strategies/{trend.pk}/undelete/", follow=True).text
        assert "Trend 2 is back, under this name because Trend is taken." in text

    def test_after_an_hour_it_is_gone_and_its_backtests_are_not(self, alice, page, trend):
        with tenancy.acting_as(alice):
            run, other = with_result(ran(alice, trend)), with_result(ran(alice, trend))
            page.post(f"/strategies/{trend.pk}/delete/")
            Backtest.objects.filter(pk=other.pk).update(deleted_at=timezone.now() - timedelta(hours=2))
        assert jobs.purge() == 1
        with tenancy.acting_as(alice):
            Strategy.objects.update(deleted_at=timezone.now() - timedelta(hours=2))
        assert jobs.purge() == 1
        assert every() == []
        assert page.post(f"/strategies/{trend.pk}/undelete/").status_code == 404
        with tenancy.acting_as(alice):
            assert [left.pk for left in Backtest.objects.all()] == [run.pk]
            assert (Curve.objects.count(), Trade.objects.count()) == (1, 1)


def test_the_palette_finds_strategies_by_their_words_and_only_ones_own(alice, page, trend):
    assert "Trend" in page.get("/palette/?q=tre", headers=PART).text
    assert "SMA cross" in page.get("/palette/?q=trend", headers=PART).text
    assert "/strategies/new/" in page.get("/palette/?q=new+str", headers=PART).text
    assert "Trend" not in signed_in(cast.bob()).get("/palette/?q=trend", headers=PART).text.replace("“trend”", "")
