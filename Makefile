# `make demo` and `make test` set themselves up on a bare machine and are quick when repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test files run side by side in this many processes, in the order of their names: those that start Ray clusters, which
# take longest and want a core each, come early.
PROCESSES ?= 2
PYTEST := $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5
READY := $(VENV)/.nmlab-ready
DOCS_READY := $(VENV)/.nmlab-docs-ready

.PHONY: demo test quick lint types check docs clean

demo: $(READY)
	$(BIN)/nmlab sweep quickstart

test: $(READY)
	$(PYTEST)

quick: $(READY)
	$(PYTEST) -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: lint types test

docs: $(DOCS_READY)
	$(BIN)/python docs/site/build_site.py

$(READY): pyproject.toml src/nmlab/__init__.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $(DOCS_READY)

clean:
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache
