#!/bin/sh
# The virtual environment from a hashed lock: install.sh PYTHON LOCK [PLACE]. With uv, which takes seconds; where uv
# can't (a mirror that only pip is told of), with pip. PLACE is .venv, unless another one beside it is wanted.
set -eu
python=$1 lock=$2 place=${3:-.venv}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Chronos needs Python 3.11 or newer; \"$python\" is not. Say which: make run PYTHON=python3.12" >&2
    exit 1
}
if [ ! -x "$place/bin/python" ]; then
    echo "Making the virtual environment in $place"
    "$python" -m venv "$place" || {
        echo "Python's venv module did not work (on Debian and Ubuntu: apt-get install python3-venv)." >&2
        rm -rf "$place"
        exit 1
    }
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1
if [ ! -x .venv/bin/uv ]; then
    .venv/bin/python -m pip install --quiet --require-hashes --no-deps -r requirements-uv.lock
fi
echo "Installing the packages of $lock"
.venv/bin/python -m uv pip install --quiet --require-hashes --no-deps --python "$place/bin/python" -r "$lock" ||
    "$place/bin/python" -m pip install --quiet --require-hashes --no-deps -r "$lock"
