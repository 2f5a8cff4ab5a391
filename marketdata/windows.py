"""One window of one series, asked of one provider and stored: the question, its line in the ledger, its candles.

Nothing here holds a transaction while it waits. The candles of an answer and the ledger's word of it are committed
together.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from marketdata import actions, calendars, coverage, gaps
from marketdata.asking import Unasked, Waits, answer
from marketdata.coverage import Range
from marketdata.directory.listings import fill, listed
from marketdata.ingestion import BATCH, Ingested, ingest
from marketdata.models import Asset, AssetClass, Candle, FetchWindow, ProviderState, Series, Timeframe
from marketdata.providers.base import Action, Facts, Fetched, NoData, Provider, ProviderError, SymbolNotFound
from marketdata.recognition import ENDED, LAST_TRADED

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_RUN, MOST_RUNS = 3, 3  # candles in a row that make an answer suspicious; so many runs are asked for again
LISTED = (AssetClass.STOCK, AssetClass.ETF, AssetClass.FUND, AssetClass.INDEX)  # of which a source tells the currency
FAR_OFF = 0.1  # a fallback whose prices are further off than this from those that are stored prices something else


class PastChanged(Exception):
    """`source`'s answer is on another basis than the stored past; nothing of it was stored. The text says how."""

    def __init__(self, text: str, source: Provider) -> None:
        super().__init__(text)
        self.source = source


@dataclass(frozen=True)
class Kept:
    """What became of one window."""

    counts: Ingested = field(default_factory=Ingested)
    unfinished: int = 0
    begins: datetime | None = None  # when the provider says that its history begins
    foreign: str = ""  # why all of it was refused
    error: ProviderError | None = None  # why a part that lacked could not be asked for again

    @property
    def empty(self) -> bool:
        return not self.counts.received and not self.unfinished


