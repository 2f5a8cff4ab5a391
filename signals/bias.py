"""Holds a strategy to looking back only: appending candles must not change what it decided before.

`check` decides on all bars and again on many beginnings of them, as if the later candles had not happened yet. What was
decided on a bar must be the same each time, to the last stop. Where it isn't, the strategy knew something it could not
know, and the report names the function that did: every call of an indicator, and of a function of the strategy's own
package, is watched while the rule runs on both histories; the guilty one is the first whose inputs were the same on
the bars that both have and whose outputs were not. If there is none, it is the rule itself.

Three more faults are found on the way and told apart: a rule that decides differently each time it is asked, one that
fails on a short history, and decisions that depend on where the data begins, which is no look ahead but means that the
declared warmup is too short. How many bars the decisions really need is measured by leaving out the first candles.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from inspect import unwrap
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from signals.engine.terms import Decisions
from signals.indicators import INDICATORS
from signals.strategies.deciding import StrategyFault, decide, warmup_of
from signals.strategies.declaring import Bars, Kind

if TYPE_CHECKING:
    from signals.engine.terms import Flags, Floats

EFFORT = 3_000_000  # bars to decide on again, as many beginnings of the data as that allows; every one of 2,000 bars
SPREAD = 30  # but at least so many, spread over it evenly
AFTER_DECISIONS = 60  # and those that end with a bar on which something was decided
WATCHED = 8  # how often calls are watched where no decision changed
STARTS = 12  # how often the first candles are left out
KEPT = 20  # changes that a report lists
NOISE = 1e-9  # the relative difference by which sums in another order may differ
STOP_TOLERANCE = 1e-3  # by how much of its price a stop may depend on where the data begins

_ENTRIES = {1: "enter long", -1: "enter short", 0: "no entry"}
_EXITS = {0: "no exit", 1: "exit long", 2: "exit short", 3: "exit either"}


@dataclass(frozen=True)
class Change:
    """Something decided on `bar` that came out otherwise: `before` with `bars_known` bars known, `after` with all."""

    bar: int
    bars_known: int
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Guilty:
    """The function that looked ahead, and where it is written. On `bar` it gave `before` while only `bars_known` bars
    were known, and `after` once all were. `is_rule`: it is the strategy's own rule."""

    function: str
    module: str
    file: str
    line: int
    is_rule: bool
    bar: int
    bars_known: int
    before: str
    after: str


@dataclass(frozen=True)
class Start:
    """What leaving out the first candles changed. `declared`: the kind's warmup; `needed`: after how many bars no
    decision depended on where the data began, as measured with `tried` beginnings. `anchored`: it does so on purpose.
    """

    declared: int
    needed: int
    tried: int
    anchored: bool
    changes: tuple[Change, ...] = ()

    @property
    def matters(self) -> bool:
        return self.needed > self.declared


@dataclass(frozen=True)
class Report:
    """What `check` found; plain data by `as_data`. `changes`: the first few decisions that later candles changed, with
    the `guilty` function; `suspect`: one whose earlier values later candles changed without changing a decision here;
    `faults`: other things wrong with it, in words."""

    kind: str
    bars: int
    cuts: int
    decisions: int
    changes: tuple[Change, ...]
    guilty: Guilty | None
    suspect: Guilty | None
    start: Start | None
    faults: tuple[str, ...]
    text: str

    @property
    def looks_ahead(self) -> bool:
        return bool(self.changes)

    @property
    def sound(self) -> bool:
        """Nothing that was looked for is wrong with what it decides; there may still be a suspect."""
        return not (self.changes or self.faults or (self.start and self.start.matters and not self.start.anchored))

    def as_data(self) -> dict[str, Any]:
        data = asdict(self) | {"looks_ahead": self.looks_ahead, "sound": self.sound}
        if self.start:
            data["start"]["matters"] = self.start.matters
        return data


def check(kind: Kind, params: Mapping[str, Any], bars: Bars, cuts: Sequence[int] | None = None) -> Report:
    """Whether the strategy, with these parameters on these bars, only looks back. `cuts`: how many bars are known each
    time; by default beginnings spread over the data and those that end just after a decision.

    Raises `BadParameters`, or `StrategyFault` if the rule fails on all the bars.
    """
    values = kind.checked(params)
    whole = decide(kind, values, bars)
    faults: list[str] = []
    if _changes(whole, decide(kind, values, bars), len(bars)):
        faults.append(f"{kind.label} decides differently each time it is asked about the same candles.")
        return _report(kind, bars, 0, whole, (), None, None, None, faults)
    chosen = sorted({cut for cut in cuts if 0 <= cut < len(bars)}) if cuts is not None else _chosen(whole, len(bars))
    changes: list[Change] = []
    guilty = None
    for cut in chosen:
        known = _part(bars, 0, cut)
        try:
            changed = _changes(decide(kind, values, known), whole, cut)
        except StrategyFault as fault:
            if not faults:
                faults.append(f"It fails while few candles are known. {fault}")
            continue
        if changed and guilty is None:
            guilty = _guilty(kind, values, known, bars, changed[0])
        changes += changed
    start = None if changes else _start(kind, values, bars, whole, faults)
    suspect = None if changes else _suspect(kind, values, bars, chosen)
    return _report(kind, bars, len(chosen), whole, tuple(changes), guilty, suspect, start, faults)


