"""The API, mounted: the routers of all floors, what their errors are to programs, and its document."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.urls import URLPattern
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.security import HttpBearer
from ninja.security.apikey import APIKeyCookie

from chronos.core import api as core
from chronos.core import gate, jobs
from chronos.core.envelope import Plainly, Problem, Refused
from marketdata import api as marketdata
from signals import api as signals
from universes import api as universes

log = logging.getLogger(__name__)
VERSION = "1.0.0"

DESCRIPTION = """Whatever a person can do on the pages of Chronos, a program can do here, with the same rights.

Send an API token, made in the settings: `Authorization: Bearer chr_…`. Every answer is
`{success, data, message, next_actions, metadata}`; `next_actions` name operations of this document with the parameters
that are known. A refusal has the same shape, with a stable `data.code`, the field and the remedy, and has changed
nothing. Lists come in pages: hand `metadata.next_cursor` back as `cursor`. Times are UTC, RFC 3339; a candle is named
by its open. A POST that is sent with an `Idempotency-Key` is done once, and answered the same again for a day. Edits
name the `version` they were made on; a later one wins nothing silently, it is refused. `429` comes with `Retry-After`.
"""


TAGS = [
    {"name": "account", "description": "Who you are here, your tokens, and whether everything is there."},
    {"name": "universes", "description": "Named sets of assets, with a past."},
    {"name": "members", "description": "Who is in a universe now: added, removed, ordered, annotated."},
    {"name": "lists", "description": "Long lists with typing errors: looked at, mended, added, taken back."},
    {"name": "history", "description": "Who was in it when, and how much it turned over."},
    {"name": "sharing", "description": "Who else reads a universe."},
    {"name": "assets", "description": "What can be traded: found, looked at, validated, kept."},
    {"name": "candles", "description": "Market data, and what is missing or doubtful of it."},
    {"name": "upkeep", "description": "How an asset's candles are kept: coverage, gaps, what was asked, what is held."},
    {"name": "data", "description": "The state of all data, and whom Chronos asks."},
    {"name": "strategies", "description": "Rules with the parameters you chose, and the kinds that there are."},
    {"name": "backtests", "description": "Strategies run on stored candles: figures, equity and trades."},
    {"name": "jobs", "description": "Long work: started, watched, stopped, done again."},
]


class _Api(NinjaAPI):
    def get_openapi_operation_id(self, operation: Operation) -> str:
        """A function's name is the operation's, and over MCP the tool's."""
        return operation.operation_id or operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """The document; what an operation is called in it is its id in words."""
        found = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        for methods in found["paths"].values():
            for told in methods.values():
                told["summary"] = told["operationId"].replace("_", " ").capitalize()
        return found


class Bearer(HttpBearer):
    """For the document: the gate has asked already."""

    openapi_description = "An API token, made in the settings."

    def __call__(self, request: HttpRequest) -> Any:
        return request.user if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        return request.user


class Session(APIKeyCookie):
    param_name = "chronos_session"
    openapi_description = "A browser's session; what changes anything needs the header X-CSRFToken as well."

    def __call__(self, request: HttpRequest) -> Any:
        return request.user if request.user.is_authenticated else None

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        return request.user


