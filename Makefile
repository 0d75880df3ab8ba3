# Everything a developer types: `make help` lists it. Needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNNABLE := $(VENV)/runnable
INSTALLED := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint generate bench simulate chaos fuzz clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## Make .venv with Taskbus and everything its tests need

demo: $(RUNNABLE) ## Run a real task graph on two workers, one of which is killed on the way
	$(BIN)/python -m examples.demo

test: setup ## Run the tests; PostgreSQL and RabbitMQ are found or started
	$(BIN)/python -m pytest

check: lint ## Everything that must hold before a commit: lint, then the tests
	$(BIN)/python -m pytest

lint: setup ## Formatting, lint, types, import arrows, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

generate: setup ## Write the generated parts of docs/
	$(BIN)/python docs/generate.py

bench: setup ## Measure throughput and latency; prints the machine and the spread
	$(BIN)/python -m benchmarks

simulate: setup ## Judge simulated lives: SEEDS=1-1000, STEPS=10000000 or SECONDS=600 (60 s of new seeds)
	$(BIN)/python -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(STEPS),--steps $(STEPS)) $(if $(SECONDS),--seconds $(SECONDS))

chaos: setup ## Hurt real servers under load and judge what comes of it: ROUNDS=100, SEED=… to repeat rounds
	$(BIN)/python -m tests.chaos --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED))

fuzz: setup ## Send hostile requests to a real service: REQUESTS=20000, SEED=… to repeat a run
	$(BIN)/python -m tests.fuzz --requests $(or $(REQUESTS),20000) $(if $(SEED),--seed $(SEED))

clean: ## Remove .venv, caches and build output
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment with Taskbus and these extras.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Taskbus needs Python 3.11 or newer. Name one: make setup PYTHON=python3.12" >&2; exit 1; }
@test -x $(BIN)/pip || .ci/make-venv $(PYTHON) $(VENV)
$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
@touch $(RUNNABLE) $@
endef

# The demo waits for the service alone, and not for what tests need.
$(RUNNABLE): pyproject.toml
	$(call install,server)

$(INSTALLED): pyproject.toml
	$(call install,dev)
