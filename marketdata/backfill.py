"""History fetched backwards, in windows of the provider's real size, several assets at once; and gaps filled.

Everything that a backfill has learnt is in the ledger, so whoever was killed in the middle goes on where it was: no
window is asked for twice but the one that was under way.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from chronos.core import figures
from marketdata import coverage, gaps
from marketdata.asking import Waits
from marketdata.fetching import Refreshed, finish, gaps_left, know_calendar, remembered
from marketdata.models import Asset, Timeframe
from marketdata.providers.base import NoData, Provider, ProviderError
from marketdata.walks import Lack, Progress, Walk, alone, planned

log = logging.getLogger(__name__)
T = TypeVar("T")

Show = Callable[[int, int, str], object]  # windows done, windows in all, and both in words


def backfill(
    assets: Sequence[Asset],
    timeframe: Timeframe,
    since: datetime | None,
    wait_: Waits,
    *,
    until: datetime | None = None,
    provider: Provider | None = None,
    again: bool = False,
    show: Show | None = None,
    done: Callable[[Refreshed], object] | None = None,
) -> list[Refreshed]:
    """Bring the candles with since ≤ open < until (aware UTC; the usual depth, until now), the newest first.

    BACKFILL_PARALLEL assets at once, each in a thread with a database connection of its own; the providers' limits
    hold for all together. `show` is told of progress, `done` of each asset as it ends, in the caller's thread. What is
    covered is not asked for, unless `again`. What nobody foresaw is one asset's failure; a database that goes away is
    raised, when all have stopped.
    """
    wanted = _Wanted(Timeframe(timeframe), since, until or timezone.now(), provider, again)
    tally = Tally(show)
    work = [partial(_backfill_one, asset, wanted, tally.of(_planned(asset, wanted))) for asset in assets]
    return _side_by_side(work, wait_, done or (lambda _: None))


@dataclass(frozen=True)
class _Wanted:
    """What is to be had of each asset."""

    timeframe: Timeframe
    since: datetime | None
    until: datetime
    provider: Provider | None
    again: bool


def _backfill_one(asset: Asset, wanted: _Wanted, progress: Progress, wait_: Waits) -> Refreshed:
    timeframe = wanted.timeframe
    if asset.is_sample:
        return Refreshed(asset, timeframe, skipped=True)
    try:
        know_calendar(asset)
        if asset.pk:
            with alone(asset, timeframe, wait_):
                coverage.close_interrupted(asset.pk, timeframe)
        only = wanted.provider
        walk = Walk(asset, timeframe, wait_, again=wanted.again, backwards=True, only=only, progress=progress)
        return finish(walk, wanted.since, wanted.until)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.exception("the backfill of an asset failed", extra={"symbol": asset.symbol})
        text = f"An unexpected fault ({type(error).__name__}) stopped its backfill. The worker's log has the details."
        return Refreshed(asset, timeframe, status="failed", error=text)


def _planned(asset: Asset, wanted: _Wanted) -> int:
    """How many windows the first provider will be asked for, as far as one can know."""
    if asset.is_sample:
        return 0
    try:
        return planned(asset, wanted.timeframe, wanted.since, wanted.until, wanted.provider, again=wanted.again)
    except ProviderError:  # nobody to ask: said when it is the asset's turn
        return 0


def fill_gaps(asset: Asset, timeframe: Timeframe, wait_: Waits, *, show: Show | None = None) -> Refreshed:
    """Ask the providers again for exactly the candles that are missing, gap by gap, the newest first.

    What they say that there was none of is not missing afterwards: for minutes and hours if one says so, for days and
    longer if two do. Raises `UnknownCalendar` if nobody knows what to expect.
    """
    timeframe, now = Timeframe(timeframe), timezone.now()
    know_calendar(asset)
    found = gaps.find(asset, timeframe)[::-1]
    walk, tally = Walk(asset, timeframe, wait_, again=True), Tally(show)
    lacks: list[Lack] = []
    parts = [tally.of(1) for _ in found]
    for gap, walk.progress in zip(found, parts, strict=True):
        with alone(asset, timeframe, wait_):
            coverage.close_interrupted(asset.pk, timeframe)
            left = walk.bring(gap.start, coverage.next_open(gap.end, timeframe))
        lacks += [lack for lack in left if not isinstance(lack.why, NoData)]
        if any(lack.why and not lack.why.answered for lack in left):
            break
    asked_until = coverage.next_open(found[0].end, timeframe) if found else now  # of what comes after nobody has heard
    return remembered(walk, lacks, asked_until, gaps_left(walk, None, now))


# --- Side by side ------------------------------------------------------------------------------------------------


class Abandoned(BaseException):
    """Raised in a thread because the work that it is part of has ended. No handler of `Exception` keeps it."""


@dataclass
class _Together:
    """The caller's way to wait, for one of several threads: it ends when one of the others has failed."""

    wait: Waits
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def since(self) -> datetime:
        return self.wait.since

    @property
    def job(self) -> object:
        return getattr(self.wait, "job", None)

    def check(self) -> None:
        if self.ended.is_set():
            raise Abandoned

    def wait_for(self, call: Callable[[], T]) -> T:
        self.check()
        return self.wait.wait_for(call)

    def sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            self.wait.sleep(min(left, 0.5))
        self.check()

    def say(self, text: str) -> None:
        self.check()
        self.wait.say(text)


def _side_by_side(
    work: Sequence[Callable[[Waits], Refreshed]], wait_: Waits, done: Callable[[Refreshed], object]
) -> list[Refreshed]:
    """The results in the order of the work. Raises what the first failure raised, when all threads have ended."""
    if len(work) <= 1 or settings.BACKFILL_PARALLEL == 1:
        found = []
        for one in work:
            found.append(one(wait_))
            done(found[-1])
        return found
    together = _Together(wait_)
    with ThreadPoolExecutor(settings.BACKFILL_PARALLEL, thread_name_prefix="backfill") as pool:
        # Each thread logs as the job does, so each gets a copy of the context.
        futures = [pool.submit(copy_context().run, _in_thread, one, together) for one in work]
        try:
            _await(futures, done)
        except BaseException:
            together.ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _in_thread(one: Callable[[Waits], Refreshed], together: _Together) -> Refreshed:
    try:
        together.check()
        return one(together)
    finally:
        connections.close_all()


def _await(futures: Sequence["Future[Refreshed]"], done: Callable[[Refreshed], object]) -> None:
    """Tell of each as it ends; raise the first failure."""
    waiting = set(futures)
    while waiting:
        ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
        for future in sorted(ended, key=futures.index):
            done(future.result())


# --- Progress ----------------------------------------------------------------------------------------------------


class Tally(Progress):
    """Windows and candles of several walks together; shows them with an estimate of the time that is left."""

    def __init__(self, show: Show | None = None) -> None:
        self._show, self._lock = show, threading.Lock()
        self._began = time.monotonic()
        self.total = self.done = self.candles = 0

    def of(self, windows: int) -> "Part":
        """The progress of one of the walks, which will probably have so many windows."""
        self.planned(windows)
        return Part(self, windows)

    def planned(self, windows: int) -> None:
        with self._lock:
            self.total += windows

    def asked(self, candles: int) -> None:
        with self._lock:
            self.done += 1
            self.candles += candles
            self.total = max(self.total, self.done)
            if self._show:
                self._show(self.done, self.total, self.words())

    def words(self) -> str:
        """37 of 400 windows · 3 700 candles · about 2 min left."""
        parts = [
            f"{figures.integer(self.done)} of {figures.counted(self.total, 'window')}",
            figures.counted(self.candles, "candle"),
        ]
        spent = time.monotonic() - self._began
        if self.done < self.total and self.done >= 3 and spent > 1:
            parts.append(_left(spent / self.done * (self.total - self.done)))
        return " · ".join(parts)


@dataclass
class Part(Progress):
    """One walk of a `Tally`: its first plan takes the place of what was expected of it."""

    whole: Tally
    expected: int

    def planned(self, windows: int) -> None:
        self.whole.planned(windows - self.expected)
        self.expected = 0

    def asked(self, candles: int) -> None:
        self.whole.asked(candles)


def _left(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {round(seconds / 3600)} h left"
