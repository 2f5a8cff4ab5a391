"""The document: what it promises, and that it does not change in silence."""

import hashlib

import orjson
import pytest
from django.conf import settings

from tests.api.program import document, operations

pytestmark = pytest.mark.usefixtures("house")
COMMITTED = settings.BASE_DIR / "docs" / "openapi.json"


def test_the_committed_one_is_the_one():
    """`manage.py export_openapi` writes it anew."""
    assert orjson.loads(COMMITTED.read_bytes()) == document()


def test_a_change_has_its_line_in_the_changelog():
    """Whoever changes the contract says so: the changelog names the document by its checksum."""
    checksum = hashlib.sha256(COMMITTED.read_bytes()).hexdigest()[:12]
    assert f"openapi {checksum}" in (settings.BASE_DIR / "CHANGELOG.md").read_text()


def test_every_operation_is_described():
    for name, (_, path, told) in operations().items():
        assert told["description"].strip(), name
        assert told["tags"], name
        assert told["security"], name
        for parameter in told.get("parameters", ()):
            assert parameter["in"] in ("path", "query", "header"), name
        if not path.endswith(("/export", "/events")):
            success = next(told["responses"][status] for status in told["responses"] if int(status) < 300)
            assert "json" in str(success["content"]), name


def test_names_of_path_query_and_body_never_meet():
    """Over MCP, and in `next_actions`, they stand side by side."""
    for name, (_, _, told) in operations().items():
        names = [one["name"] for one in told.get("parameters", ())]
        body = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        fields = document()["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"] if body else ()
        assert not set(names) & set(fields), name
        assert len(names) == len(set(names)), name
