"""What was found about symbols lately, in Valkey: the same for everybody, each answer for as long as its kind is good.

Nothing depends on it. While Valkey is away answers are found again, which is slower; it is tried again after a pause,
so that waiting for it does not add up over a list.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import redis
from django.core.cache import cache


class Verdict(StrEnum):
    """Whether a symbol is one. `unknown` only if a provider whose no counts said so; else it is `unverified`."""

    VALID = "valid"
    DELISTED = "delisted"  # it was one: providers know it no more, or have no new candles of it
    UNKNOWN = "unknown"
    PENDING = "pending"  # it is being asked, or will be
    UNVERIFIED = "unverified"  # nobody could be asked
    MALFORMED = "malformed"


@dataclass(frozen=True)
class Answer:
    """What is known of one symbol.

    `written` as it was given, at most 60 characters of it; `symbol` canonical, as an asset's, '' if malformed. `source`
    is who says so: a provider, `stored`, `sample` or `directory`. `reason` is a sentence for people. `suggestions` may
    have been meant instead; `sought` if they were looked for. `job` is asking, if it is pending; without one it may be
    asked in `wait` seconds.
    """

    written: str
    symbol: str
    verdict: Verdict
    source: str = ""
    name: str = ""
    reason: str = ""
    suggestions: tuple[str, ...] = ()
    at: datetime | None = None
    asset_class: str = ""
    job: int | None = None
    wait: int = 0
    sought: bool = False

    @property
    def is_settled(self) -> bool:
        return self.verdict not in (Verdict.PENDING, Verdict.UNVERIFIED)


HERE = ("stored", "sample", "directory")  # sources that are as quick to be asked again
_LASTS = {
    Verdict.VALID: timedelta(days=7),
    Verdict.DELISTED: timedelta(days=1),
    Verdict.UNKNOWN: timedelta(days=1),
    Verdict.UNVERIFIED: timedelta(minutes=1),
}
_LASTS_HERE = timedelta(hours=1)
_PAUSE = 10.0  # seconds
_away_until = 0.0


def recall(symbols: Iterable[str]) -> dict[str, Answer]:
    """The answers that are still good, by canonical symbol."""
    keys = {_key(symbol): symbol for symbol in symbols}
    with _perhaps() as here:
        if keys and here:
            found = cache.get_many(keys)
            return {keys[key]: answer for key, answer in found.items() if isinstance(answer, Answer)}
    return {}


def remember(answers: Iterable[Answer]) -> None:
    """Keep what is worth keeping, each by the symbol that it is about."""
    by_length: dict[timedelta, dict[str, Answer]] = {}
    for answer in answers:
        lasts = _LASTS.get(answer.verdict)
        if lasts and answer.symbol:
            lasts = min(lasts, _LASTS_HERE) if answer.source in HERE else lasts
            by_length.setdefault(lasts, {})[_key(answer.symbol)] = answer
    for lasts, kept in by_length.items():
        with _perhaps() as here:
            if here:
                cache.set_many(kept, lasts.total_seconds())


def forget(symbols: Iterable[str]) -> None:
    """Something has changed that they do not know."""
    with _perhaps() as here:
        if here:
            cache.delete_many([_key(symbol) for symbol in symbols])


def _key(symbol: str) -> str:
    return f"verdict:1:{symbol}"


@contextmanager
def _perhaps() -> Iterator[bool]:
    """Whether Valkey is to be tried; that it fails meanwhile does not matter, and is remembered for a moment."""
    global _away_until
    try:
        yield time.monotonic() >= _away_until
    except redis.RedisError:
        _away_until = time.monotonic() + _PAUSE
