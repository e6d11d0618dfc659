# Two commands for a person: `make run` and `make test`. Both make .venv and fill it first.

PYTHON ?= python3
PROMPT ?= two pirate ships battling each other as they sail inside a cup of coffee
HOST ?= 127.0.0.1
PORT ?= 8000
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint types page chromium clean

help: ## List these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

run: $(VENV)/.installed ## Serve a live world and print its address (PROMPT="…" PORT=8000)
	@$(BIN)/elsewhere serve "$(PROMPT)" --host $(HOST) --port $(PORT)

test: $(VENV)/.installed-test chromium lint types ## Run every check and every test
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check src tests benchmarks

types: $(VENV)/.installed-test
	@$(BIN)/mypy

page: web/node_modules/.installed ## Build web/ into src/elsewhere/page/ (needs Node 20 or newer)
	@cd web && npm run --silent build

clean: ## Remove what these targets made
	rm -rf $(VENV) build dist web/node_modules

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Elsewhere needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
	       "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "Could not make $(VENV). On Debian: apt-get install python3-venv"; exit 2; }
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml
	@echo "Installing Elsewhere into $(VENV) (a few minutes, the first time only) …"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV) …"
	@$(PIP) install -e '.[test]'
	@touch $@

web/node_modules/.installed: web/package-lock.json
	@echo "Installing what builds the page into web/node_modules …"
	@cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# The page's tests drive Debian's own Chromium: the browser builds that Playwright downloads are not needed.
chromium:
	@command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || \
	command -v google-chrome >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing Chromium for the page's tests …"; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium \
	      >/dev/null; \
	  else \
	    echo "Chromium is missing, so the page's tests will be skipped. Get it with: sudo apt-get install chromium"; \
	  fi; }
