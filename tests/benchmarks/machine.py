"""A throw-away Chronos to measure on, and tables to print."""

import os
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
