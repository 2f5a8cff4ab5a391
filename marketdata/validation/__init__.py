"""Is this symbol real? What was found lately, what is stored and listed, what providers say, and a job for the rest.

1. `marketdata.verdicts` has the answers of late, in Valkey.
2. Stored assets (`marketdata.recognition`) and the symbol master.
3. Providers, as long as the caller's budget lasts. Not within a request, which is a transaction: see 4.
4. A job (`validate-symbols`): the answer is `pending` and settles by itself.

Only a provider whose no counts makes a symbol `unknown`. That the symbol master lacks it says nothing, and where
nobody can be asked it is `unverified`. What the symbol master lists is `valid` without asking; should it be delisted,
the first refresh finds out, and the asset is then `delisted`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from chronos.core import jobs, tenancy
from chronos.core.models import Job, User
from marketdata import recognition, verdicts
from marketdata.asking import Waits
from marketdata.directory import nearness
from marketdata.directory.listings import listed
from marketdata.models import Asset, AssetClass, Listing
from marketdata.symbols import likely_class
from marketdata.validation import throttle
from marketdata.validation.asked import EVER, Hurried, OutOfTime, Subject, settle
from marketdata.validation.written import LOOKED_AT, Written, read
from marketdata.verdicts import Answer, Verdict

__all__ = ["AT_ONCE", "KIND", "LOOKED_AT", "Answer", "TooMany", "Verdict", "check", "read", "settle_each", "stale",
           "suggested"]  # fmt: skip

KIND = "validate-symbols"
AT_ONCE = 5_000  # symbols in one request
FEW = 25  # up to here those whose day's requests are few are asked as well
WORTH_KEEPING = 100  # answers of a list that were found here: of more, finding them again is as quick
GIVEN_UP = 3  # symbols of a class in a row that nobody answered for; then the others of it are left
REFUTED_FOR = timedelta(days=1)  # so long a provider's no to a stored asset is believed without asking again


class TooMany(ValueError):
    """More symbols than one request takes; the text says how many that is."""


def check(
    symbols: Iterable[str],
    *,
    user: User | None = None,
    budget: float = 0.0,
    asks: bool = True,
    wait: Waits | None = None,
    suggests: bool = True,
) -> list[Answer]:
    """What is known of each, in the order given. Raises `TooMany`.

    What is not known here is asked of providers for `budget` seconds in all, and the rest becomes a job of this
    person's: `pending`. So a person may have asked VALIDATION_REQUESTS_PER_MINUTE times a minute, a list counting once;
    beyond that it is `pending` too, to be asked in `wait` seconds. Without `user` it is the house that asks, as often
    as it likes, and no job is begun; without `asks` nobody is asked. In a transaction nobody waits: the budget is 0.
    With `wait` there is no budget: it takes as long as the providers want it to. `suggests` looks for what may have
    been meant by those that are not valid: thousands of them take seconds.
    """
    given = [read(text) for text in symbols]
    wanted = list(dict.fromkeys(one.symbol for one in given if one.symbol))
    if len(wanted) > AT_ONCE:
        raise TooMany(f"These are {len(wanted):,} symbols; at most {AT_ONCE:,} are looked at at once.")
    found, subjects = _known(wanted, old=not asks)
    left = {symbol: subjects[symbol] for symbol in wanted if symbol not in found}
    if left and asks:
        if connection.in_atomic_block:
            wait, budget = None, 0.0
        found |= _asked(left, user, wait, budget)
    for symbol in left:
        if symbol not in found:
            reason = "Nobody was asked." if not asks else "There was no time to ask for it."
            found[symbol] = _unsettled(symbol, Verdict.UNVERIFIED, reason)
    answers = [_as_written(one, found) for one in given]
    return suggested(answers) if suggests else answers


def suggested(answers: Sequence[Answer]) -> list[Answer]:
    """The answers with what may have been meant instead, where one is not simply valid: one look for all."""
    doubtful = {_sought(answer) for answer in answers if _is_doubtful(answer)}
    near = nearness.suggestions_for(sorted(doubtful)) if doubtful else {}
    found = [
        replace(answer, suggestions=tuple(near[_sought(answer)]), sought=True) if _is_doubtful(answer) else answer
        for answer in answers
    ]
    new = {answer.symbol: answer.suggestions for answer in found if answer.is_settled and answer.symbol in near}
    known = verdicts.recall(new)  # as it was found, without what is said of how it was written here
    verdicts.remember(replace(kept, suggestions=new[symbol], sought=True) for symbol, kept in known.items())
    return found


def _is_doubtful(answer: Answer) -> bool:
    return not answer.sought and answer.verdict != Verdict.VALID and any(sign.isalnum() for sign in answer.written)


def _sought(answer: Answer) -> str:
    return answer.symbol or answer.written


def _as_written(one: Written, found: Mapping[str, Answer]) -> Answer:
    if not one.symbol:
        meant = (one.meant,) if one.meant else ()
        return Answer(one.text, "", Verdict.MALFORMED, reason=one.note, suggestions=meant, sought=bool(meant))
    answer = found[one.symbol]
    note = one.note if answer.symbol == one.symbol else f"It is kept here as {answer.symbol}."
    return replace(answer, written=one.text, reason=" ".join(part for part in (note, answer.reason) if part))


def _unsettled(symbol: str, verdict: Verdict, reason: str, *, job: int | None = None, wait: int = 0) -> Answer:
    kind = likely_class(symbol).value
    return Answer(symbol, symbol, verdict, reason=reason, asset_class=kind, job=job, wait=wait)


# --- What is known here ------------------------------------------------------------------------------------------


def _known(
    symbols: Sequence[str], *, again: bool = False, old: bool = False
) -> tuple[dict[str, Answer], dict[str, Subject]]:
    """The answers that can be given without asking, and whom to ask about for the others; with `again` for all.

    A remembered no may be older than what was stored or listed since, so only a remembered yes is taken unseen. An
    asset that providers did not know is to be asked about again after a day, unless an `old` no will do.
    """
    recalled = {} if again else verdicts.recall(symbols)
    found = {symbol: answer for symbol, answer in recalled.items() if answer.verdict == Verdict.VALID}
    subjects: dict[str, Subject] = {}
    rest = [symbol for symbol in symbols if symbol not in found]
    if not rest:
        return found, subjects
    assets = _assets(rest)
    states = recognition.recognised({asset.pk: asset for asset in assets.values()}.values())
    lines = listed(symbol for symbol in rest if symbol not in assets)
    new: list[Answer] = []
    for symbol in rest:
        asset, line = assets.get(symbol), lines.get(symbol)
        if asset:
            subjects[symbol] = _asset_asked_about(asset, states[asset.pk])
            answer = _of_asset(asset, states[asset.pk], old=old)
        else:
            kind = line.asset_class if line else likely_class(symbol)
            subjects[symbol] = Subject(symbol, AssetClass(kind), was_real=bool(line))
            answer = _of_listing(line) if line else None
        if again:
            continue
        if answer:
            new.append(answer)
        if answer := answer or recalled.get(symbol):
            found[symbol] = answer
    if len(new) <= WORTH_KEEPING:
        verdicts.remember(answer for answer in new if answer.verdict == Verdict.VALID)
    return found, subjects


def _assets(symbols: Sequence[str]) -> dict[str, Asset]:
    """The stored assets that are called so, or that one provider spells so."""
    found = {asset.symbol: asset for asset in Asset.objects.filter(symbol__in=symbols)}
    rest = {symbol for symbol in symbols if symbol not in found}
    spelt: dict[str, set[Asset]] = {}
    for asset in Asset.objects.filter(spellings__spelling__in=rest).prefetch_related("spellings"):
        for spelling in asset.spellings.all():
            spelt.setdefault(spelling.spelling, set()).add(asset)
    return found | {name: next(iter(ones)) for name, ones in spelt.items() if name in rest and len(ones) == 1}


def _asset_asked_about(asset: Asset, stands: recognition.Recognition) -> Subject:
    was_real = bool(asset.validated_at) or stands.state in ("listed", "delisted")
    return Subject(asset.symbol, AssetClass(asset.asset_class), asset, was_real)


_VERDICTS = {"confirmed": Verdict.VALID, "listed": Verdict.VALID, "delisted": Verdict.DELISTED,
             "unknown": Verdict.UNKNOWN, "sample": Verdict.VALID}  # fmt: skip
_SOURCES = {"listed": "directory", "sample": "sample"}


def _of_asset(asset: Asset, stands: recognition.Recognition, *, old: bool) -> Answer | None:
    """None if it must be asked about: nobody has confirmed it, or the no is not of today."""
    verdict = _VERDICTS.get(stands.state)
    is_old = asset.refuted_at is not None and asset.refuted_at < timezone.now() - REFUTED_FOR
    if verdict is None or (is_old and not old):
        return None
    return Answer(
        asset.symbol,
        asset.symbol,
        verdict,
        _SOURCES.get(stands.state, "stored"),
        asset.name,
        stands.detail,
        at=asset.refuted_at or asset.validated_at,
        asset_class=asset.asset_class,
    )


def _of_listing(line: Listing) -> Answer | None:
    """None if the line alone does not vouch for it: it says nothing, or has had another symbol for long."""
    if recognition.is_bare(line) or line.symbol in nearness.FORMER:
        return None
    reason = f"Listed in the symbol master{recognition.at(line.exchange)}."
    return Answer(line.symbol, line.symbol, Verdict.VALID, "directory", line.name, reason, asset_class=line.asset_class)


# --- What must be asked ------------------------------------------------------------------------------------------


def _asked(subjects: Mapping[str, Subject], user: User | None, wait: Waits | None, budget: float) -> dict[str, Answer]:
    """Settled within the budget, or pending; by symbol as it was given, which an asset's may differ from."""
    ours = [subject.symbol for subject in subjects.values()]
    if user and (job := _under_way(ours, user)):
        return {symbol: _pending(subject, job) for symbol, subject in subjects.items()}
    if user and (seconds := throttle.seconds_until_turn(user)):
        most = settings.VALIDATION_REQUESTS_PER_MINUTE
        reason = f"Providers are asked {most} times a minute for one person. Its turn comes in {seconds} s."
        return {symbol: _unsettled(symbol, Verdict.PENDING, reason, wait=seconds) for symbol in subjects}
    found = dict(_settled(subjects, wait)) if wait else _within(budget, subjects)
    if user and len(found) < len(subjects):
        rest = {symbol: subject for symbol, subject in subjects.items() if symbol not in found}
        try:
            job = _start([subject.symbol for subject in rest.values()], user)
        except jobs.BudgetSpent as spent:
            waits = {symbol: _unsettled(symbol, Verdict.PENDING, str(spent), wait=spent.seconds) for symbol in rest}
            return found | waits
        found |= {symbol: _pending(subject, job) for symbol, subject in rest.items()}
    return found


def _within(budget: float, subjects: Mapping[str, Subject]) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    if budget > 0:
        with Hurried(budget) as hurried, suppress(OutOfTime):
            for symbol, answer in _settled(subjects, hurried):
                found[symbol] = answer  # noqa: PERF403  what was answered in time counts
    return found


def _settled(subjects: Mapping[str, Subject], wait: Waits, newer: datetime = EVER) -> Iterator[tuple[str, Answer]]:
    """Each as it is answered. When several of a class in a row find nobody to answer, its others are not asked."""
    silent: Counter[AssetClass] = Counter()
    for symbol, subject in subjects.items():
        kind = subject.asset_class
        if silent[kind] >= GIVEN_UP:
            reason = f"Not asked: nobody answered for others of the class {kind.label}."
            yield symbol, _unsettled(symbol, Verdict.UNVERIFIED, reason)
            continue
        answer = settle(subject, wait, newer=newer, thorough=len(subjects) <= FEW)
        silent[kind] = silent[kind] + 1 if answer.verdict == Verdict.UNVERIFIED else 0
        yield symbol, answer


def _pending(subject: Subject, job: Job) -> Answer:
    return _unsettled(subject.symbol, Verdict.PENDING, "Providers are being asked.", job=job.pk)


def _under_way(symbols: Sequence[str], user: User) -> Job | None:
    """This person's unfinished job that these symbols are part of."""
    with tenancy.acting_as(user):
        return Job.objects.of(user).unfinished().filter(kind=KIND, params__symbols__contains=list(symbols)).first()


def _start(symbols: Sequence[str], user: User) -> Job:
    subject = symbols[0] if len(symbols) == 1 else f"{len(symbols):,} symbols"
    digest = sha256(" ".join(sorted(symbols)).encode()).hexdigest()[:32]
    with tenancy.acting_as(user):
        return jobs.start(KIND, {"symbols": list(symbols)}, owner=user, subject=subject, key=f"symbols:{digest}")


# --- The job's part ----------------------------------------------------------------------------------------------


def settle_each(symbols: Sequence[str], wait: Waits, *, again: bool = False) -> Iterator[Answer]:
    """The answer to each as it comes; what is malformed is passed over. Begun again after a break, it asks for what is
    left. `again` asks also for what is known, unless that was found since the work was asked for.
    """
    wanted = list(dict.fromkeys(one.symbol for one in map(read, symbols) if one.symbol))
    found, subjects = _known(wanted, again=again)
    settled = {symbol: answer for symbol, answer in found.items() if answer.is_settled}
    yield from settled.values()
    left = {symbol: subjects[symbol] for symbol in wanted if symbol not in settled}
    for _, answer in _settled(left, wait, wait.since if again else EVER):
        yield answer


def stale(most: int) -> QuerySet[Asset]:
    """Assets of which no provider has said anything for VALIDATION_DAYS, or ever.

    In no order, so that those of which nobody ever says anything don't come before all others every time.
    """
    before = timezone.now() - timedelta(days=settings.VALIDATION_DAYS)
    old = (Q(validated_at=None) | Q(validated_at__lt=before)) & (Q(refuted_at=None) | Q(refuted_at__lt=before))
    return Asset.objects.filter(old, is_sample=False).order_by("?")[:most]
