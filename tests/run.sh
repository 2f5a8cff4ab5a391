#!/bin/sh
# Everything, green. Browser tests are left out only when no browser can be had, and then it is said loudly;
# with CHRONOS_REQUIRE_BROWSER set that is a failure.
# Files in their own order: sorted by their number of tests, as xdist likes, the long walks of the browser came last and
# one of two cores waited for them.
set -u
if CHRONOS_BROWSER=$(.venv/bin/python -m tests.browser.find); then
    export CHRONOS_BROWSER
    exec .venv/bin/python -m pytest -n "${JOBS:-2}" --dist loadfile --no-loadscope-reorder -m "not prove" "$@"
fi
if [ -n "${CHRONOS_REQUIRE_BROWSER:-}" ]; then
    echo "No Chromium could be had, and the browser tests are insisted on." >&2
    exit 1
fi
.venv/bin/python -m pytest -n "${JOBS:-2}" --dist loadfile --no-loadscope-reorder -m "not browser and not prove" "$@"
status=$?
echo
echo "=================================================================================="
echo "  THE BROWSER TESTS WERE LEFT OUT: no Chrome or Chromium is here, and neither"
echo "  Playwright nor Debian could install one. Install Chromium and run again."
echo "=================================================================================="
exit $status
