"""Splits, dividends and facts, through the unmodified yfinance, against the loopback Yahoo."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from marketdata import actions, fetching, providers
from marketdata.asking import Foreground
from marketdata.ingestion import ingest
from marketdata.models import (
    Asset,
    AssetClass,
    Candle,
    CandleRevision,
    CorporateAction,
    FetchWindow,
    Series,
    Timeframe,
)
from marketdata.providers import yahoo_events
from marketdata.providers.base import (
    Fetched,
    KnowsFundamentals,
    MalformedResponse,
    NoData,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)
from marketdata.ratelimit import Bucket
from tests.loopback.yahoo import Yahoo
from tests.marketdata.candles import table

pytestmark = [pytest.mark.usefixtures("house"), pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")]
PROVIDER = providers.named("yahoo")
SPLIT, DIVIDEND, GAIN = CorporateAction.Kind.SPLIT, CorporateAction.Kind.DIVIDEND, CorporateAction.Kind.CAPITAL_GAIN


def ask(symbol: str = "NVDA", timeframe: str = "1d", since: str = "2025-09-01", until: str = "2025-10-01") -> Fetched:
    first, last = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until))
    return PROVIDER.fetch(symbol, Timeframe(timeframe), first, last)


def believed(asset: Asset) -> list[tuple[str, Decimal]]:
    return [(str(row.ex_date), row.value) for row in actions.current(asset).filter(kind=SPLIT)]


def told(found: Fetched) -> list[tuple[str, str, Decimal]]:
    assert found.actions is not None
    return [(action.kind, str(action.ex_date), action.value) for action in found.actions]


class TestActions:
    def test_splits_and_dividends_come_with_the_candles(self, yahoo: Yahoo) -> None:
        yahoo.listings["NVDA"].dividends = {date(2024, 6, 11): 0.01, date(2024, 6, 12): 0.1}
        found = ask(since="2024-06-01", until="2024-07-01")
        assert told(found) == [
            (SPLIT, "2024-06-10", Decimal(10)),
            (DIVIDEND, "2024-06-11", Decimal("0.01")),
            (DIVIDEND, "2024-06-12", Decimal("0.1")),
        ]
        assert [action.currency for action in found.actions] == ["", "USD", "USD"]

    def test_none_are_told_as_none(self, yahoo: Yahoo) -> None:
        assert ask().actions == ()

    def test_only_of_the_days_that_were_asked_about(self, yahoo: Yahoo) -> None:
        yahoo.listings["NVDA"].dividends = {date(2025, 9, 1): 1, date(2025, 9, 30): 2, date(2025, 10, 1): 3}
        assert [value for *_, value in told(ask())] == [1, 2]

    def test_also_where_the_days_bar_is_null_or_before_the_first(self, yahoo: Yahoo) -> None:
        nulls = {date(2025, 9, 2), date(2025, 9, 10)}
        yahoo.listings["NVDA"].nulls = nulls
        yahoo.listings["NVDA"].dividends = dict.fromkeys(nulls, 0.123456789)
        found = ask()
        assert not nulls & {at.date() for at in found.candles["open_time"].to_pylist()}
        assert told(found) == [(DIVIDEND, str(day), Decimal("0.123456789")) for day in sorted(nulls)]

    def test_dates_are_the_exchanges(self, yahoo: Yahoo) -> None:
        """Tokyo's open of the 9th is the UTC midnight of the 9th, New York's 13:30."""
        yahoo.listings["7203.T"].dividends = {date(2025, 9, 9): 45.0}
        assert told(ask("7203.T")) == [(DIVIDEND, "2025-09-09", Decimal("45.0"))]

    def test_intraday_answers_tell_them_too_and_have_no_adjusted_close(self, yahoo: Yahoo) -> None:
        day = date.fromordinal(date.today().toordinal() - 7)  # noqa: DTZ011
        while day.weekday() > 4:
            day = date.fromordinal(day.toordinal() - 1)
        yahoo.listings["NVDA"].dividends = {day: 0.5}
        found = ask("NVDA", "1h", f"{day}", f"{date.fromordinal(day.toordinal() + 1)}")
        assert told(found) == [(DIVIDEND, str(day), Decimal("0.5"))]
        assert found.candles["adj_close"].null_count == found.candles.num_rows == 7

    def test_capital_gains_of_funds(self, yahoo: Yahoo) -> None:
        yahoo.listings["SPY"].gains = {date(2025, 9, 12): 1.75}
        assert told(ask("SPY")) == [(GAIN, "2025-09-12", Decimal("1.75"))]

    def test_a_ratio_is_kept_to_twelve_decimals(self, yahoo: Yahoo) -> None:
        yahoo.listings["NVDA"].splits = {date(2025, 9, 12): (1, 3)}
        assert told(ask()) == [(SPLIT, "2025-09-12", Decimal("0.333333333333"))]

    def test_when_the_history_begins(self, yahoo: Yahoo) -> None:
        assert ask("RIVN").begins == datetime(2021, 11, 10, tzinfo=UTC)
        assert ask("7203.T").begins == datetime(2015, 1, 2, tzinfo=UTC)

    def test_a_split_after_a_dividend_is_restated_by_yahoo_and_by_us_alike(self, yahoo: Yahoo) -> None:
        asset, listing = Asset.objects.create(symbol="NVDA"), yahoo.listings["NVDA"]
        listing.dividends = {date(2025, 9, 10): 0.6}
        actions.learn(asset, "yahoo", PROVIDER.basis, ask().actions or ())
        CorporateAction.objects.update(known_at=datetime(2025, 9, 11, tzinfo=UTC))
        listing.split(date(2025, 9, 22), 4, 1)
        learnt = actions.learn(asset, "yahoo", PROVIDER.basis, ask(since="2025-09-20").actions or ())
        assert [split.value for split in learnt.new_splits] == [4]
        assert not actions.learn(asset, "yahoo", PROVIDER.basis, ask().actions or ()).changed
        assert [row.value for row in actions.current(asset).filter(kind=DIVIDEND)] == [Decimal("0.15")]

    def test_a_split_is_learnt_from_days_and_what_can_not_be_fetched_again_is_divided(self, yahoo: Yahoo) -> None:
        """Days come anew from Yahoo; an hour of long ago, from a file, and a day before Yahoo's are divided here."""
        listing, lately = yahoo.listings["NVDA"], datetime.now(UTC).date() - timedelta(days=6)
        happened = lately - timedelta(days=max(0, lately.weekday() - 4))
        asset = Asset.objects.create(symbol="NVDA")
        fetching.refresh(asset, Timeframe.D1, Foreground())
        old = datetime(2014, 6, 9, 13, 30, tzinfo=UTC)
        numbers = {"open": "100", "high": "100", "low": "100", "close": "100", "volume": "8"}
        for timeframe, at in ((Timeframe.H1, old), (Timeframe.D1, old.replace(hour=0, minute=0))):
            ingest(asset, timeframe, table([{"open_time": at, **numbers}]), source="file")
        before = datetime.combine(happened, datetime.min.time(), UTC) - timedelta(days=2)
        Candle.objects.filter(asset=asset).update(known_at=before)
        Asset.objects.update(created_at=before)
        Series.objects.update(checked_at=before)
        FetchWindow.objects.all().delete()
        asset.refresh_from_db()
        closes = dict(Candle.objects.filter(timeframe="1d", source="yahoo").values_list("open_time", "close"))
        listing.split(happened, 4, 1)
        done = fetching.refresh(asset, Timeframe.D1, Foreground(), again=True)
        assert done.error == ""
        now = dict(Candle.objects.filter(timeframe="1d", source="yahoo").values_list("open_time", "close"))
        assert all(float(now[at]) == pytest.approx(float(close) / 4, rel=0.01) for at, close in closes.items())
        left = Candle.objects.filter(source="file")
        assert {(row.timeframe, row.close, row.volume) for row in left} == {("1h", 25, 32), ("1d", 25, 32)}
        assert believed(asset) == [("2024-06-10", 10), (str(happened), 4)]
        revisions = CandleRevision.objects.count()
        fetching.refresh(asset, Timeframe.D1, Foreground(), again=True)
        assert CandleRevision.objects.count() == revisions

    def test_the_newest_few_tell_of_a_split_as_well(self, yahoo: Yahoo) -> None:
        """`--limit` over a split: the past is fetched again, instead of staying on the old basis for good."""
        lately = datetime.now(UTC).date() - timedelta(days=20)
        happened = lately - timedelta(days=max(0, lately.weekday() - 4))
        before = datetime.combine(happened, datetime.min.time(), UTC)
        asset = Asset.objects.create(symbol="NVDA")
        fetching.fetch(asset, Timeframe.D1, before - timedelta(days=100), before, wait=Foreground())
        Candle.objects.update(known_at=before)
        yahoo.listings["NVDA"].split(happened, 4, 1)
        fetching.fetch(asset, Timeframe.D1, None, datetime.now(UTC), wait=Foreground(), limit=30)
        assert (str(happened), 4) in believed(asset)
        closes = [float(one) for one in Candle.objects.order_by("open_time").values_list("close", flat=True)]
        assert all(0.8 < after / one < 1.25 for one, after in pairwise(closes))

    def test_the_newest_few_are_stored_on_the_basis_of_the_series(self, yahoo: Yahoo) -> None:
        asset = Asset.objects.create(symbol="NVDA")
        traded = dict.fromkeys(("open", "high", "low", "close"), "1200")
        rows = [{"open_time": datetime(2024, 6, 3, tzinfo=UTC), **traded, "volume": "8"}]
        ingest(asset, Timeframe.D1, table(rows), source="file")
        Series.objects.update(basis="raw")
        actions.learn(asset, "file", "raw", ask(since="2024-06-01", until="2024-07-01").actions or ())
        since, until = datetime(2024, 5, 20, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
        fetching.fetch(asset, Timeframe.D1, since, until, wait=Foreground(), limit=6)
        assert Candle.objects.count() == 7
        assert all(close > 1000 for close in Candle.objects.values_list("close", flat=True))

    def test_odd_answers_are_read(self) -> None:
        meta = {"exchangeTimezoneName": "America/New_York", "currency": "USD", "firstTradeDate": -252322200}
        events = {"dividends": {"x": {"date": 1726057800, "amount": 0.01, "currency": "VND"}}, "splits": None}
        read = yahoo_events.read(json.dumps({"chart": {"result": [{"meta": meta, "events": events}]}}))
        assert [(one.currency, one.value) for one in read.actions] == [("VND", Decimal("0.01"))]
        assert read.begins == datetime(1962, 1, 2, 14, 30, tzinfo=UTC)
        meta["firstTradeDate"] = None
        assert yahoo_events.read(json.dumps({"chart": {"result": [{"meta": meta}]}})) == yahoo_events.Told()


class TestFacts:
    @property
    def provider(self) -> KnowsFundamentals:
        assert isinstance(PROVIDER, KnowsFundamentals)
        return PROVIDER

    def test_what_it_says(self, yahoo: Yahoo) -> None:
        facts = self.provider.fundamentals("MSFT")
        assert (facts.name, facts.asset_class, facts.exchange, facts.currency) == (
            "Microsoft Corporation",
            AssetClass.STOCK,
            "NasdaqGS",
            "USD",
        )
        assert (facts.sector, facts.industry) == ("Technology", "Software - Infrastructure")
        assert (facts.market_cap, facts.price_earnings) == (Decimal("3567710961664"), Decimal("34.1"))

    def test_a_yield_is_a_fraction(self, yahoo: Yahoo) -> None:
        """`Ticker.info` of this yfinance says 0.71 where its second request is answered: the quote's percentage."""
        assert self.provider.fundamentals("MSFT").dividend_yield == Decimal("0.0071")

    def test_it_costs_one_request(self, yahoo: Yahoo) -> None:
        self.provider.fundamentals("MSFT")
        before = len(yahoo.requests)
        self.provider.fundamentals("NVDA")
        assert [seen.path for seen in yahoo.requests[before:]] == ["/v10/finance/quoteSummary/NVDA"]

    def test_what_it_leaves_out_is_empty(self, yahoo: Yahoo) -> None:
        yahoo.listings["SPY"].facts = {"trailingPE": "Infinity", "dividendYield": {}, "marketCap": None}
        facts = self.provider.fundamentals("SPY")
        assert facts.asset_class == AssetClass.ETF
        assert (facts.sector, facts.market_cap, facts.price_earnings, facts.dividend_yield) == ("", None, None, None)

    def test_what_does_not_fit_is_left_out(self, yahoo: Yahoo) -> None:
        yahoo.listings["MSFT"].facts = {"trailingPE": 1e12, "marketCap": 1e30, "dividendYield": 0}
        facts = self.provider.fundamentals("MSFT")
        assert (facts.market_cap, facts.price_earnings, facts.dividend_yield) == (None, None, 0)

    def test_a_refused_crumb_is_a_limit_and_heals(self, yahoo: Yahoo) -> None:
        from yfinance.data import YfData

        ask()
        YfData()._crumb = None
        yahoo.fail("getcrumb", "429")
        with pytest.raises(RateLimited, match="MSFT"):
            self.provider.fundamentals("MSFT")
        yahoo.mend()
        assert self.provider.fundamentals("MSFT").sector == "Technology"

    def test_requests_beyond_the_callers_turn_are_charged(self, yahoo: Yahoo, settings) -> None:
        self.provider.fundamentals("MSFT")
        settings.YAHOO_REQUESTS_PER_SECOND = 0.5
        yahoo.fail("facts MSFT", "401")
        before = len(yahoo.requests)
        with pytest.raises(Unavailable, match="401"):
            self.provider.fundamentals("MSFT")
        spent = len(yahoo.requests) - before
        assert Bucket("yahoo", 0.5).take() == pytest.approx(2 * (spent - 1), abs=0.5)

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ("429", RateLimited),
            ("slow", ProviderTimeout),
            ("garbage", MalformedResponse),
            ("empty", MalformedResponse),
            ("500", Unavailable),
            ("503", Unavailable),
            ("back", Unavailable),
            ("truncated", Unavailable),
            ("reset", Unavailable),
            ("401", Unavailable),
            ("html", Unavailable),
            ("404", SymbolNotFound),
            ("nothing", NoData),
        ],
    )
    def test_each_fault_is_its_error_and_is_forgotten(
        self, yahoo: Yahoo, monkeypatch: pytest.MonkeyPatch, fault: str, expected: type[ProviderError]
    ) -> None:
        from marketdata.providers import yahoo_client

        monkeypatch.setattr(yahoo_client, "CONNECT_SECONDS", 0.3)
        monkeypatch.setattr(yahoo_client, "READ_SECONDS", 0.3)
        yahoo.fail("facts MSFT", fault)
        with pytest.raises(ProviderError) as caught:
            self.provider.fundamentals("MSFT")
        assert type(caught.value) is expected, repr(caught.value)
        assert "MSFT" in str(caught.value)
        assert "Yahoo Finance" in str(caught.value)
        yahoo.mend()
        assert self.provider.fundamentals("MSFT").market_cap

    def test_an_unknown_symbol_is_named(self, yahoo: Yahoo) -> None:
        with pytest.raises(SymbolNotFound, match="NOSUCH"):
            self.provider.fundamentals("NOSUCH")
