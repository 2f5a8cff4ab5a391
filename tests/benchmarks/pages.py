"""How long the server takes for a universe page of 100 and of 500 members with two million candles stored, and what
tenancy costs.

Both are measured in this process, through Django's whole stack, without a network: server time. The policies are
switched off and on in turn, so that a drifting machine meets both alike.
"""

import statistics
import time

from tests.benchmarks.machine import chronos, table

ASSETS, MANY = 100, 500
ROUNDS, FEWER = 60, 20
GOAL_MS = 80
WIDE = "?cols=name,price,change,1w,1mo,3mo,ytd,1y,trend,range,volume,cap,pe,sector,age,state,tags"

# 500 × 2,520 days and 100 × 7,500 hours: 2,010,000 candles, made by the database itself.
CANDLES = """
INSERT INTO marketdata_candle
    (asset_id, timeframe, open_time, open, high, low, close, adj_close, volume, source, known_at)
SELECT a.id, %(timeframe)s, %(newest)s::timestamptz - n * %(step)s::interval,
    100 + n %% 7, 120, 90, 101 + (n * 7 + a.id) %% 6, NULL, 1000 * (n %% 50), 'benchmark', now()
FROM marketdata_asset a, generate_series(0, %(count)s - 1) n WHERE a.id = ANY(%(assets)s)
"""


def main() -> None:
    with chronos() as owner:
        client, address, many = _scene(owner)
        on, off = [], []
        for _ in range(ROUNDS):
            for policies, times in ((True, on), (False, off)):
                _policies(owner, policies)
                times.append(_milliseconds(client, address))
        _policies(owner, True)
        p95 = statistics.quantiles(on, n=20)[-1]
        cost = statistics.median(a / b for a, b in zip(on, off, strict=True)) - 1
        table(
            f"universe page, {ASSETS} members, 2,010,000 candles",
            ("", "median ms", "p95 ms"),
            [
                ("policies on", f"{statistics.median(on):.1f}", f"{p95:.1f}"),
                ("policies off", f"{statistics.median(off):.1f}", f"{statistics.quantiles(off, n=20)[-1]:.1f}"),
            ],
        )
        _many(client, many)
        print(f"goal: p95 ≤ {GOAL_MS} ms: {'met' if p95 <= GOAL_MS else 'MISSED'}; tenancy costs {cost:+.1%} (paired)")


def _many(client, address: str) -> None:
    """Of 500 members 200 are on a page; an order by what prices say needs all of them."""
    rows = []
    for name, query in (
        ("own order", ""),
        ("by 1 year", "?sort=-1y"),
        ("17 columns", WIDE),
        ("17 columns, by 52 weeks", f"{WIDE}&sort=-range"),
        ("found by text", "?q=bench49"),
    ):
        times = [_milliseconds(client, address + query, 10) for _ in range(FEWER)]
        rows.append((name, f"{statistics.median(times):.1f}", f"{statistics.quantiles(times, n=20)[-1]:.1f}"))
    table(f"universe page, {MANY} members", ("", "median ms", "p95 ms"), rows)
    first, *again = (_milliseconds(client, f"{address}performance/?span=5y&weigh=now", 3) for _ in range(FEWER))
    median = statistics.median(again)
    print(f"comparison over 5 years: {first:.0f} ms first, when column files are made; {median:.0f} ms again")


def _scene(owner):
    from django.test import Client

    from chronos import asgi
    from chronos.core import tenancy
    from marketdata.models import Asset, Series
    from tests import cast
    from universes.models import Membership, Universe

    every = Asset.objects.bulk_create(Asset(symbol=f"BENCH{n}", name=f"Benchmark {n} Inc.") for n in range(MANY))
    newest = "2026-01-02T00:00Z"
    for timeframe, step, count, assets in (("1d", "1 day", 2520, every), ("1h", "1 hour", 7500, every[:ASSETS])):
        values = {"timeframe": timeframe, "newest": newest, "step": step, "count": count}
        owner.execute(CANDLES, values | {"assets": [asset.pk for asset in assets]})
        Series.objects.bulk_create(
            Series(asset=asset, timeframe=timeframe, source="benchmark", candle_count=count, last_open=newest,
                   first_open="2019-01-01T00:00Z", checked_at=newest)
            for asset in assets
        )  # fmt: skip
    owner.execute("VACUUM ANALYZE")
    person = cast.alice()
    with tenancy.acting_as(person):
        universe = Universe.objects.create(owner=person, name="Benchmark")
        Membership.objects.bulk_create(Membership(universe=universe, owner=person, asset=asset) for asset in assets)
        many = Universe.objects.create(owner=person, name="Many")
        Membership.objects.bulk_create(
            Membership(universe=many, owner=person, asset=asset, position=place) for place, asset in enumerate(every)
        )
        # Others' rows, which the policies must pass over.
    with tenancy.as_system("other people's universes"):
        others = cast.bob()
        crowd = Universe.objects.bulk_create(Universe(owner=others, name=f"Bob's {n}") for n in range(200))
        Membership.objects.bulk_create(
            Membership(universe=theirs, owner=others, asset=asset) for theirs in crowd for asset in assets[:50]
        )
    client = Client(headers={"Host": "localhost"})
    client.force_login(person)
    for _ in range(5):
        _milliseconds(client, universe.get_absolute_url())
    asgi.settle()  # as the server does
    return client, universe.get_absolute_url(), many.get_absolute_url()


def _policies(owner, on: bool) -> None:
    from chronos.core import tenancy

    for name in tenancy.PROTECTED:
        owner.execute(f"ALTER TABLE {name} {'ENABLE' if on else 'DISABLE'} ROW LEVEL SECURITY")


def _milliseconds(client, address: str, least: int = ASSETS) -> float:
    started = time.perf_counter()
    answer = client.get(address)
    took = 1000 * (time.perf_counter() - started)
    assert answer.status_code == 200
    assert answer.content.count(b"BENCH") >= least
    return took
