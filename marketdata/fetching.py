"""One series from a provider into the database: ask window by window, store each, remember how it went.

Nothing here holds a transaction while it waits. Sources are asked in the order of `marketdata.providers`.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from marketdata import providers
from marketdata.asking import Unasked, Waits, answer, count_silence
from marketdata.ingestion import Ingested, ingest
from marketdata.models import Asset, AssetClass, Candle, ProviderState, Series, Timeframe
from marketdata.providers.base import Facts, Fetched, NoData, Provider, ProviderError, Unavailable

if TYPE_CHECKING:
    import pyarrow as pa

OVERLAP = 3  # candles asked for again each time, because the last ones are still corrected
DEPTH = timedelta(days=5 * 365 + 2)  # of a series' first fetch, where the provider reaches so far back


@dataclass(frozen=True)
class Refreshed:
    """What became of one series. `error` is a sentence for people; `skipped` if it had been fetched already."""

    asset: Asset
    timeframe: Timeframe
    counts: Ingested = field(default_factory=Ingested)
    status: Literal["done", "partial", "failed"] = "done"
    error: str = ""
    unfinished: int = 0
    skipped: bool = False
    unanswered: bool = False  # it failed because a provider did not answer, not because of the asset


# --- The verbs ---------------------------------------------------------------------------------------------------


def refresh(asset: Asset, timeframe: Timeframe, wait: Waits) -> Refreshed:
    """Bring a series up to now: its last candles again and what came after them, or `DEPTH` if there are none.

    If the adjustment of its stored past has changed (a split, a dividend), all of it is fetched again. Whoever comes
    while it is being fetched waits, and finds it done. Bundled samples are never fetched.
    """
    timeframe = Timeframe(timeframe)
    if asset.is_sample:
        return Refreshed(asset, timeframe, skipped=True)
    with _alone(asset, timeframe, wait):
        series, _ = Series.objects.get_or_create(asset=asset, timeframe=timeframe)
        if series.checked_at and series.checked_at >= wait.since:
            status: Literal["done", "failed"] = "failed" if series.failure else "done"
            return Refreshed(asset, timeframe, status=status, error=series.failure, skipped=True)
        since = _resume_from(series)
        return _from_first_that_answers(
            asset, timeframe, lambda source: _Fetch(asset, timeframe, source, wait).bring(since, timezone.now(), series)
        )


def fetch(
    asset: Asset,
    timeframe: Timeframe,
    since: datetime | None,
    until: datetime,
    *,
    wait: Waits,
    provider: Provider | None = None,
    limit: int | None = None,
) -> Refreshed:
    """Store the candles of a range (since ≤ open < until, aware UTC; without `since` the usual depth).

    An asset that is not stored yet is, once the provider confirms it. With `limit` only that many, the newest.
    """
    with _alone(asset, timeframe, wait):
        return _from_first_that_answers(
            asset,
            timeframe,
            lambda source: _Fetch(asset, timeframe, source, wait).bring(since, until, limit=limit),
            [provider] if provider else None,
        )


def look(
    asset: Asset,
    timeframe: Timeframe,
    since: datetime | None,
    until: datetime,
    *,
    wait: Waits,
    provider: Provider | None = None,
    limit: int | None = None,
) -> "pa.Table":
    """The candles that `fetch` would store, without storing anything. Raises `ProviderError`."""
    import pyarrow as pa

    source = provider or _sources(asset)[0]
    found = list(_Fetch(asset, timeframe, source, wait).windows(since, until))
    if not found:
        raise NoData(_nothing(asset, timeframe, source))
    candles = pa.concat_tables([answer.candles for answer in found])
    return candles.slice(max(0, candles.num_rows - limit)) if limit else candles


def _sources(asset: Asset) -> list[Provider]:
    found = providers.for_asset_class(AssetClass(asset.asset_class))
    if not found:
        raise Unavailable(f"No provider has {asset.get_asset_class_display()} assets such as {asset}.")
    return found


def _from_first_that_answers(
    asset: Asset, timeframe: Timeframe, ask: Callable[[Provider], Refreshed], sources: list[Provider] | None = None
) -> Refreshed:
    """The first success in the providers' order, or else the failure of the first, for it should have had it."""
    first: Refreshed | None = None
    try:
        for source in sources or _sources(asset):
            found = ask(source)
            if found.status != "failed":
                return found
            first = first or found
    except ProviderError as error:
        return Refreshed(asset, timeframe, status="failed", error=str(error))
    assert first
    return first


# --- One provider ------------------------------------------------------------------------------------------------


