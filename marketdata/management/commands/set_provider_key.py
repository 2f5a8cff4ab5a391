"""`manage.py set_provider_key`: a provider's API key, kept encrypted; read from a prompt or standard input."""

import argparse
import getpass
import sys
from typing import Any

from django.core.management.base import CommandError

from marketdata import credentials, providers
from marketdata.asking import quota_left
from marketdata.management.arguments import Explained

EXAMPLES = """
examples:
  manage.py set_provider_key twelvedata                 asks for the key and does not show it
  manage.py set_provider_key twelvedata < key.txt
  manage.py set_provider_key alphavantage --forget

The key is never an argument: arguments are seen by everybody on the machine and kept by the shell.
"""


class Command(Explained):
    help = "Store a provider's API key, encrypted, or forget the stored one (--forget)."
    explanation = EXAMPLES

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("provider", choices=list(credentials.VARIABLES), metavar="PROVIDER",
                            help=f"one of {' '.join(credentials.VARIABLES)}")  # fmt: skip
        parser.add_argument("--forget", action="store_true", help="delete the stored key instead")

    def handle(self, *_: str, **options: Any) -> None:
        source = providers.named(options["provider"])
        variable = credentials.VARIABLES[source.name]
        if options["forget"]:
            done = "the stored key is forgotten" if credentials.forget(source.name) else "none was stored"
            self.stdout.write(f"{source.label}: {done}.")
        else:
            try:
                credentials.store(source.name, _read(source.label), _who())
            except credentials.BadKey as error:
                raise CommandError(str(error)) from None
            self.stdout.write(f"{source.label}: the key is stored, encrypted.")
        if credentials.origin(source.name) == "environment":
            self.stdout.write(f"{variable} in the environment goes first: that key is used.")
        elif not options["forget"]:
            today = quota_left(source)
            self.stdout.write(f"Requests under it today: {today.used} of {today.limit}.")


def _read(label: str) -> str:
    """The key from a prompt without echo; from standard input when that is a file or a pipe."""
    if sys.stdin.isatty():
        try:
            return getpass.getpass(f"{label}'s API key (not shown): ")
        except (EOFError, KeyboardInterrupt):
            raise CommandError("No key was given; nothing was changed.") from None
    return sys.stdin.read(10_000)


def _who() -> str:
    try:
        return f"{getpass.getuser()} (command)"
    except (KeyError, OSError):  # a user id without a name, in a container
        return "command"
