"""How often a program or person may ask the API: a rate with a burst, by token and by person, counted in Valkey.

A generic cell rate algorithm: kept is the moment at which the bucket would be empty of debts. While Valkey is away
nobody is refused: the limit keeps programs polite, it guards nothing.
"""

import logging
import math

import redis
from django.conf import settings

from chronos.core import jobs
from chronos.core.models import ApiToken, User

log = logging.getLogger(__name__)
BURST = 0.25  # of a minute's requests may come at once, and always one
PERSON = 2  # a person's programs together have the turns of so many

# KEYS: the buckets. ARGV: for each its interval and its burst, in seconds. Answers the wait in seconds, and takes a
# turn of each bucket only if there is none. Valkey's own clock counts.
_SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local wait, free = 0, {}
for n = 1, #KEYS do
    free[n] = math.max(now, tonumber(redis.call('GET', KEYS[n]) or '0'))
    wait = math.max(wait, free[n] - now - tonumber(ARGV[2 * n]))
end
if wait > 0 then
    return tostring(wait)
end
for n = 1, #KEYS do
    free[n] = free[n] + tonumber(ARGV[2 * n - 1])
    redis.call('SET', KEYS[n], string.format('%.6f', free[n]), 'PX', math.ceil((free[n] - now) * 1000) + 1000)
end
return '0'
"""


def seconds_until_turn(user: User, token: ApiToken | None) -> int:
    """Take a turn: 0 if this request may be answered now, else in how many seconds. Safe from several processes."""
    rate = settings.API_REQUESTS_PER_MINUTE
    own = f"token:{token.pk}" if token else f"pages:{user.pk}"
    buckets = {f"chronos:api:{own}": rate, f"chronos:api:person:{user.pk}": rate * PERSON}
    values = [value for each in buckets.values() for value in (60 / each, max(0, 60 * BURST - 60 / each))]
    try:
        wait = float(jobs.broadcaster().eval(_SCRIPT, len(buckets), *buckets, *values))
    except redis.RedisError:
        log.warning("requests can't be counted: the cache does not answer")
        return 0
    return math.ceil(wait)
