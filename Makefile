# Sluis. `make demo` and `make test` each do all set-up; a second run reuses what is there.
#
# Needs Python 3.11 or newer, Git and make. PYTHON=python3.13 chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-fast lint format bench bench-search policies policies-check lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluis needs Python 3.11 or newer; name one with PYTHON=")'
	@echo "Setting up $(VENV) (once; a minute or two) ..."
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## a whole network on this machine, and the story of one consultation
	@$(PY) -m deploy.lab.demo

lab: $(READY) ## start the network and leave it running (stop it with: .venv/bin/lab down)
	@$(BIN)/lab up

test: $(READY) .tools/opa ## every test that this machine can run (SLUIS_TEST_REQUIRE=all: none may be skipped)
	@$(PY) -m tests.run

test-fast: $(READY) ## the unit tests alone
	@$(PY) -m pytest tests/unit -n auto

lint: $(READY) ## style, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## put the code in its format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## tokens/s and enforced requests/s, as ratios within one run
	@$(PY) -m deploy.bench

bench-search: $(READY) ## searches in an audit log of ten million records (23 GB of disk, ten minutes at least)
	@nice $(PY) -m deploy.bench.search

.tools/opa: | $(READY)
	@$(PY) -m authz.policy.obtain_opa

policies: $(READY) .tools/opa ## test the policies and build the default bundle
	@$(PY) -m authz.policy.build

policies-check: $(READY) .tools/opa ## fail when the committed bundle is not what the policies build to
	@$(PY) -m authz.policy.build --check

lock: $(READY) ## resolve the dependencies anew, with hashes and without index addresses
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o requirements.lock

clean: ## stop the lab and remove everything that was made here
	@test ! -x $(BIN)/lab || $(BIN)/lab down
	rm -rf $(VENV) .tools .lab .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
