"""Random markets, decisions and terms with everything on: what tables can't think of."""

import math

import numpy as np

from signals.engine.terms import Costs, Decisions, Exits, Fine, Market, Sizing, Terms


def case(seed: int, bars: int = 40, assets: int | None = None) -> tuple[Market, Decisions, Terms]:
    """The same for the same seed. Prices are whole, halves or hundredths, so that levels are met exactly, too."""
    r = np.random.default_rng(seed)
    assets = int(r.integers(1, 4)) if assets is None else assets
    terms = any_terms(r)
    decisions = any_decisions(r, assets, bars, terms)
    market = any_market(r, assets, bars)
    if decisions.stops is not None:
        away = r.choice([0.97, 0.95, 0.9], (assets, bars))
        level = np.where(decisions.entries > 0, market.close * away, market.close * (2 - away)).round(2)
        decisions.stops[:] = np.where(r.random((assets, bars)) < 0.6, level, math.nan)
    return market, decisions, terms


def any_market(r: np.random.Generator, assets: int, bars: int, *, actions: bool = True) -> Market:
    grid = r.choice([1.0, 0.5, 0.01])
    step = r.choice([0.005, 0.02, 0.06, 0.2])
    shape = assets, bars
    close = np.empty(shape)
    opens, splits, dividends = np.empty(shape), np.ones(shape), np.zeros(shape)
    before = r.integers(50, 200, assets).astype(float)
    for t in range(bars):
        if actions and t:
            splits[:, t] = r.choice([1, 2, 0.5, 4], assets, p=[0.97, 0.01, 0.01, 0.01])
            dividends[:, t] = r.choice([0, 0.25, 2], assets, p=[0.9, 0.05, 0.05])
        before = before / splits[:, t]
        gap = np.where(r.random(assets) < 0.7, 0, r.normal(0, 2 * step, assets))
        opens[:, t] = _on(before * np.exp(gap), grid)
        close[:, t] = _on(opens[:, t] * np.exp(r.normal(0, step, assets)), grid)
        before = close[:, t]
    high = _on(np.maximum(opens, close) * (1 + abs(r.normal(0, step, shape)) * r.integers(0, 2, shape)), grid, np.ceil)
    low = _on(np.minimum(opens, close) * (1 - abs(r.normal(0, step, shape)) * r.integers(0, 2, shape)), grid, np.floor)
    if r.random() < 0.5:
        away = (r.random(shape) < 0.15) & (splits == 1) & (dividends == 0)
        for prices in (opens, high, low, close):
            prices[away] = math.nan
    fine = _fine(r, opens, high, low, close, grid) if r.random() < 0.5 else None
    return Market(
        opens, high, low, close,
        splits=splits if (splits != 1).any() else None,
        dividends=dividends if dividends.any() else None,
        fine=fine,
    )  # fmt: skip


def _on(prices, grid: float, to=np.round):
    return np.maximum(np.round(to(np.round(prices / grid, 9)) * grid, 9), grid)


def _fine(r: np.random.Generator, opens, high, low, close, grid: float) -> Fine:
    """Of most bars three candles that make the bar; of some only the first, of some none."""
    candles, first, after = [], np.zeros(opens.shape, np.int64), np.zeros(opens.shape, np.int64)
    for a, t in np.ndindex(opens.shape):
        first[a, t] = after[a, t] = len(candles)
        if math.isnan(opens[a, t]):
            continue
        up = r.random() < 0.5
        turn = [high[a, t], low[a, t]] if up else [low[a, t], high[a, t]]
        path = [opens[a, t], *turn, close[a, t]]
        for n in range(r.choice([0, 1, 3], p=[0.2, 0.2, 0.6])):
            one, two = path[n], path[n + 1]
            candles.append((one, max(one, two), min(one, two), two))
        after[a, t] = len(candles)
    return Fine(*np.array(candles or [(1.0,) * 4]).T.copy(), first, after)


def any_decisions(r: np.random.Generator, assets: int, bars: int, terms: Terms) -> Decisions:
    often = r.choice([0.1, 0.3])
    shape = assets, bars
    entries = r.choice([0, 1, -1], shape, p=[1 - often, often / 2, often / 2]).astype(np.int8)
    exits = r.choice([0, 1, 2, 3], shape, p=[0.82, 0.06, 0.06, 0.06]).astype(np.int8)
    own = r.random() < 0.3 or (terms.sizing.kind == "risk" and _unguarded(terms))
    return Decisions(entries, exits, np.full(shape, math.nan) if own else None)


def _unguarded(terms: Terms) -> bool:
    return terms.exits.stop_loss is None and terms.exits.trailing_stop is None


def any_terms(r: np.random.Generator) -> Terms:
    def one(*values):
        return values[r.integers(len(values))]

    first = one(None, 0.05, 0.1)
    kind = one("fraction", "fraction", "amount", "risk")
    return Terms(
        cash=one(1_000.0, 10_000.0),
        costs=Costs(one(0.0, 0.001, 0.01), one(0.0, 0.0, 1.0), one(0.0, 0.0, 10.0)),
        sizing=Sizing(kind, {"fraction": one(1.0, 0.5, 0.3), "amount": one(350.0, 2_500.0), "risk": 0.02}[kind]),
        exits=Exits(
            stop_loss=one(None, 0.05, 0.1),
            take_profit_1=first,
            take_profit_2=None if first is None else one(None, 0.12),
            take_profit_1_share=None if first is None else one(None, 0.25, 0.7, 1.0),
            trailing_stop=one(None, None, 0.04, 0.08),
            max_bars=one(None, None, 1, 5),
        ),
        lot=one(1.0, 1.0, 0.0, 0.1),
        direction=one("long", "short", "both", "both"),
        close_at_end=one(False, False, True),
    )
