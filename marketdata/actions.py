"""Splits and dividends of an asset: what sources told of them, and what they make of stored prices.

An action belongs to the source that told it first. That source may change it (the old value stays, `superseded_at`);
another source's word for the same day is the same action, and takes its place only where it was derived from prices.
What a source tells no more is not taken back: silence about the past is common and no statement.

Here is what writes; what reads is `marketdata.multipliers`, offered here as well.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.utils import timezone

from marketdata import adjustment
from marketdata.models import Asset, Basis, Candle, CorporateAction, Timeframe
from marketdata.multipliers import Adjust, begins, current, factors, zone_of
from marketdata.providers.base import Action

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Adjust", "Learnt", "begins", "current", "decimal", "demands_refetch", "factors", "learn", "multiplied",
    "ratio_words", "rebase", "zone_of",
]  # fmt: skip

log = logging.getLogger(__name__)

Kind = CorporateAction.Kind
UNIT = Decimal("1E-12")  # as `value` is stored
SAME = Decimal("0.000001")  # relative distance within which a source has said the same again: a float's last digits
ALIKE = Decimal("0.005")  # and another source has
OTHER_BASIS = Decimal("0.01")  # a close further off than this is on another share basis, not corrected
OTHER_SHARE = Decimal("0.00001")  # an adjusted close that is another share of its close: a dividend
LOOKED_AT = 10  # candles of an answer that are held against what is stored


@dataclass(frozen=True)
class Learnt:
    """What an answer told that was not known: the splits, and whether anything changed at all."""

    new_splits: tuple[Action, ...] = ()
    changed: bool = False


# --- Learning ----------------------------------------------------------------------------------------------------


def learn(asset: Asset, source_name: str, basis: str, actions: Iterable[Action], *, derived: bool = False) -> Learnt:
    """Store what a source tells of a stored asset. `basis` is that of its dividends; of splits it says nothing.

    1. Take the asset's lock, so that two workers can't store one action twice.
    2. Splits first, because they decide what a dividend of another basis compares to. A split that happens after
       a split-adjusted dividend was stored divides that dividend at once; the source will say the same.
    3. What is new is inserted; what its own source changed supersedes the old row; the rest stays untouched.

    Two dividends of one day are one, their sum. What can't be (nothing or less, 1:1) is left out, and so is what is
    only announced: prices know nothing of it yet.
    """
    soon = timezone.now().date() + timedelta(days=1)  # somewhere it is tomorrow already
    told = _sorted_out(asset, (action for action in actions if action.ex_date <= soon))
    if not told:
        return Learnt()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"marketdata.actions {asset.pk}"])
        work = _Learning(asset, source_name, basis, derived, timezone.now())
        changed = [action for action in told if work.take(action)]
    return Learnt(tuple(action for action in changed if action.kind == Kind.SPLIT), bool(changed))


def _sorted_out(asset: Asset, actions: Iterable[Action]) -> list[Action]:
    """One action for each kind and day, splits first, oldest first."""
    found: dict[tuple[str, date], Action] = {}
    for action in actions:
        value = action.value
        if not value.is_finite() or not UNIT <= value < 10**12 or (action.kind == Kind.SPLIT and value == 1):
            log.warning("an action that can't be", extra={"symbol": asset.symbol, "action": str(action)[:200]})
            continue
        before = found.get((action.kind, action.ex_date))
        if before and action.kind == Kind.SPLIT:
            value = value * before.value
        elif before:
            value = value + before.value
        found[action.kind, action.ex_date] = Action(action.kind, action.ex_date, value.quantize(UNIT), action.currency)
    return sorted(found.values(), key=lambda action: (action.kind != Kind.SPLIT, action.ex_date))


class _Learning:
    """One source's actions against the stored ones, under the asset's lock."""

    def __init__(self, asset: Asset, source: str, basis: str, derived: bool, now: datetime) -> None:
        self.asset, self.source, self.basis, self.derived, self.now = asset, source, basis, derived, now
        self.stored = {(row.kind, row.ex_date): row for row in current(asset)}

    def take(self, action: Action) -> bool:
        """Whether this says something new."""
        before = self.stored.get((action.kind, action.ex_date))
        if before is None:
            self._insert(action)
            if action.kind == Kind.SPLIT:
                self._restate(action)
            return True
        if before.source == self.source and before.derived == self.derived:
            if self._like(before, action, SAME):
                return False
        elif not before.derived or self.derived or self._like(before, action, ALIKE):
            return False
        self._supersede(before)
        self._insert(action)
        return True

    def _like(self, before: CorporateAction, action: Action, tolerance: Decimal) -> bool:
        value = action.value
        if action.kind != Kind.SPLIT and before.basis != self.basis:
            value *= decimal(self._after(action.ex_date) ** (1 if before.basis == Basis.RAW else -1))
        return abs(value - before.value) <= tolerance * before.value

    def _after(self, day: date) -> Fraction:
        """The product of the splits after that day."""
        found = Fraction(1)
        for (kind, ex_date), row in self.stored.items():
            if kind == Kind.SPLIT and ex_date > day:
                found *= adjustment.fraction(row.value)
        return found

    def _restate(self, split: Action) -> None:
        """Divide the split-adjusted dividends before a split that were stored before it happened."""
        happened = datetime.combine(split.ex_date, time(), zone_of(self.asset))
        for row in list(self.stored.values()):
            known = row.basis == Basis.SPLIT and row.kind != Kind.SPLIT and row.known_at < happened
            if known and row.ex_date < split.ex_date:
                self._supersede(row)
                value = row.value / split.value
                self._insert(Action(Kind(row.kind), row.ex_date, value.quantize(UNIT), row.currency), like=row)

    def _supersede(self, row: CorporateAction) -> None:
        CorporateAction.objects.filter(pk=row.pk).update(superseded_at=self.now)

    def _insert(self, action: Action, like: CorporateAction | None = None) -> None:
        self.stored[action.kind, action.ex_date] = CorporateAction.objects.create(
            asset=self.asset,
            kind=action.kind,
            ex_date=action.ex_date,
            value=action.value,
            basis=like.basis if like else self.basis,
            currency=action.currency[:10],
            source=like.source if like else self.source,
            derived=like.derived if like else self.derived,
            known_at=self.now,
        )


def decimal(value: Fraction) -> Decimal:
    """To 28 digits."""
    return Decimal(value.numerator) / Decimal(value.denominator)


# --- Does what came ask for the past again? ----------------------------------------------------------------------


def demands_refetch(asset: Asset, timeframe: Timeframe, candles: "pa.Table", learnt: Learnt) -> str:
    """Why the stored past must be fetched again before these candles are stored, in words; '' if it need not be.

    Two witnesses. The candles that both have, of the first ten: if most closes are more than 1 % off, that is a split;
    an adjusted close that is another share of its close is a dividend; corrections of single candles do neither.
    And a split that is new to us, where candles from before it were stored before it happened: unless the first
    witness says that these agree already.
    """
    common = _common(asset, timeframe, candles)
    if reason := _other_basis(asset, common):
        return reason
    for split in learnt.new_splits:
        after = begins(asset, split.ex_date, timeframe)
        if any(at < after for at, _, _ in common):
            continue
        happened = datetime.combine(split.ex_date, time(), zone_of(asset))
        stored = Candle.objects.filter(asset=asset, timeframe=timeframe, open_time__lt=after, known_at__lt=happened)
        if stored.exists():
            return f"{asset} was split {ratio_words(split.value)} on {split.ex_date}"
    return ""


_Prices = tuple[Decimal, Decimal | None]


def _common(asset: Asset, timeframe: Timeframe, candles: "pa.Table") -> list[tuple[datetime, _Prices, _Prices]]:
    """The opens that are stored too, with close and adjusted close as stored and as they came."""
    rows = candles.select(["open_time", "close", "adj_close"]).slice(0, LOOKED_AT).to_pylist()
    found = Candle.objects.filter(
        asset=asset, timeframe=timeframe, open_time__in=[row["open_time"] for row in rows if row["open_time"]]
    )
    stored = {at: (close, adjusted) for at, close, adjusted in found.values_list("open_time", "close", "adj_close")}
    return [
        (row["open_time"], stored[row["open_time"]], prices)
        for row in rows
        if row["open_time"] in stored and (prices := _prices(row))
    ]


def _prices(row: dict[str, Any]) -> _Prices | None:
    """None if they are no numbers: that is for ingestion to say."""
    try:
        return Decimal(row["close"]), None if row["adj_close"] is None else Decimal(row["adj_close"])
    except (ArithmeticError, TypeError):
        return None


def _other_basis(asset: Asset, common: list[tuple[datetime, _Prices, _Prices]]) -> str:
    off: list[tuple[datetime, Decimal]] = []
    for at, (close, adjusted), (new_close, new_adjusted) in common:
        if not close or not new_close:
            continue
        if abs(new_close / close - 1) > OTHER_BASIS:
            off.append((at, new_close / close))
        elif adjusted and new_adjusted and abs(new_adjusted / new_close * close / adjusted - 1) > OTHER_SHARE:
            return f"the adjusted closes of {asset} before {at:%Y-%m-%d} have changed"
    if len(off) * 2 <= len(common):
        return ""
    at, factor = off[0]
    return f"the close of {asset} on {at:%Y-%m-%d} is {factor:.4g} times what it was"


def ratio_words(value: Decimal) -> str:
    """A split as people write it: 2:1."""
    ratio = adjustment.fraction(value)
    return f"{ratio.numerator}:{ratio.denominator}"


# --- From one basis to another -----------------------------------------------------------------------------------


def rebase(candles: "pa.Table", asset: Asset, from_basis: str, to_basis: str) -> "pa.Table":
    """Candles (a table of `marketdata.ingestion.schema()`, in any order) of one basis as those of another.

    Exact: prices times a fraction to ten decimals, volumes by its inverse to eight. Adjusted closes and volumes in
    money are the same on both. Opens are compared with midnight of the ex-date in the asset's zone, and at 00:00Z,
    where candles are named by dates, with the date itself.
    """
    splits = [] if from_basis == to_basis else list(current(asset).filter(kind=Kind.SPLIT))
    if not splits or not candles.num_rows:
        return candles
    zone = zone_of(asset)
    upwards = to_basis == Basis.RAW
    factors = [_split_between(at, splits, zone) for at in candles["open_time"].to_pylist()]
    return multiplied(candles, [after if upwards else 1 / after for after in factors], adjusted=False)


def _split_between(at: datetime | None, splits: Sequence[CorporateAction], zone: Any) -> Fraction:
    """The product of the splits after this open."""
    if at is None:
        return Fraction(1)
    day = at.date() if at.time() == at.min.time() else at.astimezone(zone).date()
    product = Fraction(1)
    for split in splits:
        if split.ex_date > day:
            product *= adjustment.fraction(split.value)
    return product


def multiplied(candles: "pa.Table", factors: Sequence[Fraction], *, adjusted: bool) -> "pa.Table":
    """Prices times `factors` (one a row) and volumes divided by them, as exact text; adjusted closes if wanted."""
    import pyarrow as pa

    prices = ("open", "high", "low", "close", "adj_close") if adjusted else ("open", "high", "low", "close")
    plans = [(name, 10, list(factors)) for name in prices] + [("volume", 8, [1 / factor for factor in factors])]
    for name, decimals, by in plans:
        column = [
            text if factor == 1 else _scaled(text, factor, decimals)
            for text, factor in zip(candles[name].to_pylist(), by, strict=True)
        ]
        candles = candles.set_column(candles.column_names.index(name), name, pa.array(column, pa.string()))
    return candles


def _scaled(text: str | None, by: Fraction, decimals: int) -> str | None:
    try:
        return adjustment.scaled(text, by, decimals)
    except ValueError:
        return text  # no number; ingestion refuses it in words
