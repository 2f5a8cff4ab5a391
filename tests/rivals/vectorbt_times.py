"""How long vectorbt takes for given decisions, warm: vectorbt_times.py GIVEN.npz FOUND.npz.

With the trades and the equity, which are had from it on demand and from our kernel always.
"""

import statistics
import sys
import time

import numpy as np
import pandas as pd
import vectorbt as vbt


def once(close, price, entries, exits, fee):
    started = time.perf_counter()
    portfolio = vbt.Portfolio.from_signals(close, entries, exits, price=price, init_cash=1e6, fees=fee, freq="D")
    _ = portfolio.trades.records
    portfolio.value()
    return time.perf_counter() - started


def main(given: str, found: str) -> None:
    arrays = np.load(given)
    medians = {}
    for name, rounds in (("short", 15), ("long", 5)):
        close, price, entries, exits = (
            pd.Series(arrays[f"{name}.{column}"]) for column in ("close", "price", "entries", "exits")
        )
        taken = [once(close, price, entries, exits, float(arrays["fee"])) for _ in range(rounds + 2)]
        medians[name] = statistics.median(taken[2:])
    np.savez(found, **medians)


if __name__ == "__main__":
    main(*sys.argv[1:])
