"""The API's operation that reads candles, as JSON page by page, or whole as CSV or Arrow."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from chronos.core import figures, moments
from chronos.core.envelope import REFUSALS, Answer, Metadata, NextAction, Refusal, Refused, request_id, then
from chronos.core.hypermedia import Signed
from chronos.core.moments import When
from chronos.core.paging import cursor_at, place_in
from chronos.core.streams import one_by_one, streamed
from marketdata.api.asked import Symbol, stored
from marketdata.models import Asset, Candle, Series, Timeframe

if TYPE_CHECKING:
    from marketdata.frames import Frame

router = Router()
JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
TYPES = {"json": JSON, "csv": CSV, "arrow": ARROW}
MOST = 100_000  # candles in a page of JSON
AT_ONCE = 5_000  # candles that are sent without streaming
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class CandleOut(Schema):
    """One bar. Prices in the asset's currency; every number is a float64."""

    open_time: AwareDatetime = Field(description="Its open, UTC, which names it; of a day and longer 00:00 of its"
                                     " first date.", examples=["2024-01-31T00:00:00Z"])  # fmt: skip
    open: float = Field(examples=[61.1])
    high: float = Field(examples=[62.3])
    low: float = Field(examples=[60.8])
    close: float = Field(examples=[61.5])
    volume: float = Field(description="Units traded: shares, coins.", examples=[453_600_000.0])
    adj_close: float | None = Field(
        description="The source's own close adjusted for splits and dividends, where it gives one; never adjusted here."
    )
    quote_volume: float | None = Field(description="Money traded, where the source tells it.")


class CandlesMetadata(Metadata):
    symbol: str
    timeframe: str
    adjust: str = Field(description="What prices are: `raw`, `split` or `total`.")
    source: str = Field(description="Who gave the newest candle; empty without candles.", examples=["yahoo"])
    newest: AwareDatetime | None = Field(description="Open of the newest candle that is stored, in the range or not.")
    fingerprint: str = Field(description="Equal for equal candles, another if any of this answer differs.")


class CandlesAnswer(Answer[list[CandleOut]]):
    """Candles, oldest first."""

    metadata: CandlesMetadata


class CandlesWanted(Schema):
    timeframe: Timeframe = Field(Timeframe.D1, description="Length of a candle.")
    start: When | None = Field(
        None, description="First open that is wanted: a moment with its offset, or a day (its begin, UTC). Left out:"
        " from the first.", examples=["2024-01-01"],
    )  # fmt: skip
    end: When | None = Field(
        None, description="First open that is not wanted any more: a moment, or a day (its begin, UTC, so that this day"
        " is not in it). Left out: to the newest.", examples=["2024-02-01"],
    )  # fmt: skip
    adjust: Literal["raw", "split", "total"] | None = Field(
        None, description="`raw`: as traded; `split`: divided by later splits; `total`: also for dividends. Left out:"
        " as stored, which metadata tells.",
    )  # fmt: skip
    as_of: When | None = Field(
        None, description="As it was known then: a moment, or a day (its end, UTC). Left out: as it is known now.",
        examples=["2024-01-31T22:00:00Z"],
    )  # fmt: skip
    form: Literal["json", "csv", "arrow"] | None = Field(
        None, alias="format", description="For who can't send an Accept header, which it takes the place of."
    )
    last: int | None = Field(
        None, ge=1, le=MOST, description="Only the newest so many, before `end` if that is named; in place of `start`."
    )
    limit: int = Field(1000, ge=1, le=MOST, description="Candles of a page of JSON; CSV and Arrow have no pages.")
    cursor: str = Field("", max_length=600, description="`metadata.next_cursor` of the page before; empty: the first.")


_HEADERS = {
    "Chronos-Adjust": "What prices are: `raw`, `split` or `total`.",
    "Chronos-Source": "Who gave the newest candle.",
    "Chronos-Newest": "Open of the newest candle that is stored.",
    "Chronos-Fingerprint": "Equal for equal candles.",
}
_EXTRA = {
    "responses": {
        200: {
            "description": "Candles, oldest first.",
            "headers": {name: {"description": words, "schema": {"type": "string"}} for name, words in _HEADERS.items()},
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (CSV, ARROW)},
        },
        406: {"description": "No such form of an answer."},
    }
}


@router.get(
    "/assets/{symbol}/candles", response={200: CandlesAnswer, REFUSALS | {406}: Refusal}, tags=["candles"],
    openapi_extra=_EXTRA,
)  # fmt: skip
def get_candles(request: Signed, symbol: Symbol, wanted: Query[CandlesWanted]) -> Any:
    """Candles of one asset and timeframe, oldest first: as JSON in pages, or the whole range as CSV or Arrow by Accept.

    `application/json`, `text/csv` or `application/vnd.apache.arrow.stream`, which is the quickest way into pandas and
    polars. Prices of several splits or dividends ago compare only with `adjust`; `as_of` gives what one could know at
    a moment, for honest backtests.
    """
    kind = _kind(request, wanted)
    found = stored(symbol)
    series = Series.objects.filter(asset=found, timeframe=wanted.timeframe).first()
    read = _Reading(found, series, wanted)
    if kind == JSON:
        return read.json()
    return read.whole(kind)


def _kind(request: Signed, wanted: CandlesWanted) -> str:
    if wanted.form:
        return TYPES[wanted.form]
    if not request.headers.get("Accept", "").strip():
        return JSON
    kind = request.get_preferred_type(list(TYPES.values()))
    if kind is None:
        raise Refused(
            "not_acceptable", "Candles can't be had in a form that Accept names.",
            f"Accept one of {', '.join(TYPES.values())}; or name one as `format`: {', '.join(TYPES)}.",
            status=406, field="header.Accept",
        )  # fmt: skip
    return kind


