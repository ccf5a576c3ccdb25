# `make demo` and `make test` set themselves up on a bare machine and are quick when repeated. docs/install.md has the rest:
# other releases of Python, other builds of torch, bounds and releases.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Test files run side by side in this many processes; those that start Ray clusters in one of them, and first:
# tests/support/file_order.py.
PROCESSES ?= 2
MINUTES ?= 60
# What is compiled is kept, whatever the caller's environment says: hundreds of processes of the tests, and Ray's among
# them, import nmlab.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder \
	--durations 40 --durations-min 5
READY := $(VENV)/.nmlab-ready
DOCS_READY := $(VENV)/.nmlab-docs-ready

.PHONY: demo test quick thorough soak lint types docs check lock wheels lowest release-check clean

demo: $(READY)
	$(BIN)/nmlab sweep quickstart

test: $(READY)
	$(PYTEST)

quick: $(READY)
	$(PYTEST) -m "not slow and not thorough"

# All tests, with every further case of what `make test` covers: by hand, and every night.
thorough: $(READY)
	$(PYTEST) -m ""

# Sweeps with random faults for so many minutes, in turn on a cluster and on local sessions: by hand, and every night.
soak: $(READY)
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: lint types test

docs: $(DOCS_READY)
	$(BIN)/python docs/site/build_site.py

# A build of torch that is there already stays: torch is installed only where none is, and constraints.txt gives way to
# the version that is found.
$(READY): pyproject.toml src/nmlab/__init__.py constraints.txt release/keep_torch.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import torch' 2> /dev/null || $(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/python release/keep_torch.py constraints.txt > $(VENV)/constraints.txt
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[dev]'
	touch $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[docs]'
	touch $(DOCS_READY)

# What follows needs the network, is run by hand, and lives in environments of its own.
TOOLS := .venv-release
TOOLS_READY := $(TOOLS)/.ready
UV := $(TOOLS)/bin/uv
# These have no wheel; they are pure Python and build everywhere.
SOURCE_ONLY := --no-binary rouge-score --no-binary sqlitedict --no-binary word2number

$(TOOLS_READY): constraints.txt
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --constraint constraints.txt build twine uv
	touch $(TOOLS_READY)

# Write constraints.txt: one version of every package for all supported releases of Python. A version that is there and
# still fits stays; `make lock UPGRADE=--upgrade` takes the newest of all, `UPGRADE='--upgrade-package ray'` of one.
lock: $(TOOLS_READY)
	$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-emit-package nmlab \
		--custom-compile-command 'make lock' $(UPGRADE) --output-file constraints.txt pyproject.toml

# Whether wheels of these versions exist for each supported Python, on Linux and on a Mac with Apple silicon (torch needs
# macOS 14 there).
wheels: export MACOSX_DEPLOYMENT_TARGET = 14.0
wheels: $(TOOLS_READY)
	for platform in x86_64-manylinux_2_28 aarch64-apple-darwin; do for version in 3.11 3.12 3.13; do \
		echo "Python $$version, $$platform" && $(UV) pip compile --quiet --python-version $$version \
		--python-platform $$platform --only-binary :all: $(SOURCE_ONLY) --constraint constraints.txt --all-extras \
		--output-file $(TOOLS)/wheels.txt pyproject.toml > /dev/null || exit 1; done; done

# Whether the lower bounds of pyproject.toml hold: the oldest direct dependencies that they allow, and tests that use
# each of these.
LOWEST := .venv-lowest
LOWEST_TESTS := tests/platform/installation tests/search_spaces tests/platform/test_platform_compat.py \
	tests/trials/test_trials_compat.py tests/trials/data tests/trials/models/test_frozen_model.py \
	tests/trials/models/test_masked_architectures.py tests/trials/export/test_exporters.py \
	tests/trials/evaluation/test_tasks.py tests/reports/test_reports_write.py tests/reports/figures \
	tests/platform/search/test_strategies.py tests/platform/cli/test_cli_verbs.py \
	tests/platform/test_sweep.py::test_an_undisturbed_sweep_finishes_every_planned_trial \
	tests/platform/test_sweep.py::test_the_report_is_written_and_attached

lowest: $(TOOLS_READY)
	$(UV) pip compile --quiet --resolution lowest-direct --python-version 3.11 --extra dev --no-annotate \
		--output-file $(TOOLS)/lowest.txt pyproject.toml > /dev/null
	$(UV) venv --quiet --clear --python 3.11 $(LOWEST)
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --requirement $(TOOLS)/lowest.txt
	$(UV) pip install --quiet --python $(LOWEST)/bin/python --no-deps --editable .
	$(LOWEST)/bin/pytest $(LOWEST_TESTS)

# Build both archives from the last commit, look into them, install each in an empty environment, and use it.
release-check: $(TOOLS_READY) wheels
	$(TOOLS)/bin/python release/check.py

clean:
	rm -rf build dist $(VENV) $(TOOLS) $(LOWEST) .mypy_cache .ruff_cache .pytest_cache
