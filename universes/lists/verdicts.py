"""What is known of the symbols of a list, and what may have been meant by those that nobody knows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from marketdata import validation
from marketdata.asking import Waits
from marketdata.directory import nearness
from marketdata.validation import Answer, Verdict
from universes import membership

__all__ = ["Answer", "Verdict", "ask", "check", "near"]


def check(symbols: Sequence[str]) -> list[Answer]:
    """An answer for each, in their order, without asking anybody: what is not known here is `pending`."""
    known = {
        text: answer
        for some in _in_parts(list(dict.fromkeys(symbols)))
        for text, answer in zip(some, validation.check(some, asks=False, suggests=False), strict=True)
    }
    return [_to_be_asked(known[text]) for text in symbols]


def _in_parts(symbols: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(symbols), validation.AT_ONCE):
        yield symbols[start : start + validation.AT_ONCE]


def _to_be_asked(answer: Answer) -> Answer:
    if answer.verdict == Verdict.UNVERIFIED:
        return replace(answer, verdict=Verdict.PENDING, reason="")
    if answer.verdict == Verdict.VALID:  # how it was read is remarkable, that it is listed is not
        return replace(answer, reason=validation.read(answer.written).note)
    return answer


def ask(symbols: Sequence[str], wait: Waits) -> Iterator[Answer]:
    """The answer to each as it comes, `written` as given here; providers are asked, and nobody stays pending."""
    spelt = {asset.symbol: symbol for symbol, asset in membership.stored(symbols).items()}
    for answer in validation.settle_each(symbols, wait):
        verdict = Verdict.UNVERIFIED if answer.verdict == Verdict.PENDING else answer.verdict
        yield replace(answer, written=spelt.get(answer.symbol, answer.symbol), verdict=verdict)


def near(symbols: Iterable[str]) -> dict[str, list[str]]:
    """What may have been meant by each, the likeliest first."""
    return nearness.suggestions_for(symbols)
