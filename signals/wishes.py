"""What somebody fills in to have a backtest made, and the wish that comes of it.

People write percents and the last day that counts; `Terms` has fractions and `Wish` the first moment that does not.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms

from chronos.core import figures
from chronos.core.models import User
from marketdata.loading import stored_asset
from marketdata.models import Asset, AssetClass, Series, Timeframe
from signals import backtests, catalogue, numerals
from signals.backtests import Wish
from signals.engine.terms import Costs, Exits, Impossible, Sizing, Terms
from signals.forms import ParametersForm
from signals.models import Backtest, Strategy
from signals.numerals import Figure
from signals.strategies import registry
from signals.strategies.declaring import Kind

PLAIN = {"autocomplete": "off"}
A_DAY = timedelta(days=1)
EARLIEST, LATEST = 1800, 2200  # years that a day can be of
IN_FRACTIONS = (AssetClass.CRYPTO, AssetClass.FX)  # whose units people do not buy whole
# Costs that nobody should leave out unawares. Slippage is what zipline assumes of each order; most brokers are cheaper.
FEE_RATE, SLIPPAGE_BPS = 0.001, 5.0
FIRST = Terms(costs=Costs(FEE_RATE, 0.0, SLIPPAGE_BPS))
SIZES = {"fraction": "size_fraction", "amount": "size_amount", "risk": "size_risk"}
EXITS = ("stop_loss", "trailing_stop", "take_profit_1", "take_profit_1_share", "take_profit_2", "max_bars")


def _day_field(**more: Any) -> forms.DateField:
    return forms.DateField(
        required=False, input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        error_messages={"invalid": "Write the day as 2020-01-31."}, **more,
    )  # fmt: skip


class BacktestForm(forms.Form):
    """All of a backtest but the parameters, which its kind declares: `parameters` is their form.

    `rule` is a strategy of the person's, by its number, or a kind, by its name. When both forms are valid,
    `wish` is what is to be run; `keep_as` the name under which the person wants its parameters kept, if any.
    """

    wish: Wish

    rule = forms.ChoiceField(label="Strategy")
    keep_as = forms.CharField(
        label="Keep these parameters as a strategy named", required=False, max_length=catalogue.NAME,
        widget=forms.TextInput(attrs=PLAIN),
    )  # fmt: skip
    asset = forms.CharField(
        max_length=100, widget=forms.TextInput(attrs={**PLAIN, "spellcheck": "false", "placeholder": "Symbol or name"}),
        error_messages={"required": "Choose the asset to run it on."},
    )  # fmt: skip
    timeframe = forms.ChoiceField(choices=Timeframe.choices, initial=Timeframe.D1)
    start = _day_field(label="From")
    end = _day_field(label="To", help_text="This day counts, too.")
    benchmark = forms.CharField(
        label="Compare with", required=False, max_length=100,
        widget=forms.TextInput(attrs={**PLAIN, "spellcheck": "false", "placeholder": "SPY, for example"}),
        help_text="Another asset, beside holding this one.",
    )  # fmt: skip
    cash = Figure(label="Cash at the start", above=0)
    direction = forms.ChoiceField(choices=(("long", "Long"), ("short", "Short"), ("both", "Both")))
    sizing = forms.ChoiceField(label="Buys", choices=(("fraction", "Share"), ("amount", "Amount"), ("risk", "Risk")))
    size_fraction = Figure(label="A share of equity", above=0, high=100, unit="%", required=False)
    size_amount = Figure(label="A fixed amount", above=0, required=False)
    size_risk = Figure(label="What the stop-loss may cost", above=0, high=100, unit="%", required=False)
    lots = forms.ChoiceField(label="Quantities", choices=(("1", "Whole"), ("0", "Any fraction")))
    fee_rate = Figure(label="Fee", low=0, below=100, unit="%", help_text="Of each side: 0.1 is a thousandth.")
    fee_minimum = Figure(label="Least fee", low=0, required=False, help_text="For each order, in currency.")
    slippage_bps = Figure(label="Slippage", low=0, below=10_000, unit="bps", required=False,
                          help_text="Market orders fill so much worse; 100 are 1 %.")  # fmt: skip
    stop_loss = Figure(label="Stop-loss", above=0, below=100, unit="%", required=False, help_text="From the entry.")
    trailing_stop = Figure(label="Trailing stop", above=0, below=100, unit="%", required=False,
                           help_text="From the best price since.")  # fmt: skip
    take_profit_1 = Figure(label="First target", above=0, unit="%", required=False, help_text="From the entry.")
    take_profit_1_share = Figure(label="It closes", above=0, high=100, unit="%", required=False,
                                 help_text="Empty: half, or all without a second target.")  # fmt: skip
    take_profit_2 = Figure(label="Second target", above=0, unit="%", required=False, help_text="Closes the rest.")
    max_bars = Figure(label="Time stop", low=1, high=10_000_000, whole=True, unit="bars", required=False,
                      help_text="Closes what is held so long.")  # fmt: skip
    close_at_end = forms.BooleanField(label="Close what is held at the last candle", required=False)

    def __init__(self, user: User, data: Mapping[str, Any] | None = None, *, like: Mapping[str, Any] | None = None,
                 parameters: Mapping[str, Any] | None = None) -> None:  # fmt: skip
        """`like`: what the fields hold at first; `parameters`: those of the rule's, if not its own."""
        super().__init__(data, initial=first_time() | dict(like or {}))
        self.user = user
        self.own = list(Strategy.objects.of(user).filter(archived_at=None).only("pk", "name", "kind", "parameters"))
        self._offer_rules()
        self._offer_lots()
        self.strategy, self.kind = self._rule()
        own = self.strategy.parameters if self.strategy else {}
        self.parameters = (
            ParametersForm(self.kind, data, values=own if parameters is None else parameters) if self.kind else None
        )
        self.stock = Stock(stored_asset(self._given("asset"))) if self._given("asset") else Stock(None)
        if self.stock.asset and self.stock.series:
            names = {series.timeframe for series in self.stock.series}
            offered = [(frame.value, frame.value) for frame in Timeframe if frame.value in names]
            field = self.fields["timeframe"]
            field.choices = offered  # type: ignore[attr-defined]
            only = f"{self.stock.asset} has none of these candles; choose one that it has: " + ", ".join(
                name for name, _ in offered
            )
            field.error_messages["invalid_choice"] = f"{only}."
            if data is None and self.initial.get("timeframe") not in names:
                self.initial["timeframe"] = "1d" if "1d" in names else offered[-1][0]

    # --- What is offered ---

    def _given(self, name: str) -> str:
        value = self.data.get(name) if self.is_bound else self.initial.get(name)
        return str(value or "").strip()[:100]

    def _offer_rules(self) -> None:
        known = registry.kinds()
        mine = [(str(one.pk), one.name) for one in self.own if one.kind in known]
        kinds = [(kind.name, kind.label) for kind in known.values()]
        self.fields["rule"].choices = (  # type: ignore[attr-defined]
            [("Your strategies", mine), ("Kinds, with parameters chosen below", kinds)] if mine else kinds
        )
        self.fields["rule"].error_messages["invalid_choice"] = "That strategy is not there any more: choose another."

    def _offer_lots(self) -> None:
        """One that an earlier run had may be neither of the usual two."""
        lot = numerals.read(self._given("lots"))
        if lot is not None and lot > 0 and numerals.plain(lot) not in ("0", "1"):
            field = self.fields["lots"]
            field.choices = [*field.choices, (numerals.plain(lot), f"Multiples of {numerals.plain(lot)}")]  # type: ignore[attr-defined]

    def _rule(self) -> tuple[Strategy | None, Kind | None]:
        given = self._given("rule")
        strategy = next((one for one in self.own if str(one.pk) == given), None)
        return strategy, registry.kinds().get(strategy.kind if strategy else given)

    @property
    def exits(self) -> list[Any]:
        return [self[name] for name in EXITS]

    @property
    def exits_open(self) -> bool:
        """Whether one of them is filled in or wrong, so that it must be seen."""
        return any(self[name].value() or self[name].errors for name in EXITS)

    @property
    def sizes(self) -> list[tuple[str, str, Any]]:
        words = dict(self.fields["sizing"].choices)  # type: ignore[attr-defined]
        return [(kind, words[kind], self[name]) for kind, name in SIZES.items()]

    # --- What is wrong ---

    def is_valid(self) -> bool:
        return super().is_valid() and self.parameters is not None and self.parameters.is_valid()

    def clean_keep_as(self) -> str:
        name: str = self.cleaned_data["keep_as"]
        if name and catalogue.is_taken(self.user, name):
            raise forms.ValidationError(str(catalogue.Taken(name)))
        return name

    def clean_asset(self) -> Asset:
        return self._with_candles(self.cleaned_data["asset"], self.stock)

    def clean_benchmark(self) -> Asset | None:
        text: str = self.cleaned_data["benchmark"]
        return self._with_candles(text, Stock(stored_asset(text))) if text else None

    def _with_candles(self, text: str, stock: "Stock") -> Asset:
        if stock.asset is None:
            raise forms.ValidationError(
                f"No asset here is called “{text[:40]}”. Choose one of the list; others are found under Assets, where"
                " their candles are fetched."
            )
        if not stock.series:
            raise forms.ValidationError(
                f"{stock.asset} has no candles yet: fetch them on its page, or choose an asset that has some."
            )
        return stock.asset

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        self._check_size(given)
        self._check_exits(given)
        self._check_dates(given)
        self._check_direction(given)
        benchmark, timeframe = given.get("benchmark"), given.get("timeframe")
        if benchmark and timeframe and not Stock(benchmark).has(timeframe):
            there = ", ".join(series.timeframe for series in Stock(benchmark).series)
            self.add_error("benchmark", f"{benchmark} has no {timeframe} candles, only {there}: choose another asset.")
        parameters_are_good = self.parameters is not None and self.parameters.is_valid()
        if self.parameters is not None and parameters_are_good:
            self._check_stop(given)
            if not self.errors:
                self._wish(given, self.parameters)
        return given

    def _check_size(self, given: dict[str, Any]) -> None:
        name = SIZES.get(given.get("sizing", ""), "")
        if name and name not in self.errors and given.get(name) is None:
            field = self.fields[name]
            self.add_error(name, f"Say how much: {field.range}.")  # type: ignore[attr-defined]

    def _check_exits(self, given: dict[str, Any]) -> None:
        first, second = given.get("take_profit_1"), given.get("take_profit_2")
        if second is not None and first is None and "take_profit_1" not in self.errors:
            self.add_error("take_profit_1", "A second target needs a first one: fill it in, or empty the second.")
        elif first is not None and second is not None and second <= first:
            self.add_error(
                "take_profit_2", f"It must lie beyond the first target, {numerals.plain(first)} %: raise it."
            )
        if given.get("take_profit_1_share") is not None and first is None and "take_profit_1" not in self.errors:
            self.add_error("take_profit_1_share", "Without a first target nothing is closed there: empty it.")
        for name in ("take_profit_1", "take_profit_2"):
            if given.get("direction") in ("short", "both") and (given.get(name) or 0) >= 100:
                self.add_error(name, "A short position can’t gain 100 % or more of its entry: lower it.")

    def _check_dates(self, given: dict[str, Any]) -> None:
        for name in ("start", "end"):
            if given.get(name) and not EARLIEST <= given[name].year <= LATEST:
                self.add_error(name, f"Choose a day of the years {EARLIEST} to {LATEST}, or none.")
                return
        start, end, series = given.get("start"), given.get("end"), self.stock.named(given.get("timeframe", ""))
        if start and end and start > end:
            self.add_error("start", f"{_day(start)} is after {_day(end)}, the last day: exchange the two.")
        elif series and series.first_open and series.last_open:
            first, last = series.first_open.date(), series.last_open.date()
            has = f"{self.stock.asset} has {series.timeframe} candles from {_day(first)} to {_day(last)}"
            if start and start > last:
                self.add_error("start", f"{has}: choose a day before their end.")
            if end and end < first:
                self.add_error("end", f"{has}: choose a day after their beginning.")

    def _check_direction(self, given: dict[str, Any]) -> None:
        if self.kind and not self.kind.sells_short and given.get("direction") == "short":
            self.add_error("direction", f"{self.kind.label} never sells short: choose Long.")

    def _check_stop(self, given: dict[str, Any]) -> None:
        """Kinds of one's own may give stops, which is known when they run; ours do by their parameter alone."""
        assert self.parameters is not None
        assert self.kind is not None
        if given.get("sizing") != "risk" or given.get("stop_loss") or given.get("trailing_stop"):
            return
        if self.kind.origin == "chronos" and not self.parameters.checked.get("stop"):
            self.add_error(
                "size_risk",
                "Sizing by risk needs a stop: fill in a stop-loss or a trailing stop below, or buy a share.",
            )

    # --- What comes of it ---

    def _wish(self, given: dict[str, Any], parameters: ParametersForm) -> None:
        assert self.kind is not None
        start, end = given.get("start"), given.get("end")
        unchanged = self.strategy is not None and self.strategy.parameters == parameters.checked
        self.wish = Wish(
            self.kind, dict(parameters.checked), given["asset"], Timeframe(given["timeframe"]),
            _begins(start) if start else None, _begins(end) + A_DAY if end else None, _terms(given),
            given.get("benchmark"), self.strategy if unchanged else None,
        )  # fmt: skip
        try:
            backtests.check(self.wish)
        except Impossible as error:
            self.add_error(_FIELDS.get(error.name, error.name) if self._has(error.name) else None, str(error))

    def _has(self, name: str) -> bool:
        return _FIELDS.get(name, name) in self.fields

    @property
    def changed(self) -> bool:
        """Whether it runs with other parameters than the chosen strategy has."""
        return self.strategy is not None and hasattr(self, "wish") and self.wish.strategy is None


