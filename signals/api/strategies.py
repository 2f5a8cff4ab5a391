"""Strategies: which kinds there are, and a person's own, made, changed, copied, put away, deleted and taken back."""

from typing import Annotated, Any, Literal

from ninja import Path, Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures
from chronos.core.envelope import NextAction, Refused, answers, missing, said, then
from chronos.core.hypermedia import Signed
from chronos.core.paging import Paged, page_of
from signals import catalogue, wording
from signals.loading import strategy_of
from signals.models import Backtest, Strategy
from signals.strategies import registry
from signals.strategies.declaring import Kind, Parameter

router = Router()
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Value = bool | int | float | Annotated[str, Field(max_length=200)]
Values = Annotated[
    dict[str, Value],
    Field(
        max_length=100,
        description="By name, as the kind declares them in list_strategy_kinds.",
        examples=[{"fast": 20, "slow": 50}],
    ),
]


# --- Kinds -------------------------------------------------------------------------------------------------------


class ParameterOut(Schema):
    """One parameter that a kind declares."""

    name: str
    label: str
    type: Literal["int", "float", "bool", "str"]
    default: bool | int | float | str
    low: float | None = Field(description="Inclusive. None: no bound.")
    high: float | None = Field(description="Inclusive. None: no bound.")
    unit: str
    help: str
    choices: list[str] = Field(description="Of a str, the only values it can have; empty: any text.")


class KindOut(Schema):
    """A kind of strategy: a rule, and the parameters that it takes."""

    name: str = Field(examples=["sma-cross"])
    label: str
    summary: str
    explanation: str
    sells_short: bool = Field(description="Whether it has a short side at all.")
    origin: str = Field(description="The package that it comes from; `chronos` for the built-in ones.")
    warmup: str = Field(description="How many bars it needs before its first decision with the default parameters.")
    parameters: list[ParameterOut]


@router.get("/strategy-kinds", response=answers(list[KindOut]), tags=["strategies"])
def list_strategy_kinds(request: Signed) -> Any:
    """The kinds of strategies there are, with every parameter's type, range, default and unit.

    They come with Chronos or from packages that whoever runs it has installed; none can be sent here.
    """
    found = list(registry.kinds().values())
    actions = [then("create_strategy", "Make one; `name` and `kind` are wanted.")]
    return said([_kind(kind) for kind in found], f"{figures.counted(len(found), 'kind')}.", actions, total=len(found))


def _kind(kind: Kind) -> dict[str, Any]:
    own = ("name", "label", "summary", "explanation", "sells_short", "origin")
    return {name: getattr(kind, name) for name in own} | {
        "warmup": wording.warmup(kind.name, {}),
        "parameters": [_parameter(parameter) for parameter in kind.parameters],
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    own = ("name", "label", "default", "low", "high", "unit", "help")
    return {name: getattr(parameter, name) for name in own} | {
        "type": parameter.type.__name__, "choices": list(parameter.choices),
    }  # fmt: skip


# --- Strategies --------------------------------------------------------------------------------------------------


class StrategyOut(Schema):
    """A kind of strategy with the parameters that you chose for it."""

    id: int
    name: str
    kind: str
    parameters: dict[str, Any] = Field(description="As stored; what is not there has the kind's default.")
    in_words: str = Field(examples=["Fast average 20 bars, Slow average 50 bars"])
    trouble: str = Field(description="Why it can't be run as it is. Empty: it can.")
    notes: str
    version: int = Field(description="Raised by each edit; name it when you edit.")
    is_archived: bool = Field(description="Kept, but not listed unless asked for.")
    backtests: int = Field(description="How many there are of it.")
    best_total_return: float | None = Field(description="The highest of its backtests: 0.31 is 31 %. None: no result.")
    last_run_at: AwareDatetime | None
    created_at: AwareDatetime
    changed_at: AwareDatetime


class StrategyIn(Schema):
    name: str = Field(min_length=1, max_length=100, description="Yours must differ.", examples=["Trend"])
    kind: str = Field(min_length=1, max_length=100, examples=["sma-cross"])
    parameters: Values = Field(default_factory=dict)
    notes: str = Field("", max_length=10_000)


class StrategyReplacement(Schema):
    name: str = Field(min_length=1, max_length=100)
    parameters: Values = Field(description="All of them: one that is left out gets its default.")
    notes: str = Field("", max_length=10_000)
    version: int = Field(ge=1, le=2**31 - 1, description="As you read it. If it is another now, nothing is changed.")


class StrategyChange(Schema):
    name: str | None = Field(None, min_length=1, max_length=100, description="Left out: as it is.")
    parameters: Values | None = Field(None, description="Those to change; the others stay as they are.")
    notes: str | None = Field(None, max_length=10_000, description="Left out: as they are.")
    version: int = Field(ge=1, le=2**31 - 1, description="As you read it. If it is another now, nothing is changed.")


class StrategiesWanted(Paged):
    q: str = Field("", max_length=100, description="Only those with these words in name, kind or notes.")
    kind: str = Field("", max_length=100, description="Only those of this kind.")
    archived: bool = Field(False, description="True: those put away, and only those.")
    order: Literal["name", "-name", "-changed_at", "id", "-id"] = "name"


_ORDERS = {
    "name": ("name", "id"), "-name": ("-name", "-id"), "-changed_at": ("-changed_at", "-id"), "id": ("id",),
    "-id": ("-id",),
}  # fmt: skip


@router.get("/strategies", response=answers(list[StrategyOut]), tags=["strategies"])
def list_strategies(request: Signed, wanted: Query[StrategiesWanted]) -> Any:
    """Your strategies; nobody else sees them."""
    found = catalogue.listed(request.user, archived=wanted.archived, text=wanted.q)
    if wanted.kind:
        found = found.filter(kind=wanted.kind)
    page = page_of(found, wanted, wanted.order, _ORDERS)
    actions = [then("get_strategy", "Look at one.", strategy_id=page.rows[0].pk)] if page.rows else []
    actions.append(then("list_strategy_kinds", "See of what kinds one can be made."))
    words = page.counted("strategy", "strategies")
    return said([_told(row) for row in page.rows], f"{words}.", actions, next_cursor=page.next_cursor)


def _told(found: Any) -> dict[str, Any]:
    """As the API shows it; `found` comes from `catalogue.listed`, with the figures of its backtests."""
    own = ("name", "kind", "parameters", "notes", "version", "created_at", "changed_at")
    return {name: getattr(found, name) for name in own} | {
        "id": found.pk,
        "in_words": wording.sentence(found.kind, found.parameters),
        "trouble": wording.trouble(found.kind, found.parameters),
        "is_archived": found.archived_at is not None,
        "backtests": found.runs,
        "best_total_return": found.best,
        "last_run_at": found.ran_at,
    }


def _answer(request: Signed, found: Strategy, words: str, *, status: int = 200) -> Any:
    figured = catalogue.listed(request.user, archived=found.archived_at is not None).get(pk=found.pk)
    return said(_told(figured), words, _next(found), status=status)


def _next(found: Strategy) -> list[NextAction]:
    return [
        then("duplicate_strategy", "Have a copy to try other parameters on.", strategy_id=found.pk),
        then("delete_strategy", "See what a deletion would leave.", strategy_id=found.pk, dry_run=True),
    ]


@router.post("/strategies", response=answers(StrategyOut, 201), tags=["strategies"])
def create_strategy(request: Signed, given: StrategyIn) -> Any:
    """Make a strategy of a kind. Parameters that are left out get the kind's defaults."""
    made = catalogue.create(request.user, given.name, given.kind, given.parameters, given.notes)
    return _answer(request, made, f"{made.name} is made.", status=201)


@router.get("/strategies/{strategy_id}", response=answers(StrategyOut), tags=["strategies"])
def get_strategy(request: Signed, strategy_id: Id) -> Any:
    """One strategy, with what its backtests showed."""
    found = strategy_of(request, strategy_id)
    return _answer(request, found, f"{found.name} is a strategy of the kind {wording.label_of(found.kind)}.")


@router.put("/strategies/{strategy_id}", response=answers(StrategyOut), tags=["strategies"])
def replace_strategy(request: Signed, strategy_id: Id, given: StrategyReplacement) -> Any:
    """Change all of it but its kind. A change made since the version you name is not overwritten."""
    found = strategy_of(request, strategy_id)
    return _edit(request, found, given.name, given.parameters, given.notes, given.version)


@router.patch("/strategies/{strategy_id}", response=answers(StrategyOut), tags=["strategies"])
def update_strategy(request: Signed, strategy_id: Id, given: StrategyChange) -> Any:
    """Change what you name of it. Its backtests keep the parameters that they ran with."""
    found = strategy_of(request, strategy_id)
    merged = given.parameters
    if merged is not None:  # what is stored and not declared any more goes
        declared = {one.name for one in registry.kind_named(found.kind).parameters}
        merged = {name: value for name, value in found.parameters.items() if name in declared} | merged
    return _edit(request, found, given.name, merged, given.notes, given.version)


def _edit(
    request: Signed, found: Strategy, name: str | None, parameters: dict[str, Any] | None, notes: str | None,
    version: int,
) -> Any:  # fmt: skip
    try:
        catalogue.edit(found, name=name, parameters=parameters, notes=notes, version=version)
    except catalogue.Outdated:
        now = strategy_of(request, found.pk)
        raise Refused(
            "outdated", f"{now.name} was changed since you read it: it is at version {now.version}, not {version}.",
            "Read it again, and make your change on the version it has now.", status=409, field="body.version",
            next_actions=[then("get_strategy", "Read it again.", strategy_id=now.pk)],
        ) from None  # fmt: skip
    return _answer(request, found, f"{found.name} is at version {found.version}.")


class StrategyDeleted(Schema):
    """What a deletion leaves alone."""

    backtests: int = Field(description="Kept, with the parameters that they ran with.")


class StrategyDeletionWanted(Schema):
    dry_run: bool = Field(False, description="True: say what stays, and delete nothing.")


@router.delete("/strategies/{strategy_id}", response=answers(StrategyDeleted), tags=["strategies"])
def delete_strategy(request: Signed, strategy_id: Id, wanted: Query[StrategyDeletionWanted]) -> Any:
    """Delete it; for an hour you can take that back. Its backtests stay."""
    found = strategy_of(request, strategy_id)
    data = {"backtests": Backtest.objects.of(request.user).filter(strategy=found).count()}
    if wanted.dry_run:
        actions = [then("delete_strategy", "Delete it.", strategy_id=found.pk)]
        return said(data, f"{found.name} would go, and these stay. Nothing was deleted: this is a dry run.", actions)
    catalogue.delete(found)
    actions = [then("undelete_strategy", "Take that back, within the hour.", strategy_id=found.pk)]
    return said(data, f"{found.name} is deleted.", actions)


@router.post("/strategies/{strategy_id}/undelete", response=answers(StrategyOut), tags=["strategies"])
def undelete_strategy(request: Signed, strategy_id: Id) -> Any:
    """Take a deletion back; possible for an hour. If its name is taken meanwhile, it comes back with a number."""
    found = catalogue.undelete(strategy_id, request.user)
    if found is None:
        raise missing(f"You have no deleted strategy {strategy_id}; after an hour they are gone for good.",
                      "Look at list_strategies.")  # fmt: skip
    return _answer(request, found, f"{found.name} is back.")


@router.post("/strategies/{strategy_id}/duplicate", response=answers(StrategyOut, 201), tags=["strategies"])
def duplicate_strategy(request: Signed, strategy_id: Id) -> Any:
    """A copy to change, with parameters and notes, and without the backtests."""
    copy = catalogue.duplicate(strategy_of(request, strategy_id), request.user)
    return _answer(request, copy, f"{copy.name} is made.", status=201)


class StrategyArchiveIn(Schema):
    away: bool = Field(True, description="False: bring it back.")


@router.post("/strategies/{strategy_id}/archive", response=answers(StrategyOut), tags=["strategies"])
def archive_strategy(request: Signed, strategy_id: Id, given: StrategyArchiveIn) -> Any:
    """Put it out of the way, where it is not listed; or bring it back. Its backtests stay where they are."""
    found = catalogue.archive(strategy_of(request, strategy_id), given.away)
    return _answer(request, found, f"{found.name} is {'put away' if given.away else 'back'}.")
