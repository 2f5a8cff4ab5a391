"""What it costs to be told about a symbol: one that is remembered, beside an empty request; 5,000 at once.

The two requests are sent in turn, so that a drifting machine meets both alike. Measured in this process, through
Django's whole stack, without a network: server time.
"""

import time

from tests.benchmarks.machine import beside, chronos, table

ROUNDS = 300
GOAL_MS = 3.0
LINES, AT_ONCE, WRONG = 170_000, 5_000, 500

LISTINGS = """
INSERT INTO marketdata_listing
    (symbol, spelling, name, asset_class, exchange, mic, currency, country, sector, industry, cap_class, isin,
     importance, source)
SELECT 'S' || n, 'S' || n, 'Company ' || n, 'stock', 'NYQ', 'XNYS', 'USD', '', '', '', '', '', n %% 12000, 'benchmark'
FROM generate_series(1, %(lines)s) n
"""


def main() -> None:
    with chronos() as owner:
        from django.core.cache import cache
        from django.test import Client
        from django.urls import reverse

        from marketdata.validation import check
        from tests import cast

        owner.execute(LISTINGS, {"lines": LINES})
        owner.execute("VACUUM ANALYZE")
        client = Client(headers={"Host": "localhost", "HX-Request": "true"})
        client.force_login(cast.alice())
        _request(client, reverse("core:running"), reverse("marketdata:validate") + "?symbol=S7")
        names = [f"S{number}" for number in range(1, AT_ONCE + 1)]
        typos = [f"{name}X" for name in names[:WRONG]]
        timed = []
        for what, symbols in (
            ("all listed", names),
            ("all listed, again", names),
            ("10 % mistyped", [*names[WRONG:], *typos]),
        ):
            if what == "10 % mistyped":
                cache.clear()
            started = time.perf_counter()
            found = check(symbols, asks=False)
            timed.append(
                (what, f"{time.perf_counter() - started:.2f}", str(sum(one.verdict == "valid" for one in found)))
            )
        table(f"{AT_ONCE:,} symbols, {LINES:,} listed, nobody asked", ("", "seconds", "valid"), timed)
        print(f"goal: all listed ≤ 1 s: {'met' if float(timed[0][1]) <= 1 else 'MISSED'}")


def _request(client, empty: str, remembered: str) -> None:
    title = "one symbol, remembered, beside an empty authenticated request"
    beside(client, title, empty, ("remembered symbol", remembered), ROUNDS, GOAL_MS)
