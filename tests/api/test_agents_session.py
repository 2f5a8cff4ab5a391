"""The session in docs/agents.md, as it stands there: over HTTP and over stdio, with a worker and a loopback Yahoo."""

import re
import threading

import pytest
from django.conf import settings
from django.db import connections

from chronos.core import jobs, tenancy
from chronos.core.models import Job
from marketdata import asking
from tests.api.agent import over_http, over_stdio, talk
from tests.marketdata import directory

pytestmark = [
    pytest.mark.prove,
    pytest.mark.usefixtures("house"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance"),
]
WRITTEN = (settings.BASE_DIR / "docs" / "agents.md").read_text()


def session():
    (code,) = re.findall(r"```python\n(.*?)```", WRITTEN, re.S)
    found = {"__name__": "docs"}
    exec(code, found)  # our own page
    return found["session"]


@pytest.fixture
def worker(yahoo, monkeypatch):
    """Does what is queued, in this process, where the loopback provider can be reached."""
    monkeypatch.setattr(asking, "_pause", lambda state: 0.01)
    over = threading.Event()

    def work():
        while not over.wait(0.1):
            with tenancy.as_system("look for work"):
                waiting = list(Job.objects.filter(state="queued").values_list("pk", flat=True))
            for pk in waiting:
                jobs.run_job(pk)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.parametrize("transport", ["http", "stdio"])
def test_the_session(worker, hers, address, transport):
    directory.load()
    client = over_http(address, hers.secret) if transport == "http" else over_stdio(hers.secret)
    told = talk(client, session())
    assert told["mended"] == {"NVDA": "NVDA", "appl": "AAPL", "GOGL": "GOOGL"}
    assert told["job"]["state"] == "done", told["job"]
    assert len(told["candles"]) == 5
    assert told["candles"][0]["open_time"].startswith("2026-03-02")
    symbols = [line.partition(",")[0] for line in told["file"].splitlines()[1:]]
    assert symbols == ["NVDA", "AAPL", "GOOGL"]
    tried = told["tried"]
    assert (tried["state"], tried["symbol"], tried["parameters"]) == ("done", "GOOGL", {"fast": 5, "slow": 20})
    assert {"few_trades", "no_trades"} & {warning["code"] for warning in tried["warnings"]}
