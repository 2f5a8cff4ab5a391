"""An answer of the API as an agent gets it: the envelope whole as structure, and as text what matters of it first."""

import base64
from collections.abc import Container, Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from chronos.agents.asking import MOST_BYTES, Told
from chronos.agents.operations import Operation
from chronos.core.envelope import Refused

TEXT = 12_000  # characters of data in the text; about 4,000 tokens

Envelope = dict[str, Any]


def envelope(operation: Operation, told: Told) -> Envelope:
    """What was answered, in the one shape. Raises `Refused` where it is too much, or no answer of Chronos's."""
    kind = told.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "application/json" and not told.is_cut:
        found = _json(told.body)
        if isinstance(found, dict) and {"success", "data", "message", "next_actions", "metadata"} <= found.keys():
            return found
    if told.status >= 300:
        raise Refused("internal", f"The API answered with status {told.status} and no envelope.",
                      "Try again; if it stays, tell staff.", status=told.status)  # fmt: skip
    if told.is_cut and not operation.is_stream:
        raise Refused(
            "too_large", f"The answer is larger than {MOST_BYTES:,} bytes.",
            f"Ask for less (limit, start, end), or fetch it over HTTP with the same token: {operation.method}"
            f" {operation.path}.", status=413,
        )  # fmt: skip
    return _file(told, kind)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _file(told: Told, kind: str) -> Envelope:
    text = _text(told.body)
    data = {
        "media_type": kind,
        "name": _name(told.headers.get("content-disposition", "")),
        "bytes": len(told.body),
        "text": text,
        "base64": base64.b64encode(told.body).decode() if text is None else None,
    }
    words = f"{data['name'] or 'Here it is'}: {len(told.body):,} bytes of {kind}."
    return said(data, words, request_id=told.headers.get("x-request-id", ""))


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _name(disposition: str) -> str:
    """As `attachment; filename="a.csv"` has it, or RFC 5987's `filename*=`."""
    for part in disposition.split(";")[1:]:
        key, _, value = part.strip().partition("=")
        if key.lower() == "filename*":
            return unquote(value.rpartition("'")[2])
        if key.lower() == "filename":
            return value.strip('"')
    return ""


def said(
    data: Any, message: str, next_actions: list[dict[str, Any]] | None = None, *, request_id: str = "",
    total: int | None = None,
) -> Envelope:  # fmt: skip
    """An answer that is made here."""
    return {
        "success": True, "data": data, "message": message, "next_actions": next_actions or [],
        "metadata": {"request_id": request_id, "next_cursor": "", "total": total},
    }  # fmt: skip


def refusal(refused: Refused) -> Envelope:
    found: Envelope = orjson.loads(refused.answer().content)
    return found


# --- As text -----------------------------------------------------------------------------------------------------


def text(found: Envelope, at_hand: Container[str]) -> str:
    """The sentence, then the data as far as there is room, then what can be done next."""
    lines = [found["message"]]
    if found["success"]:
        lines += _rows(found["data"])
        if cursor := found["metadata"].get("next_cursor"):
            lines.append(f"There is more: the same again with cursor={cursor}")
    else:
        lines += _fault(found["data"])
    if found["next_actions"]:
        lines += ["Next:", *(_action(one, at_hand) for one in found["next_actions"])]
    return "\n".join(lines)


def _rows(data: Any) -> list[str]:
    """A list has a line for each row, so that what is cut off is cut between rows."""
    if data is None:
        return []
    if isinstance(data, dict) and isinstance(data.get("text"), str) and "media_type" in data:
        return _cut(data["text"].splitlines(), "lines; all of them are in structuredContent.data.text")
    if isinstance(data, list):
        return _cut(
            [compact(one) for one in data], "rows; all of them are in structuredContent, or take a smaller limit"
        )
    whole = compact(data)
    if len(whole) <= TEXT:
        return [whole]
    return [whole[:TEXT], f"(cut after {TEXT:,} of {len(whole):,} characters; all of it is in structuredContent)"]


def _cut(rows: list[str], where: str) -> list[str]:
    room, kept = TEXT, 0
    for row in rows:
        room -= len(row) + 1
        if room < 0:
            break
        kept += 1
    if kept == len(rows):
        return rows
    if kept == 0:
        return [rows[0][:TEXT], f"(cut: the first of {len(rows):,} {where})"]
    return [*rows[:kept], f"(cut: {kept:,} of {len(rows):,} {where})"]


def compact(data: Any) -> str:
    return orjson.dumps(data, default=str).decode()


def _fault(fault: Mapping[str, Any]) -> list[str]:
    where = f", field: {fault['field']}" if fault["field"] else ""
    problems = [f"- {one['field']}: {one['message']}" for one in fault["problems"]]
    return [f"Refused (code: {fault['code']}{where}).", *problems, f"Remedy: {fault['remedy']}"]


def _action(action: Mapping[str, Any], at_hand: Container[str]) -> str:
    """As the call of a tool that is listed."""
    name, given = action["operation"], action["parameters"]
    if name not in at_hand:
        name, given = "call_operation", {"operation": name, "parameters": given}
    return f"- {name} {compact(given)}: {action['why']}"
