"""One symbol, asked of the providers of its class: what they say together, and what a stored asset learns by it.

Who is asked about the same symbol meanwhile waits, and takes the answer that came. Nothing here holds a transaction.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from django.utils import timezone

from chronos.core import figures
from marketdata import asking, chains, recognition, verdicts
from marketdata.asking import Waits
from marketdata.models import Asset, AssetClass, Timeframe
from marketdata.providers.base import Facts, KnowsSymbols, NoData, Provider, ProviderError, SymbolNotFound
from marketdata.symbols import likely_classes
from marketdata.verdicts import Answer, Verdict
from marketdata.walks import one_at_a_time
from marketdata.windows import learn, plain

T = TypeVar("T")

LATELY = timedelta(days=10)  # in which a provider without a cheaper question is asked for daily candles
HELPERS = 4  # threads that wait for the outside; one at a time does, unless calls were given up
EVER = datetime(1, 1, 1, tzinfo=UTC)


class OutOfTime(Exception):
    """The budget is used up; nothing is learnt about symbol or provider."""


class Hurried:
    """Waiting for so many seconds in all, then `OutOfTime`; a call that goes on is left to its own timeout."""

    def __init__(self, seconds: float) -> None:
        self.since = timezone.now()
        self._deadline = time.monotonic() + seconds
        self._helpers = ThreadPoolExecutor(HELPERS, thread_name_prefix="outside")

    def __enter__(self) -> "Hurried":
        return self

    def __exit__(self, *_: object) -> None:
        self._helpers.shutdown(wait=False)

    @property
    def left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def wait_for(self, call: Callable[[], T]) -> T:
        done = self._helpers.submit(call)
        try:
            return done.result(timeout=self.left)
        except TimeoutError:
            if done.done():  # the timeout is the call's own
                return done.result()
            raise OutOfTime from None

    def sleep(self, seconds: float) -> None:
        if seconds >= self.left:
            raise OutOfTime
        time.sleep(seconds)

    def say(self, text: str) -> None:
        pass


@dataclass(frozen=True)
class Subject:
    """A symbol that is asked about, and what is known of it before anybody has said anything."""

    symbol: str
    asset_class: AssetClass
    asset: Asset | None = None
    was_real: bool = False  # the symbol master has it, or a provider knew it once


def settle(subject: Subject, wait: Waits, *, newer: datetime = EVER, thorough: bool = True) -> Answer:
    """Ask about one symbol, remember the answer, and return it; or somebody else's, if that is as new as `newer`.

    `thorough`: those whose day's requests are few are asked as well, after one who should know has said no.
    """
    busy = f"{subject.symbol} is being asked about by another job; waiting for it."
    with one_at_a_time(f"marketdata.validation {subject.symbol}", wait, busy):
        known = verdicts.recall([subject.symbol]).get(subject.symbol)
        if known and known.at and known.at >= (newer if known.is_settled else wait.since):
            return known
        asked_at = timezone.now()
        found = _hear(subject, wait, thorough=thorough)
        answer = found.answer(asked_at)
        if subject.asset:
            found.teach(subject.asset, asked_at)
        verdicts.remember([answer])
        return answer


def _hear(subject: Subject, wait: Waits, *, thorough: bool) -> "_Heard":
    """What its class's providers say; if that is no, and it may be of another class, what those of that say."""
    heard = _Heard.of(subject, subject.asset_class, wait, thorough=thorough)
    for kind in likely_classes(subject.symbol):
        if kind != subject.asset_class and not subject.was_real and heard.is_refuted:
            heard = _Heard.of(subject, kind, wait, thorough=thorough)
    return heard


