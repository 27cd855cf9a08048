# All targets install what they need in .venv. Required: Python 3.11 to 3.13 and make; for demo and test also npm.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Skips compilation at install time, because most modules are never imported. Imported ones are compiled once: without
# that, TensorFlow takes 10 s more to import.
INSTALL := $(BIN)/pip install --quiet --no-compile
unexport PYTHONDONTWRITEBYTECODE
NPM := npm --prefix mobile_demo
MODULES := mobile_demo/node_modules/.package-lock.json
RUNTIME := mobile_demo/runtime/manifest.json

.PHONY: help train demo test test-fast lint docs runtime wheel clean

help:
	@echo "make train      train and evaluate on the embedded data: about 3 minutes to install, 11 to 14 to run (2 cores)"
	@echo "make demo       serve the phone demo on this network; for example FLAGS=\"--model=pose.tflite --http\""
	@echo "make test       run linters and all tests, build the site: about 5 minutes to install, 15 to 22 to run (2 cores)"
	@echo "make test-fast  run only the quick tests, while you work: under 4 minutes"
	@echo "make lint       run ruff and mypy for Python, biome and tsc for the web page"
	@echo "make docs       build the guides and the API reference as a site in site/, and check links"
	@echo "make wheel      build the package with the web page and its runtime in dist/"

train: $(VENV)/.installed
	@echo "Training on the embedded data: 11 to 14 minutes on two cores, output in runs/e2e."
	$(BIN)/python -m keras_pose.train --flagfile=e2e.flags

demo: $(VENV)/.installed-demo $(RUNTIME)
	$(BIN)/python -m mobile_demo $(FLAGS)

test: $(VENV)/.installed-test $(RUNTIME) lint docs
	@echo "Running all tests: 15 to 22 minutes on two cores."
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20

test-fast: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --fast

lint: $(VENV)/.installed-test $(MODULES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(NPM) run check

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # --quiet would hide broken links from --strict
	@echo "The site is in site/; open site/index.html."

runtime: $(RUNTIME)

wheel: $(VENV)/bin/python $(RUNTIME)
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "error: Python 3.11 to 3.13 is required; run for example: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml
	@echo "Installing TensorFlow and other dependencies: about 3 minutes."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing test dependencies: about 2 minutes."
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
		{ echo "error: npm (Node.js 18 or newer) is required; on Debian run: apt-get install nodejs npm"; exit 2; }
	$(NPM) ci --no-audit --no-fund
	@touch $@

$(RUNTIME): $(MODULES) mobile_demo/runtime.sha256 mobile_demo/vendor.py | $(VENV)/.installed
	$(BIN)/python -m mobile_demo.vendor
	@touch $@

clean:
	rm -rf build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache
