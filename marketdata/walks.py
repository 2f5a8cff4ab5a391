"""A range of one series, walked window by window: the first provider is asked, and the others for what it lacks.

What the ledger vouches for is not asked for again. Nothing here holds a transaction while it waits.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from marketdata import calendars, chains, coverage, splits
from marketdata.asking import Foreground, Waits
from marketdata.coverage import Range, floor
from marketdata.ingestion import Ingested
from marketdata.models import Asset, FetchWindow, Series, Timeframe
from marketdata.providers.base import NoData, Provider, ProviderError, Unavailable
from marketdata.windows import Kept, PastChanged, Questions, both

UNANSWERED = 3  # windows in a row without an answer, after which a provider is not asked for the rest
SURELY_NOTHING = timedelta(days=7)  # that, and two windows, without a candle: there is nothing older
NOTHING_YET = timedelta(days=366)  # the same, of a provider that has given none yet: it may have stopped long ago


def depth(timeframe: Timeframe) -> timedelta:
    """How far back a series goes when nobody says how far."""
    if timeframe.is_daily:
        return timedelta(days=settings.BACKFILL_DAYS["days"])
    return timedelta(days=settings.BACKFILL_DAYS["hours" if timeframe.length >= timedelta(hours=1) else "minutes"])


def sources(asset: Asset) -> list[Provider]:
    """Whom to ask for the asset, first choice first. Raises `Unavailable` if there is nobody."""
    found = chains.chain(asset.asset_class)
    if not found:
        raise Unavailable(chains.nobody(asset.asset_class))
    return found


def pieces(source: Provider, timeframe: Timeframe, since: datetime, until: datetime) -> list[Range]:
    """The range in windows that the provider takes, from `since` on, oldest first."""
    step = source.windows.get(timeframe, max(until - since, timeframe.length))
    found = []
    while since < until:
        found.append((since, min(since + step, until)))
        since += step
    return found


def reach(source: Provider, timeframe: Timeframe) -> datetime | None:
    """The oldest moment that the provider keeps these candles for; None if it keeps them for ever."""
    kept = source.reach.get(timeframe)
    return floor(timezone.now() - kept, timeframe) if kept else None


def planned(
    asset: Asset,
    timeframe: Timeframe,
    since: datetime | None,
    until: datetime,
    provider: Provider | None,
    *,
    again: bool = False,
) -> int:
    """How many windows a backward walk will ask the first provider for, if that answers. Raises `Unavailable`."""
    walk = Walk(asset, timeframe, Foreground(), again=again, backwards=True, only=provider)
    source = provider or sources(asset)[0]
    start, earliest = walk.start(since), reach(source, timeframe)
    start = max(start, earliest) if earliest else start
    return len(_Plan.of(walk, source, Lack(start, until)).windows) if start < until else 0


class Progress:
    """Told of each window: how many more there will be, and how many candles one brought. This one does not care."""

    def planned(self, windows: int) -> None: ...
    def asked(self, candles: int) -> None: ...


@dataclass(frozen=True)
class Lack:
    """A range that nobody has given yet, and why the first who was asked did not."""

    since: datetime
    until: datetime
    why: ProviderError | None = None
    source: Provider | None = None

    def left(self, since: datetime, until: datetime, why: ProviderError, source: Provider) -> "Lack":
        """A part that this provider did not give either; the first one's reason stays."""
        return Lack(since, until, self.why or why, self.source or source)

    @classmethod
    def merged(cls, parts: list["Lack"]) -> list["Lack"]:
        """Ranges that follow each other as one, oldest first, so that the next provider can cut them in its own way."""
        found: list[Lack] = []
        for part in sorted(parts, key=lambda lack: lack.since):
            if found and found[-1].until == part.since:
                found[-1] = replace(found[-1], until=part.until)
            else:
                found.append(part)
        return found


class TooFarBack(NoData):
    """The provider does not keep such old candles."""


# --- The walk ----------------------------------------------------------------------------------------------------


@dataclass
class Walk:
    """Asks for ranges of one series and adds up what came.

    Oldest first, so that a broken walk can be resumed by its end: the caller holds the series' lock (`alone`). Or
    `backwards` by a fixed grid: then the lock is taken for each window, so that others can work on the series in
    between. `again` asks for what is covered, too. `trusting` does not look whether the stored past is on another
    basis; `only` asks that provider alone.
    """

    asset: Asset
    timeframe: Timeframe
    wait: Waits
    again: bool = False
    backwards: bool = False
    trusting: bool = False
    only: Provider | None = None
    progress: Progress = field(default_factory=Progress)
    counts: Ingested = field(default_factory=Ingested)
    unfinished: int = 0
    saved: int = 0  # windows that were covered already
    notes: list[str] = field(default_factory=list)
    questions: dict[str, Questions] = field(default_factory=dict)

    def bring(self, since: datetime | None, until: datetime) -> list[Lack]:
        """Ask for since ≤ open < until (without `since` the usual depth) and store what comes; what is lacking then.

        What was stored before a failure is kept and counted. If the stored past turns out to be on another basis, all
        of it is asked for again, of the provider that showed it. Raises `Unavailable` if there is nobody to ask.
        """
        try:
            lacks = self._bring(since, until)
        except PastChanged as changed:
            return self.anew(changed, since, until)
        self._settle()
        return lacks

    def anew(self, changed: PastChanged, since: datetime | None, until: datetime) -> list[Lack]:
        """Ask for all of it again, because what is stored is on another basis; what is lacking then."""
        self.wait.say(f"{self.asset}: {changed}; all of it is fetched again.")
        lacks = self._bring_anew(since, until, changed.source)
        self._settle()
        return lacks

    def _settle(self) -> None:
        """What can't be fetched again after a split, and the other timeframes."""
        if not self.asset._state.adding:
            splits.settle(self.asset)

    def _bring(self, since: datetime | None, until: datetime) -> list[Lack]:
        start = self.start(since)
        lacks = [Lack(start, until)] if start < until else []
        for place, source in enumerate([self.only] if self.only else sources(self.asset)):
            if not lacks:
                break
            if place:
                self.wait.say(f"{lacks[0].why} {source.label} is asked for {self.asset} instead.")
            is_fallback = place > 0 or (not self.only and self._stands_in(source))
            lacks = Lack.merged(self._ask_source(source, lacks, is_fallback=is_fallback, told=since is not None))
        return lacks

    def _bring_anew(self, since: datetime | None, until: datetime, source: Provider) -> list[Lack]:
        """Oldest first, and nobody else meanwhile: if this breaks off, the newest candles still show the old basis."""
        series = Series.objects.get(asset=self.asset, timeframe=self.timeframe)
        anew = replace(self, again=True, backwards=False, trusting=True, only=source)
        with alone(self.asset, self.timeframe, self.wait):
            lacks = anew._bring(series.first_open, until)
        self.counts, self.unfinished, self.trusting = anew.counts, anew.unfinished, True
        if self.backwards and not lacks:
            return self._bring(since, until)
        return lacks

    def _stands_in(self, source: Provider) -> bool:
        """Whether what is stored came from a provider that is asked before this one and can't be just now."""
        if self.asset._state.adding:
            return False
        series = Series.objects.filter(asset=self.asset, timeframe=self.timeframe).first()
        order = chains.names(self.asset.asset_class)
        return series is not None and series.source in order[: order.index(source.name)]

    def start(self, since: datetime | None) -> datetime:
        """`since`, or else the usual depth."""
        return since or floor(timezone.now() - depth(self.timeframe), self.timeframe)

    @property
    def windows(self) -> int:
        return sum(asked.windows for asked in self.questions.values())

    @property
    def requests(self) -> int:
        return sum(asked.requests for asked in self.questions.values())

    # --- One provider ---

    def _ask_source(self, source: Provider, lacks: list[Lack], *, is_fallback: bool, told: bool) -> list[Lack]:
        """What is still lacking after this provider was asked. `told`: how far back was somebody's wish."""
        asked = self.questions.setdefault(
            source.name, Questions(self.asset, self.timeframe, source, self.wait, is_fallback)
        )
        earliest, left = reach(source, self.timeframe), []
        for lack in lacks:
            start = lack.since
            if earliest and start < earliest:
                start = min(earliest, lack.until)
                if told:
                    left.append(self._too_far_back(replace(lack, until=start), source, earliest))
            if start < lack.until:
                left += self._ask_range(asked, replace(lack, since=start))
        return left

    def _too_far_back(self, lack: Lack, source: Provider, earliest: datetime) -> Lack:
        """The reason to tell, unless somebody who was asked before did not answer."""
        if lack.why and not lack.why.answered:
            return lack
        days = source.reach[self.timeframe].days
        text = f"{source.label} keeps {self.timeframe} candles for {days} days,"
        text += f" so {self.asset} was fetched from {earliest:%Y-%m-%d}."
        return replace(lack, why=TooFarBack(text), source=source)

    def _ask_range(self, asked: Questions, lack: Lack) -> list[Lack]:
        """Ask for a range, window by window; what is lacking afterwards.

        Backwards, a window without an answer is left out and tried once more at the end; oldest first, it ends the
        walk, because the next one resumes by the last stored candle.
        """
        plan = _Plan.of(self, asked.source, lack)
        self.saved += plan.saved
        failed = self._ask_each(asked, plan, plan.windows)
        if failed and self.backwards and not plan.given_up:
            failed = self._ask_each(asked, plan, [window for window, _ in failed])
        if failed:
            return [lack.left(*window, error, asked.source) for window, error in failed]
        if plan.nothing_came:
            nothing = NoData(nothing_there(self.asset, self.timeframe, asked.source))
            return [lack.left(lack.since, lack.until, nothing, asked.source)]
        return []

    def _ask_each(self, asked: Questions, plan: "_Plan", windows: list[Range]) -> list[tuple[Range, ProviderError]]:
        """The windows that were not answered. Who says no, or nothing three times in a row, is left alone."""
        failed: list[tuple[Range, ProviderError]] = []
        silent = 0
        self.progress.planned(len(windows))
        for number, window in enumerate(windows):
            rest = windows[number + 1 :]
            if plan.is_exhausted:
                self.progress.planned(-len(rest) - 1)
                break
            try:
                kept = self._ask_one(asked, plan, window)
            except ProviderError as error:
                asked.blame(error)
                failed.append((window, error))
                silent += 1
                self.progress.asked(0)
                if not self.backwards or not error.retried or silent == UNANSWERED:
                    plan.given_up = True
                    self.progress.planned(-len(rest))
                    return failed + [(window, error) for window in rest]
            else:
                silent = 0
                self.progress.asked(kept.counts.received if kept else 0)
        return failed

    def _ask_one(self, asked: Questions, plan: "_Plan", window: Range) -> Kept | None:
        """None if somebody else has asked for it in the meantime."""
        with alone(self.asset, self.timeframe, self.wait) if self.backwards else nullcontext():
            if not self.again and plan.was_asked_meanwhile(window):
                self.saved += 1
                return None
            kept = asked.ask(*window, look=not self.trusting)
        asked.praise()
        plan.note(window, kept)
        self.counts = both(self.counts, kept.counts)
        self.unfinished += kept.unfinished
        if kept.foreign:
            self.notes.append(f"{kept.foreign}.")
        if kept.error:
            raise kept.error
        return kept


def nothing_there(asset: Asset, timeframe: Timeframe, source: Provider) -> str:
    return f"{source.label} knows {asset} and has no {timeframe} candles of it in that range. Ask for another range."


# --- Which windows are asked for ---------------------------------------------------------------------------------

# In one statement, because another worker may be between two windows.
_NEWEST_LINE = """
SELECT coalesce(
    (SELECT min(id) - 1 FROM marketdata_fetchwindow
     WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND state = 'asking'),
    (SELECT max(id) FROM marketdata_fetchwindow),
    0)
"""


@dataclass
class _Plan:
    """The windows of one range and one provider, and what is learnt about them on the way."""

    walk: Walk
    source: Provider
    windows: list[Range]
    saved: int
    newest_line: int  # of the ledger, whose end was known when the plan was made
    given_up: bool = False
    is_exhausted: bool = False
    _came: bool = False
    _empty_since: datetime | None = None
    _empty: int = 0

    @classmethod
    def of(cls, walk: Walk, source: Provider, lack: Lack) -> "_Plan":
        timeframe = walk.timeframe
        mark = cls._newest_line(walk)
        all_of_it = [(lack.since, lack.until)]
        wanted = all_of_it if walk.again else cls._wanted(walk, source, lack)
        if not walk.backwards:
            windows = [piece for part in wanted for piece in pieces(source, timeframe, *part)]
            every = pieces(source, timeframe, lack.since, lack.until)
        else:
            step = source.windows.get(timeframe, lack.until - lack.since)
            windows, every = coverage.cut(wanted, step)[::-1], coverage.cut(all_of_it, step)
        return cls(walk, source, windows, max(0, len(every) - len(windows)), mark)

    @staticmethod
    def _newest_line(walk: Walk) -> int:
        """The last line of the ledger that the plan knows the end of: what others are asking now is still to come."""
        with connection.cursor() as cursor:
            cursor.execute(_NEWEST_LINE, {"asset": walk.asset.pk, "timeframe": walk.timeframe.value})
            return int(cursor.fetchone()[0])

    @staticmethod
    def _wanted(walk: Walk, source: Provider, lack: Lack) -> list[Range]:
        """What nobody vouches for, without what is older than the provider's history."""
        since = lack.since
        begins = coverage.exhausted_at(walk.asset, walk.timeframe, source.name)
        if begins and begins > since:
            since = min(begins, lack.until)
        wanted = coverage.needed(walk.asset, walk.timeframe, since, lack.until, source.name)
        return [part for part in wanted if _may_hold_candles(walk, part)]

    @property
    def nothing_came(self) -> bool:
        """Whether the provider has nothing at all of the range, now or earlier."""
        return bool(self.windows) and not self._came and not self.saved

    def was_asked_meanwhile(self, window: Range) -> bool:
        """By another worker on the same series: it cuts the same windows.

        Answered since the plan was made, or vouched for; the end of the newest window is never vouched for.
        """
        walk = self.walk
        if not walk.backwards or walk.asset._state.adding:
            return False
        lines = FetchWindow.objects.filter(asset=walk.asset, timeframe=walk.timeframe, provider=self.source.name)
        since_then = lines.filter(since=window[0], state__in=coverage.VOUCHING, pk__gt=self.newest_line)
        return since_then.exists() or not coverage.needed(walk.asset, walk.timeframe, *window, self.source.name)

    def note(self, window: Range, kept: Kept) -> None:
        """Learn whether the provider has anything older: it says so, or gives nothing for long enough."""
        self._came = self._came or not kept.empty
        if not self.walk.backwards:
            return
        if not kept.empty:
            self._empty, self._empty_since = 0, None
        else:
            self._empty_since = self._empty_since or window[1]
            self._empty += 1
        if (kept.begins and window[0] <= kept.begins) or self._surely_nothing(window):
            self.is_exhausted = True
            coverage.exhaust(self.walk.asset.pk, self.walk.timeframe, self.source.name, window[0])

    def _surely_nothing(self, window: Range) -> bool:
        """Whether the emptiness down to this window is long enough to mean that there is nothing older."""
        without = self._empty_since - window[0] if self._empty_since else timedelta()
        if self._empty < 2 or without < SURELY_NOTHING:
            return False
        return without >= NOTHING_YET or coverage.gave_any(
            self.walk.asset, self.walk.timeframe, self.source.name, window[1]
        )


def _may_hold_candles(walk: Walk, part: Range) -> bool:
    """Whether the market was open at all, as far as its calendar is known: a weekend need not be asked for."""
    code, book = calendars.calendar_of(walk.asset), calendars.Book()
    found = book.sessions(code) if code else None
    if found is None or not (found.covers(part[0]) and found.covers(part[1])):
        return True
    return bool(calendars.expected(code, walk.timeframe, *part, book=book).size)


# --- One at a time -----------------------------------------------------------------------------------------------


@contextmanager
def alone(asset: Asset, timeframe: Timeframe, wait: Waits) -> Iterator[None]:
    """Nobody else fetches this series meanwhile. PostgreSQL lets go of the lock if this process dies.

    A lock of the session, not of a transaction, because none may be open while a provider is asked. Who holds it may
    take it again. What earlier holders left unanswered in the ledger was interrupted, and is marked so.
    """
    name = f"marketdata.fetching {asset.symbol} {timeframe}"
    with one_at_a_time(name, wait, f"{asset} is being fetched by another job; waiting for it."):
        yield


@contextmanager
def one_at_a_time(name: str, wait: Waits, busy: str) -> Iterator[None]:
    """Nobody else does what is called so meanwhile; `busy` is said when somebody is at it."""
    if not _ask_database("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
        wait.say(busy)
        while not _stand_in_line(name):
            wait.sleep(0.01)
    try:
        yield
    finally:
        with suppress(DatabaseError):  # a connection that is gone has taken the lock with it
            _ask_database("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)


def _stand_in_line(name: str) -> bool:
    """Wait a moment for the lock among the others, first come, first served."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '500ms'")
            cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") == "55P03":  # lock_not_available
            return False
        raise
    return True


def _ask_database(sql: str, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql, [name])
        row = cursor.fetchone()
        return bool(row and row[0])
