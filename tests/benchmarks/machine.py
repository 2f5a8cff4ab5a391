"""A throw-away Chronos to measure on, and tables to print."""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def chronos() -> Iterator:
    """Django on an embedded pair of its own, durable as in real life; yields a connection as the tables' owner."""
    import django

    from tests import house  # decides where the state lies, so before the settings are read

    os.environ["DJANGO_SETTINGS_MODULE"] = "chronos.settings"
    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from chronos.core import database, embedded

    with embedded.Services(settings.EMBEDDED, settings.KEYS):
        database.prepare()
        call_command("collectstatic", interactive=False, verbosity=0)
        with house.owner() as owner:
            yield owner
        from django.db import connections

        connections.close_all()
    house.pytest_unconfigure()


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a small table with right-aligned figures."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    print(f"\n{title}")
    for row in (head, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells]))


def milliseconds(client, address: str) -> float:
    """How long the server takes for an answer, which must be one."""
    started = time.perf_counter()
    answer = client.get(address)
    took = 1000 * (time.perf_counter() - started)
    assert answer.status_code == 200, answer.content
    return took


def beside(client, title: str, empty: str, other: tuple[str, str], rounds: int, goal: float) -> None:
    """Ask an address (named) and an empty one in turn, so that a drifting machine meets both alike."""
    name, address = other
    for _ in range(20):
        milliseconds(client, empty), milliseconds(client, address)
    pairs = [(milliseconds(client, empty), milliseconds(client, address)) for _ in range(rounds)]
    columns = list(zip(*pairs, strict=True))
    p95 = [statistics.quantiles(column, n=20)[-1] for column in columns]
    rows = [
        (what, f"{statistics.median(column):.2f}", f"{top:.2f}")
        for what, column, top in zip(("empty request", name), columns, p95, strict=True)
    ]
    table(title, ("", "median ms", "p95 ms"), rows)
    more = statistics.median(b - a for a, b in pairs)
    print(
        f"goal: p95 ≤ the empty one's + {goal} ms: {'met' if p95[1] - p95[0] <= goal else 'MISSED'}"
        f" ({p95[1] - p95[0]:+.2f} ms; paired median {more:+.2f} ms)"
    )