def _chosen(whole: Decisions, length: int) -> list[int]:
    """Beginnings to try: none and few bars, others spread evenly, and those whose last bar decides something, of which
    a strategy that knows the next candle gets the most wrong."""
    import numpy as np

    deciding = np.flatnonzero((whole.entries != 0) | (np.diff(whole.exits, prepend=np.int8(0)) != 0))
    some = deciding[np.linspace(0, len(deciding) - 1, min(AFTER_DECISIONS, len(deciding))).astype(int)]
    many = min(max(SPREAD, 2 * EFFORT // max(length, 1)), length)
    spread = np.linspace(0, length, many + 2)[1:-1].astype(int)
    return sorted({cut for cut in (0, 1, 2, *spread.tolist(), *(some + 1).tolist()) if cut < length})


def _part(bars: Bars, start: int, end: int) -> Bars:
    return Bars(*(getattr(bars, column.name)[start:end] for column in fields(bars)))


def _changes(then: Decisions, now: Decisions, known: int) -> list[Change]:
    """Where decisions on the first `known` bars differ, bar after bar."""
    import numpy as np

    found = [
        Change(int(bar), known, what, words[int(was[bar])], words[int(came[bar])])
        for what, words, was, came in (
            ("entry", _ENTRIES, then.entries, now.entries),
            ("exit", _EXITS, then.exits, now.exits),
        )
        for bar in np.flatnonzero(was[:known] != came[:known])
    ]
    was, came = _stops(then, known), _stops(now, known)
    found += [
        Change(int(bar), known, "stop", _shown(was[bar]), _shown(came[bar]))
        for bar in np.flatnonzero(_differ(was, came, NOISE))
    ]
    return sorted(found, key=lambda change: change.bar)


def _stops(decisions: Decisions, known: int) -> "Floats":
    import numpy as np

    return np.full(known, np.nan) if decisions.stops is None else decisions.stops[:known]


def _differ(one: Any, other: Any, tolerance: float) -> "Flags":
    """Where two arrays differ by more than rounding; NaN is NaN."""
    import numpy as np

    if one.dtype.kind in "fc" and other.dtype.kind in "fc":
        differ: Flags = ~np.isclose(one, other, rtol=tolerance, atol=0.0, equal_nan=True)
        return differ
    return np.asarray(one != other, bool)


def _shown(value: Any) -> str:
    if value != value:
        return "no value"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


# Where the data begins.


def _start(kind: Kind, values: Mapping[str, Any], bars: Bars, whole: Decisions, faults: list[str]) -> Start | None:
    """Decides again without the first candles, a few more each time, and measures for how long that is noticed."""
    import numpy as np

    declared = warmup_of(kind, values)
    longest = len(bars) - declared - 1
    if longest < 1:
        return None
    # Unevenly, so that no rhythm of a rule's own (every 7 or 30 bars) is hit each time.
    starts = sorted({int(one) for one in np.geomspace(1, max(1, longest * 0.6), STARTS)})
    raw = decide(kind, values, bars, warmup=False)
    needed, changes = 0, list[Change]()
    for start in starts:
        later = _part(bars, start, len(bars))
        try:
            found = decide(kind, values, later, warmup=False)
        except StrategyFault as fault:
            faults.append(f"It fails without the first {start:,} candles. {fault}")
            return None
        differ = (found.entries != raw.entries[start:]) | (found.exits != raw.exits[start:])
        differ |= _differ(_stops(found, len(later)), _stops(raw, len(bars))[start:], STOP_TOLERANCE)
        places = np.flatnonzero(differ)
        if not len(places):
            continue
        needed = max(needed, int(places[-1]) + 1)
        for place in places[places >= declared][: KEPT - len(changes)].tolist():
            changes += _moved(found, raw, place, start)
    return Start(declared, needed, len(starts), kind.anchored, tuple(changes[:KEPT]))


def _moved(found: Decisions, raw: Decisions, place: int, start: int) -> list[Change]:
    """The difference on one bar, without the first `start` candles and with them."""
    bar, known = place + start, len(raw.entries) - start
    kept = []
    for what, words, then, now in (
        ("entry", _ENTRIES, found.entries[place], raw.entries[bar]),
        ("exit", _EXITS, found.exits[place], raw.exits[bar]),
    ):
        if then != now:
            kept.append(Change(bar, known, what, words[int(then)], words[int(now)]))
    if not kept:
        then, now = _stops(found, len(found.entries))[place], _stops(raw, len(raw.entries))[bar]
        kept.append(Change(bar, known, "stop", _shown(then), _shown(now)))
    return kept


# Who looked ahead.


@dataclass
class _Call:
    """A call that was watched: what went in and came out, as copies of its arrays. `plain`: numbers and texts that went
    in; `within`: the call around it."""

    function: str
    module: str
    file: str
    line: int
    within: "_Call | None"
    plain: list[Any]
    given: list[Any]
    gave: list[Any]


class _Watch:
    """Notes the calls of indicators, and of functions of the strategy's own package, while its rule runs."""

    def __init__(self, kind: Kind) -> None:
        self.rule = _code(kind.decide)
        self.package = str(getattr(kind.decide, "__module__", "") or "").partition(".")[0]
        self.indicators = {_code(one.function): one for one in INDICATORS.values()}
        self.calls: list[_Call] = []
        self._open: list[tuple[FrameType, _Call]] = []

    def run(self, kind: Kind, values: Mapping[str, Any], bars: Bars) -> list[_Call]:
        before = sys.getprofile()
        sys.setprofile(self._see)
        try:
            decide(kind, values, bars)
        finally:
            sys.setprofile(before)
        return self.calls

    def _see(self, frame: FrameType, event: str, value: Any) -> None:
        if event == "call" and self._concerns(frame):
            code = frame.f_code
            arguments = [frame.f_locals.get(name) for name in _arguments(code)]
            self._open.append(
                (
                    frame,
                    _Call(
                        function=code.co_qualname,
                        module=str(frame.f_globals.get("__name__", "")),
                        file=code.co_filename,
                        line=code.co_firstlineno,
                        within=self._open[-1][1] if self._open else None,
                        plain=[one for one in arguments if isinstance(one, int | float | bool | str)],
                        given=list(_arrays(arguments)),
                        gave=[],
                    ),
                )
            )
        elif event == "return" and self._open and self._open[-1][0] is frame:
            call = self._open.pop()[1]
            call.gave = list(_arrays(value))
            if call.gave:
                self.calls.append(call)

    def _concerns(self, frame: FrameType) -> bool:
        code = frame.f_code
        if code in self.indicators:
            return True
        if code is self.rule or (code.co_name.startswith("<") and code.co_name != "<lambda>"):
            return False
        module = str(frame.f_globals.get("__name__", ""))
        return self.package not in ("signals", "") and module.partition(".")[0] == self.package


def _code(function: Any) -> CodeType | None:
    """The code of a function, of what it wraps, or of an object that can be called."""
    function = unwrap(getattr(function, "func", function))
    if not hasattr(function, "__code__") and callable(function):
        function = type(function).__call__
    found = getattr(function, "__code__", None)
    return found if isinstance(found, CodeType) else None


def _arguments(code: CodeType) -> tuple[str, ...]:
    extra = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + extra]


def _arrays(value: Any) -> Iterator[Any]:
    """Copies of the arrays in it, also of those in tuples, dictionaries and a `Rule`. Bars are left out: they are what
    is known, and nobody can write to them."""
    import numpy as np

    if isinstance(value, Bars):
        return
    if isinstance(value, np.ndarray):
        if value.ndim == 1 and value.dtype.kind in "fbiu":
            yield value.copy()
    elif isinstance(value, list | tuple) and value and not isinstance(value[0], int | float | bool | str):
        for one in value[:50]:
            yield from _arrays(one)
    elif isinstance(value, dict):
        for one in list(value.values())[:50]:
            yield from _arrays(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for column in fields(value):
            yield from _arrays(getattr(value, column.name))
    elif isinstance(value, list) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.ndim == 1 and array.dtype.kind in "fbiu":
            yield array.copy()


def _guilty(kind: Kind, values: Mapping[str, Any], known: Bars, bars: Bars, change: Change) -> Guilty:
    """Who is to blame for this change: the function that gave it away, or the rule itself."""
    rule = _code(kind.decide)
    return _leak(kind, values, known, bars) or Guilty(
        function=rule.co_qualname if rule else repr(kind.decide),
        module=str(getattr(kind.decide, "__module__", "") or ""),
        file=rule.co_filename if rule else "",
        line=rule.co_firstlineno if rule else 0,
        is_rule=True,
        bar=change.bar,
        bars_known=change.bars_known,
        before=change.before,
        after=change.after,
    )


def _leak(kind: Kind, values: Mapping[str, Any], known: Bars, bars: Bars) -> Guilty | None:
    """Runs the rule on both histories and finds the first call that gave other values for the same inputs.

    An indicator that was handed something that had changed is innocent: whoever called it is asked, at last the rule.
    """
    later = len(bars) - len(known)
    for then, now in zip(_Watch(kind).run(kind, values, known), _Watch(kind).run(kind, values, bars), strict=False):
        if (then.function, then.file, then.line) != (now.function, now.file, now.line):
            return None  # it went another way: nothing after this can be compared
        if then.plain != now.plain or len(then.given) != len(now.given) or _first(then.given, now.given, later):
            continue
        if place := _first(then.gave, now.gave, later):
            return Guilty(then.function, then.module, then.file, then.line, False, place[0], len(known), *place[1:])
    return None


def _suspect(kind: Kind, values: Mapping[str, Any], bars: Bars, cuts: Sequence[int]) -> Guilty | None:
    """A function that gives other values once later candles are known, though it changed no decision here."""
    for cut in cuts[:: max(1, len(cuts) // WATCHED)]:
        try:
            if found := _leak(kind, values, _part(bars, 0, cut), bars):
                return found
        except StrategyFault:
            continue
    return None


def _first(then: list[Any], now: list[Any], later: int) -> tuple[int, str, str] | None:
    """The first place where arrays differ that grow with the bars, and both values."""
    import numpy as np

    places = []
    for was, came in zip(then, now, strict=False):
        if len(came) - len(was) == later:
            differ = np.flatnonzero(_differ(was, came[: len(was)], NOISE))
            if len(differ):
                bar = int(differ[0])
                places.append((bar, _shown(was[bar].item()), _shown(came[bar].item())))
    return min(places, default=None)


# In words.


def _report(
    kind: Kind,
    bars: Bars,
    cuts: int,
    whole: Decisions,
    changes: tuple[Change, ...],
    guilty: Guilty | None,
    suspect: Guilty | None,
    start: Start | None,
    faults: list[str],
) -> Report:
    import numpy as np

    decisions = int(np.count_nonzero(whole.entries))
    said = list(faults)
    if changes and guilty:
        said += _ahead(changes, guilty, len(bars))
    elif start and start.matters:
        said.append(_beginning(start))
    if not changes and not faults:
        entries = f"{decisions:,} {'entry' if decisions == 1 else 'entries'}"
        said.insert(
            0,
            f"It only looks back: decided again {cuts} times with later candles unknown, all of it stayed the same "
            f"({len(bars):,} candles, {entries}).",
        )
        if not decisions:
            said.append("It never entered, so this says little: try it on more candles or with other parameters.")
    if suspect:
        said.append(
            f"But beware of {suspect.function} ({_where(suspect)}): for bar {suspect.bar:,} it gave {suspect.before} "
            f"while {suspect.bars_known:,} candles were known and {suspect.after} later. On other candles that may "
            "change what is decided."
        )
    return Report(
        kind.name, len(bars), cuts, decisions, changes[:KEPT], guilty, suspect, start, tuple(faults), " ".join(said)
    )


def _where(guilty: Guilty) -> str:
    return f"{guilty.module or guilty.file}, line {guilty.line}"


def _ahead(changes: tuple[Change, ...], guilty: Guilty, bars: int) -> list[str]:
    first = min(changes, key=lambda change: (change.bars_known, change.bar))
    said = [
        f"It looks ahead: on bar {first.bar:,} it decided {first.before!r} while {first.bars_known:,} candles were "
        f"known, and {first.after!r} once all {bars:,} were."
    ]
    if guilty.is_rule:
        said.append(
            f"The rule itself is guilty, {guilty.function} ({_where(guilty)}): no function that it calls did it."
        )
    else:
        said.append(
            f"The guilty function is {guilty.function} ({_where(guilty)}): for bar {guilty.bar:,} it gave "
            f"{guilty.before} at first and {guilty.after} later."
        )
    return said


def _beginning(start: Start) -> str:
    bars = f"{start.needed:,} {'candle' if start.needed == 1 else 'candles'}"
    if start.anchored:
        return "What it decides depends on where the data begins, and is meant to."
    return (
        f"What it decides depends on where the data begins for {bars} at least, while its warmup is "
        f"{start.declared:,}: declare a longer warmup, or do without what is summed up since the first candle."
    )
