"""The battery that every provider of candles must pass. The subclass gives samples and a loopback server.

The faults of a loopback server have the same names everywhere where they are the same fault; `PLAYED` must be among
them. Null bars, capped pages, clocks that go wrong and symbols that disappear are played by methods, because each
server does them in its own way.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil
from typing import Any

import pytest

from marketdata.ingestion import schema
from marketdata.models import AssetClass, Timeframe
from marketdata.providers.base import (
    BadRequest,
    Fetched,
    KnowsSymbols,
    MalformedResponse,
    NoData,
    Provider,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    SymbolNotFound,
    Unavailable,
)

PLAYED = {"429", "500", "503", "slow", "truncated", "garbage", "nothing"}


class ProviderContract:
    """Subclass, name it `Test…`, give the samples and the two fixtures."""

    provider: Provider
    symbol: str  # as we write it, and known to the loopback server
    asset_class: AssetClass
    unknown: str  # in the provider's spelling
    # our error: the loopback server's names of the faults that stand for it
    faults: dict[type[ProviderError], tuple[str, ...]]
    told_to_wait: tuple[str, ...] = ("429",)  # the faults that may carry a Retry-After
    symbols_at: str = ""  # where the server is made to fail for looking a symbol up, if not at the symbol

    @pytest.fixture
    def server(self) -> Any:
        """A running loopback server with `fail(spelling, kind, **how)`, to which the provider is pointed."""
        raise NotImplementedError

    @pytest.fixture
    def quick(self) -> None:
        """Makes the provider's own timeout short."""
        raise NotImplementedError

    def play_null_bars(self, server: Any) -> None:
        """Give some of the candles of `self.spelling` without prices, until mended."""
        server.fail(self.spelling, "nulls")

    def play_capped_pages(self, server: Any) -> None:
        """Give fewer candles of `self.spelling` than were asked for, without saying so, until mended."""
        server.fail(self.spelling, "capped")

    def play_a_wrong_clock(self, server: Any, by: timedelta) -> None:
        """Let the server's clock be `by` ahead of ours."""
        server.now = lambda: datetime.now(UTC) + by

    def play_a_delisting(self, server: Any) -> None:
        """Let the server know `self.spelling` no more, as after a delisting or a new name."""
        del server.listings[self.spelling]

    @property
    def short(self) -> Timeframe:
        """A timeframe whose candles are over several times in a day."""
        return next((one for one in (Timeframe.M5, Timeframe.H1) if one in self.provider.windows), Timeframe.D1)

    @property
    def spelling(self) -> str:
        return self.provider.spelling(self.symbol, self.asset_class)

    def ask(self, timeframe: Timeframe = Timeframe.D1, days: float = 40, until: datetime | None = None) -> Fetched:
        until = until or datetime.now(UTC)
        return self.provider.fetch(self.spelling, timeframe, until - timedelta(days=days), until)

    def test_its_name_and_label_are_set(self) -> None:
        assert self.provider.name == self.provider.name.strip().lower() != ""
        assert self.provider.label
        assert self.asset_class in self.provider.asset_classes

    def test_it_says_how_much_one_request_takes_and_how_far_back_it_reaches(self) -> None:
        assert self.provider.windows
        assert all(length > timedelta(0) for length in self.provider.windows.values())
        assert set(self.provider.reach) <= set(self.provider.windows)
        assert self.provider.requests_per_second > 0

    def test_candles_come_in_the_schema_of_ingestion_in_order_and_in_range(self, server: Any) -> None:
        until = datetime.now(UTC)
        for timeframe in self.provider.windows:
            days = min(400, (self.provider.windows[timeframe] / timedelta(days=1)))
            found = self.ask(timeframe, days, until).candles
            assert found.schema.equals(schema()), timeframe
            opens = found["open_time"].to_pylist()
            assert opens, timeframe
            assert opens == sorted(set(opens))
            assert until - timedelta(days=days) <= opens[0]
            assert opens[-1] < until

    def test_numbers_are_exact_text_of_possible_prices(self, server: Any) -> None:
        for row in self.ask().candles.to_pylist():
            low, high = Decimal(row["low"]), Decimal(row["high"])
            assert 0 < low <= Decimal(row["open"]) <= high
            assert low <= Decimal(row["close"]) <= high
            assert Decimal(row["volume"]) >= 0
            assert "e" not in row["close"].lower()

    def test_candles_of_a_day_and_more_are_named_by_their_date(self, server: Any) -> None:
        for timeframe in (one for one in self.provider.windows if one.is_daily):
            for at in self.ask(timeframe, 200).candles["open_time"].to_pylist():
                assert (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)

    def test_a_candle_whose_time_is_not_over_is_left_out(self, server: Any) -> None:
        for timeframe in (one for one in self.provider.windows if not one.is_daily):
            opens = self.ask(timeframe, 3).candles["open_time"].to_pylist()
            now = datetime.now(UTC)  # when it has answered: a minute may have ended meanwhile
            assert all(at + timeframe.length <= now for at in opens)

    def test_it_confirms_what_the_asset_is(self, server: Any) -> None:
        assert self.ask().facts.asset_class == self.asset_class

    def test_it_tells_whether_it_knows_a_symbol(self, server: Any) -> None:
        assert isinstance(self.provider, KnowsSymbols)
        assert self.provider.sure_of <= self.provider.asset_classes
        found = self.provider.lookup(self.spelling)
        assert found.asset_class == self.asset_class
        assert found.name
        with pytest.raises(SymbolNotFound, match=self.unknown):
            self.provider.lookup(self.unknown)

    def test_no_fault_is_taken_for_a_no(self, server: Any, quick: None) -> None:
        assert isinstance(self.provider, KnowsSymbols)
        faults = {
            fault for kind, names in self.faults.items() if kind not in (SymbolNotFound, NoData) for fault in names
        }
        for fault in sorted(faults):
            server.fail(self.symbols_at or self.spelling, fault)
            try:
                self.provider.lookup(self.spelling)
            except ProviderError as error:
                assert type(error) is not SymbolNotFound, f"{fault}: {error!r}"
                assert self.spelling in str(error), str(error)
            server.mend()

    def test_an_unknown_symbol_is_named(self, server: Any) -> None:
        with pytest.raises(SymbolNotFound, match=self.unknown):
            self.provider.fetch(self.unknown, Timeframe.D1, datetime(2025, 1, 1, tzinfo=UTC), datetime.now(UTC))

    def test_a_range_before_there_was_anything_has_no_data(self, server: Any) -> None:
        with pytest.raises(NoData):
            self.ask(until=datetime(1990, 1, 1, tzinfo=UTC))

    def test_a_timeframe_that_it_lacks_is_a_bad_request(self, server: Any) -> None:
        for timeframe in set(Timeframe) - set(self.provider.windows):
            with pytest.raises(BadRequest, match=str(timeframe)):
                self.ask(timeframe)

    @pytest.mark.parametrize(
        "expected", [RateLimited, ProviderTimeout, MalformedResponse, Unavailable, SymbolNotFound, NoData, BadRequest]
    )
    def test_each_fault_is_its_error_and_says_of_what_and_what_to_do(
        self, server: Any, quick: None, expected: type[ProviderError]
    ) -> None:
        for fault in self.faults.get(expected, ()):
            server.fail(self.spelling, fault)
            with pytest.raises(ProviderError) as caught:
                self.ask()
            assert type(caught.value) is expected, f"{fault}: {caught.value!r}"
            text = str(caught.value)
            assert self.spelling in text, text
            assert self.provider.label in text, text
            assert len(text) <= 300, text
            server.mend()

    def test_every_fault_that_has_a_name_is_played(self) -> None:
        assert {name for names in self.faults.values() for name in names} >= PLAYED

    def test_a_wait_that_was_asked_for_is_told_and_only_that(self, server: Any, quick: None) -> None:
        for fault in self.told_to_wait:
            for wait in (7, None):
                server.fail(self.spelling, fault, retry_after=wait)
                with pytest.raises(RateLimited) as caught:
                    self.ask()
                assert caught.value.retry_after == wait, fault
                server.mend()

    @pytest.mark.parametrize(
        ("value", "wait"),
        [
            ("²", None),  # a digit to Python, and no number
            ("soon", None),
            ("-5", None),
            ("Mon, 01 Jan 2024 00:00:00 +99999999", None),
            ("9" * 400, 86_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ],
    )
    def test_whatever_stands_in_a_retry_after_nobody_waits_for_ever(
        self, server: Any, value: str, wait: float | None
    ) -> None:
        server.fail(self.spelling, self.told_to_wait[0], retry_after=value)
        with pytest.raises(RateLimited) as caught:
            self.ask()
        assert caught.value.retry_after == wait

    def test_bars_without_prices_are_no_candles_and_cost_no_other(self, server: Any) -> None:
        until = datetime.now(UTC)
        healthy = self.prices(self.ask(until=until))
        self.play_null_bars(server)
        found = self.prices(self.ask(until=until))
        assert 0 < len(found) < len(healthy)
        assert found.items() <= healthy.items()

    def test_a_page_cut_short_loses_no_candle(self, server: Any) -> None:
        until = datetime.now(UTC)
        healthy = self.prices(self.ask(until=until))
        self.play_capped_pages(server)
        try:
            assert self.prices(self.ask(until=until)) == healthy
        except ProviderError as error:  # it may also refuse such an answer
            assert error.retried
            assert not error.answered

    @pytest.mark.parametrize("minutes", [-12, 12])
    def test_a_wrong_clock_of_theirs_changes_no_candle(self, server: Any, minutes: int) -> None:
        until, days = datetime.now(UTC), 40 if self.short.is_daily else 2
        healthy = self.prices(self.ask(self.short, days, until))
        self.play_a_wrong_clock(server, timedelta(minutes=minutes))
        found = self.prices(self.ask(self.short, days, until))
        assert all(healthy.get(at, prices) == prices for at, prices in found.items())
        late = [at for at in healthy if at not in found]
        assert len(late) <= (ceil(timedelta(minutes=12) / self.short.length) if minutes < 0 else 0) + 1
        assert all(at + self.short.length <= datetime.now(UTC) for at in found if not self.short.is_daily)

    def test_a_candle_that_ends_while_it_is_on_its_way_came_unfinished(
        self, server: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.utils import timezone

        length, days = min(self.short.length, timedelta(days=1)), 40 if self.short.is_daily else 2
        ends = datetime.now(UTC) - (datetime.now(UTC) - datetime.min.replace(tzinfo=UTC)) % length
        before, after = ends - timedelta(seconds=20), ends + timedelta(seconds=20)
        self.play_a_wrong_clock(server, before - datetime.now(UTC))
        monkeypatch.setattr(timezone, "now", lambda: before)
        standing = self.prices(self.ask(self.short, days, after))
        asked = len(server.requests)
        monkeypatch.setattr(timezone, "now", lambda: before if len(server.requests) == asked else after)
        assert self.prices(self.ask(self.short, days, after)) == standing

    def test_a_symbol_that_was_delisted_or_renamed_is_named(self, server: Any) -> None:
        assert self.ask().candles.num_rows > 20
        self.play_a_delisting(server)
        with pytest.raises(SymbolNotFound, match=re.escape(self.spelling)):
            self.ask()

    def prices(self, fetched: Fetched) -> dict[datetime, tuple[str, ...]]:
        rows = fetched.candles.to_pylist()
        return {row["open_time"]: (row["open"], row["high"], row["low"], row["close"]) for row in rows}

    def test_an_error_is_forgotten_when_the_provider_is_well_again(self, server: Any, quick: None) -> None:
        for fault in (name for names in self.faults.values() for name in names):
            server.fail(self.spelling, fault)
            with pytest.raises(ProviderError):
                self.ask()
            server.mend()
            assert self.ask().candles.num_rows > 20, f"after {fault}"
