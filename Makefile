# Chronos. `make run` starts it, `make test` proves it, `make check` reads it, `make bench` measures it.
PYTHON ?= python3
PY := .venv/bin/python
JOBS ?= 2

# Only what was said is handed on: `make run PORT=8001 CHRONOS_VAR=var2`.
ifdef PORT
export PORT
endif
ifdef CHRONOS_VAR
export CHRONOS_VAR
endif

.PHONY: run test prove check bench lock format
run: .venv/runtime
	@exec $(PY) manage.py up

test: .venv/development
	@JOBS=$(JOBS) sh tests/run.sh

# What takes longer: from an empty machine to a dashboard, killed workers, storms, mutated policies, long walks in a browser.
prove: .venv/development .venv-rivals/installed
	@WHICH=prove; CHRONOS_BROWSER=$$($(PY) -m tests.browser.find) || WHICH="prove and not browser"; export CHRONOS_BROWSER; \
	$(PY) -m pytest tests -m "$$WHICH" -o addopts="-p tests.house -q -s --strict-markers -p no:cacheprovider"

check: .venv/development
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy chronos marketdata universes signals manage.py
	$(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()"
	$(PY) -m djlint templates --lint --quiet
	PYTHONWARNINGS=ignore LOG_LEVEL=ERROR $(PY) manage.py makemigrations --check --dry-run
	@PUBLIC_URL=https://chronos.example.org LOG_LEVEL=ERROR $(PY) manage.py check --deploy --fail-level WARNING

bench: .venv/development .venv-rivals/installed
	$(PY) -m tests.benchmarks

format: .venv/development
	$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format .

# The locks name packages, versions and hashes, and no address.
lock: .venv/development
	$(PY) -m uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	$(PY) -m uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" -c requirements.lock --group dev pyproject.toml -o requirements-dev.lock
	echo uv | $(PY) -m uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" -c requirements-dev.lock - -o requirements-uv.lock
	$(PY) -m uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make lock" --group rivals -o requirements-rivals.lock

.venv/runtime: requirements.lock requirements-uv.lock
	@sh install.sh "$(PYTHON)" requirements.lock
	@touch $@

.venv/development: requirements-dev.lock requirements-uv.lock
	@sh install.sh "$(PYTHON)" requirements-dev.lock
	@touch $@ .venv/runtime

# Engines that can't live beside our packages: what the proofs and the benchmarks measure ours against.
.venv-rivals/installed: requirements-rivals.lock | .venv/development
	@sh install.sh "$(PYTHON)" requirements-rivals.lock .venv-rivals
	@touch $@
