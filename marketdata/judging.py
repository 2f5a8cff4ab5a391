"""A staged batch among the candles that are stored around it: which of it to hold, and what it tells of others.

The verdict should not depend on how a series was cut into batches. So the last candle of a batch is judged again when
the next one brings its neighbours, if it was held (it may be released) as well as if it was stored (it may be
withdrawn); and held candles take part, for each is the neighbour of the next. Whoever decided about a candle's prices
has decided for good: the same prices come through, or stay out, whenever they come again.

Called by `marketdata.ingestion` in its transaction, under the series' lock.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from marketdata import quality, staging
from marketdata.calendars import calendar_of
from marketdata.checks import EPOCH, NUMBERS, Fault, Kind
from marketdata.markets import RULES
from marketdata.models import Asset, AssetClass, QuarantinedCandle, Timeframe
from marketdata.sessions import Book

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

State = QuarantinedCandle.State

CONFIRMED = "the candles after it"  # who decided, where nobody did: a held candle that the later ones bear out
CORRECTED = "a later answer of its source"  # and one that its source gave differently later
PRICES = ("open", "high", "low", "close")
_NUMBERS = (*PRICES, "volume")


@dataclass
class Verdict:
    """What becomes of a batch and of its neighbours."""

    refused: dict[int, Fault] = field(default_factory=dict)  # by place in the batch
    withdrawn: dict[datetime, Fault] = field(default_factory=dict)  # stored candles, by open
    again: set[datetime] = field(default_factory=set)  # those of them that have come again with the batch
    confirmed: list[int] = field(default_factory=list)  # held ones (by key) to be stored after all
    restated: dict[int, Fault] = field(default_factory=dict)  # held ones that are doubted for another reason now
    held: bool = False  # whether there are held ones that the batch may have replaced


@dataclass(frozen=True)
class _Kept:
    """A row of the quarantine that may say something about the batch."""

    pk: int
    at: int
    raw: dict[str, str]
    kind: str
    state: str
    decided_by: str

    @property
    def prices(self) -> tuple[float, ...]:
        return tuple(float(self.raw[name]) for name in PRICES)

    @property
    def for_good(self) -> bool:
        return self.decided_by not in (CONFIRMED, CORRECTED)


# --- The verdict -------------------------------------------------------------------------------------------------


def judge(cursor: Any, asset: Asset, timeframe: Timeframe, staged: "pa.Table", scope: dict[str, Any]) -> Verdict:
    """Look at what is staged, `staged` (rows with their `place`, in order of time, no two of one time)."""
    around = staging.around(cursor, scope, quality.context(timeframe))
    inner = staging.between(cursor, scope) if scope["met"] else None
    kept = _kept(cursor, timeframe, around, scope)
    scene = _Scene.of(timeframe, staged, _stored(around, inner), kept)
    verdict = Verdict(held=any(row.state == State.HELD for row in kept))
    found = scene.doubts(cursor, asset, scope)
    scene.weigh(found, kept)
    scene.sort(found, verdict)
    return verdict


def _kept(cursor: Any, timeframe: Timeframe, around: staging.Around, scope: dict[str, Any]) -> list[_Kept]:
    """Doubtful candles of the quarantine, held or decided, from the first stored neighbour to the last."""
    full = quality.context(timeframe)
    first = around.before[0][0] if len(around.before) == full else None
    last = around.after[-1][0] if len(around.after) == full else None
    cursor.execute(_KEPT, scope | {"low": first, "high": last, "kinds": list(quality.DOUBTS)})
    return [_Kept(pk, at, json.loads(raw), *rest) for pk, at, raw, *rest in cursor.fetchall()]


_KEPT = """
SELECT id, (extract(epoch FROM open_time) * 1000000)::bigint, raw::text, kind, state, decided_by
FROM marketdata_quarantinedcandle
WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND state IN ('held', 'released', 'rejected')
  AND open_time >= coalesce(to_timestamp(%(low)s::float8 / 1e6), '-infinity')
  AND open_time <= coalesce(to_timestamp(%(high)s::float8 / 1e6), 'infinity')
  AND (kind = ANY(%(kinds)s) OR state = 'released' OR (kind = 'unfinished' AND state = 'held'))
ORDER BY open_time, id
"""


@dataclass
class _Scene:
    """The view and where each of its candles comes from: a place in the batch, a row of the quarantine, or storage."""

    view: quality.View
    place: "np.ndarray[Any, Any]"  # in the batch, or -1
    held: "np.ndarray[Any, Any]"  # key in the quarantine, or -1

    @classmethod
    def of(cls, timeframe: Timeframe, staged: "pa.Table", stored: "_Stored", kept: list[_Kept]) -> "_Scene":
        import numpy as np
        import pyarrow as pa

        new_at = staged["open_time"].cast(pa.int64()).to_numpy()
        columns = [_floats(staged[name]) for name in _NUMBERS]
        old_at, *old = stored
        waiting = _waiting(kept, new_at, old_at)
        wait_at = np.array([row.at for row in waiting], dtype=np.int64)
        waits = np.array([[float(row.raw[name]) for name in _NUMBERS] for row in waiting]).reshape(-1, 5)
        at = np.concatenate([new_at, old_at, wait_at])
        arrays = [np.concatenate([column, old[n], waits[:, n]]) for n, column in enumerate(columns)]
        settled = np.zeros(len(at), bool)
        settled[len(new_at) : len(new_at) + len(old_at)] = True
        place = np.full(len(at), -1, dtype=np.int64)
        place[: len(new_at)] = staged["place"].to_numpy()
        held = np.full(len(at), -1, dtype=np.int64)
        held[len(new_at) + len(old_at) :] = [row.pk for row in waiting]
        if len(at) > len(new_at):
            order = np.argsort(at, kind="stable")
            at, settled, place, held = at[order], settled[order], place[order], held[order]
            arrays = [array[order] for array in arrays]
        open_, high, low, close, volume = arrays
        return cls(quality.View(timeframe, at, open_, high, low, close, volume, settled), place, held)

    def doubts(self, cursor: Any, asset: Asset, scope: dict[str, Any]) -> dict[int, Fault]:
        """By place in the view. What is stored at the same prices counts as settled; looked up only if it matters."""
        view = self.view
        known = _grid(asset, view)
        if not known and not quality.doubtful(view):
            return {}
        if scope["met"]:
            import numpy as np

            new = np.isin(self.place, staging.repriced(cursor, scope))
            view.settled = (self.place >= 0) & ~new | view.settled
        return quality.judge(view) | {place: fault for place, fault in known.items() if not view.settled[place]}

    def weigh(self, found: dict[int, Fault], kept: list[_Kept]) -> None:
        """What somebody decided about the same prices goes first."""
        import numpy as np

        decided = [row for row in kept if row.state != State.HELD and row.for_good]
        for row in decided:
            place = int(np.searchsorted(self.view.at, row.at))
            if place == len(self.view.at) or self.view.at[place] != row.at or self._prices(place) != row.prices:
                continue
            if row.state == State.RELEASED:
                found.pop(place, None)
            elif self.place[place] >= 0 and not self.view.settled[place]:
                found[place] = Fault(Kind(row.kind), f"the same prices were rejected by {row.decided_by}")

    def _prices(self, place: int) -> tuple[float, ...]:
        return tuple(float(getattr(self.view, name)[place]) for name in PRICES)

    def sort(self, found: dict[int, Fault], verdict: Verdict) -> None:
        """Say of each doubted candle, and of each held one that is doubted no more, what is to be done with it."""
        import numpy as np

        for place, fault in found.items():
            if self.place[place] >= 0:
                verdict.refused[int(self.place[place])] = fault
            if self.view.settled[place]:
                at = _moment(int(self.view.at[place]))
                verdict.withdrawn[at] = fault
                verdict.again.update({at} if self.place[place] >= 0 else ())
            if self.held[place] >= 0:
                verdict.restated[int(self.held[place])] = fault
        for place in np.flatnonzero(self.held >= 0).tolist():
            if place not in found and self._told(place):
                verdict.confirmed.append(int(self.held[place]))

    def _told(self, place: int) -> bool:
        """Whether there are candles on both sides of it, one of them new."""
        near = slice(max(0, place - quality.NEXT), place + quality.NEXT + 1)
        return 0 < place < len(self.view.at) - 1 and bool((self.place[near] >= 0).any())


_Stored = list["np.ndarray[Any, Any]"]  # opens, and the numbers as `_NUMBERS` has them


def _stored(around: staging.Around, inner: "pa.Table | None") -> _Stored:
    import numpy as np

    rows = [*around.before, *around.after]
    at = np.array([row[0] for row in rows], dtype=np.int64)
    numbers = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, len(_NUMBERS)).T
    found: _Stored = [at, *numbers]
    if inner is None or not inner.num_rows:
        return found
    columns = [column.to_numpy() for column in inner.columns]
    return [np.concatenate(pair) for pair in zip(found, columns, strict=True)]


def _waiting(kept: list[_Kept], new_at: Any, old_at: Any) -> list[_Kept]:
    """The held ones for whose time there is nothing else, one for a time."""
    taken = set(old_at.tolist())
    if any(row.state == State.HELD for row in kept):
        taken.update(new_at.tolist())
    found: dict[int, _Kept] = {}
    for row in kept:
        if row.state == State.HELD and row.kind in quality.DOUBTS and row.at not in taken:
            found.setdefault(row.at, row)
    return list(found.values())


def _floats(column: Any) -> Any:
    """Texts that are numbers, as float64."""
    import numpy as np
    import pyarrow as pa

    try:
        return column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:  # it does not know all spellings, such as +1
        return np.array([float(text) for text in column.to_pylist()])


def _moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


# --- The grid of times -------------------------------------------------------------------------------------------


def _grid(asset: Asset, view: quality.View) -> dict[int, Fault]:
    """New candles at times that the asset's market does not have, its stored sessions considered."""
    kind = AssetClass(asset.asset_class)
    if kind in (AssetClass.CRYPTO, AssetClass.FX):
        return quality.off_grid(view, strict=kind == AssetClass.CRYPTO)
    code = calendar_of(asset)
    if view.timeframe == Timeframe.D1:
        return _not_trading_days(code, view)
    found = quality.off_grid(view, strict=False)
    return quality.off_grid(view, strict=False, opens=_opens(code, view)) if found else found


