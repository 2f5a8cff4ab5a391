import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chronos.settings")
os.environ.setdefault("CHRONOS_PROCESS", "web")
pages = get_asgi_application()

from chronos.agents.door import Door  # noqa: E402  # when Django is set up

door = Door(pages)


async def application(scope: Any, receive: Any, send: Any) -> None:
    await (door if door.is_for(scope) else pages)(scope, receive, send)
