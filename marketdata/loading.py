"""What every door of this floor asks: which asset is called so, and who may change what everybody shares."""

from django.contrib.auth import get_permission_codename
from django.db.models import Model

from chronos.core.models import User
from marketdata.models import Asset, canonical


def stored_asset(symbol: str) -> Asset | None:
    """By canonical symbol, or as a provider spells it."""
    exact = Asset.objects.filter(symbol=canonical(symbol)).first()
    return exact or Asset.objects.called(symbol).order_by("pk").first()


def may_change(user: User, model: type[Model]) -> bool:
    """Whether this person may change such rows: staff who have the admin's right to, since looking on is not acting."""
    options = model._meta
    return user.is_staff and user.has_perm(f"{options.app_label}.{get_permission_codename('change', options)}")
