"""A hostile client of the whole document: values that fit it and values that do not, in everybody's name."""

import re
import warnings
from typing import Any

import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)  # fmt: skip

from chronos.core import tenancy
from chronos.core.models import ApiToken
from tests.api.program import Program, document
from tests.contracts.attack import Battlefield

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
          response_schema_conformance]  # fmt: skip
SECRETS = (b"Alice's secret plan", b"a line about Alice")
ENDLESS = {"stream_job_events"}


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(document())
    schema.app = get_wsgi_application()
    found = [result.ok() for result in schema.get_all_operations()]
    return [one for one in found if one.definition.raw["operationId"] not in ENDLESS]


def headers_of(who: str, field: Battlefield) -> dict[str, str]:
    """Fresh for each operation: a token that was revoked on the way would hide all that follows."""
    if who == "anonymous":
        return {}
    with tenancy.as_system("one at a time: nobody may have hundreds"):
        ApiToken.objects.filter(name="notebook").delete()
    person = {"owner": field.alice, "stranger": field.eve, "reads only": field.alice}[who]
    return Program.of(person, may_write=who != "reads only").headers


def attack(operation: Any, who: str, field: Battlefield, examples: int) -> None:
    """Ask one operation so many times, half of it with what does not fit; raises at the first answer that is wrong."""
    name = operation.definition.raw["operationId"]
    headers = headers_of(who, field) | {"Host": "localhost"}
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        _asked(operation, mode, headers, who, max(1, examples // 2), name)


def _asked(operation: Any, mode: GenerationMode, headers: dict[str, str], who: str, examples: int, name: str) -> None:
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except Exception as error:
        if mode == GenerationMode.NEGATIVE and "negat" in str(error).lower():
            return
        raise

    @given(case=strategy)
    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )  # fmt: skip
    def ask(case: Any) -> None:
        case.headers = {key: value for key, value in (case.headers or {}).items() if key.lower() != "authorization"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # streams, which a WSGI server reads at one go
            answer = case.call(headers=headers)
            case.validate_response(answer, checks=CHECKS)
        if who in ("stranger", "anonymous"):
            assert not any(secret in answer.content for secret in SECRETS), name
        if who == "anonymous":
            assert answer.status_code in (400, 401, 404, 405), (name, answer.status_code)
        if who == "reads only" and case.method.upper() not in ("GET", "HEAD") and not re.search("validate", case.path):
            assert answer.status_code in (400, 401, 403, 404, 405), (name, answer.status_code)

    ask()
