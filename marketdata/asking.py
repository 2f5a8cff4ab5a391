"""One question to a provider: at the pace agreed among all workers, again where that may help, and not for ever.

Waiting goes through a `Waits`: a job's `Run`, which can be asked to stop, or `Foreground` for commands.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from tenacity import RetryCallState, Retrying, retry_if_exception
from tenacity.wait import wait_random_exponential

from marketdata import credentials
from marketdata.models import ProviderState
from marketdata.providers.base import (
    AuthError,
    MalformedResponse,
    Provider,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    Unavailable,
)
from marketdata.ratelimit import Bucket, Quota, TooLong, Used, charged

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 4
PATIENCE = 120.0  # seconds for one question, all its attempts and waits together
UNTOLD = 60.0  # seconds to wait when a provider limits us and does not say for how long
BREAKS_AFTER = 3  # questions in a row without an answer, with all their attempts; then nobody asks for a while
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 60, 900
TRIAL_SECONDS = PATIENCE + 60  # after that a trial's worker is taken for dead, and another may try


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
    """Nobody was asked, so nothing is learnt about the provider. `until` is when it is asked again."""

    retried = False

    def __init__(self, text: str, until: datetime | None = None) -> None:
        super().__init__(text)
        self.until = until


def answer(
    source: Provider, subject: str, call: Callable[[], T], wait: Waits, troubled: Callable[[ProviderError], None]
) -> T:
    """What `call` answers, after as many attempts as make sense. Raises the last attempt's `ProviderError`.

    `subject` is the asset in words, for messages. A provider that asks for a pause pauses all workers; one that has not
    answered for a while is not asked (`Unasked`), nor one whose day's requests are used up (`QuotaExhausted`).
    `troubled` is told of a failure that is not over at once, while there is still hope.
    """
    with _with_key(source, subject) as key, _Circuit(source, subject) as circuit:
        bucket = Bucket(credentials.account(source.name), source.requests_per_second)
        quota = Quota(source.name, source.daily_quota, key)

        def attempt() -> T:
            _take_turn(bucket, source, subject, wait)
            spent = quota.spend()
            if spent is None:
                raise _used_up(source, subject, quota)
            circuit.asked = True
            with charged() as besides:
                try:
                    return wait.wait_for(partial(copy_context().run, call))
                except RateLimited as told:
                    bucket.pause(UNTOLD if told.retry_after is None else told.retry_after)
                    raise
                except QuotaExhausted:
                    quota.exhaust(spent)
                    raise
                finally:
                    quota.more(spent, sum(besides))

        return _attempts(subject, wait, troubled)(attempt)


def quota_left(source: Provider) -> Used:
    """Today's requests to the provider under its present key, and how many there may be."""
    return Quota(source.name, source.daily_quota, credentials.fingerprint(source.name)).today()


def _attempts(subject: str, wait: Waits, troubled: Callable[[ProviderError], None]) -> Retrying:
    def say_so(state: RetryCallState) -> None:
        error = _error(state)
        log.warning("a provider is asked again", extra={"subject": subject, "reason": str(error)})
        if isinstance(error, ProviderError) and (state.attempt_number > 1 or state.upcoming_sleep > 10):
            troubled(error)
        wait.say(f"{error} Attempt {state.attempt_number + 1} of {ATTEMPTS} in {state.upcoming_sleep:.1f} s.")

    return Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, ProviderError) and error.retried),
        stop=_no_use,
        wait=_pause,
        sleep=wait.sleep,
        before_sleep=say_so,
        reraise=True,
    )


@contextmanager
def _with_key(source: Provider, subject: str) -> Iterator[str]:
    """The provider's key, at hand for the whole question; gives its fingerprint. Raises `AuthError` if there is none.

    Turns and quotas go by key: another key has others.
    """
    if not source.needs_key:
        yield ""
        return
    with credentials.at_hand(source.name):
        if why := credentials.lacking(source.name, source.label):
            raise AuthError(f"{subject} was not asked for. {why}")
        yield credentials.fingerprint(source.name)


