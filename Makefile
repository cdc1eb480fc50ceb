# Every target works from a fresh clone: the first one run makes .venv and installs into it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= $(shell nproc 2>/dev/null || echo 1)
NEW := import sys; sys.exit(sys.version_info < (3, 11))

.PHONY: demo test lint bench clean

demo: $(STAMP)
	$(BIN)/autottt demo

test: $(STAMP)
	$(BIN)/pytest -q -n $(WORKERS) --maxprocesses 4 --dist loadscope

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[bench]'
	$(BIN)/autottt bench-adapt

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f autottt/adapters/models/libkernels.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt hatch_build.py autottt/adapters/models/kernels.c
	@$(or $(PYTHON),false) -c '$(NEW)' 2>/dev/null || { echo "Python 3.11 or newer is needed: apt install python3 python3-venv, or PYTHON=/path/to/python3.11" >&2; exit 1; }
	@! test -f $(VENV)/pyvenv.cfg || $(BIN)/python -c '$(NEW)' 2>/dev/null || rm -rf $(VENV)
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "the venv module is needed: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@
