"""One question to a provider: at the pace agreed among all workers, again where that may help, and not for ever.

Waiting goes through a `Waits`: a job's `Run`, which can be asked to stop, or `Foreground` for commands.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import redis
from django.core.cache import cache
from django.utils import timezone
from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.wait import wait_random_exponential

from marketdata.providers.base import MalformedResponse, Provider, ProviderError, RateLimited, Unavailable
from marketdata.ratelimit import Bucket, TooLong

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 4
PATIENCE = 120.0  # seconds for one question, all its attempts and waits together
UNTOLD = 60.0  # seconds to wait when a provider limits us and does not say for how long
SILENT, SILENT_SECONDS = 2, 60  # after so many assets without an answer a job asks for no more, for so long


class Waits(Protocol):
    """How to wait for something and still be stopped. `chronos.core.jobs.Run` is one."""

    @property
    def since(self) -> datetime:
        """When the work was asked for: what was fetched after that need not be fetched again."""
        ...

    def wait_for(self, call: Callable[[], T]) -> T: ...
    def sleep(self, seconds: float) -> None: ...
    def say(self, text: str) -> None: ...


class Foreground:
    """Waiting in a command, where Ctrl-C stops it. `say` goes to `tell`."""

    def __init__(self, tell: Callable[[str], object] = log.info) -> None:
        self.since = timezone.now()
        self._tell = tell

    def wait_for(self, call: Callable[[], T]) -> T:
        return call()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def say(self, text: str) -> None:
        self._tell(text)


class Unasked(Unavailable):
    """Nobody was asked, so nothing is learnt about the provider."""

    retried = False


def answer(
    source: Provider, subject: str, call: Callable[[], T], wait: Waits, troubled: Callable[[ProviderError], None]
) -> T:
    """What `call` answers, after as many attempts as make sense. Raises the last attempt's `ProviderError`.

    `subject` is the asset in words, for messages. A provider that asks for a pause pauses all workers. `troubled` is
    told of a failure that is not over at once, while there is still hope.
    """
    if since := _silent_since(source, wait):
        raise Unasked(
            f"{source.label} has not answered since {since:%H:%M} UTC, so {subject} was not asked for now."
            " The next refresh asks anew."
        )
    bucket = Bucket(source.name, source.requests_per_second)

    def attempt() -> T:
        _take_turn(bucket, source, subject, wait)
        try:
            return wait.wait_for(call)
        except RateLimited as told:
            bucket.pause(UNTOLD if told.retry_after is None else told.retry_after)
            raise

    def say_so(state: RetryCallState) -> None:
        error = _error(state)
        log.warning("a provider is asked again", extra={"subject": subject, "reason": str(error)})
        if isinstance(error, ProviderError) and (state.attempt_number > 1 or state.upcoming_sleep > 10):
            troubled(error)
        wait.say(f"{error} Attempt {state.attempt_number + 1} of {ATTEMPTS} in {state.upcoming_sleep:.1f} s.")

    attempts = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, ProviderError) and error.retried),
        stop=_no_use,
        wait=_pause,
        sleep=wait.sleep,
        before_sleep=say_so,
        reraise=True,
    )
    return attempts(attempt)


def _take_turn(bucket: Bucket, source: Provider, subject: str, wait: Waits) -> None:
    try:
        delay = bucket.take(longest=PATIENCE)
    except TooLong as far:
        at = timezone.now() + timedelta(seconds=far.seconds)
        raise RateLimited(
            f"{source.label} takes no question about {subject} before {at:%H:%M} UTC, because it limits us."
            " Refresh it again then.",
            far.seconds,
        ) from None
    if delay > 0:
        wait.sleep(delay)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _pause(state: RetryCallState) -> float:
    """As long as the provider says; else anything up to 1, 2, 4 … s, so that many workers don't return at once."""
    error = _error(state)
    if isinstance(error, RateLimited):
        return UNTOLD if error.retry_after is None else error.retry_after
    return wait_random_exponential(multiplier=1, max=60)(state)


def _no_use(state: RetryCallState) -> bool:
    """Whether another attempt is one too many, or would begin too late. Garbage is asked for once more only."""
    most = 2 if isinstance(_error(state), MalformedResponse) else ATTEMPTS
    spent = max(state.seconds_since_start or 0.0, state.idle_for)
    return state.attempt_number >= most or spent + state.upcoming_sleep > PATIENCE


# --- A provider that does not answer -----------------------------------------------------------------------------


def _silent_since(source: Provider, wait: Waits) -> datetime | None:
    """Since when it has not answered, if for several assets since this work was asked for. Newer work asks anew."""
    with suppress(redis.RedisError):
        silence = cache.get(f"silent:{source.name}")
        if silence and silence["count"] >= SILENT and silence["since"] >= wait.since:
            return silence["since"]  # type: ignore[no-any-return]
    return None


def count_silence(source: Provider, *, answered: bool) -> None:
    """Remember for a minute that it did not answer for one asset more, or forget all that because it answered."""
    key = f"silent:{source.name}"
    with suppress(redis.RedisError):
        if answered:
            cache.delete(key)
            return
        before = cache.get(key) or {"count": 0, "since": timezone.now()}
        cache.set(key, before | {"count": before["count"] + 1}, SILENT_SECONDS)