@dataclass
class Questions:
    """The questions about one series to one provider.

    `is_fallback`: somebody else is asked first, so it only fills what lacks. `requests` counts every attempt.
    `knew` if an answer told of the asset, `denied` if the provider said that it does not know it.
    """

    asset: Asset
    timeframe: Timeframe
    source: Provider
    wait: Waits
    is_fallback: bool = False
    requests: int = 0
    windows: int = 0
    new_splits: int = 0
    knew: bool = False
    denied: bool = False
    facts: Facts | None = None  # of the last answer that was only looked at
    told: list[Action] = field(default_factory=list)  # the splits and dividends of all of those

    # --- Asking ---

    def question(self, since: datetime, until: datetime) -> Fetched:
        """The answer, after as many attempts as make sense. Raises `ProviderError`; stores nothing."""

        def asked() -> Fetched:
            self.requests += 1
            return _asked(self.source, self.spelling, self.timeframe, since, until)

        return answer(self.source, self.asset.symbol, asked, self.wait, self._warn)

    def peek(self, since: datetime, until: datetime) -> Fetched:
        """The answer, written down as one that vouches for nothing, because not all of it will be stored."""
        window = self._begin(since, until)
        self.windows += 1
        with self._failing(window):
            piece = self.question(since, until)
        if window:
            coverage.answered(window, received=piece.candles.num_rows, vouches=False)
        self.facts = piece.facts
        self.told += piece.actions or ()
        return piece

    def keep(self, candles: "pa.Table") -> Ingested:
        """Store candles of answers that were only looked at. Raises `PastChanged` as `ask` does."""
        piece = self._on_our_basis(Fetched(candles, actions=tuple(self.told)))
        if why := self._past_changed(piece, look=not self.is_fallback):
            raise PastChanged(why, self.source)
        candles, _ = self._only_what_lacks(piece) if self.is_fallback else (piece.candles, "")
        return _with_those_that_stood(self._store(candles), piece.candles.num_rows - candles.num_rows)

    def ask(self, since: datetime, until: datetime, *, look: bool = True) -> Kept:
        """Ask, store what came, and let the ledger tell of both.

        1. Write the question down. 2. Ask, outside transactions. 3. With `look`: if the answer is on another basis
        than what is stored of the same provider, keep nothing and raise `PastChanged`. 4. Store the candles and the
        answer in one transaction. Raises `ProviderError` when there was no answer.
        """
        asked_at = timezone.now()
        window = self._begin(since, until)
        self.windows += 1
        try:
            with self._failing(window):
                piece = self.question(since, until)
        except NoData:
            return Kept()
        self.knew = True
        learn(self.asset, piece.facts)
        if window is None:  # only now is it an asset that a ledger can name
            window = self._begin(since, until)
            assert window
            window.asked_at = asked_at
        with self._failing(window):
            piece = self._on_our_basis(piece)
            why = self._past_changed(piece, look=look and not self.is_fallback)
        if why:
            coverage.answered(window, received=piece.candles.num_rows, vouches=False)
            raise PastChanged(why, self.source)
        with self._failing(window):
            kept, lacking = self._keep(window, piece)
        return self._ask_once_more(window, kept, lacking)

    @contextmanager
    def _failing(self, window: FetchWindow | None) -> Iterator[None]:
        """The ledger is told of an answer that there is nothing, and of whatever kept one from being stored."""
        try:
            yield
        except NoData:
            if window:
                coverage.answered(window)
            raise
        except BaseException as error:  # a job that is told to stop, too
            if window:
                with suppress(DatabaseError):  # it may be the database that failed; then the next fetch says so
                    coverage.failed(window, error)
            raise

    def _begin(self, since: datetime, until: datetime) -> FetchWindow | None:
        if self.asset._state.adding:
            return None
        job = getattr(self.wait, "job", None)
        return coverage.begin(self.asset.pk, self.timeframe, self.source.name, since, until, getattr(job, "pk", None))

    @cached_property
    def spelling(self) -> str:
        """How the provider writes the asset."""
        stored = None if self.asset._state.adding else self.asset.spellings.filter(provider=self.source.name).first()
        return (
            stored.spelling if stored else self.source.spelling(self.asset.symbol, AssetClass(self.asset.asset_class))
        )

    # --- What the failure or the success says of the provider ---

    def praise(self) -> None:
        """It answers."""
        _state(self.source, answered_at=timezone.now(), failing_since=None, failure="")

    def blame(self, error: ProviderError) -> None:
        """It does not, unless it said no, which is an answer too."""
        if isinstance(error, Unasked):
            return
        self.denied = self.denied or isinstance(error, SymbolNotFound)
        if error.answered:
            _state(self.source, answered_at=timezone.now(), failing_since=None, failure="")
        else:
            self._warn(error)

    def _warn(self, error: ProviderError) -> None:
        """Let the pages' banner say so; the next answer takes it back."""
        _state(self.source, failing_since=Coalesce(F("failing_since"), timezone.now()), failure=str(error)[:300])

    # --- Storing ---

    def _on_our_basis(self, piece: Fetched) -> Fetched:
        """The answer with its candles as the series has them; its first candles decide what that is."""
        series, _ = Series.objects.get_or_create(asset=self.asset, timeframe=self.timeframe)
        if not series.candle_count and series.basis != self.source.basis:
            series.basis = self.source.basis
            series.save(update_fields=["basis"])
        if series.basis == self.source.basis:
            return piece
        candles = actions.rebase(piece.candles, self.asset, self.source.basis, series.basis)
        return replace(piece, candles=candles)

    def _past_changed(self, piece: Fetched, *, look: bool) -> str:
        """Learn the splits and dividends that were told; with `look`, why the stored past must be fetched again."""
        learnt = actions.Learnt()
        if piece.actions:
            learnt = actions.learn(self.asset, self.source.name, self.source.basis, piece.actions)
        self.new_splits += len(learnt.new_splits)
        return actions.demands_refetch(self.asset, self.timeframe, piece.candles, learnt) if look else ""

    def _keep(self, window: FetchWindow, piece: Fetched) -> tuple[Kept, list[Range]]:
        """What was stored, and what lacks of it and must be asked for once more before the window is vouched for."""
        candles, foreign = piece.candles, ""
        if self.is_fallback and candles.num_rows:
            candles, foreign = self._only_what_lacks(piece)
        many = candles.num_rows > BATCH  # more than one transaction anyway; the ledger's word comes after the last
        with nullcontext() if many else transaction.atomic():
            counts = self._store(candles)
            lacking = self._lacking(window, piece)
            self._tell(window, piece, counts, vouches=not foreign and not lacking)
        counts = _with_those_that_stood(counts, piece.candles.num_rows - candles.num_rows)
        return Kept(counts, piece.unfinished, piece.begins, foreign), lacking

    def _store(self, candles: "pa.Table") -> Ingested:
        if not candles.num_rows:
            return Ingested()
        return ingest(
            self.asset,
            self.timeframe,
            candles,
            source=self.source.name,
            origin=self.spelling,
            guard=self.is_fallback,
        )

    def _tell(self, window: FetchWindow, piece: Fetched, counts: Ingested, *, vouches: bool) -> None:
        many = piece.candles.num_rows
        coverage.answered(
            window,
            received=many,
            inserted=counts.inserted,
            updated=counts.updated,
            quarantined=counts.quarantined,
            newest=_span(piece.candles)["last"] if many else None,
            vouches=vouches,
        )

    # --- What the answer lacks ---

    def _lacking(self, window: FetchWindow, piece: Fetched) -> list[Range]:
        """Runs of expected candles that did not come: at an end of the window, where pages are cut short, or inside.

        The longest few; single candles inside are quiet minutes. Without a calendar nothing is expected.
        """
        newest = _span(piece.candles)["last"] if piece.candles.num_rows else None
        until = coverage.settled_until(window, newest)
        since = max(window.since, piece.begins) if piece.begins else window.since
        if self.is_fallback or newest is None or until is None or since >= until:
            return []
        try:
            found = gaps.examine(self.asset, self.timeframe, since, until)
        except calendars.UnknownCalendar:
            return []
        expected = found.expected.tolist()
        if not found.count(gaps.HAVE) + found.count(gaps.HELD):  # another way to count: nothing is known of it
            return []
        ends = {expected[0].replace(tzinfo=UTC), expected[-1].replace(tzinfo=UTC)}
        runs = [gap for gap in found.gaps if gap.candles >= LEAST_RUN or gap.start in ends or gap.end in ends]
        runs = sorted(runs, key=lambda gap: -gap.candles)[:MOST_RUNS]
        return [(gap.start, min(coverage.next_open(gap.end, self.timeframe), until)) for gap in runs]

    def _ask_once_more(self, window: FetchWindow, kept: Kept, lacking: list[Range]) -> Kept:
        """Ask for exactly what lacks, alone and once. Only when that is answered is the window vouched for."""
        for since, until in lacking:
            part = self._begin(since, until)
            assert part
            self.windows += 1
            try:
                with self._failing(part):
                    piece = self._on_our_basis(self.question(since, until))
            except NoData:
                continue
            except ProviderError as error:
                return replace(kept, error=error)
            with self._failing(part), transaction.atomic():
                counts = self._store(piece.candles)
                self._tell(part, piece, counts, vouches=True)
            kept = replace(kept, counts=both(kept.counts, counts))
        if lacking:
            coverage.vouch(window, kept.counts.last)
        return kept

    def _only_what_lacks(self, piece: Fetched) -> tuple["pa.Table", str]:
        """The candles for which none is stored; all of them, marked as faulty, if they price something else."""
        import pyarrow as pa

        candles = piece.candles
        opens = candles["open_time"].to_pylist()
        stored = dict(
            Candle.objects.filter(
                asset=self.asset, timeframe=self.timeframe, open_time__range=(opens[0], opens[-1])
            ).values_list("open_time", "close")
        )
        closes = candles["close"].to_pylist()
        common = [(float(close), float(stored[at])) for at, close in zip(opens, closes, strict=True) if stored.get(at)]
        factor = median(new / old for new, old in common) if common else 1.0
        lacking = candles.filter(pa.array([at not in stored for at in opens]))
        money = self._in_other_money(piece.facts.currency)
        if abs(factor - 1) <= FAR_OFF and not money:
            return lacking, ""
        why = money or (
            f"{self.source.label} prices {self.asset} at {factor:.4g} times what is stored from another source:"
            " another currency or basis"
        )
        return lacking.append_column("fault", pa.array([why] * lacking.num_rows, pa.string())), why

    def _in_other_money(self, theirs: str) -> str:
        """Why the answer can't be ours, if it says that it is in another currency than the asset is known to be in."""
        ours = self.asset.currency
        if self.asset.asset_class not in LISTED or not ours or not theirs or _money(ours) == _money(theirs):
            return ""
        return f"{self.source.label} gives {self.asset} in {theirs}, and it is kept in {ours}"


