"""A program that asks the API with a token, as over HTTP; and what the document says of its operations."""

import re
from functools import cache
from typing import Any

import orjson
from django.test import AsyncClient, Client

from chronos.core import tenancy, tokens


class Program:
    """Calls operations by their ids, as `next_actions` name them: parameters by name, wherever they go."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.client = Client(enforce_csrf_checks=True, headers=self.headers)

    @classmethod
    def of(cls, person, **more: Any) -> "Program":
        with tenancy.acting_as(person):
            return cls(tokens.issue(person, "notebook", **{"may_write": True, **more})[1])

    def __call__(self, operation: str, /, headers: dict[str, str] | None = None, **parameters: Any):
        """The response; its JSON is `.json()`."""
        method, path, query, body = placed(operation, parameters)
        data = {} if body is None else {"data": orjson.dumps(body), "content_type": "application/json"}
        return getattr(self.client, method)(path, query_params=query, headers=headers, **data)

    def ask(self, operation: str, /, **parameters: Any) -> Any:
        """The data of an answer that must be a success."""
        answer = self(operation, **parameters)
        told = answer.json()
        assert answer.status_code < 300, (operation, answer.status_code, told)
        assert told["success"] is True
        return told["data"]

    def refused(self, operation: str, /, **parameters: Any) -> tuple[int, str]:
        """Status and code of an answer that must be a refusal in the one shape."""
        answer = self(operation, **parameters)
        told = answer.json()
        assert told["success"] is False, told
        assert set(told) == {"success", "data", "message", "next_actions", "metadata"}
        assert told["message"]
        return answer.status_code, told["data"]["code"]

    async def stream(self, path: str, headers: dict[str, str] | None = None):
        return await AsyncClient().get(path, headers={**self.headers, **(headers or {})})


@cache
def document() -> dict[str, Any]:
    from chronos.api import api

    return orjson.loads(orjson.dumps(api.get_openapi_schema(), option=orjson.OPT_NON_STR_KEYS))


@cache
def operations() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """By id: method, path, and what the document says of it."""
    return {
        told["operationId"]: (method, path, told)
        for path, methods in document()["paths"].items()
        for method, told in methods.items()
    }


def placed(operation: str, parameters: dict[str, Any]) -> tuple[str, str, dict[str, Any], dict[str, Any] | None]:
    """Method, path, query and body of a call."""
    method, path, told = operations()[operation]
    left = dict(parameters)
    places = {one["name"]: one["in"] for one in told.get("parameters", ())}
    path = re.sub(r"\{(\w+)\}", lambda found: str(left.pop(found[1])), path)
    query = {name: left.pop(name) for name in list(left) if places.get(name) == "query"}
    takes = "requestBody" in told
    assert takes or not left, f"{operation} takes no {left}"
    return method, path, query, left if takes else None
