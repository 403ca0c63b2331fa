# `make` alone lists the commands. Everything is set up on first use, inside this checkout (.venv, .cache, build).
# PYTHON=python3.12 makes .venv with that Python; without it, an existing .venv is kept.
BIN := .venv/bin
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/pycache
# If it were set, every program that a test or benchmark starts would compile the whole library again.
unexport PYTHONDONTWRITEBYTECODE
# In the C locale, Python cannot find an editable package whose path is not ASCII.
ifneq ($(filter C POSIX,$(LC_ALL)),)
export LC_ALL := C.UTF-8
endif

.DEFAULT_GOAL := help
.PHONY: lowest release help demo test coverage check outputs faults bench docs screenshots fix setup clean
.NOTPARALLEL: # two simultaneous calls of setup.sh would disturb each other

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## load the New York flights of 2013 into build/flights.db and query it
	@sh setup.sh demo
	@mkdir -p build
	$(BIN)/pipeloom examples flights --executor processes --db build/flights.db --files build/flights

# Buffering decides how a program ends if its output has no reader; `make outputs` tests the unbuffered case.
test: check-static ## format check, lint, types, and the whole test suite
	env -u PYTHONUNBUFFERED $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# Separate from `make test`, which it would slow down by half: before Python 3.14, branches are measured by tracing.
coverage: setup ## the whole test suite with branch coverage, which has a floor
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=
	@$(BIN)/coverage report | awk '/^TOTAL/ || $$NF + 0 < 90'

check: check-static ## check format, lint and types, and run the fast tests; never rewrites a file
	$(BIN)/pytest -n 2 -m "not slow"

outputs: setup ## the tests of outputs without a reader, which depend on buffering: PYTHONUNBUFFERED=1 make outputs
	$(BIN)/pytest -n 2 -m outputs

faults: setup ## every fault at every instant (over an hour): make faults ONLY=test_kill.py
	PIPELOOM_FAULTS=full $(BIN)/pytest -s $(if $(ONLY),tests/faults/$(ONLY),tests/faults tests/writer/test_commits.py)

.PHONY: check-static
check-static: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup ## measure against the limits: make bench ONLY=B3 ROUNDS=5
	$(BIN)/python bench $(if $(ONLY),--only $(ONLY)) --rounds $(or $(ROUNDS),5)

docs: setup ## build the documentation site into build/site: make docs SERVE=8000 shows it in a browser
	$(BIN)/python docs/site/make.py $(if $(SERVE),--serve $(SERVE))

screenshots: setup ## make the pictures of the README and the docs again; needs Chromium
	$(BIN)/python docs/pictures/make.py

lowest: setup ## run most tests with the oldest dependencies that are supported
	rm -rf build/lowest
	$(BIN)/python -m venv --without-pip build/lowest
	$(BIN)/python -m pip --python build/lowest/bin/python install --quiet --no-cache-dir \
		--constraint constraints-lowest.txt --editable '.[dask,examples,web]' \
		attrs cloudpickle hypothesis loguru loky pandas pyte pytest pytest-timeout pytest-xdist structlog tqdm zstandard
	build/lowest/bin/python -m pytest -n 2 tests/cli tests/show tests/web tests/engine tests/executors tests/examples

release: setup ## version, changelog, wheel and tag in one step: make release VERSION=0.1.0
	$(BIN)/python release.py $(VERSION)

fix: setup ## format the code and apply safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: ## make .venv with pipeloom (editable) and the development tools
	@sh setup.sh dev

clean: ## remove everything that make has created
	rm -rf .venv .cache build dist