def _used_up(source: Provider, subject: str, quota: Quota) -> QuotaExhausted:
    used = quota.today()
    by_count = used.limit is not None and used.used >= used.limit
    said = f"all {used.limit} of today's requests are used" if by_count else "it said so today"
    return QuotaExhausted(
        f"{source.label} was not asked for {subject}: {said}, and there are no more before 00:00 UTC."
        " Refresh it again then, or name another provider."
    )


def _take_turn(bucket: Bucket, source: Provider, subject: str, wait: Waits) -> None:
    try:
        delay = bucket.take(longest=PATIENCE)
    except TooLong as far:
        now = timezone.now()
        at = now + timedelta(seconds=far.seconds)
        when = f"{at:%H:%M}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"
        raise RateLimited(
            f"{source.label} takes no question about {subject} before {when} UTC, because it limits us."
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

# One statement, so that workers who fail at once count each other. Only a question that was let through moves the
# moment on: those that were under way when the circuit opened report the same outage.
_FAILED = """
INSERT INTO marketdata_providerstate AS state (provider, failure, failures) VALUES (%(provider)s, '', 1)
ON CONFLICT (provider) DO UPDATE SET failures = state.failures + 1, closed_until = CASE
    WHEN state.failures + 1 >= %(after)s
    THEN statement_timestamp() + make_interval(
        secs => least(%(longest)s, %(first)s * 2 ^ least(state.failures + 1 - %(after)s, 20)))
END
WHERE state.closed_until IS NULL OR %(trial)s
RETURNING closed_until
"""


class _Circuit:
    """The circuit breaker around one question. Its memory is the provider's row, so no restart loses it.

    Closed circuits let everybody through. After `BREAKS_AFTER` questions in a row without an answer it opens, and
    nobody asks for a minute; then one question of one worker, the trial, goes through. If that is not answered either,
    the pause doubles, up to a quarter of an hour. An answer closes the circuit, and "no" is an answer, "not so fast"
    too. (Nygard, Release It!, "Circuit Breaker".)
    """

    def __init__(self, source: Provider, subject: str) -> None:
        self.asked = False
        self._source, self._subject, self._trial = source, subject, False
        self._row = ProviderState.objects.filter(pk=source.name)

    def __enter__(self) -> "_Circuit":
        state = self._row.first()
        if state and state.closed_until:
            lease = Now() + timedelta(seconds=TRIAL_SECONDS)
            self._trial = self._row.filter(closed_until__lte=Now()).update(closed_until=lease) == 1
            if not self._trial:
                raise self._open(state)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ProviderTimeout | MalformedResponse | Unavailable):
            self._failed()
        elif self.asked and (error is None or isinstance(error, ProviderError)):
            self._row.exclude(failures=0, closed_until=None).update(failures=0, closed_until=None)
        elif self._trial:  # stopped in mid-question or not even asked: the next one may try
            with suppress(DatabaseError):
                self._row.update(closed_until=Now())

    def _failed(self) -> None:
        limits = {"after": BREAKS_AFTER, "first": PAUSE_SECONDS, "longest": LONGEST_PAUSE_SECONDS}
        with connection.cursor() as cursor:
            cursor.execute(_FAILED, {"provider": self._source.name, "trial": self._trial, **limits})
            row = cursor.fetchone()
        if row and row[0]:
            log.warning("a provider is not asked for a while", extra={"provider": self._source.name, "until": row[0]})

    def _open(self, state: ProviderState) -> Unasked:
        until = max(state.closed_until or timezone.now(), timezone.now())
        return Unasked(
            f"{self._source.label} has not answered {state.failures} times in a row, so {self._subject} was not asked"
            f" for. It is asked again at {until:%H:%M:%S} UTC.",
            until,
        )
