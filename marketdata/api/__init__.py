"""The API's operations of this floor: assets, their candles, how these are kept, and who gives them."""

from ninja import Router

from marketdata import chains, validation
from marketdata.api import assets, candles, data, upkeep, work

REFUSED: dict[type[Exception], tuple[int, str, str]] = {
    chains.BadChain: (422, "invalid", "Look at list_chains and list_providers."),
    validation.TooMany: (422, "invalid", "Send them in several lists."),
}

router = Router()
for part in (assets, candles, upkeep, data, work):
    router.add_router("", part.router)
