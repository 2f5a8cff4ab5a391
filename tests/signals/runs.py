"""Backtests for tests of what shows them: asked for by the verb, run by their job, on prices that swing."""

from math import sin
from typing import Any

from chronos.core import jobs, tenancy
from chronos.core.models import User
from marketdata.models import Asset, Timeframe
from signals import backtests
from signals.engine.terms import Terms
from signals.models import Backtest, Trade
from signals.strategies import registry
from tests.prices import stored


def swinging(count: int = 400, level: float = 100.0) -> list[float]:
    """Prices that rise slowly and swing by a fifth every forty bars or so: averages of them cross often."""
    return [round(level * (1 + n / 2000) * (1 + sin(n / 6.3) / 10 + sin(n / 1.7) / 60), 2) for n in range(count)]


def asked(person: User, asset: Asset | None = None, kind: str = "sma-cross", **more: Any) -> Backtest:
    """Queued, as from the form."""
    asset = asset or stored("BTC-USD", swinging(), asset_class="crypto")
    timeframe = more.pop("timeframe", Timeframe.D1)
    parameters = more.pop("parameters", {"fast": 5, "slow": 15} if kind == "sma-cross" else {})
    terms = more.pop("terms", Terms())
    with tenancy.acting_as(person):
        wish = backtests.Wish(registry.kind_named(kind), parameters, asset, timeframe, terms=terms, **more)
        return backtests.start(wish, person)


def ran(person: User, asset: Asset | None = None, kind: str = "sma-cross", **more: Any) -> Backtest:
    """With a result."""
    backtest = asked(person, asset, kind, **more)
    jobs.run_job(backtest.job_id)
    with tenancy.acting_as(person):
        return Backtest.objects.select_related("asset", "job", "benchmark").get(pk=backtest.pk)


def trades_of(backtest: Backtest, person: User) -> list[Trade]:
    with tenancy.acting_as(person):
        return list(Trade.objects.filter(backtest=backtest).order_by("number"))