_FIELDS = {"lot": "lots", "sizing": "size_fraction", "fee": "fee_rate"}


def _terms(given: Mapping[str, Any]) -> Terms:
    kind = given["sizing"]
    size = given[SIZES[kind]]
    bars = given["max_bars"]
    return Terms(
        cash=float(given["cash"]),
        costs=Costs(numerals.fraction(given["fee_rate"]) or 0.0, float(given["fee_minimum"] or 0),
                    float(given["slippage_bps"] or 0)),
        sizing=Sizing(kind, float(size) if kind == "amount" else float(size / 100)),
        exits=Exits(
            stop_loss=numerals.fraction(given["stop_loss"]),
            take_profit_1=numerals.fraction(given["take_profit_1"]),
            take_profit_2=numerals.fraction(given["take_profit_2"]),
            take_profit_1_share=numerals.fraction(given["take_profit_1_share"]),
            trailing_stop=numerals.fraction(given["trailing_stop"]),
            max_bars=None if bars is None else int(bars),
        ),
        lot=float(given["lots"]),
        direction=given["direction"],
        close_at_end=given["close_at_end"],
    )  # fmt: skip


class Stock:
    """What candles there are of an asset: its series, the shortest timeframe first."""

    def __init__(self, asset: Asset | None) -> None:
        self.asset = asset
        order = [frame.value for frame in Timeframe]
        found = Series.objects.filter(asset=asset, candle_count__gt=0, last_open__isnull=False) if asset else ()
        self.series = sorted(found, key=lambda series: order.index(series.timeframe))

    def named(self, timeframe: str) -> Series | None:
        return next((series for series in self.series if series.timeframe == timeframe), None)

    def has(self, timeframe: str) -> bool:
        return self.named(timeframe) is not None

    def told(self) -> list[dict[str, Any]]:
        return [
            {
                "timeframe": series.timeframe,
                "range": f"{figures.day(series.first_open)} – {figures.day(series.last_open)}",
                "first": f"{series.first_open:%Y-%m-%d}",
                "last": f"{series.last_open:%Y-%m-%d}",
                "candles": figures.counted(series.candle_count, "candle"),
            }
            for series in self.series
        ]


def _day(day: date) -> str:
    return figures.day(day)


def _begins(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


# --- What the fields hold at first -------------------------------------------------------------------------------


def first_time() -> dict[str, Any]:
    """For somebody who has never run anything: a run that can be understood, with costs."""
    return {"timeframe": "1d", **of_terms(FIRST)}


def of_terms(terms: Terms) -> dict[str, Any]:
    sizing, exits = terms.sizing, terms.exits
    sizes = {"size_fraction": "100", "size_amount": "1000", "size_risk": "1"}
    sizes[SIZES[sizing.kind]] = (
        numerals.plain(sizing.value) if sizing.kind == "amount" else numerals.percent(sizing.value)
    )
    return {
        "cash": numerals.plain(terms.cash),
        "direction": terms.direction,
        "sizing": sizing.kind,
        **sizes,
        "lots": numerals.plain(terms.lot),
        "fee_rate": numerals.percent(terms.costs.fee_rate),
        "fee_minimum": numerals.plain(terms.costs.fee_minimum) if terms.costs.fee_minimum else "",
        "slippage_bps": numerals.plain(terms.costs.slippage_bps),
        **{name: numerals.percent(getattr(exits, name)) for name in EXITS if name != "max_bars"},
        "max_bars": "" if exits.max_bars is None else str(exits.max_bars),
        "close_at_end": terms.close_at_end,
    }


def like(backtest: Backtest, *, dated: bool) -> dict[str, Any]:
    """What the fields held when a backtest was asked for; with `dated` its days, too."""
    from signals import running

    strategy = backtest.strategy
    kept = strategy is not None and strategy.deleted_at is None and strategy.parameters == backtest.parameters
    fields = {
        "rule": str(backtest.strategy_id) if kept else backtest.kind,
        "asset": backtest.asset.symbol,
        "timeframe": backtest.timeframe,
        "benchmark": backtest.benchmark.symbol if backtest.benchmark else "",
        **of_terms(running.terms_of(backtest.terms)),
    }
    if dated:
        last = backtest.end - timedelta(microseconds=1) if backtest.end else None
        fields |= {"start": backtest.start.date() if backtest.start else None, "end": last.date() if last else None}
    return fields


def usual_lot(asset: Asset) -> str:
    """How its quantities are bought: "0" in any fraction, "1" whole."""
    return "0" if asset.asset_class in IN_FRACTIONS else "1"


def sentence(wish: Wish) -> str:
    """What is going to be run, in words."""
    stock = Stock(wish.asset).named(wish.timeframe.value)
    first = max(filter(None, (wish.start, stock.first_open if stock else None)), default=None)
    last = wish.end - A_DAY if wish.end else None
    last = min(filter(None, (last, stock.last_open if stock else None)), default=None)
    who = wish.strategy.name if wish.strategy else wish.kind.label
    span = f" from {figures.day(first)} to {figures.day(last)}" if first and last else ""
    return (
        f"{who} on {wish.asset}, candles of {wish.timeframe.label.lower()}{span}, with {figures.money(wish.terms.cash)}"
        f" and {_costs(wish.terms.costs)}."
    )


def _costs(costs: Costs) -> str:
    if not (costs.fee_rate or costs.fee_minimum or costs.slippage_bps):
        return "without any costs"
    least = f" of at least {figures.money(costs.fee_minimum)} an order" if costs.fee_minimum else ""
    return f"{numerals.percent(costs.fee_rate)} % fee{least}, {numerals.plain(costs.slippage_bps)} bps slippage"
