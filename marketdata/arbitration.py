"""What another source says of candles that are held for a doubt: it bears them out, or gives better ones.

One question for each stretch of doubtful candles, with a few neighbours to see whether both sources price the same
thing. No transaction is open while a source is asked. Each stretch is put to each source once: the ledger remembers.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise
from math import inf, log
from statistics import median
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Left

from marketdata import actions, chains, coverage, quality, quarantine
from marketdata.asking import Unasked, Waits, answer
from marketdata.ingestion import ingest
from marketdata.models import Asset, AssetClass, Basis, Candle, FetchWindow, QuarantinedCandle, Series, Timeframe
from marketdata.providers.base import Fetched, NoData, Provider, ProviderError

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)
State, Kind = QuarantinedCandle.State, QuarantinedCandle.Kind

STRETCHES = 5  # that one call asks about, newest first
BESIDE = 5  # stored neighbours on each side that are asked for as well
LEAST_COMMON = 2  # of these that both sources must have
ALIKE = 0.005  # prices so near agree, in the logarithm; or as near as the usual move, if that is more
SAME_THING = 0.1  # a source whose neighbours are further off than this prices something else


@dataclass(frozen=True)
class Arbitrated:
    """How many doubtful candles another source was asked about, and what came of it; `said` tells it to people."""

    asked: int = 0
    released: int = 0
    rejected: int = 0
    said: tuple[str, ...] = ()

    def __add__(self, more: "Arbitrated") -> "Arbitrated":
        return Arbitrated(
            self.asked + more.asked,
            self.released + more.released,
            self.rejected + more.rejected,
            self.said + more.said,
        )


def arbitrate(asset: Asset, timeframe: Timeframe | str, source_name: str, wait: Waits) -> Arbitrated:
    """Ask another source of the asset's chain about candles of `source_name` that are held for a doubt.

    If it agrees with a held candle, that is released; if it has another one that fits its neighbours, that is stored
    and the held one rejected; `decided_by` names the source. Else the candle stays held, and its reason says what the
    source said. Call it outside transactions; it raises nothing of providers.
    """
    timeframe, total = Timeframe(timeframe), Arbitrated()
    others = [source for source in chains.chain(asset.asset_class) if _can_tell(source, timeframe, source_name)]
    for source in others:
        for stretch in _stretches(asset, timeframe, source_name, source):
            total += _Question(asset, timeframe, source, stretch, wait).put()
        if not _held(asset, timeframe, source_name).exists():
            break
    for line in total.said:
        wait.say(line)
    return total


def _can_tell(source: Provider, timeframe: Timeframe, doubted: str) -> bool:
    return source.name != doubted and timeframe in source.windows


def _held(asset: Asset, timeframe: Timeframe, source_name: str) -> Any:
    return QuarantinedCandle.objects.filter(
        asset=asset, timeframe=timeframe, source=source_name, state=State.HELD, kind__in=quality.DOUBTS
    ).exclude(open_time=None)


@dataclass(frozen=True)
class _Stretch:
    """Held candles next to each other, and the range to ask for: since ≤ open < until."""

    held: list[QuarantinedCandle]
    since: datetime
    until: datetime


def _stretches(asset: Asset, timeframe: Timeframe, source_name: str, source: Provider) -> list[_Stretch]:
    """The newest stretches that this source has not been asked about since they came."""
    rows = list(_held(asset, timeframe, source_name).order_by("-open_time", "-pk")[:500])
    longest = source.windows[timeframe] - 2 * BESIDE * timeframe.length
    found: list[_Stretch] = []
    for group in _neighbouring(rows, longest):
        stretch = _with_neighbours(asset, timeframe, group)
        if not _asked_before(asset, timeframe, source, stretch):
            found.append(stretch)
        if len(found) == STRETCHES:
            break
    return found


def _neighbouring(rows: list[QuarantinedCandle], longest: Any) -> Iterator[list[QuarantinedCandle]]:
    """Rows (newest first) in groups without a stored candle's room between them, none longer than `longest`."""
    group: list[QuarantinedCandle] = []
    for row in rows:
        if group and not _joins(group, row, longest):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _joins(group: list[QuarantinedCandle], row: QuarantinedCandle, longest: Any) -> bool:
    first, next_, last = _open(row), _open(group[-1]), _open(group[0])
    near = 4 * Timeframe(row.timeframe).length  # a weekend is no interruption for days, nor a quiet minute for minutes
    return bool(next_ - first <= near and last - first <= longest)


def _open(row: QuarantinedCandle) -> datetime:
    assert row.open_time  # those without are never asked about
    return row.open_time


def _with_neighbours(asset: Asset, timeframe: Timeframe, group: list[QuarantinedCandle]) -> _Stretch:
    first, last = _open(group[-1]), _open(group[0])
    stored = Candle.objects.filter(asset=asset, timeframe=timeframe)
    before = stored.filter(open_time__lt=first).order_by("-open_time").values_list("open_time", flat=True)[:BESIDE]
    after = stored.filter(open_time__gt=last).order_by("open_time").values_list("open_time", flat=True)[:BESIDE]
    # Beyond a pause in the series (a holiday, a gap) nothing is asked for: the range stays a small one.
    reach = 3 * BESIDE * timeframe.length
    since = min([at for at in before if first - at <= reach], default=first)
    newest = max([at for at in after if at - last <= reach], default=last)
    return _Stretch(group, since, coverage.next_open(newest, timeframe))


def _asked_before(asset: Asset, timeframe: Timeframe, source: Provider, stretch: _Stretch) -> bool:
    newest = max(row.received_at for row in stretch.held)
    return FetchWindow.objects.filter(
        asset=asset,
        timeframe=timeframe,
        provider=source.name,
        since__lte=_open(stretch.held[-1]),
        until__gt=_open(stretch.held[0]),
        asked_at__gte=newest,
        state__in=coverage.VOUCHING,
    ).exists()


# --- One question ------------------------------------------------------------------------------------------------


