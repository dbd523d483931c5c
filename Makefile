# A recipe is one bash script, so that a failing step stops the target.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Errors only: pip's warnings about a machine's own configuration would bury everything else.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
# Extra arguments for pytest: make test ARGS="-k holds"
ARGS ?=

.PHONY: help setup run lint test prove prove-quick bench bench-quick fmt texts lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## make .venv with everything in it; does nothing when it is up to date

$(STAMP): requirements-dev.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "Slotcast needs Python 3.11 or newer: '$(PYTHON)' was not found. Try: make setup PYTHON=python3.12" >&2; exit 1; }
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Slotcast needs Python 3.11 or newer, '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1). Try: make setup PYTHON=python3.12" >&2; exit 1; }
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	# A .venv whose interpreter is gone or was half made is made again.
	$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV) with $$("$(PYTHON)" -V)"; "$(PYTHON)" -m venv --clear $(VENV); }
	echo "Installing the locked packages into $(VENV) (the first time takes a minute or two)"
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

run: setup ## start a demo server with its own Postgres
	@exec $(BIN)/python -m server serve --demo

lint: setup ## style, types and import direction; one line each when clean
	@printf 'ruff check    '; $(BIN)/ruff check .
	printf 'ruff format   '; $(BIN)/ruff format --check .
	printf 'basedpyright  '; $(BIN)/basedpyright
	# Its full report is worth reading only when a contract is broken.
	printf 'lint-imports  '; report=$$($(BIN)/lint-imports --no-logo 2>&1) || { printf '\n%s\n' "$$report"; exit 1; }
	grep '^Contracts:' <<<"$$report"

# Two files at a time: most tests wait for processes of their own. In their order, which begins with the long ones: none
# of these is left for the end, when the other half has nothing more to do.
test: lint ## lint, then every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# They read SLOTCAST_PROVE: `long` runs more seeds, drawn anew each time, and longer; `quick` or unset a short form, the same
# each time.
prove: setup ## faults, models, fuzzing and ten thousand mails in their long form (QUICK=1 for the short one)
	@export SLOTCAST_PROVE=$(if $(filter-out 0,$(QUICK)),quick,long)
	$(BIN)/python -m pytest tests/core tests/faults tests/rest/test_fuzz.py tests/messages/test_many.py --timeout=3600 $(ARGS)

prove-quick: ## the fault tests in their short form
	@$(MAKE) prove QUICK=1

bench: setup ## measure against the baselines
	@$(BIN)/python -m bench $(ARGS)

bench-quick: setup ## the same measurements, short
	@$(BIN)/python -m bench --quick $(ARGS)

fmt: setup ## format and apply safe fixes
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

texts: setup ## bring the catalogues of translations up to date with what is said
	@$(BIN)/python -m tests.languages

# uv lives in a throw-away venv: only locking needs it. Pins are kept; `make lock UPGRADE=1` moves them.
lock: ## regenerate both lock files from pyproject.toml
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT
	"$(PYTHON)" -m venv "$$tmp"
	"$$tmp/bin/python" -m pip --disable-pip-version-check -qq install uv
	compile=("$$tmp/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url $(if $(filter-out 0,$(UPGRADE)),--upgrade))
	"$${compile[@]}" --output-file requirements.lock
	# The runtime pins bind the dev lock, so that tests run on what ships.
	"$${compile[@]}" --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## remove everything that was made here
	@rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
