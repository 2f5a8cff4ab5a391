import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chronos.core.health import checks


class Command(BaseCommand):
    help = "Say whether the database, its migrations, Valkey, the worker and beat are well. Exit 0 if all are, else 1."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        found = checks()
        everything = all(check.ok for check in found)
        if options["json"]:
            self.stdout.write(
                json.dumps({"status": "ok" if everything else "failing", "checks": [asdict(c) for c in found]})
            )
        else:
            for check in found:
                self.stdout.write(f"{'ok  ' if check.ok else 'FAIL'} {check.name:<11} {check.detail}")
        if not everything:
            raise SystemExit(1)
