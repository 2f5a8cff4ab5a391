"""The one command that brings Chronos up and keeps it up."""

import fcntl
import io
import json
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chronos.core import database, embedded, jobs
from chronos.core.models import SignInLink, User
from chronos.supervisor import Child, GivenUp, Supervisor
from universes.scheduling import ensure_schedule

READY_SECONDS = 60


class Command(BaseCommand):
    help = "Start everything: database, Valkey, web server, worker and schedule. Ctrl-C stops it all."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--prepare", action="store_true", help="only bring the database to this version, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):  # until the supervisor listens: leave as by Ctrl-C
            signal.signal(number, signal.default_int_handler)
        try:
            with self._only_one(), embedded.services(self.say) as services:
                self._prepare()
                if not options["prepare"]:
                    self._serve(services)
        except (embedded.EmbeddedError, database.DatabaseError, GivenUp) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped before it was ready; the next start goes on from here.") from None

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        """One `up` a state directory, and nobody else on its port."""
        settings.CHRONOS_VAR.mkdir(parents=True, exist_ok=True)
        with (settings.CHRONOS_VAR / "up.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(
                    f"Chronos already runs on {settings.CHRONOS_VAR}. A way in: manage.py create_login_link USERNAME."
                    " For a second one beside it: make run PORT=8001 CHRONOS_VAR=var2."
                ) from None
            self._check_port()
            yield

    @staticmethod
    def _check_port() -> None:
        host, port = settings.ENVIRONMENT.host, settings.ENVIRONMENT.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CommandError(
                    f"Port {port} on {host} can't be used ({error.strerror}): make run PORT=8001"
                ) from None

    def _prepare(self) -> None:
        database.prepare(self.say)
        call_command("collectstatic", interactive=False, verbosity=0)
        call_command("seed", stdout=io.StringIO())
        jobs.reclaim()
        if ensure_schedule():  # the first start: do not let a newcomer wait for the first round
            jobs.start_scheduled("refresh-all", "All universes")

    def _serve(self, services: embedded.Services) -> None:
        supervisor = Supervisor(self._children(), settings.BASE_DIR, self.say)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, supervisor.ask_to_stop)
        supervisor.start()
        try:
            self._greet(supervisor)
            supervisor.run(lambda: self._keep_well(services))
        finally:
            self.say("Stopping")
            supervisor.stop()

    def _keep_well(self, services: embedded.Services) -> None:
        """A database or Valkey that died is started again under its users, who reconnect."""
        try:
            services.revive()
        except embedded.EmbeddedError as error:
            self.say(str(error))

    def _children(self) -> list[Child]:
        logs = settings.CHRONOS_VAR / "log"
        logs.mkdir(parents=True, exist_ok=True)
        logging = settings.CHRONOS_VAR / "logging.json"  # granian reads its logging from a file
        logging.write_text(json.dumps(settings.LOGGING))
        environment = settings.ENVIRONMENT
        python = [sys.executable, "-m"]
        web = ["granian", "--interface", "asgi", "--host", environment.host, "--port", str(environment.port),
               "--log-config", str(logging), "--no-ws", "--workers-kill-timeout", "8",
               "chronos.asgi:application"]  # fmt: skip
        celery = ["celery", "--quiet", "-A", "chronos"]
        worker = [*celery, "worker", "--loglevel", environment.log_level, "--without-gossip", "--without-mingle",
                  "--hostname", f"chronos-{environment.port}@%h"]  # fmt: skip
        beat = [*celery, "beat", "--loglevel", environment.log_level, "--pidfile="]
        return [
            Child("web", python + web, logs / "web.log"),
            Child("worker", python + worker, logs / "worker.log"),
            Child("beat", python + beat, logs / "beat.log"),
        ]

    def _greet(self, supervisor: Supervisor) -> None:
        """Wait for the web server, then print the way in."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers(supervisor.children[0]):
            if supervisor.stopping:
                return
            if time.monotonic() > deadline or not supervisor.children[0].alive:
                raise GivenUp(f"The web server does not answer. {supervisor.children[0].last_words()}")
            time.sleep(0.1)
        link, person = _way_in()
        self.say(f"\nChronos is ready.\n\n    {link}\n")
        if person:
            self.say(
                f"This address signs {person} in once, within an hour; another: manage.py create_login_link {person}"
            )
        self.say(f"Logs: {settings.CHRONOS_VAR / 'log'}. Ctrl-C stops everything.")

    @staticmethod
    def _answers(web: Child) -> bool:
        host = settings.ENVIRONMENT.host
        local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        request = urllib.request.Request(
            f"http://{local}:{settings.ENVIRONMENT.port}/health/live", headers={"Host": "localhost"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for providers
        try:
            with opener.open(request, timeout=2) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            raise GivenUp(f"The web server answers, but with {error.code}. {web.last_words()}") from error
        except OSError:
            return False


def _way_in() -> tuple[str, str]:
    """An address, and whom it signs in: the first administrator, made on the first start, without a password."""
    administrators = User.objects.filter(is_superuser=True, is_active=True).order_by("pk")
    person = administrators.first()
    if person is None and not User.objects.exists():
        person = User(username="admin", is_staff=True, is_superuser=True)
        person.set_unusable_password()
        person.save()
    if person is None:
        return f"{settings.PUBLIC_URL}/", ""
    return SignInLink.issue(person), person.username