@dataclass
class _Fetch:
    """One series from one provider."""

    asset: Asset
    timeframe: Timeframe
    source: Provider
    wait: Waits
    clipped: str = ""

    def bring(
        self, since: datetime | None, until: datetime, series: Series | None = None, limit: int | None = None
    ) -> Refreshed:
        """Ask for the range and store it window by window; what was stored before a failure is kept and counted."""
        done = Refreshed(self.asset, self.timeframe)
        try:
            for piece in self.windows(since, until, limit):
                if series and series.first_open and self._past_changed(piece.candles):
                    self.wait.say(f"{self.asset}: its past prices were adjusted; all of it is fetched again.")
                    return self.bring(series.first_open, until)
                done = self._store(done, piece)
            if not done.counts.received and not done.unfinished:
                raise NoData(_nothing(self.asset, self.timeframe, self.source))
        except ProviderError as error:
            self._remember_failure(error)
            return replace(
                done,
                status="partial" if done.counts.received else "failed",
                error=str(error),
                unanswered=not error.answered,
            )
        self._remember_success()
        error_text = " ".join(text for text in (self.clipped, _quarantine_note(done.counts)) if text)
        return replace(done, status="partial" if error_text else "done", error=error_text)

    def windows(self, since: datetime | None, until: datetime, limit: int | None = None) -> Iterator[Fetched]:
        """The range in pieces that the provider takes, oldest first, so that a broken walk can be resumed by its end.

        Pieces without candles are left out: before a listing there is nothing.
        """
        since = self._reachable(since)
        step = self.source.windows.get(self.timeframe, until - since)
        spelling = _spelling(self.asset, self.source)
        pieces = []
        while since < until:
            end = min(since + step, until)
            question = partial(_asked, self.source, spelling, self.timeframe, since, end)
            with suppress(NoData):
                piece = answer(self.source, self.asset.symbol, question, self.wait, self._warn)
                if limit is None:
                    yield piece
                else:
                    pieces.append(piece)
            since = end
        if limit is not None:
            yield from _newest(pieces, limit)

    def _reachable(self, since: datetime | None) -> datetime:
        """`since`, or as far back as the provider keeps these candles; says so if that is later than what was asked."""
        now = timezone.now()
        reach = self.source.reach.get(self.timeframe)
        if since is None:
            return _even(now - min(DEPTH, reach or DEPTH), self.timeframe)
        if reach is None or since >= now - reach:
            return since
        earliest = _even(now - reach, self.timeframe)
        self.clipped = (
            f"{self.source.label} keeps {self.timeframe} candles for {reach.days} days,"
            f" so {self.asset} was fetched from {earliest:%Y-%m-%d}."
        )
        return earliest

    def _store(self, done: Refreshed, piece: Fetched) -> Refreshed:
        _learn(self.asset, piece.facts)
        counts = done.counts
        if piece.candles.num_rows:
            origin = _spelling(self.asset, self.source)
            more = ingest(self.asset, self.timeframe, piece.candles, source=self.source.name, origin=origin)
            counts += more
        return replace(done, counts=counts, unfinished=done.unfinished + piece.unfinished)

    def _past_changed(self, candles: "pa.Table") -> bool:
        """Whether the overlap shows another basis: a close more than 1 % off (a split), or an adjusted close that is
        another share of the close (a dividend). Corrections of single candles do neither."""
        opens = candles["open_time"].slice(0, OVERLAP).to_pylist()
        columns = ("open_time", "close", "adj_close")
        stored = Candle.objects.filter(asset=self.asset, timeframe=self.timeframe, open_time__in=opens)
        before = {at: (close, adjusted) for at, close, adjusted in stored.values_list(*columns)}
        for row in candles.select(columns).slice(0, OVERLAP).to_pylist():
            if row["open_time"] in before and _other_basis(before[row["open_time"]], row):
                return True
        return False

    # --- Remembering ---

    def _remember_success(self) -> None:
        now = timezone.now()
        series = Series.objects.filter(asset=self.asset, timeframe=self.timeframe)
        series.update(checked_at=now, failed_at=None, failure="")
        _state(self.source, answered_at=now, failing_since=None, failure="")
        count_silence(self.source, answered=True)

    def _remember_failure(self, error: ProviderError) -> None:
        if self.asset._state.adding:  # nobody has confirmed it, so there is nothing to keep
            self._blame(error)
            return
        now, text = timezone.now(), str(error)[:300]
        series, _ = Series.objects.get_or_create(asset=self.asset, timeframe=self.timeframe)
        marks: dict[str, Any] = {"failed_at": Coalesce(F("failed_at"), now), "failure": text}
        if error.answered:
            marks["checked_at"] = now
        Series.objects.filter(pk=series.pk).update(**marks)
        self._blame(error)

    def _blame(self, error: ProviderError) -> None:
        """What the failure says of the provider: a "no" is an answer too."""
        if isinstance(error, Unasked):
            return
        if error.answered:
            _state(self.source, answered_at=timezone.now(), failing_since=None, failure="")
        else:
            self._warn(error)
        count_silence(self.source, answered=error.answered)

    def _warn(self, error: ProviderError) -> None:
        """Let the pages' banner say so; the next answer takes it back."""
        _state(self.source, failing_since=Coalesce(F("failing_since"), timezone.now()), failure=str(error)[:300])


