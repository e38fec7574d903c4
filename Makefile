# Each target first installs what it needs, so no other step is required before.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# Else each of the thousand processes of the tests compiles our modules again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
SEEDS ?= 150
# Four more than the number of cores, because the longest tests mostly wait for a daemon's clock or for other processes.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 4)
PORT ?= 3000

VENV := .venv
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALLED := $(VENV)/.installed
INSTALLED_FOR_UI := $(VENV)/.installed-for-ui
LINTED := $(VENV)/.linted
PROXY := $(VENV)/bin/caddy
HOME_OF_DAGSTER := $(CURDIR)/.dagster_home

.PHONY: help install demo dev test lint package simulate pytest test-ui bench bench-scale

help: ## list all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## create .venv with the project and its tools, pinned by constraints.txt

demo: $(INSTALLED) ## a full sync of simulated clients, with faults; then the changes of an hour; then a comparison
	$(RUN) -m importer_pipeline.sandbox.first_run

dev: $(INSTALLED) $(HOME_OF_DAGSTER)/dagster.yaml ## the same clients with Dagster's UI at PORT=3000, until Ctrl-C
	DAGSTER_HOME=$(HOME_OF_DAGSTER) $(RUN) -m importer_pipeline.sandbox.look --port $(PORT)

test: $(INSTALLED) $(PROXY) ## all required checks: lint beside simulate, then pytest
	@$(MAKE) lint >$(LINTED) 2>&1 & linting=$$!; \
	trap 'kill $$linting 2>/dev/null || true' EXIT; \
	$(MAKE) simulate; \
	wait $$linting || { cat $(LINTED); exit 1; }; \
	cat $(LINTED); \
	$(MAKE) pytest

lint: $(INSTALLED) ## ruff and pyright
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check --quiet || { \
	    echo "make lint: the files above are not formatted: run $(RUN) -m ruff format" >&2; exit 1; }
	$(RUN) -m pyright --pythonpath $(RUN)

simulate: $(INSTALLED) ## the engine in SEEDS=150 hostile worlds, each reproducible by its seed
	$(RUN) -m importer_pipeline_tests.simulation --seeds $(SEEDS)

pytest: $(INSTALLED) $(PROXY) ## the tests
	$(RUN) -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --durations 25

package: $(INSTALLED) ## build the wheel, install it in an empty environment, load it with Dagster: one of the tests
	$(RUN) -m importer_pipeline_tests.check_package

test-ui: $(INSTALLED_FOR_UI) ## tests of Dagster's UI in a browser (Debian package chromium)
	$(RUN) -m pyright --pythonpath $(RUN) --project importer_pipeline_tests/ui
	$(RUN) -m importer_pipeline_tests.ui

bench: $(INSTALLED) ## throughput, compared with the limit of ten connections
	$(RUN) -m benchmarks

bench-scale: $(INSTALLED) ## thousands of clients with Postgres, about 15 minutes
	$(RUN) -m benchmarks shards scale

$(INSTALLED): pyproject.toml setup.py constraints.txt
	@echo "make: installing into $(VENV) (about a minute the first time)"
	@if [[ ! -x $(RUN) ]]; then \
	    version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
	        || { echo "make: found no Python at PYTHON=$(PYTHON): run make install PYTHON=/path/to/python3.12" >&2; \
	            exit 1; }; \
	    case $$version in \
	        3.11|3.12|3.13|3.14) ;; \
	        *) echo "make: expected Python 3.11 to 3.14, found $$version at $(PYTHON):" \
	            "run make install PYTHON=python3.12" >&2; exit 1 ;; \
	    esac; \
	    $(PYTHON) -m venv $(VENV); \
	fi
	@$(INSTALL) --editable '.[dev]'
	@touch $@

# The proxy of deploy/. Unpacked and not installed, because installing it would start a service on some machines.
$(PROXY): $(INSTALLED)
	@if found=$$(PATH=$${PATH//$(CURDIR)\/$(VENV)\/bin:/} command -v caddy); then ln -sf "$$found" $@; exit; fi; \
	command -v apt-get dpkg-deb >/dev/null \
	    || { echo "make: the tests need Caddy (Debian package caddy) on the PATH: install it" >&2; exit 1; }; \
	echo "make: fetching Debian's package caddy into $(VENV)"; \
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	fetch() { (cd "$$folder" && apt-get download -qq caddy) >"$$folder/log" 2>&1; }; \
	fetch || { apt-get update -qq >"$$folder/log" 2>&1 || true; fetch; } \
	    || { cat "$$folder/log" >&2; echo "make: the tests need Debian's package \`caddy\`: install it" >&2; exit 1; }; \
	dpkg-deb --extract "$$folder"/caddy_*.deb "$$folder/files"; \
	install "$$folder/files/usr/bin/caddy" $@

$(INSTALLED_FOR_UI): $(INSTALLED)
	@$(INSTALL) --editable '.[dev,ui]'
	@touch $@

$(HOME_OF_DAGSTER)/dagster.yaml: dagster.yaml
	@mkdir -p $(HOME_OF_DAGSTER)
	@cp dagster.yaml $@
