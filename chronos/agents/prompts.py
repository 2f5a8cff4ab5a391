"""What a person may ask an agent to do with Chronos, ready-made."""

from collections.abc import Mapping
from dataclasses import dataclass

import mcp_types as types
from mcp.shared.exceptions import MCPError

LONGEST = 20_000  # characters of an argument


@dataclass(frozen=True)
class Ready:
    """A prompt; its words have a place for each argument."""

    name: str
    title: str
    says: str
    takes: Mapping[str, tuple[str, bool]]  # what each argument is, and whether it must be there
    words: str


READY = {
    one.name: one
    for one in (
        Ready(
            "mend_symbols", "Make a universe from a list",
            "Makes a universe from a pasted list of symbols, and mends its typos by suggestion.",
            {"symbols": ("The list, however it is written.", True), "name": ("What to call the universe.", False)},
            "Make a universe in Chronos{name} from this list:\n\n{symbols}\n\n"
            "1. Call create_universe, then add_assets with dry_run true and all symbols as they are written.\n"
            "2. For each that is left out, show me what was written, why, and the suggestions. Take a suggestion only"
            " where one is clearly meant; ask me about the others, and never make up a symbol.\n"
            "3. Call add_assets with the mended list, then backfill_universe with dry_run true; tell me what it takes,"
            " and start it only when I agree. Wait with wait_for_job.\n"
            "4. End with a table: written, symbol, outcome.",
        ),
        Ready(
            "morning_check", "Morning check of my universes",
            "What moved since yesterday, what is stale, and what failed overnight.",
            {"universe_id": ("Only this one; left out: all of yours.", False)},
            "Check my universes in Chronos{universe_id}.\n\n"
            "1. Call list_universes with whose=mine, then list_universe_assets for each (go on with cursor).\n"
            "2. Tell me the largest moves up and down (change is a fraction of the close before), and say of which day:"
            " at names the candle.\n"
            "3. List members whose freshness is stale, failing or empty, with freshness_detail; offer a"
            " refresh_universe.\n"
            "4. Call list_jobs and name those that failed or ended partial since yesterday, with their summary.\n"
            "Keep it to what I must know; say plainly where data are missing.",
        ),
        Ready(
            "compare_members", "Compare members",
            "Compares how members of a universe did over a span, without looking only at the survivors.",
            {"universe_id": ("Which universe.", True), "since": ("From this day, as 2025-01-02.", True)},
            "Compare the members of universe {universe_id} in Chronos since {since}.\n\n"
            "1. Call list_members with as_of={since}: those were the members then. By call_operation,"
            " list_universe_changes says who came and went; today's members alone would flatter the result.\n"
            "2. For each, read daily candles since then with get_candles, and take the last close over the first, less"
            " 1.\n"
            "3. Rank them in a table: symbol, joined, left, return, first and last day used. Name those without candles"
            " rather than leaving them out in silence, and prefer adjusted prices.",
        ),
    )
}  # fmt: skip


def listed() -> list[types.Prompt]:
    return [
        types.Prompt(
            name=one.name, title=one.title, description=one.says,
            arguments=[
                types.PromptArgument(name=name, description=what, required=must)
                for name, (what, must) in one.takes.items()
            ],
        )
        for one in READY.values()
    ]  # fmt: skip


def told(name: str, given: Mapping[str, str]) -> types.GetPromptResult:
    one = READY.get(name)
    if one is None:
        raise MCPError(types.INVALID_PARAMS, f"There is no such prompt; there are {', '.join(READY)}.")
    for argument, (what, must) in one.takes.items():
        if must and not given.get(argument, "").strip():
            raise MCPError(types.INVALID_PARAMS, f"{argument} is wanted: {what}")
        if len(given.get(argument, "")) > LONGEST:
            raise MCPError(types.INVALID_PARAMS, f"{argument} is too long; at most {LONGEST:,} characters.")
    filled = {argument: _filled(one, argument, given.get(argument, "").strip()) for argument in one.takes}
    words = one.words
    for argument, text in filled.items():
        words = words.replace(f"{{{argument}}}", text)
    return types.GetPromptResult(
        description=one.says, messages=[types.PromptMessage(role="user", content=types.TextContent(text=words))]
    )


def _filled(one: Ready, argument: str, text: str) -> str:
    """What may be left out stands in the words with what introduces it."""
    if one.takes[argument][1]:
        return text
    introduced = {"name": f" and call it “{text}”,", "universe_id": f", only universe {text}"}
    return introduced[argument] if text else ""
