# The front door. `make` lists what there is; every target makes the environment it needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1
export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.PHONY: soak help demo test lint types unit tests docs bench torture format clean debian

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready ## a real workflow on this machine, with a live display and a report (under a minute)
	$(BIN)/plait run --report demo-report.html examples/demo.py

test: $(VENV)/.ready-dev debian ## everything that CI checks: lint, types, all tests, documentation
	@$(MAKE) --no-print-directory --keep-going lint types docs tests

lint: $(VENV)/.ready-dev ## style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check --diff

types: $(VENV)/.ready-dev ## mypy on plait, pyright on what users write
	$(BIN)/mypy
	$(BIN)/basedpyright --warnings

unit: $(VENV)/.ready-dev ## the quick tests: pure parts and architecture
	$(BIN)/python -m pytest tests/unit tests/architecture -m "not slow and not bench" $(ARGS)

# One order of the tests and one set of Hypothesis examples, so that a run can be had again; another number makes others.
SEED ?= 1
tests: $(VENV)/.ready-dev debian ## all tests:  make tests ARGS="-k cancel -x" SEED=7
	@tools/lanes.sh $(BIN)/python -m "not bench" --durations=15 --randomly-seed=$(SEED) --hypothesis-seed=$(SEED) $(ARGS)

docs: $(VENV)/.ready-dev ## the documentation, warnings as errors, into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(VENV)/.ready-bench ## speed, as ratios to the standard library's process pool on this machine
	$(BIN)/python -m benchmarks $(ARGS)

torture: $(VENV)/.ready-dev ## one test again and again until it breaks:  make torture TEST=tests/… N=100
	@test -n "$(TEST)" || { echo 'say which: make torture TEST=tests/unit/test_ids.py N=100'; exit 2; }
	@for i in $$(seq $${N:-100}); do \
	  $(BIN)/python -m pytest -q -x $(TEST) >.torture.log 2>&1 || { cat .torture.log; echo "broke at run $$i"; exit 1; }; \
	done; rm -f .torture.log; echo "$${N:-100} runs, none broke"

soak: $(VENV)/.ready-dev ## ten minutes of random work on pilot jobs under a seeded killer:  make soak ARGS="--minutes 1"
	$(BIN)/python tools/soak.py $(ARGS)

format: $(VENV)/.ready-dev ## put the code into the house's format
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .torture.log

debian:
	@tools/debian.sh

# An environment is ready when it was filled after pyproject.toml last changed. The demo has the minimum that a user has.
$(VENV)/bin/python:
	@tools/venv.sh $(VENV) "$(PYTHON)"

$(VENV)/.ready: $(VENV)/bin/python pyproject.toml
	@echo "make: installing plait into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "make: installing what tests, checks and documentation need"
	@$(PIP) --group dev
	@touch $@

$(VENV)/.ready-bench: $(VENV)/.ready
	@echo "make: installing what the benchmarks compare with"
	@$(PIP) --group bench
	@touch $@
