import gc
import os
from typing import Any

from django.core.asgi import get_asgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chronos.settings")
os.environ.setdefault("CHRONOS_PROCESS", "web")
pages = get_asgi_application()

from chronos.agents.door import Door  # noqa: E402  # when Django is set up


def settle() -> None:
    """What is loaded now stays as long as the process: the collector need not go through it again and again, which
    would hold up a request in twenty for a tenth of a second.
    """
    _ = get_resolver().url_patterns  # else loaded by the first request
    gc.collect()
    gc.freeze()


door = Door(pages)
settle()


async def application(scope: Any, receive: Any, send: Any) -> None:
    await (door if door.is_for(scope) else pages)(scope, receive, send)
