"""Every operation asked as somebody else: with Alice's ids everywhere, nothing of hers comes or changes."""

import pytest

from tests.api.program import Program, document, operations
from tests.contracts.attack import Battlefield

pytestmark = pytest.mark.usefixtures("house")
SECRETS = ("Alice's secret plan", "a line about Alice")


@pytest.fixture
def field():
    return Battlefield()


def sample(schema, names):
    """Some value that fits a schema of the document, Alice's ids where a name asks for one."""
    if "$ref" in schema:
        return sample(document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]], names)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], names)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {
            name: names.get(name, sample(told, names))
            for name, told in schema.get("properties", {}).items()
            if name in schema.get("required", ()) or name in names
        }
    if kind == "array":
        return [sample(schema["items"], names)]
    if kind == "string":
        return {"date": "2020-01-01", "date-time": "2020-01-01T00:00:00Z"}.get(schema.get("format"), "NVDA")
    return {"integer": 1, "number": 1.0, "boolean": True}.get(kind, "x")


def of_alice(field):
    hers = field.hers
    return {"universe_id": hers["universes_universe"], "job_id": hers["core_job"], "token_id": hers["core_apitoken"],
            "list_id": hers["universes_symbollist"], "strategy_id": hers["signals_strategy"],
            "backtest_id": hers["signals_backtest"], "username": "rita",
            "number": 1, "symbol": "NVDA", "symbols": ["MSFT"], "dry_run": False}  # fmt: skip


def everything(program, names):
    """Each operation that can be asked, with its answer."""
    for name, (_, _, told) in operations().items():
        if name == "stream_job_events":
            continue
        body = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        places = {one["name"]: sample(one["schema"], names) for one in told.get("parameters", ())
                  if one.get("required")}  # fmt: skip
        given = places | (sample(body, names) if body else {})
        yield name, program(name, **{key: names.get(key, value) for key, value in given.items()})


OWNED = ("universe_id", "job_id", "token_id", "list_id", "strategy_id", "backtest_id")


def wants_hers(name):
    path = operations()[name][1]
    return any(one in path for one in OWNED) or name in ("refresh_universe", "backfill_universe")


@pytest.mark.parametrize("who", ["eve", "bob"])
def test_another_finds_and_changes_nothing_of_hers(field, who):
    for name, answer in everything(Program.of(getattr(field, who)), of_alice(field)):
        text = b"".join(answer) if answer.streaming else answer.content
        assert answer.status_code < 500, (name, text)
        assert not any(secret.encode() in text for secret in SECRETS), name
        if wants_hers(name):
            assert answer.status_code == 404, (name, answer.status_code, text)
    assert field.state_of(field.alice) == field.before


def test_a_reader_reads_and_changes_nothing(field):
    for name, answer in everything(Program.of(field.rita), of_alice(field)):
        assert answer.status_code < 500, name
        method, path, _ = operations()[name]
        if "{universe_id}" in path and method != "get" and name not in ("duplicate_universe", "unshare_universe"):
            assert answer.status_code in (403, 404), (name, answer.status_code)
    now = field.state_of(field.alice)
    shares = "universes_share"
    assert {table: rows for table, rows in now.items() if table != shares} == {
        table: rows for table, rows in field.before.items() if table != shares
    }
    assert now[shares] == []  # whoever reads may stop


def test_a_reading_token_changes_nothing(field):
    before = field.state_of(field.alice)
    for name, answer in everything(Program.of(field.alice, may_write=False), of_alice(field)):
        method, _, _ = operations()[name]
        if method != "get" and name != "validate_assets":
            assert answer.status_code == 403, (name, answer.status_code)
    now = field.state_of(field.alice)
    del now["core_apitoken"], before["core_apitoken"]  # the new token itself, and when it was used
    assert now == before


def test_she_does_reach_what_is_hers(field):
    hers = Program.of(field.alice)
    for name in ("get_universe", "list_universe_assets", "list_members", "get_turnover", "get_job", "list_job_lines",
                 "list_readers", "list_lists", "list_rows", "get_strategy", "get_backtest",
                 "list_backtest_trades", "get_backtest_equity"):  # fmt: skip
        names = of_alice(field)
        wanted = {
            one["name"]: names[one["name"]]
            for one in operations()[name][2].get("parameters", ())
            if one.get("required")
        }
        assert hers(name, **wanted).status_code == 200, name
