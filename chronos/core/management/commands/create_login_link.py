import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from chronos.core.models import SignInLink, User


class Command(BaseCommand):
    help = "Print a one-time address that signs a person in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--hours", type=float, default=1, help="how long the link may wait (default 1, at most 168)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object instead of the bare address")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < options["hours"] <= 168:
            raise CommandError("--hours must lie between 0 and 168")
        address = SignInLink.issue(self._person(options["username"]), timedelta(hours=options["hours"]))
        self.stdout.write(json.dumps({"url": address}) if options["json"] else address)

    @staticmethod
    def _person(username: str) -> User:
        people = User.objects.filter(is_active=True)
        try:
            return people.get(username=username)
        except User.DoesNotExist:
            names = ", ".join(people.order_by("username").values_list("username", flat=True)[:20])
            raise CommandError(
                f"There is no active person called {username!r}. There is: {names or 'nobody yet'}."
            ) from None
