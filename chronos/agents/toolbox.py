"""The tools: those operations that are at hand, and four of our own, by which all others are found and called."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ninja import Schema
from pydantic import Field, TypeAdapter, ValidationError

from chronos.agents import answering
from chronos.agents.answering import Envelope, said
from chronos.agents.asking import Line, request, shown
from chronos.agents.operations import Operation, whole
from chronos.core.envelope import Answer, Problem, Refusal, Refused

# The operations that have a tool of their own, in the order in which agents see them. With our own four they are at
# most 25: more would cost every conversation more than they are worth.
AT_HAND = (
    "get_me", "list_universes", "get_universe", "create_universe", "list_universe_assets", "add_assets", "list_members",
    "compare_members", "search_assets", "validate_assets", "get_asset", "get_candles", "backfill_universe",
    "refresh_universe", "list_strategy_kinds", "run_backtest", "get_backtest", "list_backtests", "list_jobs", "get_job",
    "cancel_job",
)  # fmt: skip
WAIT_SECONDS = 50
POLL_SECONDS = (0.3, 0.5, 1.0, 2.0)  # the last again and again

FILLERS = {"a", "all", "an", "and", "are", "can", "do", "for", "from", "how", "i", "in", "is", "it", "me", "my", "of",
           "on", "one", "or", "that", "the", "them", "to", "what", "which", "with"}  # fmt: skip

Progress = Callable[[float, float | None, str], Awaitable[None]]


class SearchIn(Schema):
    query: str = Field("", max_length=200, description="Words such as `share`, `past members`; empty: all.")


class Found(Schema):
    operation: str = Field(description="Its id, for describe_operation and call_operation.")
    summary: str
    changes: bool = Field(description="Whether it can change anything.")
    parameters: list[str]


class DescribeIn(Schema):
    operation: str = Field(max_length=100, examples=["share_universe"])
    with_answer: bool = Field(False, description="True: also the schema of what it answers.")


class Described(Schema):
    operation: str
    method: str
    path: str = Field(description="Over REST.")
    description: str
    hints: dict[str, bool]
    takes: dict[str, Any] = Field(description="JSON Schema of its parameters.")
    answers: dict[str, Any] | None = Field(description="JSON Schema of its answer, if asked for.")


class CallIn(Schema):
    operation: str = Field(max_length=100, examples=["list_readers"])
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="By name, as describe_operation says.", examples=[{"universe_id": 12}]
    )
    idempotency_key: str = Field(
        "", max_length=200,
        description="For what creates: a text of your own. With the same again it is done once, and answered alike.",
    )  # fmt: skip


class WaitIn(Schema):
    job_id: int = Field(ge=1, le=2**63 - 1)
    seconds: float = Field(30, ge=0, le=WAIT_SECONDS, description="How long to wait at most; then ask again.")


def _output(kind: Any) -> dict[str, Any]:
    schema = TypeAdapter(kind | Refusal).json_schema()
    return whole({"type": "object", "anyOf": schema["anyOf"]}, schema["$defs"])


class Tool:
    """One of our own."""

    def __init__(self, name: str, title: str, says: str, takes: type[Schema], answers: dict[str, Any], **hints: bool):
        self.name, self.title, self.says, self.model, self.answers = name, title, says, takes, answers
        self.takes = whole(takes.model_json_schema() | {"additionalProperties": False}, {})
        self.takes.pop("description", None)
        self.hints = {"read_only": True, "destructive": False, "idempotent": True, "open_world": False} | hints


class Toolbox:
    """What can be called, made from the document of the API."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self.operations = operations
        self.at_hand = {name: operations[name] for name in AT_HAND if name in operations}
        job = operations["get_job"].answers
        many = len(operations) - len(self.at_hand)
        self.own = {
            tool.name: tool
            for tool in (
                Tool(
                    "wait_for_job", "Wait for a job",
                    "Wait until a job has ended, at most so many seconds, and answer it as get_job does. Tells its"
                    " progress meanwhile. If it is still unfinished, call it again.", WaitIn, job,
                ),
                Tool(
                    "search_operations", "Search operations",
                    f"Look for what else Chronos can do: {many} more operations, such as strategies, trades, exports,"
                    " sharing, notes and tags, order, past members, logs, tokens.",
                    SearchIn, _output(Answer[list[Found]]),
                ),
                Tool(
                    "describe_operation", "Describe an operation",
                    "What an operation does and which parameters it takes, as JSON Schema. Ask before call_operation.",
                    DescribeIn, _output(Answer[Described]),
                ),
                Tool(
                    "call_operation", "Call an operation",
                    "Do any operation that search_operations finds, by its id.", CallIn, _output(Answer[Any]),
                    read_only=False, destructive=True, idempotent=False,
                ),
            )
        }  # fmt: skip

    def takes(self, name: str) -> dict[str, Any] | None:
        tool = self.own.get(name) or self.operations.get(name)
        return tool.takes if tool else None

    async def call(self, name: str, given: Mapping[str, Any], line: Line, progress: Progress) -> Envelope:
        """What a tool answers; an operation that is not at hand can be called by its id all the same."""
        try:
            tool = self.own.get(name)
            if tool is None:
                return await self._ask(self.operations[name], given, line)
            wanted = _read(tool, given)
            if isinstance(wanted, SearchIn):
                return self._search(wanted.query)
            if isinstance(wanted, DescribeIn):
                return self._describe(wanted)
            if isinstance(wanted, WaitIn):
                return await self._wait(wanted, line, progress)
            assert isinstance(wanted, CallIn)
            key = {"Idempotency-Key": wanted.idempotency_key} if wanted.idempotency_key else {}
            return await self._ask(self._operation(wanted.operation), wanted.parameters, line, key)
        except Refused as refused:
            return answering.refusal(refused)

    async def _ask(
        self, operation: Operation, given: Mapping[str, Any], line: Line, headers: Mapping[str, str] | None = None
    ) -> Envelope:
        asked = request(operation, given, headers)
        return answering.envelope(operation, await line(asked))

    def _operation(self, name: str) -> Operation:
        if found := self.operations.get(name):
            return found
        raise Refused(
            "not_found", f"There is no operation “{shown(name)}”.", "Look for it with search_operations.", status=404,
            field="operation",
        )  # fmt: skip

    # --- Finding --------------------------------------------------------------------------------------------------

    def _search(self, query: str) -> Envelope:
        words = _words(query)
        ranked = [(_score(one, words), one) for one in self.operations.values()]
        found = [one for score, one in sorted(ranked, key=lambda pair: -pair[0]) if score or not words]
        data = [
            {"operation": one.name, "summary": one.summary, "changes": not one.reads, "parameters": list(one.places)}
            for one in (found[:15] if words else found)
        ]
        if not data:
            return said([], f"Nothing is found for “{shown(query)}”; an empty query lists all.", total=0)
        actions = [
            {"operation": "describe_operation", "why": "See what the first takes.",
             "parameters": {"operation": data[0]["operation"]}}
        ]  # fmt: skip
        return said(data, f"{len(data)} of {len(self.operations)} operations.", actions, total=len(found))

    def _describe(self, wanted: DescribeIn) -> Envelope:
        one = self._operation(wanted.operation)
        data = {
            "operation": one.name, "method": one.method, "path": one.path, "description": one.description,
            "hints": dict(one.hints), "takes": one.takes, "answers": one.answers if wanted.with_answer else None,
        }  # fmt: skip
        return said(data, f"{one.name}: {one.summary}")

    # --- Waiting --------------------------------------------------------------------------------------------------

    async def _wait(self, wanted: WaitIn, line: Line, progress: Progress) -> Envelope:
        """Look again and again, rarer and rarer, and as rarely as the API's limits say."""
        operation, end, polls, reached = self.operations["get_job"], time.monotonic() + wanted.seconds, 0, -1.0
        while True:
            told = await line(request(operation, {"job_id": wanted.job_id}))
            found = answering.envelope(operation, told)
            pause = POLL_SECONDS[min(polls, len(POLL_SECONDS) - 1)]
            if not found["success"]:
                if told.status != 429:
                    return found
                pause = float(told.headers.get("retry-after") or 2)
            elif (job := found["data"])["is_finished"]:
                return found
            elif job["progress_done"] > reached:
                reached = job["progress_done"]
                note = job["progress_note"] or found["message"]
                await progress(reached, job["progress_total"] or None, note)
            left = end - time.monotonic()
            if left <= 0:
                if found["success"]:
                    again = {"operation": "wait_for_job", "why": "Wait on.", "parameters": {"job_id": wanted.job_id}}
                    found["next_actions"] = [again, *found["next_actions"]]
                return found
            await asyncio.sleep(min(pause, left))
            polls += 1


