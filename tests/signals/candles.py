"""Candles for tests of what is computed from them: random ones, ones that stand still, and Google's."""

import csv
import gzip
from functools import cache
from importlib.resources import files

import numpy as np
from hypothesis import strategies as st

from signals.strategies.declaring import Bars


def bars_of(close, spread=0.5, seed=0) -> Bars:
    """Candles around these closes: opens at the close before, highs and lows up to `spread` beyond."""
    close = np.asarray(close, float)
    beyond = np.random.default_rng(seed).uniform(0, spread, (2, len(close)))
    before = np.concatenate([close[:1], close[:-1]])
    return Bars(
        open=before,
        high=np.maximum(before, close) + beyond[0],
        low=np.minimum(before, close) - beyond[1],
        close=close,
        volume=np.full(len(close), 1_000.0),
    )


def walk(length: int, seed: int = 0, step: float = 0.02) -> Bars:
    """A geometric random walk from 100."""
    moves = np.random.default_rng(seed).normal(0, step, length)
    return bars_of(100 * np.exp(np.cumsum(moves)), seed=seed)


def upto(bars: Bars, length: int) -> Bars:
    return Bars(bars.open[:length], bars.high[:length], bars.low[:length], bars.close[:length], bars.volume[:length])


def after(bars: Bars, start: int) -> Bars:
    return Bars(bars.open[start:], bars.high[start:], bars.low[start:], bars.close[start:], bars.volume[start:])


@st.composite
def candles(draw, low: int = 0, high: int = 160) -> Bars:
    """Moves by whole ticks, so that closes repeat, averages meet exactly and prices stand still for a while."""
    moves = draw(st.lists(st.integers(-4, 4), min_size=low, max_size=high))
    tick = draw(st.sampled_from([0.01, 0.25, 1 / 3, 7.0]))
    close = tick * (1_000 + np.cumsum(np.array(moves, float)))
    return bars_of(close, draw(st.sampled_from([0.0, tick, 3 * tick])), len(moves))


@cache
def google() -> Bars:
    """GOOG by day as traded, 2004-08-19 to 2013-03-01: 2,148 bars, in the public domain."""
    with gzip.open(files("bokeh_sampledata").joinpath("_data/stocks.csv.gz"), "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["Ticker"] == "GOOG"]
    return Bars(*(np.array([float(row[name]) for row in rows]) for name in ("Open", "High", "Low", "Close", "Volume")))
