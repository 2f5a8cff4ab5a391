#!/usr/bin/env python
"""Chronos at the command line: `python manage.py help` lists the verbs."""

import os
import signal
import sys

# These need no database, or see to it themselves.
ALONE = {"up", "health", "help", "version", "check", "makemigrations", "collectstatic", "diffsettings", "findstatic",
         "mcp"}  # fmt: skip


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chronos.settings")
    from django.core.management import execute_from_command_line

    verb = sys.argv[1] if len(sys.argv) > 1 else "help"
    if verb in ALONE or verb.startswith("-") or {"-h", "--help"} & set(sys.argv):
        execute_from_command_line(sys.argv)
        return
    import django

    django.setup()
    from chronos.core import database, embedded

    for number in (signal.SIGTERM, signal.SIGHUP):  # leave as by Ctrl-C: whoever is the last stops the services
        signal.signal(number, signal.default_int_handler)
    try:
        with embedded.services() as services:  # for the length of the command, or as long as `up` runs
            if services.started_postgres:
                database.prepare()
            execute_from_command_line(sys.argv)
    except (embedded.EmbeddedError, database.DatabaseError) as error:
        sys.exit(f"CommandError: {error}")


if __name__ == "__main__":
    main()