def _read(tool: Tool, given: Mapping[str, Any]) -> Schema:
    if unknown := set(given) - set(tool.model.model_fields):
        raise Refused("invalid", f"{tool.name} has no parameter “{shown(min(unknown))}”.",
                      f"It takes: {', '.join(tool.model.model_fields)}.", field=shown(min(unknown))[:100])  # fmt: skip
    try:
        return tool.model.model_validate(dict(given))
    except ValidationError as error:
        problems = [
            Problem(field=".".join(str(part) for part in one["loc"]), message=one["msg"]) for one in error.errors()
        ]
        first = problems[0]
        raise Refused("invalid", f"{first.field}: {first.message}.", "Mend the fields that `problems` names.",
                      field=first.field, problems=problems) from None  # fmt: skip


def _score(one: Operation, words: Iterable[str]) -> int:
    """Words of its name count most, then its tags and parameters, then its description."""
    name, near, description = (_words(text) for text in (one.name, " ".join((*one.tags, *one.places)), one.description))
    return sum(
        5 * _begins(name, word) + 2 * _begins(near, word) + _begins(description, word)
        for word in (word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", text.lower().replace("_", " "))) - FILLERS


def _begins(words: Iterable[str], with_: str) -> bool:
    return any(word.startswith(with_) for word in words)