def _state(source: Provider, **marks: Any) -> None:
    """Remember how the provider does: what the pages' banner says."""
    if not ProviderState.objects.filter(pk=source.name).update(**marks):
        ProviderState.objects.get_or_create(provider=source.name)
        ProviderState.objects.filter(pk=source.name).update(**marks)


def _asked(source: Provider, spelling: str, timeframe: Timeframe, since: datetime, until: datetime) -> Fetched:
    """`source.fetch`, whose words of failure can be stored and shown whatever the provider put in them."""
    try:
        return source.fetch(spelling, timeframe, since, until)
    except ProviderError as error:
        error.args = tuple(_plain(part) for part in error.args)
        raise


def _plain(said: Any) -> Any:
    """What a provider said without control characters and half surrogates, which the database or a page can't hold."""
    return _unprintable.sub("", re.sub(r"[\t\n\v\f\r]+", " ", said)).strip() if isinstance(said, str) else said


_unprintable = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


# --- The asset and its series ------------------------------------------------------------------------------------


@contextmanager
def _alone(asset: Asset, timeframe: Timeframe, wait: Waits) -> Iterator[None]:
    """Nobody else fetches this series meanwhile. PostgreSQL lets go of the lock if this process dies.

    A lock of the session, not of a transaction, because none may be open while a provider is asked.
    """
    name = f"marketdata.fetching {asset.symbol} {timeframe}"
    if not _ask_database("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
        wait.say(f"{asset} is being fetched by another job; waiting for it.")
        while not _ask_database("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", name):
            wait.sleep(0.25)
    try:
        yield
    finally:
        with suppress(DatabaseError):  # a connection that is gone has taken the lock with it
            _ask_database("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", name)


def _ask_database(sql: str, name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql, [name])
        row = cursor.fetchone()
        return bool(row and row[0])


def _resume_from(series: Series) -> datetime | None:
    """The open of the last but two stored candle, or None if there are none."""
    stored = Candle.objects.filter(asset=series.asset, timeframe=series.timeframe).order_by("-open_time")
    last = list(stored.values_list("open_time", flat=True)[:OVERLAP])
    return last[-1] if last else None


def _spelling(asset: Asset, source: Provider) -> str:
    stored = None if asset._state.adding else asset.spellings.filter(provider=source.name).first()
    return stored.spelling if stored else source.spelling(asset.symbol, AssetClass(asset.asset_class))


def _learn(asset: Asset, facts: Facts) -> None:
    """Store an asset that a provider has just confirmed, or fill in what was not known of it; the rest stays."""
    said = {name: _plain(getattr(facts, name)) for name in _FACTS}
    told = {name: value for name, value in said.items() if value and not getattr(asset, name)}
    told["validated_at"] = timezone.now()
    told["metadata"] = {_plain(key): _plain(value) for key, value in facts.metadata.items()} | asset.metadata
    if facts.asset_class and asset.validated_at is None:
        told["asset_class"] = facts.asset_class
    for name, value in told.items():
        limit = getattr(Asset._meta.get_field(name), "max_length", None)
        setattr(asset, name, value[:limit] if isinstance(value, str) and limit else value)
    if asset._state.adding:
        asset.pk = Asset.objects.get_or_create(symbol=asset.symbol)[0].pk  # or somebody else's, who was quicker
        asset._state.adding = False
    asset.save(force_update=True, update_fields={*told, "asset_class"})


_FACTS = ("name", "exchange", "currency", "sector", "industry", "market_cap", "price_earnings", "dividend_yield")


def _other_basis(before: tuple[Decimal, Decimal | None], row: dict[str, Any]) -> bool:
    """`before` is the stored close and adjusted close, `row` what the provider says now."""
    (close, adjusted), now = before, Decimal(row["close"])
    if not close or not now:
        return False
    if abs(now / close - 1) > Decimal("0.01"):
        return True
    if not adjusted or row["adj_close"] is None:
        return False
    return abs(Decimal(row["adj_close"]) / now * close / adjusted - 1) > Decimal("0.00001")


def _even(moment: datetime, timeframe: Timeframe) -> datetime:
    """Down to the day or the minute, where candles begin."""
    whole = moment.replace(second=0, microsecond=0)
    return whole.replace(hour=0, minute=0) if timeframe.is_daily else whole


def _newest(pieces: list[Fetched], limit: int) -> list[Fetched]:
    kept: list[Fetched] = []
    for piece in reversed(pieces):
        if limit > 0:
            candles = piece.candles.slice(max(0, piece.candles.num_rows - limit))
            kept.insert(0, replace(piece, candles=candles))
            limit -= candles.num_rows
    return kept


def _quarantine_note(counts: Ingested) -> str:
    if not counts.quarantined:
        return ""
    return f"{counts.quarantined} of {counts.received} candles were quarantined: {'; '.join(counts.problems)}."


def _nothing(asset: Asset, timeframe: Timeframe, source: Provider) -> str:
    return f"{source.label} knows {asset} and has no {timeframe} candles of it in that range. Ask for another range."
