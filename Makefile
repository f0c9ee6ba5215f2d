# Each target does its own set-up. `make` alone lists them.
PYTHON := .venv/bin/python
TIDEGAUGE := .venv/bin/tidegauge
PYTEST := $(PYTHON) -m pytest
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup setup-browser demo test lint dev bench bench-large bench-forecast bench-hotspots faults browser screenshots docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:
	@scripts/setup

setup-browser:
	@scripts/setup --browser

demo: setup-browser ## a simulated nationwide network, from landing files to the weekly report (TRACES=DIR: real public traces)
	@$(TIDEGAUGE) demo $(if $(TRACES),--traces "$(TRACES)")

test: setup-browser lint ## lint and the whole default test suite
	@$(PYTEST) --ignore=tests/bench --numprocesses=auto --maxprocesses=4 --dist=loadfile --durations=15 --durations-min=1

lint: setup ## ruff and sqlfluff
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m sqlfluff lint --disable-progress-bar -q dbt_project/models dbt_project/tests

dev: setup ## the Dagster UI on http://127.0.0.1:3000
	@$(TIDEGAUGE) dev

bench: setup ## the performance table, with its peers in the same run
	@$(PYTHON) -m tests.bench

bench-large: setup ## a build of 100 million token events, held to 4 GB (an hour, 20 GB of disk)
	@$(PYTHON) -m tests.bench.large_build

bench-forecast: setup ## how good the forecast is on real series, with a verdict beside each goal
	@OPENBLAS_NUM_THREADS=1 $(PYTHON) -m tests.bench.forecast

bench-hotspots: setup ## the simulator's planted hotspots and flat sites, ten seeds
	@$(PYTHON) -m tests.bench.hotspots

faults: setup ## the long fault suite: kills, cut files, full disks
	@TIDEGAUGE_LONG_FAULTS=1 $(PYTEST) tests/faults

browser: setup-browser ## only the tests in a real browser
	@$(PYTEST) tests/browser

screenshots: setup-browser ## the pictures in docs/, from the report of the home folder
	@$(PYTHON) scripts/screenshots.py
	@$(PYTHON) scripts/margin_screenshots.py

docs: setup ## the documentation site in site/, which opens without a network
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict -q
	@echo site/index.html

clean: ## the environment, the tools and everything runs have written, except landing files
	rm -rf site .venv .tools .pytest_cache .ruff_cache .hypothesis dbt_project/target dbt_project/logs
	rm -rf data/raw data/quarantine data/warehouse.duckdb* data/published data/reports data/dagster data/tmp
