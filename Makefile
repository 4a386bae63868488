# `make` says what there is. Every target sets up what it needs in .venv.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo "$$p" && break; done)
VENV := .venv
RUN := $(VENV)/bin
PIP := $(RUN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock
PACKAGES := interface training analysis figures data_store
CODE := $(PACKAGES) tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench clean

help:
	@echo "make demo       set up, then train, analyse and draw on bundled data (minutes)"
	@echo "make test       set up, then run the tests"
	@echo "make test-slow  the long tests too: the demo, the README's study"
	@echo "make check      ruff (lint, format) and mypy --strict"
	@echo "make bench      speed, side by side with what else there is"
	@echo "make clean      remove the environment and everything built"
	@echo
	@echo "To use the command line yourself: make demo once, then . $(VENV)/bin/activate"

demo: $(VENV)/installed
	$(RUN)/landscape demo

test: $(VENV)/installed-test
	$(RUN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(VENV)/installed-test
	$(RUN)/python -m pytest -q -m slow

check: $(VENV)/installed-check
	$(RUN)/ruff check $(CODE)
	$(RUN)/ruff format --check $(CODE)
	@rm -rf build/typed build/lib
	$(PIP) --no-deps --target build/typed .
	$(RUN)/mypy

bench: $(VENV)/installed-bench
	$(RUN)/python -m benchmarks.barrier
	$(RUN)/python -m benchmarks.training
	$(RUN)/python -m benchmarks.startup
	$(RUN)/python -m benchmarks.store
	$(RUN)/python -m benchmarks.convolutional
	$(RUN)/python -m benchmarks.plane
	$(RUN)/python -m benchmarks.rays
	$(RUN)/python -m benchmarks.sampled
	$(RUN)/python -m benchmarks.sweeps
	$(RUN)/python -m benchmarks.scale

clean:
	rm -rf $(VENV) build demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/installed: pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "Error: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=…"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (once, a few minutes)"
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -e '.[report]'
	@touch $@

$(VENV)/installed-%: $(VENV)/installed
	@$(PIP) -e '.[$*]'
	@touch $@
