"""vectorbt, asked from our side: its programs run in `.venv-rivals` and exchange arrays by files."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-rivals/bin/python"


def asked(program: str, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What a program of this folder makes of the arrays. `ImportError` where the environment is not there."""
    if not PYTHON.exists():
        raise ImportError("vectorbt has an environment of its own: make .venv-rivals/installed")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.savez(place / "given.npz", **given)
        # -P: this very module must not be found by the name of the package.
        command = [PYTHON, "-P", Path(__file__).with_name(program), place / "given.npz", place / "found.npz"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            raise RuntimeError(said.stderr)
        with np.load(place / "found.npz") as found:
            return dict(found)


def timed(short: tuple, long: tuple, fast: int, slow: int, fee: float) -> dict[str, float]:
    """Seconds of a warm run of each (open, high, low, close): the median of several, averages and decisions ready."""
    from signals import indicators

    given: dict[str, Any] = {"fee": fee}
    for name, (opens, _, _, close) in (("short", short), ("long", long)):
        one, other = indicators.sma(close, fast), indicators.sma(close, slow)
        # It fills on the bar of the signal.
        entries, exits = (
            np.concatenate([[False], crossed[:-1]])
            for crossed in (indicators.crossed_above(one, other), indicators.crossed_above(other, one))
        )
        given |= {f"{name}.close": close, f"{name}.price": opens}
        given |= {f"{name}.entries": entries, f"{name}.exits": exits}
    found = asked("vectorbt_times.py", given)
    return {name: float(found[name]) for name in ("short", "long")}
