"""A backtest's result as files to take away, for people and their programs."""

from collections.abc import Callable
from functools import wraps

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe

from chronos.core.hypermedia import Signed, page
from chronos.core.tokens import open_to_tokens
from signals import backtests, exporting, findings, reports
from signals.findings import Findings
from signals.loading import backtest_of

Made = Callable[[Signed, Findings], HttpResponseBase]


def _of_result(make: Made) -> Callable[..., HttpResponseBase]:
    """A view of what `make` makes of a result; of a backtest without one it says why there is none."""

    @wraps(make)
    def export(request: Signed, pk: int) -> HttpResponseBase:
        found = backtest_of(request, pk)
        if found.unfinished or found.failed:
            context = {"backtest": found, "state": found.state}
            return page(request, "signals/no_result.html", context, status=409)
        backtests.look_for_stale([found])
        return make(request, findings.stored(found))

    return require_safe(open_to_tokens(export))


@_of_result
def result_json(request: Signed, found: Findings) -> HttpResponse:
    """All of it but the curves. Made at one go: trades are read in the request's own transaction."""
    return exporting.named(
        HttpResponse(b"".join(exporting.json(found)), content_type=exporting.TYPES["json"]), found, "json"
    )


@_of_result
def equity_csv(request: Signed, found: Findings) -> HttpResponseBase:
    """Every bar."""
    return exporting.equity_download(found)


@_of_result
def chart_png(request: Signed, found: Findings) -> HttpResponse:
    """1400 by 900 pixels; `theme=dark` for a dark page."""
    theme = "dark" if request.GET.get("theme") == "dark" else "light"
    return exporting.named(HttpResponse(exporting.png(found, theme), content_type=exporting.TYPES["png"]), found, "png")


@_of_result
def report(request: Signed, found: Findings) -> HttpResponse:
    """One file that stands alone. Opened from here it is shut off as well as from a disk."""
    response = HttpResponse(reports.html(found, timezone.now()), content_type=exporting.TYPES["html"])
    response.headers["Content-Security-Policy"] = f"{reports.POLICY}; frame-ancestors 'none'; sandbox"
    return exporting.named(response, found, "html")