def _with_those_that_stood(counts: Ingested, many: int) -> Ingested:
    """What a fallback has, and was there already."""
    return replace(counts, received=counts.received + many, unchanged=counts.unchanged + many)


def _money(currency: str) -> str:
    """Pence count as pounds: a jump by a hundred is found by other means."""
    return {"GBX": "GBP", "ILA": "ILS", "ZAC": "ZAR"}.get(currency.upper(), currency.upper())


def both(one: Ingested, other: Ingested) -> Ingested:
    """The sum, whichever of the two is older."""
    if one.first and other.first and other.first < one.first:
        one, other = other, one
    return one + other


def _span(candles: "pa.Table") -> dict[str, datetime]:
    opens = candles["open_time"]
    return {"first": opens[0].as_py().replace(tzinfo=UTC), "last": opens[-1].as_py().replace(tzinfo=UTC)}


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
        error.args = tuple(plain(part) for part in error.args)
        raise


def plain(said: Any) -> Any:
    """What a provider said without control characters and half surrogates, which the database or a page can't hold."""
    return _unprintable.sub("", re.sub(r"[\t\n\v\f\r]+", " ", said)).strip() if isinstance(said, str) else said


_unprintable = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def learn(asset: Asset, facts: Facts) -> None:
    """Store an asset that a provider has just confirmed, or fill in what was not known of it; the rest stays."""
    said = {name: plain(getattr(facts, name)) for name in _FACTS}
    told = {name: value for name, value in said.items() if value and not getattr(asset, name)}
    told |= {"validated_at": timezone.now(), "refuted_at": None}
    told["metadata"] = {plain(key): plain(value) for key, value in facts.metadata.items()} | asset.metadata
    told["metadata"].pop(LAST_TRADED, None)
    if facts.traded_at and timezone.now() - facts.traded_at > ENDED:
        told["metadata"][LAST_TRADED] = facts.traded_at.isoformat()
    first = asset.validated_at is None
    if facts.asset_class and first:
        told["asset_class"] = facts.asset_class
    for name, value in told.items():
        limit = getattr(Asset._meta.get_field(name), "max_length", None)
        setattr(asset, name, value[:limit] if isinstance(value, str) and limit else value)
    if first and (listing := listed([asset.symbol]).get(asset.symbol)):
        told |= dict.fromkeys(fill(asset, listing))
    if asset._state.adding:
        stored, _ = Asset.objects.get_or_create(symbol=asset.symbol)  # or somebody else's, who was quicker
        asset.pk, asset.created_at = stored.pk, stored.created_at
        asset._state.adding = False
    asset.save(force_update=True, update_fields={*told, "asset_class"})


_FACTS = ("name", "exchange", "currency", "sector", "industry", "market_cap", "price_earnings", "dividend_yield")
