"""The one shape of every answer of the API: what was asked for, a sentence about it, and what can be done next.

An operation returns `said(…)`; whatever can't be done raises `Refused`, and the answer has the same shape with
`success` false, a stable `code`, the field at fault and the remedy. The HTTP status says the same to programs that
look no further.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar

import orjson
from django.http import HttpRequest, HttpResponse
from ninja import Schema, Status
from ninja.renderers import BaseRenderer
from pydantic import Field

from chronos.core import logs

T = TypeVar("T")


class NextAction(Schema):
    """What can be done next: an operation of this API, with the parameters that are known already."""

    operation: str = Field(description="Its operation id, which over MCP is the tool's name.", examples=["get_job"])
    why: str = Field(description="What it would be good for, in a sentence.")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Values for its path, query and body, by name, as far as they are known.",
        examples=[{"job_id": 41}],
    )


class Metadata(Schema):
    request_id: str = Field(description="Names this request in the server's log.", examples=["9f86d081884c7d65"])
    next_cursor: str = Field(
        default="", description="Of a list: hand it back as `cursor` for the next page. Empty on the last one."
    )
    total: int | None = Field(default=None, description="Of a list: how many there are on all pages, where counted.")


class _Named(Schema):
    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """`Answer[Universe]` is called AnswerOfUniverse in the document, which is a name in any language."""
        words = str(getattr(params[0], "__name__", params[0])) if not _inner(params[0]) else f"{_inner(params[0])}List"
        return f"{cls.__name__.partition('[')[0]}Of{words}"


def _inner(kind: Any) -> str:
    inside = getattr(kind, "__args__", None)
    return str(inside[0].__name__) if inside else ""


class Answer(_Named, Generic[T]):
    """What every operation answers."""

    success: Literal[True] = Field(default=True, description="Always true here; a refusal has false.")
    data: T
    message: str = Field(description="What happened, in a sentence for people.")
    next_actions: list[NextAction] = Field(default_factory=list, description="What can be done next.")
    metadata: Metadata


class Problem(Schema):
    field: str = Field(description="Where: `query.limit`, `body.name`. Empty if it is no single field.")
    message: str = Field(description="What is wrong with it.")


class Fault(Schema):
    code: str = Field(description="Stable, for programs.", examples=["invalid", "not_found", "outdated", "throttled"])
    field: str = Field(default="", description="The first field at fault, if it is one.", examples=["body.name"])
    remedy: str = Field(description="What to do about it.")
    problems: list[Problem] = Field(default_factory=list, description="Each field at fault, where there are several.")


class Refusal(Schema):
    """What every operation answers when it does not do what was asked. Nothing was changed then."""

    success: Literal[False] = Field(default=False, description="Always false here.")
    data: Fault
    message: str = Field(description="What went wrong, in a sentence for people.")
    next_actions: list[NextAction] = Field(default_factory=list, description="What can be done next.")
    metadata: Metadata


class Refused(Exception):
    """An operation will not do what was asked."""

    def __init__(
        self,
        code: str,
        message: str,
        remedy: str = "",
        *,
        status: int = 422,
        field: str = "",
        problems: Iterable[Problem] = (),
        next_actions: Iterable[NextAction] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy, self.status, self.field = code, message, remedy, status, field
        self.problems, self.next_actions, self.headers = list(problems), list(next_actions), dict(headers or {})

    def answer(self) -> HttpResponse:
        fault = Fault(code=self.code, field=self.field, remedy=self.remedy, problems=self.problems)
        body = Refusal(
            data=fault, message=self.message, next_actions=self.next_actions, metadata=Metadata(request_id=request_id())
        )
        response = HttpResponse(orjson.dumps(body.model_dump()), content_type="application/json", status=self.status)
        response.headers["Cache-Control"] = "private, no-store"
        for header, value in self.headers.items():
            response.headers[header] = value
        return response


def missing(what: str, remedy: str = "", *, next_actions: Iterable[NextAction] = ()) -> Refused:
    """There is no such thing, or it is somebody else's: the two are not told apart."""
    return Refused("not_found", what, remedy or "Look for it in the list.", status=404, next_actions=next_actions)


REFUSALS = frozenset({400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 503})


def answers(data: Any, status: int = 200) -> dict[Any, Any]:
    """The responses of an operation that answers `data`: what ninja's `response=` takes."""
    return {status: Answer[data], REFUSALS - {status}: Refusal}


def said(
    data: Any,
    message: str,
    next_actions: Iterable[NextAction] = (),
    *,
    status: int = 200,
    next_cursor: str = "",
    total: int | None = None,
) -> Any:
    """An operation's answer."""
    body = {
        "data": data,
        "message": message,
        "next_actions": list(next_actions),
        "metadata": {"request_id": request_id(), "next_cursor": next_cursor, "total": total},
    }
    return body if status == 200 else Status(status, body)


def then(operation: str, why: str, **parameters: Any) -> NextAction:
    return NextAction(operation=operation, why=why, parameters=parameters)


def request_id() -> str:
    return str(logs.context.get().get("request_id", ""))


class Plainly(BaseRenderer):
    """JSON by orjson: several times as quick as the standard library's."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z)
