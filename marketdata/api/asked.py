"""What the operations of this floor are asked about: a symbol, as anybody writes it, and the person who asks."""

from typing import Annotated

from ninja import Path
from pydantic import Field

from chronos.core.envelope import NextAction, Refused, missing, then
from chronos.core.hypermedia import Signed
from marketdata.directory import listings
from marketdata.directory.nearness import suggestions
from marketdata.loading import stored_asset
from marketdata.models import Asset, Listing, canonical

EXAMPLES = ["NVDA", "BRK.B", "BTC-USDT", "EUR-USD", "^GSPC"]
AS_WRITTEN = "As it is kept here, or as a provider writes it; a pair with a hyphen: BTC-USDT."
Symbol = Annotated[str, Path(min_length=1, max_length=60, description=AS_WRITTEN, examples=EXAMPLES)]
SymbolIn = Annotated[str, Field(min_length=1, max_length=60, description=AS_WRITTEN, examples=EXAMPLES)]
NEAREST = 3  # symbols that are named when one is unknown


def may_write(request: Signed) -> bool:
    token = getattr(request, "api_token", None)
    return token is None or bool(token.may_write)


def known(symbol: str) -> Asset | Listing:
    """A stored asset, or else the line of a directory. Raises `Refused`, with what may have been meant."""
    found = stored_asset(symbol) or listings.listed([canonical(symbol)]).get(canonical(symbol))
    if found is None:
        raise _unknown(symbol)
    return found


def stored(symbol: str) -> Asset:
    """A stored asset. Raises `Refused` that says how to keep one that is only listed."""
    found = known(symbol)
    if isinstance(found, Listing):
        raise Refused(
            "not_kept", f"{found.symbol} is listed in a directory and not kept here, so nothing is stored of it.",
            "Keep it first, with keep_asset.", status=404,
            next_actions=[
                then("keep_asset", "Keep it and fetch its first candles.", symbol=found.symbol),
                then("get_asset", "See what the directory says of it.", symbol=found.symbol),
            ],
        )  # fmt: skip
    return found


def _unknown(symbol: str) -> Refused:
    near = suggestions(symbol, NEAREST)
    meant = f" Did you mean {' or '.join(', '.join(near).rsplit(', ', 1))}?" if near else ""
    actions: list[NextAction] = [then("get_asset", "It may have been meant.", symbol=one) for one in near]
    actions.append(then("search_assets", "Look for it by symbol or name.", q=symbol[:60]))
    remedy = "Check the spelling, or add it to a universe."
    return missing(f"No asset is called {symbol[:60]}.{meant}", remedy, next_actions=actions)


def for_staff(says: str) -> Refused:
    return Refused("forbidden", says, "Ask staff, who have the right in the admin.", status=403)
