"""How much of the database's time a search takes over 170,000 symbols: `python -m tests.benchmarks.search`.

The master is made up, the same on every machine; BENCH_MASTER names a real one (Parquet or CSV) to be used instead.
Counted is the time from sending each statement until its rows are there, of the whole search.
"""

import os
import random
import statistics
import time
from pathlib import Path

from tests.benchmarks.machine import chronos, table

LINES = 170_000
STORED = 2000
GOAL_MS = 20
HARD = ("a", "i", "1", "^", "in", "of", "st", "an", "the", "fund", "inc", "corp", "ag", "etf", "s&p", "s&p 500", "at&t",
        "vanguard total", "bank of", "global", "new", "^NQ", "^NQU", "ΑAPL", "%", "_", "\\", "'; drop table", "<b>",
        "zzzzzzzz", "microsft", "gogl", "brk.b", "BTC/USDT", "societe generale", "US0378331005", "oft", "ung", "ing",
        "x" * 100, "a b c d e f g h")  # fmt: skip
FILTERED = (
    {"sector": "Energy"}, {"asset_class": "stock"}, {"asset_class": "index", "sector": "Energy"}, {"country": "Japan"},
    {"asset_class": "etf", "exchange": "NIM"}, {"asset_class": "stock", "sector": "Fixed Income"},
    {"cap_class": "mega", "country": "United States"}, {"exchange": "MUN"},
)  # fmt: skip


def main() -> None:
    with chronos() as owner:
        from marketdata.directory import listings
        from marketdata.models import Asset, Listing
        from tests.marketdata import directory

        started = time.perf_counter()
        given = os.environ.get("BENCH_MASTER")
        listings.load(Path(given) if given else directory.table(directory.REAL + directory.made_up(LINES)))
        loaded = time.perf_counter() - started
        symbols = list(Listing.objects.order_by("symbol").values_list("symbol", flat=True))
        chance = random.Random(5)
        Asset.objects.bulk_create(listings.unsaved(sorted(chance.sample(symbols, STORED))))
        owner.execute("VACUUM ANALYZE")
        started = time.perf_counter()
        listings.load(Path(given) if given else directory.table(directory.REAL + directory.made_up(LINES)))
        again = time.perf_counter() - started
        asked = _queries(chance, Listing)
        for text, filters in asked[:50]:
            _milliseconds(text, filters)
        times = [(*_milliseconds(text, filters), text, filters) for text, filters in asked]
        waited, computed = [took for took, *_ in times], [took for _, took, *_ in times]
        p95 = statistics.quantiles(waited, n=20)[-1]
        table(
            f"search, {len(symbols):,} symbols, {STORED:,} of them stored, {len(asked)} queries: database time",
            ("", "median ms", "p95 ms", "p99 ms", "longest ms"),
            [_row("waited for", waited), _row("of that computed by the database", computed)],
        )
        slow = sorted(times, key=lambda one: one[1])[-8:]
        print("  longest:", "; ".join(f"{text!r} {filters or ''} {took:.0f} ms" for _, took, text, filters in slow))
        print(f"goal: p95 ≤ {GOAL_MS} ms: {'met' if p95 <= GOAL_MS else 'MISSED'}")
        print(f"loading {len(symbols):,} lines: {loaded:.1f} s; the same again: {again:.1f} s")


def _queries(chance: random.Random, model) -> list[tuple[str, dict[str, str]]]:
    """As people type: beginnings of symbols and names, letter by letter, names, slips, filters; and the hard ones."""
    rows = list(model.objects.filter(importance__gte=3000).values_list("symbol", "name"))
    asked = []
    for symbol, name in chance.sample(rows, 120):
        asked += [(symbol, {}), (symbol[: chance.randint(1, len(symbol))].lower(), {})]
        words = name.split() or ["x"]
        asked += [
            (name[: chance.randint(1, max(1, len(name)))], {}),
            (" ".join(chance.sample(words, min(2, len(words)))), {}),
        ]
        place = chance.randrange(len(symbol))
        asked.append((symbol[:place] + chance.choice("AEIOSTX") + symbol[place + 1 :], {}))
    asked += [(text, {}) for text in HARD]
    asked += [(text, filters) for filters in FILTERED for text in ("", "a", "bank", "fund", "glo")]
    return asked


def _row(name: str, values: list[float]) -> tuple[str, ...]:
    shown = (statistics.median(values), statistics.quantiles(values, n=20)[-1], statistics.quantiles(values, n=100)[-1])
    return (name, *(f"{value:.1f}" for value in (*shown, max(values))))


def _milliseconds(text: str, filters: dict[str, str]) -> tuple[float, float]:
    """Of the database, with the way to it and back; and of its processor, which others can't make longer (Linux)."""
    from django.db import connection

    from marketdata.directory.search import find

    connection.ensure_connection()
    spent = 0.0

    def clock(execute, sql, params, many, context):
        nonlocal spent
        started = time.perf_counter()
        answer = execute(sql, params, many, context)
        spent += time.perf_counter() - started
        return answer

    before = _computed(connection)
    with connection.execute_wrapper(clock):
        find(text, **filters)
    return 1000 * spent, _computed(connection) - before


def _computed(connection) -> float:
    path = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    return int(path.read_text().split()[0]) / 1e6 if path.exists() else 0.0


if __name__ == "__main__":
    main()
