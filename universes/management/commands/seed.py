"""`manage.py seed`: the public universes and the bundled sample."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from marketdata.ingestion import Ingested
from marketdata.models import Timeframe
from marketdata.reporting import Report, Row, add_json_argument
from universes.seeding import DOMAINS, seed_samples, seed_universes


class Command(BaseCommand):
    help = (
        "Create the public universes and store the bundled sample, where they are missing. Whatever has been"
        " changed or deleted since is left as it is; the command may be repeated at any time."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_json_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        report = Report(self.stdout, as_json=options["as_json"])
        created = seed_universes()
        for universe in created:
            report.say(f"Universe {universe.name}: created.")
        if left := len(DOMAINS) - len(created):
            report.say(f"{left} of {len(DOMAINS)} universes were seeded before and are left as they are.")
        with report.progress("Seeding", total=len(DOMAINS)) as bar:
            for asset, counts in seed_samples():
                report.add(_row(asset.symbol, counts))
                bar.advance(note=asset.symbol)
        if status := report.finish():
            raise SystemExit(status)


def _row(symbol: str, counts: Ingested) -> Row:
    error = f"Quarantined: {'; '.join(counts.problems)}." if counts.quarantined else None
    return Row(
        symbol, Timeframe.D1.value, counts.received, counts.inserted, counts.updated, counts.unchanged,
        counts.quarantined, counts.first, counts.last, error=error,
    )  # fmt: skip