@dataclass
class _Heard:
    """What each provider of a class said of one symbol. `knows` and `facts` are those of the first that knows it."""

    subject: Subject
    kind: AssetClass
    chain: list[Provider]
    knows: Provider | None = None
    facts: Facts = field(default_factory=Facts)
    denied: list[Provider] = field(default_factory=list)
    silent: list[Provider] = field(default_factory=list)  # they know it and have no candles of late
    troubles: list[ProviderError] = field(default_factory=list)

    @classmethod
    def of(cls, subject: Subject, kind: AssetClass, wait: Waits, *, thorough: bool) -> "_Heard":
        """Ask one after the other, until one knows it."""
        heard = cls(subject, kind, chains.chain(kind))
        for source in heard.chain:
            if not thorough and source.daily_quota is not None and heard.is_refuted:
                continue
            question = partial(_look_up, source, _spelling(subject, kind, source))
            try:
                heard.facts = asking.answer(source, subject.symbol, question, wait, lambda error: None)
            except SymbolNotFound:
                heard.denied.append(source)
            except NoData:
                heard.silent.append(source)
            except ProviderError as error:
                heard.troubles.append(error)
            else:
                heard.knows = source
                break
        return heard

    @property
    def is_refuted(self) -> bool:
        """Whether all who answered said no, and that means something."""
        names = [source.name for source in self.denied]
        return not self.knows and not self.silent and chains.means_no(self.chain, self.kind, names)

    def answer(self, at: datetime) -> Answer:
        verdict, source, reason = self._verdict(at)
        name = plain(self.facts.name) or (self.subject.asset.name if self.subject.asset else "")
        kind = self.facts.asset_class or self.kind
        symbol = self.subject.symbol
        return Answer(symbol, symbol, verdict, source, name, reason, at=at, asset_class=kind.value)

    def _verdict(self, now: datetime) -> tuple[Verdict, str, str]:
        if self.knows:
            label, traded = self.knows.label, self.facts.traded_at
            if not traded or now - traded <= recognition.ENDED:
                return Verdict.VALID, self.knows.name, f"{label} knows it."
            text = f"{label} knows it, and it last traded on {figures.day(traded)}: delisted or suspended."
            return Verdict.DELISTED, self.knows.name, text
        if self.is_refuted:
            who = f"{' and '.join(source.label for source in self.denied)} {'do' if self.denied[1:] else 'does'} not"
            if not self.subject.was_real:
                return Verdict.UNKNOWN, self.denied[0].name, f"{who} know it."
            text = f"It was one, and {who} know it any more: delisted or renamed."
            return Verdict.DELISTED, self.denied[0].name, text
        if self.silent and self.subject.was_real:
            text = f"{self.silent[0].label} knows it and has no candles of late: delisted or suspended."
            return Verdict.DELISTED, self.silent[0].name, text
        return Verdict.UNVERIFIED, "", self._why_not()

    def _why_not(self) -> str:
        parts = []
        if self.denied:
            parts.append(f"{self.denied[0].label} does not have it, which others may.")
        if self.silent:
            parts.append(f"{self.silent[0].label} has no candles of it.")
        if self.troubles:
            parts.append(str(self.troubles[0]))
        return " ".join(parts) or chains.nobody(self.kind)

    def teach(self, asset: Asset, asked_at: datetime) -> None:
        """Let the stored asset know."""
        if self.knows:
            learn(asset, self.facts)
        elif self.is_refuted:
            recognition.refute(asset, asked_at)


def _spelling(subject: Subject, kind: AssetClass, source: Provider) -> str:
    stored = subject.asset.spellings.filter(provider=source.name).first() if subject.asset else None
    return stored.spelling if stored else source.spelling(subject.symbol, kind)


def _look_up(source: Provider, spelling: str) -> Facts:
    """The cheapest question that decides. Raises `ProviderError`, whose words can be stored and shown."""
    try:
        if isinstance(source, KnowsSymbols):
            return source.lookup(spelling)
        now = timezone.now()
        timeframe = Timeframe.D1 if Timeframe.D1 in source.windows else next(iter(source.windows))
        return source.fetch(spelling, timeframe, now - min(LATELY, source.windows[timeframe]), now).facts
    except ProviderError as error:
        error.args = tuple(plain(part) for part in error.args)
        raise
