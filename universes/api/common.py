"""What the operations on universes share."""

from typing import Annotated

from ninja import Path

from universes import membership

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Symbol = Annotated[
    str, Path(min_length=1, max_length=60, description="As it is kept here, or as a provider writes it.")
]
MOST = membership.AT_ONCE
