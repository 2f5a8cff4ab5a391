"""The kernel made ready. Its compiled form is kept beside the source by numba; made for the first time it takes ten
seconds, which a process of its own does, at the lowest priority."""

import os
import subprocess
import sys
from pathlib import Path


def warm() -> None:
    """Load the compiled kernel; if there is none yet, have it made in the background and go on."""
    if any((Path(__file__).parent / "__pycache__").glob("kernel.simulate-*.nbi")):
        compile_now()
        return
    subprocess.Popen([sys.executable, "-m", "signals.engine.warming"], stdin=subprocess.DEVNULL)


def compile_now() -> None:
    """Run it once on nothing but two bars."""
    import numpy as np

    from signals.engine.simulation import simulate
    from signals.engine.terms import Decisions, Market, Terms

    prices = np.ones((1, 2))
    nothing = np.zeros((1, 2), np.int8)
    simulate(Market(prices, prices, prices, prices), Decisions(nothing, nothing), Terms())


if __name__ == "__main__":
    os.nice(19)
    compile_now()
