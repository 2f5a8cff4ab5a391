"""The toolbox of this Chronos."""

from functools import cache

from chronos.agents.operations import operations
from chronos.agents.toolbox import Toolbox
from chronos.api import api


@cache
def toolbox() -> Toolbox:
    """Made once a process: the document takes a second."""
    return Toolbox(operations(api.get_openapi_schema()))
