# `make demo` and `make test` set themselves up on a bare machine and are quick when repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test files run side by side in this many processes, in the order of their names: those that start Ray clusters, which
# take longest, come early.
PROCESSES ?= 2
MINUTES ?= 60
PYTEST := $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5
READY := $(VENV)/.nmlab-ready

.PHONY: demo test quick soak lint types check clean

demo: $(READY)
	$(BIN)/nmlab sweep quickstart

test: $(READY)
	$(PYTEST)

quick: $(READY)
	$(PYTEST) -m "not slow"

# Sweeps with random kills for so many minutes: by hand, and every night.
soak: $(READY)
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: lint types test

$(READY): pyproject.toml src/nmlab/__init__.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache
