# The two commands that matter are `make demo` and `make test`. Everything is made in .venv from hashed locks.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: help install demo test fast lint bench bench-large soak lock verifier clean

help:
	@echo "make demo     run the seed trial's course on a fresh ledger and serve it"
	@echo "make test     lint, type-check, run every test"
	@echo "make install  build .venv with .venv/bin/trial-ledger"
	@echo "make fast     unit tests only     make bench  figures against the budgets"
	@echo "make bench-large  reading at 1,000,000 events against 10,000 (some minutes, 10 GB of temporary files)"
	@echo "make soak     long runs           make lock   compile the lock files anew"
	@echo "make verifier write verify.pyz, the offline verifier as one file, and print its SHA-256"

install: .venv/runtime.stamp

demo: install
	@$(BIN)/trial-ledger demo

test: .venv/dev.stamp
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup tests

fast: .venv/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) tests/unit tests/conformance tests/architecture

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet . || { echo "Run '$(BIN)/ruff format .'"; exit 1; }
	$(BIN)/mypy ledger projections api
	$(BIN)/lint-imports --no-cache

bench: .venv/dev.stamp
	$(BIN)/python -m tests.performance

bench-large: .venv/dev.stamp
	$(BIN)/python -m tests.performance.large

verifier: .venv/runtime.stamp
	@$(BIN)/python -m ledger.verify --make-standalone verify.pyz

soak: .venv/dev.stamp
	$(BIN)/python -m pytest -m soak -n 1 tests

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or later is needed; name it with: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making the environment in .venv (a minute or two, once) ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "The venv module is missing: install it (Debian: python3-venv)."; exit 1; }

.venv/runtime.stamp: .venv/bin/python deploy/requirements.lock pyproject.toml
	$(BIN)/pip install --disable-pip-version-check --require-hashes -r deploy/requirements.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q ledger projections api
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp deploy/requirements-dev.lock
	$(BIN)/pip install --disable-pip-version-check --require-hashes -r deploy/requirements-dev.lock
	@touch $@

LOCK := pip-compile --quiet --allow-unsafe --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet pip-tools
	.venv/lock/bin/$(LOCK) --output-file deploy/requirements.lock pyproject.toml
	.venv/lock/bin/$(LOCK) --extra dev --constraint deploy/requirements.lock --output-file deploy/requirements-dev.lock pyproject.toml

clean:
	rm -rf .venv build *.egg-info