class _Strict(Parser):
    """JSON as it is specified: no NaN, no bottomless nesting, and no NUL, which PostgreSQL can't store."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            body = request.body
        except RequestDataTooBig:
            raise gate.too_big() from None
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Refused("malformed_json", f"The body is no JSON: {error}.", "Send a JSON object.", status=400,
                          field="body") from None  # fmt: skip
        if b"\\u0000" in body and _has_nul(found):
            raise Refused("invalid", "It contains a NUL character, which no text here can have.", "Take it out.",
                          field="body")  # fmt: skip
        return found


def _has_nul(found: Any) -> bool:
    if isinstance(found, str):
        return "\0" in found
    if isinstance(found, dict):
        return any(_has_nul(part) for pair in found.items() for part in pair)
    return isinstance(found, list) and any(_has_nul(part) for part in found)


api = _Api(
    title="Chronos",
    version=VERSION,
    description=DESCRIPTION,
    urls_namespace="api",
    auth=[Bearer(), Session(csrf=False)],
    renderer=Plainly(),
    parser=_Strict(),
    docs_url=None,
    openapi_extra={"tags": TAGS},
    openapi_url="/openapi.json",
)
api.add_router("", core.router)
api.add_router("", marketdata.router)
api.add_router("", universes.router)
api.add_router("", signals.router)


# --- What others raise -------------------------------------------------------------------------------------------


def _answer(request: HttpRequest, error: Exception, make: Callable[[Any], Refused]) -> HttpResponse:
    return make(error).answer()


def _fixed(status: int, code: str, remedy: str) -> Callable[[Exception], Refused]:
    return lambda error: Refused(code, str(error), remedy, status=status)


def _invalid(error: ValidationError) -> Refused:
    problems = [
        Problem(field=_place(one["loc"]), message=one["msg"].removeprefix("Value error, ")) for one in error.errors
    ]
    first = problems[0]
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return Refused(
        "invalid", f"{first.field}: {first.message}{more}.", "Mend the fields that `problems` names.",
        field=first.field, problems=problems[:50],
    )  # fmt: skip


def _place(where: Any) -> str:
    """`query.limit`, not `query.wanted.limit`: the name of the function's parameter is nobody's business."""
    source, *rest = [str(part) for part in where]
    kept = rest[1:] if len(rest) > 1 and source in ("body", "query", "form", "header") else rest
    return ".".join((source, *kept))[:200]


def _http(error: HttpError) -> Refused:
    """Ninja's own words for a body that can't be read stand in front of ours."""
    if isinstance(error.__cause__, Refused):
        return error.__cause__
    return Refused("invalid_request", error.message, "Look into the document.", status=error.status_code)


def _fault(error: Exception) -> Refused:
    log.error("an operation of the API failed", exc_info=error)
    remedy = "Try again; if it stays, tell staff the request's id, which is in metadata."
    return Refused("internal", "Something went wrong here; nothing was changed.", remedy, status=500)


HANDLERS: dict[type[Exception], Callable[[Any], Refused]] = {
    Refused: lambda error: error,
    ValidationError: _invalid,
    HttpError: _http,
    Http404: _fixed(404, "not_found", "Look for it in the list."),
    PermissionDenied: _fixed(403, "forbidden", "Only its owner may do this."),
    BadRequest: _fixed(400, "invalid_request", "Mend the request."),
    RequestDataTooBig: lambda error: gate.too_big(),
    RawPostDataException: lambda error: gate.no_form(),
    jobs.BudgetSpent: core.budget_spent,
    **{kind: _fixed(*how) for floor in (core, marketdata, universes) for kind, how in floor.REFUSED.items()},
    **signals.HANDLERS,
    Exception: _fault,
}  # fmt: skip
for kind, make in HANDLERS.items():
    api.add_exception_handler(kind, partial(_answer, make=make))


# --- Its addresses -----------------------------------------------------------------------------------------------


def _guarded(pattern: URLPattern) -> URLPattern:
    pattern.callback = gate.guarded(_nothing_here if pattern.name == "api-root" else pattern.callback)
    pattern.callback.reading_methods = _reading.get(pattern.name or "", ())  # type: ignore[attr-defined]
    return pattern


def _reading_methods() -> dict[str, tuple[str, ...]]:
    """By each operation's name, the methods at its address whose operations are marked `only_reads`."""
    found: dict[str, tuple[str, ...]] = {}
    for router in api._get_bound_routers():
        for view in router.path_operations.values():
            only = [one for one in view.operations if getattr(one.view_func, "only_reads", False)]
            methods = tuple(method for one in only for method in one.methods)
            found |= {one.view_func.__name__: methods for one in view.operations}
    return found


def _nothing_here(request: HttpRequest) -> HttpResponse:
    raise gate.nothing_here()


_patterns, _app, _namespace = api.urls
_reading = _reading_methods()
urls = ([_guarded(pattern) for pattern in _patterns if isinstance(pattern, URLPattern)], _app, _namespace)
