"""The judgement of candles beside their neighbours, on arrays alone: thresholds, and what real markets did."""

import numpy as np
import pytest

from marketdata import quality
from marketdata.models import Timeframe

MINUTE = 60_000_000
DAY = 1440 * MINUTE


def view(closes, *, volume=None, timeframe=Timeframe.D1, high=None, low=None, at=None, settled=False) -> quality.View:
    """Candles that open and lie close to their closes, one a length of the timeframe."""
    close = np.array(closes, dtype=float)
    count = len(close)
    step = round(timeframe.length.total_seconds()) * 1_000_000
    return quality.View(
        timeframe=timeframe,
        at=np.arange(count, dtype=np.int64) * step if at is None else np.array(at, dtype=np.int64),
        open=close,
        high=close * 1.002 if high is None else np.array(high, dtype=float),
        low=close * 0.998 if low is None else np.array(low, dtype=float),
        close=close,
        volume=np.full(count, 1000.0) if volume is None else np.array(volume, dtype=float),
        settled=np.full(count, settled),
    )


def walk(count: int, size: float = 0.01) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, size, count)))


def kinds(of: quality.View) -> dict[int, str]:
    found = {place: str(fault.kind) for place, fault in quality.judge(of).items()}
    assert quality.doubtful(of) or not found, "the quick look may not miss what the close one finds"
    return found


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_a_spike_is_found_in_every_timeframe_and_a_quiet_market_is_left_alone(timeframe):
    closes = walk(100, 0.0005)
    assert kinds(view(closes, timeframe=timeframe)) == {}
    closes[50] *= np.exp(quality.FLOOR[timeframe] + 0.05)
    assert kinds(view(closes, timeframe=timeframe)) == {50: "spike"}
    closes[50] *= np.exp(-0.10)
    assert kinds(view(closes, timeframe=timeframe)) == {}


def test_in_a_wild_market_the_same_is_no_spike():
    closes = walk(100, 0.06)
    closes[50] = (closes[49] * closes[51]) ** 0.5 * 1.35
    assert kinds(view(closes)) == {}


def test_two_spikes_side_by_side_are_both_found_and_three_are_a_level():
    closes = walk(100)
    closes[50:52] *= 3
    assert kinds(view(closes)) == {50: "spike", 51: "spike"}
    closes = walk(100)
    closes[50:60] *= 3
    assert kinds(view(closes)) == {}


def test_spikes_do_not_hide_each_other():
    closes = walk(100)
    closes[10:90:5] *= 4
    assert set(kinds(view(closes))) == set(range(10, 90, 5))


def test_a_crash_day_is_a_real_one():
    # Apple on 29 September 2000, from 53.50 to 25.75 with 15 times the usual volume, and it stayed there
    closes = np.concatenate([walk(40) * 0.535, walk(40) * 0.2575])
    volume = np.full(80, 1000.0)
    volume[40] = 15_000
    assert kinds(view(closes, volume=volume)) == {}
    assert kinds(view(closes)) == {}, "nor would it be without volume"


def test_a_flash_crash_has_the_volume_of_one():
    # Procter & Gamble on 6 May 2010: low 39.37 under a close of 60.75, at 2.2 times the usual volume
    closes, volume = walk(60) * 0.6, np.full(60, 1000.0)
    low = closes * 0.998
    low[30] *= 0.65
    assert kinds(view(closes, low=low, volume=volume)) == {30: "spike"}
    volume[30] = 2200
    assert kinds(view(closes, low=low, volume=volume)) == {}


def test_a_worthless_close_is_a_spike_and_hides_nothing():
    closes = walk(60)
    closes[30] = 0
    closes[40] *= 5
    with np.errstate(all="raise", under="ignore"):  # the judge minds its own infinities
        assert kinds(view(closes)) == {30: "spike", 40: "spike"}


def test_settled_candles_are_judged_only_where_new_ones_came_near():
    closes = walk(60)
    closes[30] *= 2
    assert kinds(view(closes, settled=True)) == {}
    near = view(closes, settled=True)
    near.settled[32] = False
    assert kinds(near) == {30: "spike"}


def test_a_long_pause_begins_anew():
    closes = np.concatenate([walk(40), walk(40) * 12])
    at = np.arange(80) * DAY
    at[40:] += 30 * DAY
    assert kinds(view(closes, at=at)) == {}
    assert set(kinds(view(closes)).values()) == {"unit"}


def test_the_smaller_part_of_a_series_is_in_the_wrong_unit():
    closes = walk(100)
    closes[:20] *= 100
    assert set(kinds(view(closes))) == set(range(20))
    closes = walk(100)
    closes[70:] /= 100
    assert set(kinds(view(closes))) == set(range(70, 100))


def test_what_is_stored_is_in_the_right_one():
    closes = walk(100)
    closes[20:] *= 100
    one = view(closes)
    one.settled[:20] = True
    assert set(kinds(one)) == set(range(20, 100))


def test_there_and_back_and_there_again():
    closes = walk(100)
    closes[20:30] *= 100
    closes[60:75] *= 100
    assert set(kinds(view(closes))) == {*range(20, 30), *range(60, 75)}


def test_eightfold_over_the_years_is_no_step():
    closes = 100 * np.exp(np.linspace(0, 9, 900))
    closes[450:460] *= 100
    assert set(kinds(view(closes))) == set(range(450, 460))


@pytest.mark.parametrize(("length", "found"), [(4, 0), (5, 5), (30, 30)])
def test_runs_of_nothing(length, found):
    closes, volume = walk(100), np.full(100, 1000.0)
    closes[50 : 50 + length], volume[50 : 50 + length] = closes[49], 0
    high, low = closes * 1.002, closes * 0.998
    high[50 : 50 + length] = low[50 : 50 + length] = closes[49]
    assert list(kinds(view(closes, high=high, low=low, volume=volume)).values()) == ["frozen"] * found


def test_without_volume_anywhere_nothing_is_frozen():
    closes = np.full(100, 1.1)
    assert kinds(view(closes, high=closes, low=closes, volume=np.zeros(100))) == {}


def test_an_empty_view_and_a_lonely_candle_are_fine():
    assert kinds(view([])) == {}
    assert kinds(view([5.0])) == {}
    assert kinds(view([0.0, 5.0])) == {}
    assert quality.off_grid(view([5.0], timeframe=Timeframe.H1), strict=True) == {}


def test_minutes_are_a_grid_of_their_own():
    odd = view([5.0], timeframe=Timeframe.M15, at=[7 * MINUTE])
    found = quality.off_grid(odd, strict=True)
    assert (
        found[0].reason == "it opens at 1970-01-01 00:07Z, 7 minutes after the open of the 15m candle that it lies in"
    )
    assert quality.off_grid(view([5.0], timeframe=Timeframe.M1, at=[7 * MINUTE]), strict=True) == {}


def test_in_summer_the_hours_of_a_session_are_others_and_the_minute_is_not():
    winter = [(day * 24 + 14 + hour) * 60 + 30 for day in range(10) for hour in range(7)]
    summer = [((day + 90) * 24 + 13 + hour) * 60 + 30 for day in range(10) for hour in range(7)]
    at = [minute * MINUTE for minute in winter + summer]
    for timeframe in (Timeframe.H1, Timeframe.H4, Timeframe.M30):
        assert quality.off_grid(view(np.full(140, 5.0), timeframe=timeframe, at=at), strict=False) == {}
