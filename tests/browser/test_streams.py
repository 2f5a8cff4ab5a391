"""Streams that stay open take nothing from others: here a real server, without a browser."""

import contextlib
import http.client
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client

from tests import cast

pytestmark = pytest.mark.usefixtures("house")

OPEN = 40  # more than the server's database connections


def get(address: str, path: str, cookie: str) -> http.client.HTTPResponse:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 80, timeout=20)
    connection.request("GET", path, headers={"Cookie": cookie})
    return connection.getresponse()


def test_open_streams_keep_no_connection_from_the_pages(address):
    client = Client()
    client.force_login(cast.alice())
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    cookie = f"chronos_session_{urlsplit(address).port}={session}"
    with contextlib.ExitStack() as opened:
        for _ in range(OPEN):
            stream = opened.enter_context(contextlib.closing(get(address, "/activity/stream/", cookie)))
            assert stream.status == 200
            assert stream.readline() == b"retry: 3000\n"
        for path in ("/", "/universes/", "/health/ready"):
            answer = get(address, path, cookie)
            assert answer.status in (200, 503), path  # no worker runs here, so readiness may be denied, in words
            assert answer.read()
    assert get(address, "/", cookie).status == 200
