"""vectorbt on given arrays: vectorbt_runs.py GIVEN.npz FOUND.npz.

Of each case `n` are given `n.close`, `n.price` (what orders fill at), `n.entries` and `n.exits` on the bar of the fill
(int8 (T, A): 1 long, -1 short; exits 1), and `n.terms`: cash, fee rate, slippage, lot, amount (0 for all of the cash).
Found are `n.trades` (asset, entry bar, exit bar, signed size, entry price, exit price, profit; exit bar -1 while open)
and `n.equity`.
"""

import sys

import numpy as np
import pandas as pd
import vectorbt as vbt


def run(close, price, entries, exits, terms):
    cash, fee_rate, slippage, lot, amount = terms
    short = entries.min() < 0
    portfolio = vbt.Portfolio.from_signals(
        pd.DataFrame(close),
        entries=entries != 0,
        exits=exits != 0,
        price=pd.DataFrame(price),
        direction="shortonly" if short else "longonly",
        init_cash=cash,
        fees=fee_rate,
        slippage=slippage,
        size=amount or np.inf,
        size_type="value" if amount else "amount",
        size_granularity=lot or None,
        group_by=True,
        cash_sharing=True,
        freq="D",
    )
    records = portfolio.trades.records
    still = records["status"].to_numpy() == 0
    size = np.where(records["direction"] == 1, -1, 1) * records["size"]
    trades = [
        records["col"], records["entry_idx"], np.where(still, -1, records["exit_idx"]), size, records["entry_price"],
        records["exit_price"], records["pnl"],
    ]  # fmt: skip
    return np.array(trades, float).T, portfolio.value().to_numpy().ravel()


def main(given: str, found: str) -> None:
    arrays = np.load(given)
    results = {}
    for n in sorted({name.split(".")[0] for name in arrays.files}, key=int):
        names = ("close", "price", "entries", "exits", "terms")
        trades, equity = run(*(arrays[f"{n}.{name}"] for name in names))
        results |= {f"{n}.trades": trades, f"{n}.equity": equity}
    np.savez(found, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
