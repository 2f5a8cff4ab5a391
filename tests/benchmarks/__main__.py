"""`make bench`: each benchmark in a process of its own. Ratios within one run; no assertion on a clock."""

import subprocess
import sys

for name in ("ingest", "pages", "lists", "frames", "search", "validation", "api", "mcp", "engine", "backtests"):
    subprocess.run([sys.executable, "-c", f"from tests.benchmarks import {name}; {name}.main()"], check=True)
