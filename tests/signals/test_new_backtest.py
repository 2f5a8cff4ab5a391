"""The form of a backtest: filled in likely, checked as one types, every refusal under its field, and then it runs."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronos.core import tenancy
from marketdata.models import Asset, Timeframe
from signals import catalogue, numerals, running, wishes
from signals.engine.terms import Costs, Exits, Sizing, Terms
from signals.models import Backtest, Strategy
from signals.strategies import registry
from tests import cast
from tests.cast import signed_in
from tests.prices import stored, walk

PART = {"HX-Request": "true"}
LAST = datetime(2024, 3, 8, tzinfo=UTC)
house = pytest.mark.usefixtures("house")


@pytest.fixture
def alice():
    return cast.alice()


@pytest.fixture
def page(alice):
    return signed_in(alice)


@pytest.fixture
def nvda():
    """200 days until 8 March 2024."""
    return stored("NVDA", walk(200), last=LAST, asset_class="stock")


@pytest.fixture
def trend(alice) -> Strategy:
    with tenancy.acting_as(alice):
        return catalogue.create(alice, "Trend", "sma-cross", {"fast": 5, "slow": 20})


FORM = {
    "rule": "sma-cross", "p-fast": "5", "p-slow": "15", "asset": "NVDA", "timeframe": "1d", "start": "", "end": "",
    "cash": "10 000", "direction": "long", "sizing": "fraction", "size_fraction": "100", "size_amount": "1000",
    "size_risk": "1", "lots": "1", "fee_rate": "0.1", "fee_minimum": "", "slippage_bps": "5", "benchmark": "",
}  # fmt: skip


def every() -> list[Backtest]:
    with tenancy.as_system("tests"):
        return list(Backtest.objects.select_related("asset", "benchmark", "strategy", "job").order_by("pk"))


def said(answer, field: str) -> str:
    """What stands below a field."""
    _, _, after = answer.text.partition(f'id="id_{field}_error"')
    return after.partition(">")[2].partition("</p>")[0].replace("&#x27;", "'").replace("&quot;", '"')


def shown(answer, name: str) -> str:
    """What an input of text holds."""
    _, _, after = answer.text.partition(f'name="{name}"')
    return after.partition('value="')[2].partition('"')[0] if 'value="' in after.partition(">")[0] else ""


@house
class TestRunning:
    def test_it_works_as_it_is_filled_in(self, alice, page, nvda):
        first = page.get("/backtests/new/")
        assert (shown(first, "asset"), shown(first, "fee_rate"), shown(first, "slippage_bps")) == ("NVDA", "0.1", "5")
        names = ("p-fast", "p-slow", "asset", "cash", "size_fraction", "fee_rate", "slippage_bps")
        fields = {name: shown(first, name) for name in names}
        chosen = {"rule": "sma-cross", "timeframe": "1d", "direction": "long", "sizing": "fraction", "lots": "1"}
        answer = page.post("/backtests/new/", fields | chosen)
        (made,) = every()
        assert answer.status_code == 302
        assert answer.url == made.get_absolute_url() == f"/backtests/{made.pk}/"
        assert (made.owner, made.kind, made.asset, made.timeframe) == (alice, "sma-cross", nvda, "1d")
        assert (made.parameters, made.start, made.end) == ({"fast": 10, "slow": 30}, None, None)
        assert running.terms_of(made.terms) == Terms(costs=Costs(0.001, 0.0, 5.0))
        assert (made.job.kind, made.job.state, made.job.subject_url) == ("backtest", "queued", answer.url)

    def test_percents_become_fractions_and_the_last_day_counts(self, page, nvda):
        stored("SPY", walk(200, 400), last=LAST)
        told = {
            "start": "2023-10-02", "end": "2024-02-29", "direction": "both", "sizing": "risk", "size_risk": "0.7",
            "lots": "0", "fee_rate": "0,05 %", "fee_minimum": "1.50", "slippage_bps": "2.5", "cash": "25,000",
            "stop_loss": "7", "trailing_stop": "12.5", "take_profit_1": "10", "take_profit_1_share": "40",
            "take_profit_2": "20", "max_bars": "60", "close_at_end": "on", "benchmark": "spy",
        }  # fmt: skip
        assert page.post("/backtests/new/", FORM | told).status_code == 302
        (made,) = every()
        assert (made.start, made.end) == (datetime(2023, 10, 2, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
        assert made.benchmark.symbol == "SPY"
        assert running.terms_of(made.terms) == Terms(
            cash=25_000.0, costs=Costs(0.0005, 1.5, 2.5), sizing=Sizing("risk", 0.007),
            exits=Exits(0.07, 0.1, 0.2, 0.4, 0.125, 60), lot=0.0, direction="both", close_at_end=True,
        )  # fmt: skip

    def test_a_strategy_of_ones_own_runs_under_its_name(self, page, nvda, trend):
        first = page.get(f"/backtests/new/?strategy={trend.pk}")
        assert f'<option value="{trend.pk}" selected>Trend' in first.text
        assert (shown(first, "p-fast"), shown(first, "p-slow")) == ("5", "20")
        page.post("/backtests/new/", FORM | {"rule": str(trend.pk), "p-slow": "20"})
        (made,) = every()
        assert (made.strategy, made.strategy_name) == (trend, "Trend")

    def test_with_other_parameters_it_stands_by_itself_and_that_is_said(self, page, nvda, trend):
        answer = page.post("/backtests/new/", FORM | {"rule": str(trend.pk), "p-slow": "21"})
        (made,) = every()
        assert (made.strategy, made.strategy_name, made.parameters["slow"]) == (None, "SMA cross", 21)
        assert "other parameters than Trend" in str(list(answer.wsgi_request._messages))

    def test_parameters_are_kept_as_a_strategy_on_the_way(self, alice, page, nvda, trend):
        taken = page.post("/backtests/new/", FORM | {"keep_as": "trend"})
        assert "already" in said(taken, "keep_as")
        assert not every()
        page.post("/backtests/new/", FORM | {"keep_as": "Quick"})
        (made,) = every()
        assert (made.strategy.name, made.strategy.parameters) == ("Quick", {"fast": 5, "slow": 15})

    def test_a_coin_is_bought_in_fractions(self, page):
        stored("BTC-USD", walk(200), asset_class="crypto")
        part = page.get("/backtests/new/?asset=BTC-USD", headers=PART | {"HX-Target": "stock"})
        assert "<html" not in part.text
        assert 'name="lots" value="0" checked' in part.text


@house
class TestFilledIn:
    def test_like_the_last_one_but_for_its_days(self, page, nvda):
        stored("AMD", walk(200), last=LAST)
        told = {"asset": "AMD", "cash": "5000", "fee_rate": "0.07", "stop_loss": "3.5", "start": "2023-12-01"}
        page.post("/backtests/new/", FORM | told)
        again = page.get("/backtests/new/")
        kept = ("asset", "cash", "fee_rate", "stop_loss", "start", "p-slow")
        assert [shown(again, name) for name in kept] == ["AMD", "5000", "0.07", "3.5", "", "15"]
        assert '<details class="card fold" open>' in again.text

    def test_everything_of_an_earlier_one(self, alice, page, nvda):
        page.post("/backtests/new/", FORM | {"start": "2023-12-01", "end": "2024-02-29", "lots": "0"})
        page.post("/backtests/new/", FORM | {"cash": "7"})
        old, _ = every()
        again = page.get(f"/backtests/new/?again={old.pk}")
        assert [shown(again, name) for name in ("start", "end", "cash")] == ["2023-12-01", "2024-02-29", "10000"]
        assert 'name="lots" value="0" checked' in again.text
        assert signed_in(cast.bob()).get(f"/backtests/new/?again={old.pk}").status_code == 404

    def test_an_odd_lot_of_an_earlier_one_is_offered(self, alice, page, nvda):
        page.post("/backtests/new/", FORM)
        (old,) = every()
        with tenancy.acting_as(alice):
            Backtest.objects.filter(pk=old.pk).update(terms=old.terms | {"lot": 0.001})
        again = page.get(f"/backtests/new/?again={old.pk}")
        assert 'value="0.001" checked><span>Multiples of 0.001' in again.text
        page.post("/backtests/new/", FORM | {"lots": "0.001"})
        assert every()[-1].terms["lot"] == 0.001

    def test_a_kind_an_asset_and_a_timeframe_by_the_address(self, page, nvda):
        stored("NVDA", walk(300), last=LAST, timeframe=Timeframe.H1)
        first = page.get("/backtests/new/?kind=donchian&asset=nvda&timeframe=1h")
        assert shown(first, "p-entry") == "20"
        assert 'value="1h" checked' in first.text
        assert "300 candles" in first.text

    def test_another_rule_brings_its_parameters(self, page, nvda):
        part = page.get("/backtests/new/?rule=rsi-reversion", headers=PART | {"HX-Target": "parameters"})
        assert "<html" not in part.text
        assert shown(part, "p-period") == "14"

    @pytest.mark.parametrize(
        "query", ["kind=gone", "strategy=999999", "again=x", "rule=%F0%9F%98%80", "asset=%ED%A0%80&timeframe=2d"]
    )
    def test_an_address_that_means_nothing_is_no_fault(self, page, nvda, query):
        answer = page.get(f"/backtests/new/?{query}")
        assert answer.status_code in (200, 404)
        if query == "kind=gone":
            assert "not installed here" in answer.text

    def test_before_there_are_any_candles(self, page):
        assert page.get("/backtests/new/").status_code == 200
        assert "no candles yet" in page.get("/backtests/new/assets/", headers=PART).text


CHOSEN = ("timeframe", "sizing", "rule", "direction")  # of a few, rather than typed
REFUSED = [
    ({"asset": ""}, "asset", "Choose the asset"),
    ({"asset": "NOPE"}, "asset", "No asset here is called “NOPE”"),
    ({"asset": "EMPTY"}, "asset", "has no candles yet"),
    ({"timeframe": "1h"}, "timeframe", "choose one that it has: 1d"),
    ({"timeframe": "2d"}, "timeframe", "choose one that it has: 1d"),
    ({"start": "2024-02-01", "end": "2024-01-01"}, "start", "1 Feb 2024 is after 1 Jan 2024"),
    ({"start": "2030-01-01"}, "start", "to 8 Mar 2024: choose a day before their end"),
    ({"end": "1999-01-01"}, "end", "choose a day after their beginning"),
    ({"start": "soon"}, "start", "2020-01-31"),
    ({"end": "9999-12-31"}, "end", "of the years 1800 to 2200"),
    ({"end": "2023-08-28", "start": "2023-08-27"}, "start", "The history is too short"),
    ({"p-slow": "500", "p-fast": "400"}, "timeframe", "The history is too short"),
    ({"p-fast": "50"}, "p-fast", "must be shorter than the slow one"),
    ({"p-fast": "x"}, "p-fast", "must be a whole number"),
    ({"cash": "0"}, "cash", "must be more than 0"),
    ({"cash": "1e400"}, "cash", "is none"),
    ({"cash": ""}, "cash", "required"),
    ({"fee_rate": "100"}, "fee_rate", "less than 100 %"),
    ({"fee_minimum": "-1"}, "fee_minimum", "at least 0"),
    ({"slippage_bps": "nan"}, "slippage_bps", "is a number"),
    ({"size_fraction": "101"}, "size_fraction", "at most 100 %"),
    ({"size_fraction": ""}, "size_fraction", "Say how much"),
    ({"sizing": "amount", "size_amount": ""}, "size_amount", "Say how much"),
    ({"sizing": "risk"}, "size_risk", "needs a stop"),
    ({"sizing": "twice"}, "sizing", "not one of"),
    ({"stop_loss": "100"}, "stop_loss", "less than 100 %"),
    ({"take_profit_2": "10"}, "take_profit_1", "needs a first one"),
    ({"take_profit_1": "10", "take_profit_2": "10"}, "take_profit_2", "beyond the first target"),
    ({"take_profit_1_share": "50"}, "take_profit_1_share", "Without a first target"),
    ({"take_profit_1": "100", "direction": "short"}, "take_profit_1", "short position"),
    ({"max_bars": "1.5"}, "max_bars", "a whole number"),
    ({"rule": "buy-and-hold", "direction": "short"}, "direction", "never sells short"),
    ({"rule": "gone"}, "rule", "not there any more"),
    ({"benchmark": "NOPE"}, "benchmark", "No asset here"),
    ({"benchmark": "HOURLY"}, "benchmark", "has no 1d candles, only 1h"),
]


@house
class TestRefusals:
    def test_each_stands_under_its_field_with_what_was_typed(self, page, nvda):
        Asset.objects.create(symbol="EMPTY")
        stored("HOURLY", walk(30), timeframe=Timeframe.H1)
        for told, field, words in REFUSED:
            answer = page.post("/backtests/new/", FORM | told)
            assert answer.status_code == 422, told
            assert words in said(answer, field), (told, said(answer, field))
            name, value = next(iter(told.items()))
            assert name in CHOSEN or shown(answer, name) == value, told
        assert not every()

    def test_a_kind_that_brings_its_stops_can_be_sized_by_risk(self, page, nvda):
        donchian = {"rule": "donchian", "p-entry": "10", "p-exit": "5", "p-atr": "10", "sizing": "risk"}
        assert page.post("/backtests/new/", FORM | donchian | {"p-stop": "2"}).status_code == 302
        assert "needs a stop" in said(page.post("/backtests/new/", FORM | donchian | {"p-stop": "0"}), "size_risk")

    def test_an_empty_form_and_a_hostile_one_are_answered(self, page, nvda):
        assert page.post("/backtests/new/", {}).status_code == 422
        wild = dict.fromkeys(FORM, "😀<b>\u202e" * 50)
        assert page.post("/backtests/new/", wild).status_code == 422
        assert page.post("/backtests/new/check/", wild).status_code == 200

    def test_warmup_before_the_first_day_counts(self, page, nvda):
        late = {"start": "2024-03-07", "p-fast": "50", "p-slow": "100"}
        assert page.post("/backtests/new/", FORM | late).status_code == 302


@house
class TestWhileTyping:
    def test_what_is_wrong_is_said_and_what_is_empty_is_not(self, page, nvda):
        answer = page.post("/backtests/new/check/", FORM | {"fee_rate": "x", "cash": ""}, headers=PART)
        assert answer.status_code == 200
        assert "<html" not in answer.text
        assert "is a number" in said(answer, "fee_rate")
        assert said(answer, "cash") == ""
        assert "1 field to mend" in answer.text
        empty = page.post("/backtests/new/check/", FORM | {"cash": ""}, headers=PART)
        assert "still to be filled in" in empty.text
        assert not every()

    def test_what_will_run_is_said_when_all_is_right(self, page, nvda, trend):
        answer = page.post("/backtests/new/check/", FORM | {"end": "2024-01-31"}, headers=PART)
        assert "SMA cross on NVDA, candles of 1 day from 22 Aug 2023 to 31 Jan 2024" in answer.text
        other = page.post("/backtests/new/check/", FORM | {"rule": str(trend.pk)}, headers=PART)
        assert "differ from those of Trend" in other.text

    def test_assets_with_candles_come_first_with_what_there_is(self, page, nvda):
        Asset.objects.create(symbol="NV", name="Nothing Yet")
        lines = page.get("/backtests/new/assets/?q=nv", headers=PART).text
        assert lines.index('data-symbol="NVDA"') < lines.index('data-symbol="NV"')
        assert "1d 2023–2024" in lines
        assert "Look under Assets" in page.get("/backtests/new/assets/?q=zzzz", headers=PART).text
        assert page.get("/backtests/new/assets/").status_code == 302


def test_few_queries(house, alice, page, nvda, django_assert_max_num_queries):
    with django_assert_max_num_queries(30):
        page.post("/backtests/new/check/", FORM, headers=PART)


# --- How numbers are read and written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [("10 000", "10000"), ("10,000.5", "10000.5"), ("0,1", "0.1"), ("1,5 %", "1.5"), ("\u22122", "-2"), (".5", "0.5"),
     ("1\u202f234", "1234"), ("1,234,567", "1234567"), ("1e3", None), ("1.2.3", None), ("", None), ("x", None),
     ("1,23,4", None), ("١", None)],
)  # fmt: skip
def test_numbers_as_people_write_them(text, number):
    found = numerals.read(text)
    assert found == (None if number is None else Decimal(number))


@given(st.floats(1e-6, 0.9999), st.floats(0.01, 1e9), st.integers(1, 1000))
def test_terms_come_back_from_the_form_as_they_were(share, cash, bars):
    share, cash = round(share, 8), round(cash, 4)
    terms = Terms(
        cash, Costs(share, cash, 12.5), Sizing("risk", share), Exits(share, share, None, None, None, bars), 0.0, "both",
    )  # fmt: skip
    shown = wishes.of_terms(terms)
    read = {name: numerals.read(value) if value else None for name, value in shown.items() if isinstance(value, str)}
    given = {**shown, **read, "lots": shown["lots"], "direction": "both", "sizing": "risk", "close_at_end": False}
    assert wishes._terms(given) == terms


def test_days_of_an_earlier_run_are_shown_as_they_were_chosen():
    kind = registry.kind_named("sma-cross")
    backtest = Backtest(kind=kind.name, asset=Asset(symbol="X"), timeframe="1d", terms=running.plain(Terms()),
                        start=datetime(2024, 1, 2, tzinfo=UTC), end=datetime(2024, 3, 1, tzinfo=UTC))  # fmt: skip
    fields = wishes.like(backtest, dated=True)
    assert (fields["start"], fields["end"]) == (date(2024, 1, 2), date(2024, 2, 29))
    backtest.end += timedelta(hours=5)
    assert wishes.like(backtest, dated=True)["end"] == date(2024, 3, 1)
