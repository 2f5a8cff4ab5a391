"""The one loader of strategies, which also decides access: what is not one's own does not exist."""

from django.http import Http404

from chronos.core.hypermedia import Signed
from signals.models import Strategy


def strategy_of(request: Signed, pk: int) -> Strategy:
    try:
        return Strategy.objects.of(request.user).get(pk=pk)
    except Strategy.DoesNotExist:
        raise Http404(f"There is no strategy {pk}.") from None
