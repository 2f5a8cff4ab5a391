"""The loaders of strategies and backtests, which also decide access: what is not one's own does not exist."""

from django.http import Http404

from chronos.core.hypermedia import Signed
from signals.models import Backtest, Strategy


def strategy_of(request: Signed, pk: int) -> Strategy:
    try:
        return Strategy.objects.of(request.user).get(pk=pk)
    except Strategy.DoesNotExist:
        raise Http404(f"There is no strategy {pk}.") from None


def backtest_of(request: Signed, pk: int) -> Backtest:
    try:
        return (
            Backtest.objects.of(request.user)
            .select_related("asset", "benchmark", "strategy", "job", "rerun_of")
            .get(pk=pk)
        )
    except Backtest.DoesNotExist:
        raise Http404(f"There is no backtest {pk}.") from None
