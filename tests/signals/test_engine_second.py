"""The engine against a second one, `slow_engine.py`, on random cases with everything on."""

import math
from dataclasses import fields

import numpy as np
import pytest

from signals.engine.simulation import simulate
from signals.engine.terms import Decisions, ExitReason, Market, Result, Terms, Trades
from tests.signals.random_cases import case
from tests.signals.slow_engine import Engine, Outcome


def same(market: Market, decisions: Decisions, terms: Terms, name: object = "") -> Result:
    for optimistic in (True, False):
        result = simulate(market, decisions, terms, optimistic=optimistic)
        slow = Engine(market, decisions, terms, optimistic=optimistic).run()
        _same_trades(result.trades, slow.trades, f"{name}, optimistic {optimistic}")
        _same_trades(result.open, slow.open, f"{name}, optimistic {optimistic}, open")
        _same_account(result, slow, terms, f"{name}, optimistic {optimistic}")
    return result


def _same_trades(trades: Trades, slow: list[dict], name: str) -> None:
    assert len(trades) == len(slow), f"{name}: {len(trades)} trades, slowly {len(slow)}"
    for n, wanted in enumerate(slow):
        for field in fields(Trades):
            found, value = getattr(trades, field.name)[n], wanted[field.name]
            value = math.nan if value is None else float(value)
            assert found == pytest.approx(value, rel=1e-9, abs=1e-8, nan_ok=True), f"{name}: {field.name} of trade {n}"


def _same_account(result: Result, slow: Outcome, terms: Terms, name: str) -> None:
    for what in ("equity", "cash", "gross"):
        wanted = np.array([float(value) for value in getattr(slow, what)])
        np.testing.assert_allclose(getattr(result, what), wanted, rtol=1e-9, atol=1e-8, err_msg=f"{name}: {what}")
    assert (result.ambiguous, result.resolved, result.ruined) == (slow.ambiguous, slow.resolved, slow.ruined), name
    assert result.fees == pytest.approx(float(slow.fees)), name
    assert result.dividends == pytest.approx(float(slow.dividends), abs=1e-9), name


def test_the_two_engines_agree() -> None:
    seen = [same(*case(seed), name=f"case {seed}") for seed in range(150)]
    assert sum(len(result.trades) for result in seen) > 1_000
    # What is rare happened as well.
    assert {ExitReason(reason) for result in seen for reason in result.trades.exit_reason} >= set(ExitReason)
    assert any(result.ambiguous for result in seen)
    assert any(result.resolved for result in seen)


@pytest.mark.prove
def test_the_two_engines_agree_on_thousands_of_cases() -> None:
    for seed in range(1_000, 3_000):
        same(*case(seed, bars=20 + seed % 60), name=f"case {seed}")
