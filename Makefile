# Two commands do everything: `make report` and `make test`. Both set up what they need in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
PERSONS ?= 100000

# One thread inside each linear-algebra call: several spin against one another on small matrices.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup report test lint types layers unit test-browser browser docs lock clean

help:
	@echo "make report         set up, run both studies, write reports/ (PERSONS=$(PERSONS) invented persons)"
	@echo "make test           set up, then ruff, mypy, import-linter and pytest"
	@echo "make test-browser   render the reports in headless Chromium"
	@echo "make docs           regenerate the reference pages in docs/"
	@echo "make lock           recompile requirements.lock"
	@echo "make clean          delete .venv and the working folder work/"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	@echo "==> Setting up $(VENV) (once; a minute or two)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed. Say which: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

report: setup
	@$(BIN)/tiltakeval run studies/nsw_training --out reports
	@$(BIN)/tiltakeval run studies/programme_comparison --persons $(PERSONS) --out reports

test: setup lint types layers unit

lint: setup
	@echo "==> ruff"
	@$(BIN)/ruff check .

types: setup
	@echo "==> mypy"
	@$(BIN)/mypy

layers: setup
	@echo "==> import-linter"
	@$(BIN)/lint-imports

unit: setup
	@echo "==> pytest"
	@$(BIN)/python -m pytest

test-browser: setup browser
	@echo "==> pytest, reports in headless Chromium"
	@$(BIN)/python -m pytest -m browser tests/browser

browser:
	@command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || \
		command -v google-chrome >/dev/null 2>&1 || \
		{ echo "==> Installing Chromium"; apt-get update -qq && \
		  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

docs: setup
	@$(BIN)/python docs/generate.py

lock: setup
	@command -v uv >/dev/null || { echo "uv compiles the lock file: install it first"; exit 1; }
	uv pip compile -q pyproject.toml requirements.in --extra dev --python-version 3.11 \
		--python-platform linux --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-annotate --no-header -o requirements.lock

clean:
	rm -rf $(VENV) work