@dataclass
class _Question:
    """About one stretch, to one source."""

    asset: Asset
    timeframe: Timeframe
    source: Provider
    stretch: _Stretch
    wait: Waits
    theirs: dict[datetime, dict[str, Any]] = field(default_factory=dict)
    tolerance: float = ALIKE

    def put(self) -> Arbitrated:
        """Ask, note the question in the ledger, and decide about each held candle."""
        count = len(self.stretch.held)
        try:
            candles = self._asked()
        except NoData:
            self._note(self.stretch.held, "has no candles there")
            return Arbitrated(asked=count)
        except ProviderError as error:
            logger.info("nobody arbitrated", extra={"symbol": self.asset.symbol, "reason": str(error)})
            return Arbitrated(said=(f"{self.source.label} could not be asked about doubtful candles: {error}",))
        self.theirs = {row["open_time"]: row for row in candles.to_pylist()}
        if why := self._something_else():
            self._note(self.stretch.held, why)
            return Arbitrated(asked=count)
        return Arbitrated(asked=count) + self._decided(candles)

    def _asked(self) -> "pa.Table":
        """Its candles as the series has them. Raises `ProviderError`."""
        since, until = self.stretch.since, self.stretch.until
        job = getattr(self.wait, "job", None)
        window = coverage.begin(self.asset.pk, self.timeframe, self.source.name, since, until, getattr(job, "pk", None))
        question = partial(self._fetch, since, until)
        try:
            piece = answer(self.source, self.asset.symbol, question, self.wait, lambda error: None)
        except NoData:
            coverage.answered(window, vouches=False)
            raise
        except Unasked:
            window.delete()
            raise
        except ProviderError as error:
            coverage.failed(window, error)
            raise
        coverage.answered(window, received=piece.candles.num_rows, vouches=False)
        series = Series.objects.filter(asset=self.asset, timeframe=self.timeframe).first()
        basis = series.basis if series else Basis.SPLIT
        return actions.rebase(piece.candles, self.asset, self.source.basis, basis)

    def _fetch(self, since: datetime, until: datetime) -> Fetched:
        try:
            return self.source.fetch(self._spelling(), self.timeframe, since, until)
        except ProviderError as error:  # its words can be stored, whatever the provider put in them
            error.args = tuple(_plain(part) for part in error.args)
            raise

    def _spelling(self) -> str:
        stored = self.asset.spellings.filter(provider=self.source.name).first()
        return (
            stored.spelling if stored else self.source.spelling(self.asset.symbol, AssetClass(self.asset.asset_class))
        )

    # --- Weighing ---

    def _something_else(self) -> str:
        """Why what it has says nothing of our candles: too few of the neighbours, or at other prices; '' if it does.

        Learns on the way how near prices of both sources are that agree.
        """
        ours = dict(
            Candle.objects.filter(
                asset=self.asset, timeframe=self.timeframe, open_time__in=list(self.theirs)
            ).values_list("open_time", "close")
        )
        held = {row.open_time for row in self.stretch.held}
        common = [
            log(float(self.theirs[at]["close"]) / float(close))
            for at, close in ours.items()
            if at not in held and close and float(self.theirs[at]["close"])
        ]
        if len(common) < LEAST_COMMON:
            return "has too few of the candles beside it to compare"
        if abs(median(common)) > SAME_THING:
            return "prices it otherwise throughout"
        closes = [float(self.theirs[at]["close"]) for at in sorted(self.theirs) if at not in held]
        moves = [abs(log(b / a)) for a, b in pairwise(closes) if a and b]
        self.tolerance = max(ALIKE, median(moves) if moves else 0.0, 2 * abs(median(common)))
        return ""

    def _decided(self, candles: "pa.Table") -> Arbitrated:
        total = Arbitrated()
        for row in self.stretch.held:
            their = self.theirs.get(_open(row))
            if their is None:
                self._note([row], "has no such candle")
            elif self._agrees(row, their):
                total += self._released(row)
            else:
                total += self._replaced(row, candles)
        return total

    def _agrees(self, row: QuarantinedCandle, their: dict[str, Any]) -> bool:
        off = [_off(row.raw.get(name), their[name]) for name in ("high", "low", "close")]
        if max(off) > self.tolerance:
            return False
        return row.kind != Kind.FROZEN or not float(their["volume"] or 0)

    def _released(self, row: QuarantinedCandle) -> Arbitrated:
        try:
            quarantine.release(row, self._by)
        except quarantine.CannotDecide:  # somebody was quicker
            return Arbitrated()
        at = _at(row)
        return Arbitrated(released=1, said=(f"{self.source.label} has the doubtful candle of {at}, too: released.",))

    def _replaced(self, row: QuarantinedCandle, candles: "pa.Table") -> Arbitrated:
        """Its candle instead of the held one, if it fits among the stored ones."""
        import pyarrow.compute as pc

        one = candles.filter(pc.equal(candles["open_time"], row.open_time))
        try:
            with transaction.atomic():
                counts = ingest(
                    self.asset, self.timeframe, one, source=self.source.name, origin=f"instead of a doubtful {row.pk}"
                )
                if counts.quarantined:
                    raise _Doubtful
                quarantine.reject(row, self._by)
        except _Doubtful:
            self._note([row], f"has another one that is doubtful, too (close {one['close'][0].as_py()})")
            return Arbitrated()
        except quarantine.CannotDecide:
            return Arbitrated()
        close, at = one["close"][0].as_py(), _at(row)
        said = f"{self.source.label} has another candle of {at} (close {close}): stored instead of the doubtful one."
        return Arbitrated(rejected=1, said=(said,))

    @property
    def _by(self) -> str:
        return f"second source: {self.source.label}"

    def _note(self, rows: list[QuarantinedCandle], words: str) -> None:
        """Let the reason of those that stay held say what the other source said."""
        text = f"; {self.source.label} {words}"
        QuarantinedCandle.objects.filter(pk__in=[row.pk for row in rows], state=State.HELD).exclude(
            reason__contains=text
        ).update(reason=Left(Concat(F("reason"), Value(text)), 300))


class _Doubtful(Exception):
    """The other source's candle fails the checks as well: nothing of it is kept."""


def _off(one: Any, other: Any) -> float:
    """How far apart two prices are, in the logarithm; nothing and something are infinitely far."""
    a, b = float(one), float(other)
    if a > 0 and b > 0:
        return abs(log(a / b))
    return 0.0 if a == b else inf


def _at(row: QuarantinedCandle) -> str:
    at = _open(row)
    return f"{at:%Y-%m-%d}" if Timeframe(row.timeframe).is_daily else f"{at:%Y-%m-%d %H:%M}Z"


def _plain(said: Any) -> Any:
    return "".join(part if part.isprintable() else " " for part in said) if isinstance(said, str) else said
