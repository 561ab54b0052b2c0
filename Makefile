# threatwalk: `make` lists what can be made.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
CORPUS ?= ../shared/data
export AIRFLOW_PORT ?= 8080
export MLFLOW_PORT ?= 5000

.DEFAULT_GOAL := help
.PHONY: help install demo real test trust bench check audit lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(STAMP) ## install everything into .venv from the committed lock

$(STAMP): requirements/bootstrap.txt requirements/lock.txt requirements/torch.txt pyproject.toml
	@scripts/preflight $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/lock.txt
	@# a CPU wheel at hand (pip's find-links) first: where hashes are checked, pip itself would prefer the index
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --no-index -r requirements/torch.txt 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/torch.txt
	@# the CPU build needs nothing more; the CUDA build wants its libraries, at the versions that it pins
	@$(BIN)/python -W ignore -c 'import torch' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet -c requirements/versions.txt torch==2.13.0
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: ## the main job on a made-up internet: five DAGs, a trained policy, analysed indicators (var/demo)
	@scripts/preflight $(PYTHON) $(AIRFLOW_PORT) $(MLFLOW_PORT)
	@$(MAKE) --no-print-directory install
	@$(BIN)/threatwalk demo

real: ## the same on real published data: make real CORPUS=folder (var/real)
	@scripts/preflight $(PYTHON) $(AIRFLOW_PORT) $(MLFLOW_PORT)
	@$(MAKE) --no-print-directory install
	@$(BIN)/threatwalk real --corpus "$(CORPUS)"

test: ## everything that a change must pass
	@$(MAKE) --no-print-directory install
	@scripts/system-packages
	@scripts/check
	@$(BIN)/python -m pytest -n auto --dist loadfile --ignore tests/acceptance
	@$(BIN)/python -m pytest tests/acceptance

trust: install ## what is promised, measured in full form: make trust ROWS='R3 S4' (var/trust.json)
	@scripts/system-packages
	@$(BIN)/python scripts/trust $(ROWS)

bench: install ## every figure of speed and skill with its goal; goes on where it was (var/bench/rows)
	@$(BIN)/threatwalk bench all

check: install ## the fast part of it: format, lint, types, layers
	@scripts/check

audit: install ## known vulnerabilities of what is locked, but for requirements/findings.txt; the bill of materials (var/sbom.json)
	@mkdir -p var && $(BIN)/python scripts/sbom > var/sbom.json
	@$(BIN)/python scripts/audit

lock: install ## renew requirements/ within the ranges of pyproject.toml
	@scripts/lock

clean: ## remove what was built and run, but not .venv
	rm -rf var data/world data/reports data/split data/compiled data/models data/curves data/evaluation