def _not_trading_days(code: str, view: quality.View) -> dict[int, Fault]:
    import numpy as np

    sessions = Book().sessions(code) if code not in RULES else None
    if sessions is None:
        return {}
    first, last = (day.toordinal() - EPOCH.toordinal() for day in (sessions.covers_from, sessions.covers_until))
    known = np.frombuffer(sessions.days, dtype=np.int64)
    return quality.not_trading_days(view, known, first, last, code)


def _opens(code: str, view: quality.View) -> set[int]:
    """The minutes of the hour at which the market's sessions begin, or go on after a break, in the time of the view."""
    sessions = Book().sessions(code)
    if sessions is None:
        return set()
    first, last = int(view.at[0]) // 10**6, int(view.at[-1]) // 10**6
    return {
        at // 60 % 60
        for column in (sessions.opens, sessions.break_until)
        for at in column
        if first - 86_400 <= at <= last + 86_400
    }


# --- Carrying it out ---------------------------------------------------------------------------------------------


def restate(cursor: Any, restated: dict[int, Fault]) -> None:
    """Give held candles the reason that there is now."""
    rows = [(fault.kind.value, fault.reason[:300], pk, fault.reason[:300]) for pk, fault in restated.items()]
    sql = "UPDATE marketdata_quarantinedcandle SET kind = %s, reason = %s WHERE id = %s AND reason <> %s"
    if rows:
        cursor.executemany(sql, rows)


def settle(cursor: Any, scope: dict[str, Any]) -> None:
    """Decide held rows for whose time there is a better one now: call it when the batch is merged and still staged.

    The same prices, doubted no more, are released; one whose source has given another candle since is rejected.
    """
    kinds = [kind.value for kind in quality.DOUBTS]
    cursor.execute(_SETTLE, scope | {"kinds": kinds, "confirmed": CONFIRMED, "corrected": CORRECTED})


_SAME = " AND ".join(f"round((q.raw->>'{name}')::numeric, 10) = s.{name}" for name in PRICES)
_SETTLE = f"""
UPDATE marketdata_quarantinedcandle q SET
    state = CASE WHEN q.kind <> 'unfinished' AND {_SAME} THEN 'released' ELSE 'rejected' END,
    decided_by = CASE WHEN q.kind <> 'unfinished' AND {_SAME} THEN %(confirmed)s ELSE %(corrected)s END,
    decided_at = %(now)s
FROM candle_stage s
WHERE q.asset_id = %(asset)s AND q.timeframe = %(timeframe)s AND q.state = 'held' AND q.open_time = s.open_time
  AND CASE WHEN q.source = %(source)s THEN q.kind = 'unfinished' OR q.kind = ANY(%(kinds)s)
           WHEN q.kind = ANY(%(kinds)s) THEN {_SAME} ELSE false END
"""  # noqa: S608


def confirmed(cursor: Any, keys: Iterable[int], now: datetime) -> dict[str, list[tuple[Any, ...]]]:
    """Release these held rows, and return their numbers, to be stored, by source: (open_time, numbers as text…)."""
    cursor.execute(_CONFIRM, {"keys": list(keys), "confirmed": CONFIRMED, "now": now})
    found: dict[str, list[tuple[Any, ...]]] = {}
    for source, *row in sorted(cursor.fetchall()):
        found.setdefault(source, []).append(tuple(row))
    return found


_CONFIRM = f"""
UPDATE marketdata_quarantinedcandle SET state = 'released', decided_by = %(confirmed)s, decided_at = %(now)s
WHERE id = ANY(%(keys)s) RETURNING source, open_time, {", ".join(f"raw->>'{name}'" for name in NUMBERS)}
"""  # noqa: S608


def doubted_again(cursor: Any, scope: dict[str, Any], fingerprints: list[str]) -> None:
    """Hold rows that later candles had confirmed and that still later ones don't."""
    cursor.execute(_AGAIN, scope | {"fingerprints": fingerprints, "confirmed": CONFIRMED})


_AGAIN = """
UPDATE marketdata_quarantinedcandle SET state = 'held', decided_by = '', decided_at = NULL
WHERE asset_id = %(asset)s AND timeframe = %(timeframe)s AND fingerprint = ANY(%(fingerprints)s)
  AND state = 'released' AND decided_by = %(confirmed)s
"""
