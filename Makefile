# Every target makes its own virtual environment; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS ?= 180
# Trust whom this machine trusts, as pip does.
export UV_SYSTEM_CERTS ?= true
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Most of a test's time is spent waiting for a server or a job.
TOGETHER := --numprocesses 2 --dist loadfile
# What the model's image installs.
MODEL := $(foreach name,tensorflow-cpu charset-normalizer defusedxml pysubs2 regex,"$(name); sys_platform == 'linux'")

.PHONY: help all run rerun input-data docker-build status up down clean test test-slow lint lock

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.installed: requirements.txt requirements-uv.txt pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v < (3, 13) else f"Python {v} is not supported: install 3.10, 3.11 or 3.12 and say make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

all: run ## set up, train, write a script and print both results (MODEL=, SOURCE=, MEMBERS=, SEED=)

run: $(VENV)/.installed ## run the train flow
	@python -m flows.train

rerun: $(VENV)/.installed ## tear down and run again with the small model
	@python -m flows.rerun

input-data: $(VENV)/.installed ## download the scripts and commit them to GoT_scripts
	@python -m flows.input_data

docker-build: $(VENV)/.installed ## build the image that the pipelines run
	@python -m flows.docker_build

status: $(VENV)/.installed ## list repos, commits and jobs
	@python -m tasks.status

up: export LOCALPACH_ROOT := $(or $(LOCALPACH_ROOT),$(CURDIR)/.localpach)
up: export SCRIPTWRIGHT_OUTPUT := $(or $(SCRIPTWRIGHT_OUTPUT),$(CURDIR)/output)
up: export PREFECT_SERVER_API_PORT ?= 4200
up: export REPORTS_PORT ?= 4201
up: export PREFECT_API_URL = http://127.0.0.1:$(PREFECT_SERVER_API_PORT)/api
# Of Prefect's two UIs this is the one that draws the artifacts' diagrams.
up: export PREFECT_UI_URL = http://127.0.0.1:$(PREFECT_SERVER_API_PORT)/v2
up: export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT ?= false
up: export SCRIPTWRIGHT_REPORTS_URL = http://127.0.0.1:$(REPORTS_PORT)
up: $(VENV)/.installed ## Prefect server, worker and localpach in the foreground
	@honcho start

down: $(VENV)/.installed ## stop the embedded Pachyderm
	@python -m localpach stop --root $${LOCALPACH_ROOT:-.localpach}

clean: ## stop the embedded Pachyderm and delete its data, the results and the cache
	@if [ -x $(BIN)/python ] && [ -d $${LOCALPACH_ROOT:-.localpach} ]; then python -m localpach stop --root $${LOCALPACH_ROOT:-.localpach}; fi
	rm -rf $${LOCALPACH_ROOT:-.localpach} output .cache

test: $(VENV)/.installed ## run the tests
	@python -m pytest -m "not slow" $(TOGETHER)

test-slow: $(VENV)/.installed ## run the slow tests
	@python -m pytest -m slow tests/docker
	@python -m pytest -m slow --ignore tests/docker $(TOGETHER)

lint: $(VENV)/.installed ## linters and type check
	@ruff check . && ruff format --check . && mypy

lock: $(VENV)/.installed ## resolve the dependencies anew
	uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes pyproject.toml --extra dev -o requirements.txt --custom-compile-command "make lock"
	printf '%s\n' $(MODEL) | uv pip compile --quiet --no-config --upgrade --universal --fork-strategy fewest --python-version 3.11 --generate-hashes - -o model/requirements.txt --custom-compile-command "make lock"
	printf '%s\n' $(MODEL) pytest pytest-timeout pytest-xdist hypothesis | uv pip compile --quiet --no-config --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --constraints model/requirements.txt - -o model/requirements-dev.txt --custom-compile-command "make lock"
	echo uv | uv pip compile --quiet --upgrade --universal --generate-hashes - -o requirements-uv.txt --custom-compile-command "make lock"
