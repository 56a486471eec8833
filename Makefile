# Everything a newcomer needs: `make demo` shows it, `make test` proves it. Each creates .venv by itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test model faults up lint bench bench-audit bench-masking bench-postgres lock format clean asyncapi slack-storm

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Countersign needs Python 3.11 or later; set PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(STAMP)
	@$(BIN)/python -m examples.demo

# Your own countersign.yaml if there is one here, else the quick start's.
CONFIG ?= $(firstword $(wildcard countersign.yaml) examples/quickstart/countersign.yaml)

up: $(STAMP)
	@$(BIN)/countersign up --config $(CONFIG)

# Two processes, however many cores: each may run a NATS, a chDB and a PostgreSQL of its own. 0 is one process.
WORKERS ?= 2

test: $(STAMP)
	@tools/debian
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# Random processes die by SIGKILL in the middle of traffic; COUNTERSIGN_FAULT_ROUNDS says how often (10).
faults: $(STAMP)
	@$(BIN)/python -m tests.guarantees.faults

# A thousand stories of approvals on a real bus; the suite tells thirty of them.
model: $(STAMP)
	COUNTERSIGN_MODEL_EXAMPLES=$${COUNTERSIGN_MODEL_EXAMPLES:-1000} $(BIN)/python -m pytest -s tests/approver/test_model.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# 500 requests in a minute against a Slack that breaks, in true time; `make test` has it with a shorter second.
slack-storm: $(STAMP)
	$(BIN)/python -m pytest -q -s --timeout 600 tests/approver/slack_storm_in_true_time.py

asyncapi: $(STAMP)
	$(BIN)/python -m tools.asyncapi

bench: $(STAMP)
	$(BIN)/python -m bench.pipeline

# The record: ingest, size, each documented query, verification; EVENTS=1000000 for a smaller month.
EVENTS ?= 10000000

bench-audit: $(STAMP)
	@$(BIN)/python -m bench.audit --events $(EVENTS)

# Every figure of docs/masking.md and docs/masking-structure.md.
bench-masking: $(STAMP)
	$(BIN)/python -m bench.masking
	$(BIN)/python -m bench.masking_stream

# PostgreSQL direct, through PgBouncer where it is installed, and through the gateway.
bench-postgres: $(STAMP)
	@$(BIN)/python -m bench.postgres

lock:
	$(BIN)/pip-compile --quiet --extra demo --extra dev --generate-hashes --allow-unsafe --strip-extras \
	    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header \
	    -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info
