# `make demo` and `make test` set themselves up on a bare machine and are quick when repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test files run side by side in this many processes, in the order of their names: those that start Ray clusters, which
# take longest and want a core each, come early.
PROCESSES ?= 2
PYTEST := $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder
READY := $(VENV)/.nmlab-ready

.PHONY: demo test quick lint types check clean

demo: $(READY)
	$(BIN)/nmlab sweep quickstart

test: $(READY)
	$(PYTEST)

quick: $(READY)
	$(PYTEST) -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy wants to see the mapped package as folders: links to the four rooms stand in for it.
types: $(READY)
	mkdir -p build/types/nmlab
	for room in platform trials search_spaces reports; do ln -sfn $(CURDIR)/$$room build/types/nmlab/$$room; done
	MYPYPATH=build/types $(BIN)/mypy -p nmlab --namespace-packages --explicit-package-bases

check: lint types test

$(READY): pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache
