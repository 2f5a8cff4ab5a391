"""Whether a symbol is real, as it is written: a page, and the same as a fragment for below a field."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from chronos.core import figures
from chronos.core.hypermedia import Signed, page
from chronos.core.models import Job
from marketdata import sources, validation
from marketdata.models import AssetClass
from marketdata.verdicts import HERE, Answer, Verdict

WORDS = {
    Verdict.VALID: ("good", "Valid"),
    Verdict.DELISTED: ("warn", "Delisted"),
    Verdict.UNKNOWN: ("bad", "Unknown"),
    Verdict.PENDING: ("running", "Being asked"),
    Verdict.UNVERIFIED: ("warn", "Not verified"),
    Verdict.MALFORMED: ("bad", "Not a symbol"),
}
_SAYS = {"": "", "stored": "kept here", "sample": "", "directory": ""}  # sources that are no providers


@require_safe
def validate(request: Signed) -> HttpResponse:
    """The verdict on `symbol`; whatever is not known yet is asked by a job, and the fragment settles by itself.

    Asking is a side effect of a GET: safe to repeat, throttled for each person, and not for a browser that only looks
    ahead.
    """
    text = request.GET.get("symbol", "")
    verdict = None
    if text.strip():
        (answer,) = validation.check([text], user=request.user, asks=_may_ask(request))
        verdict = _shown(answer)
    context = {"verdict": verdict, "symbol": text[: validation.LOOKED_AT + 1]}  # too long stays too long
    return page(request, "marketdata/validate.html", context, part="verdict")


def _may_ask(request: Signed) -> bool:
    """Not for a browser that looks ahead, nor when a job that was waited for has ended without an answer."""
    if request.method == "HEAD" or "prefetch" in request.headers.get("Sec-Purpose", ""):
        return False
    awaited = request.GET.get("job", "")
    if not awaited.isdecimal() or len(awaited) > 18:
        return True
    return Job.objects.of(request.user).unfinished().filter(pk=int(awaited)).exists()


def _shown(answer: Answer) -> dict[str, Any]:
    level, word = WORDS[answer.verdict]
    source = _SAYS[answer.source] if answer.source in _SAYS else sources.label(answer.source)
    told = [source if source not in answer.reason else "", figures.ago(answer.at) if answer.at else ""]
    waits = answer.verdict == Verdict.PENDING and answer.job is None
    return {
        "level": "queued" if waits else level,
        "word": "Waiting" if waits else word,
        "symbol": answer.symbol,
        "page": reverse("marketdata:asset", args=[answer.symbol]) if answer.symbol and answer.source in HERE else "",
        "written": answer.written,
        "name": answer.name,
        "kind": AssetClass(answer.asset_class).label if answer.asset_class and answer.verdict == Verdict.VALID else "",
        "told": ", ".join(part for part in told if part),
        "reason": answer.reason,
        "suggestions": answer.suggestions,
        "job": answer.job,
        "wait": answer.wait,
    }