class _Reading:
    """One request for candles of one series; `series` is None if there is none."""

    def __init__(self, asset: Asset, series: Series | None, wanted: CandlesWanted) -> None:
        self.asset, self.series, self.wanted = asset, series, wanted
        self.start, self.end = moments.begin(wanted.start, "query.start"), moments.begin(wanted.end, "query.end")
        self.as_of = moments.end(wanted.as_of, "query.as_of")
        if wanted.last and (wanted.start or wanted.as_of):
            raise Refused("invalid", "`last` counts back from the newest candle that is stored, so it goes neither with"
                          " `start` nor with `as_of`.", "Leave one out.", field="query.last")  # fmt: skip
        if wanted.last:
            self.start = self._begin_of_last(wanted.last)
        self.adjust: Any = wanted.adjust or (series.basis if series else "split")
        if self.start and self.end and self.start > self.end:
            raise Refused("invalid", f"start ({self.start:%Y-%m-%d %H:%M}) lies after end ({self.end:%Y-%m-%d %H:%M}).",
                          "Exchange the two, or leave one out.", field="query.start")  # fmt: skip

    def frame(self, start: datetime | None, limit: int | None) -> "Frame":
        from marketdata import frames, sending

        return frames.read(
            self.asset, self.wanted.timeframe, start, self.end, sending.COLUMNS, self.adjust, self.as_of, limit=limit,
            sparse=True,
        )  # fmt: skip

    def _begin_of_last(self, many: int) -> datetime | None:
        """The open of the oldest of so many; None if there are fewer."""
        found = Candle.objects.filter(asset_id=self.asset.pk, timeframe=self.wanted.timeframe)
        if self.end:
            found = found.filter(open_time__lt=self.end)
        opens = found.order_by("-open_time").values_list("open_time", flat=True)
        return opens[many - 1 : many].first()

    # --- A page of JSON ------------------------------------------------------------------------------------------

    def json(self) -> HttpResponseBase:
        from marketdata import sending

        frame = self.frame(self._from(), self.wanted.limit)
        after = cursor_at("candles", int(frame.times[-1].astype(int)) + 1) if frame.parts[0].more else ""
        told = self.told(frame)
        metadata = {"request_id": request_id(), "next_cursor": after, "total": None, **told}
        head = {"success": True, "message": self._sentence(frame), "next_actions": self._next(frame, after),
                "metadata": metadata}  # fmt: skip
        before = orjson.dumps(head, default=lambda one: one.model_dump(), option=orjson.OPT_UTC_Z)[:-1] + b',"data":['
        return self._sent(_between(before, sending.json(frame), b"]}"), frame, JSON)

    def _from(self) -> datetime | None:
        """Where this page begins: after the last open of the page before."""
        place = place_in(self.wanted.cursor, "candles")
        if place is None:
            return self.start
        try:
            return EPOCH + place * MICROSECOND
        except OverflowError:
            raise Refused("bad_cursor", "The cursor is none of these candles.", "Take `metadata.next_cursor` of the"
                          " page before unchanged.", field="query.cursor") from None  # fmt: skip

    def told(self, frame: "Frame") -> dict[str, Any]:
        (part,) = frame.parts
        newest = self.series.last_open if self.series else None
        return {
            "symbol": self.asset.symbol, "timeframe": self.wanted.timeframe.value, "adjust": self.adjust,
            "source": part.source, "newest": newest, "fingerprint": part.fingerprint,
        }  # fmt: skip

    def _sentence(self, frame: "Frame") -> str:
        name, timeframe = self.asset.symbol, self.wanted.timeframe
        if len(frame):
            when = figures.day if timeframe.is_daily else figures.moment
            first, last = (moment.replace(tzinfo=UTC) for moment in frame.times[[0, -1]].tolist())
            span = f"{when(first)} – {when(last)}" if len(frame) > 1 else when(first)
            return f"{figures.counted(len(frame), 'candle')} of {name}, {timeframe.value}: {span}."
        if self.series is not None and self.series.candle_count:
            return f"{name} has no {timeframe.value} candles in that range."
        others = ", ".join(self._others())
        return f"{name} has no {timeframe.value} candles" + (f"; it has {others}." if others else ".")

    def _others(self) -> list[str]:
        """The other timeframes that have candles."""
        found = Series.objects.filter(asset=self.asset, candle_count__gt=0).values_list("timeframe", flat=True)
        there = set(found) - {self.wanted.timeframe.value}
        return [timeframe.value for timeframe in Timeframe if timeframe.value in there]

    def _next(self, frame: "Frame", after: str) -> list[NextAction]:
        asked = {name: value for name, value in self.wanted.dict(exclude_unset=True, by_alias=True).items()
                 if value is not None and name != "cursor"}  # fmt: skip
        same = {"symbol": self.asset.symbol, **{name: _plain(value) for name, value in asked.items()}}
        if after:
            return [then("get_candles", "Read on.", **same, cursor=after)]
        if len(frame):
            return [then("get_asset", "See what else is stored of it.", symbol=self.asset.symbol)]
        timeframe = self.wanted.timeframe.value
        actions = [then("get_asset", "See what is stored of it.", symbol=self.asset.symbol)]
        if self.series is None or not self.series.candle_count:
            actions = [then("get_candles", "Read those.", symbol=self.asset.symbol, timeframe=other)
                       for other in self._others()[-1:]] + actions  # fmt: skip
        if not self.asset.is_sample:
            why = "Fetch them from a provider."
            actions.append(then("backfill_asset", why, symbol=self.asset.symbol, timeframe=timeframe))
        return actions

    # --- The whole range -----------------------------------------------------------------------------------------

    def whole(self, kind: str) -> HttpResponseBase:
        from marketdata import sending

        frame = self.frame(self._from(), None)
        if kind == CSV:
            response = self._sent(sending.lines(frame), frame, "text/csv; charset=utf-8")
            name = self.asset.symbol.replace("^", "")
            response.headers["Content-Disposition"] = f'attachment; filename="{name}_{self.wanted.timeframe.value}.csv"'
            return response
        told = {name: _text(value) for name, value in self.told(frame).items()}
        return self._sent(sending.arrow(frame, told), frame, kind)

    def _sent(self, parts: Iterator[bytes], frame: "Frame", kind: str) -> HttpResponseBase:
        response: HttpResponseBase
        if len(frame) <= AT_ONCE:
            response = HttpResponse(b"".join(parts), content_type=kind)
        else:
            response = streamed(one_by_one(parts), kind)
        told = self.told(frame)
        for name in _HEADERS:
            response.headers[name] = _text(told[name.removeprefix("Chronos-").lower()])
        response.headers["Vary"] = "Accept"
        return response


def _plain(value: Any) -> Any:
    return value if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return "" if value is None else str(value)


def _between(before: bytes, parts: Iterator[bytes], after: bytes) -> Iterator[bytes]:
    yield before
    yield from parts
    yield after
