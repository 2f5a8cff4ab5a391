"""How fast a provider may be asked, and how often in a day: limits that all workers share.

The pace is kept in Valkey. The bucket is a generic cell rate algorithm: it stores the moment from which the next
request is free. Taking a turn moves that moment on by one interval and says how long to wait for it, so that everybody
who waits has a place in the line. A provider that asks for a pause pauses everybody. While Valkey is away each process
keeps the same rate by itself: slower than nothing, never unlimited.

A day's requests are counted in PostgreSQL, each before it is sent, so that neither a restart nor an emptied Valkey
forgets any.
"""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import redis
from django.conf import settings
from django.db import connection
from django.utils import timezone

log = logging.getLogger(__name__)

# KEYS: the bucket. ARGV: interval, turns to take, longest wait, pause; all seconds but the turns. Answers the wait, or
# minus the wait if that is longer than allowed, in which case no turn is taken. Valkey's own clock counts: the
# workers' clocks may differ.
_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local interval, turns, longest, pause = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local free = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'), pause > 0 and now + pause or 0)
local wait = free - now
if wait > longest then
    return tostring(-wait)
end
free = free + turns * interval
if free > now then
    redis.call('SET', KEYS[1], string.format('%.6f', free), 'PX', math.ceil((free - now) * 1000) + 1000)
end
return tostring(wait)
"""

_FOREVER = 1e9
_LONGEST_TOLD = 86_400.0  # seconds: nobody is kept away for longer by one answer, whatever nonsense is in it


def seconds_told(value: str | None) -> float | None:
    """A Retry-After header in seconds, which may also be written as a date; None without one that can be read."""
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), _LONGEST_TOLD)
    try:
        seconds = (parsedate_to_datetime(text) - timezone.now()).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _LONGEST_TOLD)


class TooLong(Exception):
    """The next turn is further away than the caller would wait. `seconds` says how far; no turn was taken."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


_charged: ContextVar[list[int]] = ContextVar("turns paid for afterwards")


@contextmanager
def charged() -> Iterator[list[int]]:
    """What is charged within the block, and in threads given its context: for the day's count, which is kept where
    calls to the outside may not go.
    """
    token = _charged.set([])
    try:
        yield _charged.get()
    finally:
        _charged.reset(token)


@dataclass(frozen=True)
class Bucket:
    """The turns of one provider and key. Taking one answers how many seconds to wait before using it."""

    name: str
    per_second: float

    def take(self, longest: float = _FOREVER) -> float:
        """Take the next turn; seconds until it. Raises `TooLong` if that is more than `longest`."""
        wait = self._ask(turns=1, longest=longest)
        if wait < 0:
            raise TooLong(-wait)
        return wait

    def charge(self, turns: int) -> None:
        """Pay for requests that were made without a turn; those who come next wait for them."""
        if turns > 0:
            _charged.get([]).append(turns)
            self._ask(turns=turns)

    def pause(self, seconds: float) -> None:
        """Nobody gets a turn before that, because the provider said so."""
        if seconds > 0:
            self._ask(turns=0, pause=seconds)

    def _ask(self, *, turns: int, longest: float = _FOREVER, pause: float = 0.0) -> float:
        interval = 1 / self.per_second
        try:
            answer = valkey().eval(_SCRIPT, 1, f"chronos:turns:{self.name}", interval, turns, longest, pause)
            return float(answer)
        except redis.RedisError as error:
            log.warning("Valkey is away: this process keeps the rate by itself", extra={"reason": str(error)})
            return _ask_here(self.name, interval, turns, longest, pause)


_free_here: dict[str, float] = {}
_lock = threading.Lock()


def _ask_here(name: str, interval: float, turns: int, longest: float, pause: float) -> float:
    """The script's arithmetic, in this process alone."""
    with _lock:
        now = time.monotonic()
        free = max(now, _free_here.get(name, 0.0), now + pause)
        if free - now > longest:
            return now - free
        _free_here[name] = free + turns * interval
        return free - now


_connection: redis.Redis | None = None


def valkey() -> redis.Redis:
    """This process's connection."""
    global _connection
    if _connection is None:
        _connection = redis.Redis.from_url(settings.CACHE_URL, socket_timeout=2, socket_connect_timeout=2)
    return _connection


# --- The day's requests ------------------------------------------------------------------------------------------

# The database's clock says which day it is, for all workers. No row comes back when the day's requests are used up.
_SPEND = """
INSERT INTO marketdata_providerquota AS quota (provider, key, day, used, "limit")
SELECT %(provider)s, %(key)s, (statement_timestamp() AT TIME ZONE 'UTC')::date, 1, %(limit)s
WHERE %(limit)s IS NULL OR %(limit)s > 0
ON CONFLICT (provider, key, day) DO UPDATE SET used = quota.used + 1, "limit" = excluded."limit"
WHERE quota.exhausted_at IS NULL AND (excluded."limit" IS NULL OR quota.used < excluded."limit")
RETURNING id
"""
_MORE = "UPDATE marketdata_providerquota SET used = used + %(more)s WHERE id = %(spent)s"
_EXHAUST = """
UPDATE marketdata_providerquota SET exhausted_at = coalesce(exhausted_at, statement_timestamp()) WHERE id = %(spent)s
"""
_USED = """
SELECT used, exhausted_at IS NOT NULL FROM marketdata_providerquota
WHERE provider = %(provider)s AND key = %(key)s AND day = (statement_timestamp() AT TIME ZONE 'UTC')::date
"""


class Used(NamedTuple):
    """Requests of today, and how many there may be; None without a limit. `over` if there are none left."""

    used: int
    limit: int | None
    over: bool


@dataclass(frozen=True)
class Quota:
    """A provider's requests of one day (UTC) under one key, of which `key` is a fingerprint. None: no limit."""

    provider: str
    limit: int | None
    key: str = ""

    def spend(self) -> int | None:
        """Count a request that is about to be sent; the day's row that it stands in, or None if it may not be sent."""
        row = self._run(_SPEND)
        return row[0][0] if row else None

    def more(self, spent: int, requests: int) -> None:
        """Count what one question took besides its first request."""
        if requests:
            self._run(_MORE, spent=spent, more=requests)

    def exhaust(self, spent: int) -> None:
        """The provider says that it was enough, whatever our count: none are left of the day of that request, which
        may be yesterday when the answer comes.
        """
        self._run(_EXHAUST, spent=spent)

    def today(self) -> Used:
        found = self._run(_USED)
        used, exhausted = found[0] if found else (0, False)
        return Used(used, self.limit, exhausted or (self.limit is not None and used >= self.limit))

    def _run(self, sql: str, **more: int) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(sql, {"provider": self.provider, "key": self.key, "limit": self.limit, **more})
            return cursor.fetchall() if cursor.description else []
