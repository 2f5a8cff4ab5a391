"""The operations of the API's document, as a tool wants them: one flat set of parameters, and the answers' schema."""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
ROWS = 20  # of a list, unless the caller says otherwise: a context window is dearer than a request
FILE = {
    "type": "object",
    "description": "A file, or what came of a stream.",
    "properties": {
        "media_type": {"type": "string"},
        "name": {"type": "string", "description": "A name for the file; empty if it has none."},
        "bytes": {"type": "integer"},
        "text": {"type": ["string", "null"], "description": "Its text, if it is text."},
        "base64": {"type": ["string", "null"], "description": "Its bytes, if it is none."},
    },
    "required": ["media_type", "name", "bytes", "text", "base64"],
}


@dataclass(frozen=True)
class Operation:
    """One operation of the API."""

    name: str
    method: str
    path: str
    title: str
    description: str
    tags: tuple[str, ...]
    places: Mapping[str, str]  # where each parameter goes: path, query, header or body
    takes: dict[str, Any]
    answers: dict[str, Any]
    has_body: bool
    is_stream: bool
    defaults: Mapping[str, Any]  # what is sent where the caller says nothing
    hints: Mapping[str, bool]

    @cached_property
    def summary(self) -> str:
        return re.split(r"(?<=[.!?])\s", self.description, maxsplit=1)[0]

    @property
    def reads(self) -> bool:
        return self.hints["read_only"]


def operations(document: Mapping[str, Any]) -> dict[str, Operation]:
    """All operations of an OpenAPI document, by their ids."""
    schemas = document.get("components", {}).get("schemas", {})
    found = [
        _operation(method, path, told, schemas)
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if method in METHODS
    ]
    return {one.name: one for one in found}


def _operation(method: str, path: str, told: Mapping[str, Any], schemas: Mapping[str, Any]) -> Operation:
    places = {one["name"]: one["in"] for one in told.get("parameters", ())}
    properties = {one["name"]: copy.deepcopy(one["schema"]) for one in told.get("parameters", ())}
    required = [one["name"] for one in told.get("parameters", ()) if one.get("required")]
    body = _body(told, schemas)
    if clash := set(properties) & set(body.get("properties", ())):
        raise ValueError(f"{told['operationId']} has {clash} in its body and outside of it")
    places |= dict.fromkeys(body.get("properties", ()), "body")
    properties |= body.get("properties", {})
    required += body.get("required", [])
    defaults = {}
    if (limit := properties.get("limit")) and places["limit"] == "query" and limit.get("default", 0) > ROWS:
        defaults["limit"] = ROWS
        words = f"{limit.get('description', 'At most so many.')} Here {ROWS} unless you say otherwise."
        properties["limit"] = {**limit, "default": ROWS, "description": words}
    takes = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        takes["required"] = required
    contents = _contents(told)
    return Operation(
        name=told["operationId"],
        method=method.upper(),
        path=path,
        title=str(told.get("summary") or told["operationId"].replace("_", " ")).capitalize(),
        description=str(told.get("description") or told.get("summary") or "").strip(),
        tags=tuple(told.get("tags", ())),
        places=places,
        takes=whole(takes, schemas),
        answers=whole(_answers(contents, schemas), schemas),
        has_body="requestBody" in told,
        is_stream="text/event-stream" in contents,
        defaults=defaults,
        hints=_hints(method, told.get("x-agent", {})),
    )


def _body(told: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    content = told.get("requestBody", {}).get("content", {})
    if not content:
        return {}
    schema = next(iter(content.values()))["schema"]
    while "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if schema.get("type") != "object":
        return {"properties": {"body": copy.deepcopy(schema)}, "required": ["body"]}
    return copy.deepcopy(dict(schema))


def _contents(told: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas of what it answers when all is well, by media type."""
    return {
        kind: content["schema"]
        for status, response in told["responses"].items()
        if str(status).startswith("2")
        for kind, content in (response.get("content") or {}).items()
    }


def _answers(contents: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Its envelope, a file's in one of our own, or a refusal. Older clients want an object at the root."""
    kinds = [dict(schema) for schema in contents.values() if _is_envelope(schema, schemas)]
    if len(kinds) < len(contents):
        kinds.append(_filed())
    kinds.append({"$ref": "#/components/schemas/Refusal"})
    return {"type": "object", "anyOf": kinds}


def _is_envelope(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> bool:
    found = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return "success" in found.get("properties", ())


def _filed() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "success": {"const": True},
            "data": FILE,
            "message": {"type": "string"},
            "next_actions": {"type": "array", "items": {"$ref": "#/components/schemas/NextAction"}},
            "metadata": {"$ref": "#/components/schemas/Metadata"},
        },
        "required": ["success", "data", "message", "next_actions", "metadata"],
    }


def _hints(method: str, more: Mapping[str, Any]) -> dict[str, bool]:
    reads = bool(more.get("only_reads", method == "get"))
    return {
        "read_only": reads,
        "destructive": bool(more.get("destructive", method == "delete")) and not reads,
        "idempotent": bool(more.get("idempotent", reads or method in ("put", "delete"))),
        "open_world": bool(more.get("open_world", False)),
    }


def whole(schema: dict[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with all that it refers to beside it, and without the titles, which only repeat the names."""
    wanted, carried = list(_references(schema)), {}
    while wanted:
        name = wanted.pop()
        if name not in carried:
            carried[name] = schemas[name]
            wanted += _references(schemas[name])
    found: dict[str, Any] = _lean(schema)
    return found | {"$defs": {name: _lean(carried[name]) for name in sorted(carried)}} if carried else found


def _references(schema: Any) -> Iterable[str]:
    if isinstance(schema, dict):
        if isinstance(found := schema.get("$ref"), str):
            yield found.rpartition("/")[2]
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _lean(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_lean(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, part in schema.items():
        if key == "properties":
            found[key] = {name: _lean(inner) for name, inner in part.items()}
        elif key == "$ref":
            found[key] = f"#/$defs/{part.rpartition('/')[2]}"
        elif key in ("default", "example", "examples", "enum", "const"):
            found[key] = part
        elif key != "title":
            found[key] = _lean(part)
    return found
