"""Answers that are produced while they are sent, after the request's transaction is over.

Django gives a request's database connection back when the whole body has gone out. A stream that stays open for minutes
would keep it from everybody else, and one that ends in an exception would never give it back.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse

log = logging.getLogger(__name__)


def streamed(body: AsyncIterator[Any], content_type: str) -> StreamingHttpResponse:
    """A response around `body`, which must not use the request's tenant, and gives back what it takes."""
    response = StreamingHttpResponse(_detached(body), content_type=content_type)
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["X-Accel-Buffering"] = "no"  # for proxies that would collect it
    return response


async def _detached(body: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """1. Give the request's connection back before the first byte; 2. whatever happens, give back what was taken since.

    An exception ends the stream here, logged: past this point Django would lose the connection with it.
    """
    await sync_to_async(lambda: connection.close())()
    try:
        async for part in body:
            yield part
    except Exception:
        log.exception("a stream broke off")
    finally:
        await sync_to_async(lambda: connection.close())()


async def one_by_one(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Parts in a thread of their own: making one takes milliseconds, and others are waiting for the loop. What they are
    made of must be at hand already: nothing may be asked of the database.
    """

    def following() -> bytes:
        return next(parts, b"")

    while part := await sync_to_async(following, thread_sensitive=False)():
        yield part
