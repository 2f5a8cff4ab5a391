"""How often one person may have providers asked about symbols: so many requests in any minute, counted in Valkey.

A list is one request. While Valkey is away each process counts by itself.
"""

import math
import threading
import time
from collections import deque
from uuid import uuid4

import redis
from django.conf import settings

from chronos.core.models import User
from marketdata.ratelimit import valkey

WINDOW = 60.0  # seconds

# KEYS: the person's requests, by their moment. ARGV: how many, the window in ms, a name for this one. Answers the ms
# until there is room, 0 if this one was let in. Valkey's own clock counts.
_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local most, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) < most then
    redis.call('ZADD', KEYS[1], now, ARGV[3])
    redis.call('PEXPIRE', KEYS[1], window)
    return 0
end
return tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]) + window - now
"""


def seconds_until_turn(user: User) -> int:
    """Take a turn: 0 if this person may ask now, else in how many seconds. Safe from several processes at once."""
    most = settings.VALIDATION_REQUESTS_PER_MINUTE
    try:
        wait = valkey().eval(_SCRIPT, 1, f"chronos:validations:{user.pk}", most, int(WINDOW * 1000), uuid4().hex)
    except redis.RedisError:
        return _counted_here(user.pk, most)
    return math.ceil(int(wait) / 1000) if int(wait) > 0 else 0


_here: dict[int, deque[float]] = {}
_lock = threading.Lock()


def _counted_here(person: int, most: int) -> int:
    with _lock:
        now, turns = time.monotonic(), _here.setdefault(person, deque())
        while turns and turns[0] <= now - WINDOW:
            turns.popleft()
        if len(turns) < most:
            turns.append(now)
            return 0
        return math.ceil(turns[0] + WINDOW - now)
