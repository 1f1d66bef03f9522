# Every target makes the virtual environments that it needs; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
# Of the flows, of localpach, and of the model's tests; the model itself runs in the one that building the image makes.
FLOWS_ENV := .venv/.installed
LOCALPACH_ENV := localpach/.venv/.installed
MODEL_ENV := model/.venv/.installed
SUPPLY_ENV := tools/.venv/.installed
TOOLS := .venv/.tools localpach/.venv/.tools $(MODEL_ENV)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS ?= 180
# Trust whom this machine trusts, as pip does.
export UV_SYSTEM_CERTS ?= true
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export TF_CPP_MIN_LOG_LEVEL ?= 3
INSTALL := $(UV) pip install --quiet
BUILD := --no-deps --no-build-isolation
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-package prefect-pachyderm --custom-compile-command "make lock"
# Before a command that may say nothing for long; the sleeping one must not hold a pipe open once that has ended.
TELL := s=0; (while sleep 8 >/dev/null 2>&1; do s=$$((s + 8)); echo "… it goes on, $$s s"; done) & trap "kill $$!" EXIT;
# Most of a test's time is spent waiting for a server or a job.
TOGETHER := --numprocesses 2 --dist loadfile

.PHONY: help all run rerun input-data docker-build status verify up down clean model test test-slow coverage lint audit sbom mutants lock

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV): requirements-uv.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"Python {v[0]}.{v[1]} is not supported: install 3.11, 3.12 or 3.13 and say make PYTHON=python3.12")'
	@echo "Making the environments"
	@$(TELL) $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --require-hashes -r requirements-uv.txt
	@touch $@

$(FLOWS_ENV): $(UV) requirements.txt requirements-build.txt pyproject.toml prefect_pachyderm/pyproject.toml
	@echo "Installing what the flows need"
	@$(TELL) $(INSTALL) --python .venv --require-hashes -r requirements.txt -r requirements-build.txt && \
		$(INSTALL) --python .venv $(BUILD) --editable prefect_pachyderm --editable .
	@touch $@

$(LOCALPACH_ENV): $(UV) localpach/requirements.txt localpach/requirements-build.txt localpach/pyproject.toml $(wildcard localpach/src/localpach/proto/*.proto)
	@echo "Installing localpach"
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python localpach/.venv
	@$(TELL) $(INSTALL) --python localpach/.venv --require-hashes -r localpach/requirements.txt -r localpach/requirements-build.txt && \
		$(INSTALL) --python localpach/.venv $(BUILD) --editable localpach
	@ln -sf ../../localpach/.venv/bin/localpach $(BIN)/localpach
	@touch $@

$(MODEL_ENV): $(UV) model/requirements-dev.txt
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python model/.venv
	@$(INSTALL) --python model/.venv --require-hashes -r model/requirements-dev.txt
	@touch $@

$(SUPPLY_ENV): $(UV) tools/requirements.txt
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python tools/.venv
	@$(INSTALL) --python tools/.venv --require-hashes -r tools/requirements.txt
	@touch $@

.venv/.tools: $(FLOWS_ENV) requirements-dev.txt
	@$(INSTALL) --python .venv --require-hashes -r requirements-dev.txt
	@touch $@

localpach/.venv/.tools: $(LOCALPACH_ENV) localpach/requirements-dev.txt
	@$(INSTALL) --python localpach/.venv --require-hashes -r localpach/requirements-dev.txt
	@touch $@

all: run ## set up, train, write a script and print both results (MODEL= or MINUTES=, SOURCE=, MEMBERS=, SEED=)

run: $(FLOWS_ENV) $(LOCALPACH_ENV) ## run the train flow
	@python -m flows train

rerun: $(FLOWS_ENV) $(LOCALPACH_ENV) ## tear down and run again with the small model
	@python -m flows rerun

input-data: $(FLOWS_ENV) $(LOCALPACH_ENV) ## download the scripts and commit them to GoT_scripts
	@python -m flows input_data

docker-build: $(FLOWS_ENV) $(LOCALPACH_ENV) ## build the image that the pipelines run
	@python -m flows docker_build

status: $(FLOWS_ENV) $(LOCALPACH_ENV) ## list repos, commits and jobs
	@python -m tasks.status

verify: $(FLOWS_ENV) $(LOCALPACH_ENV) ## make results again from their provenance and compare the bytes (RESULTS=)
	@python -m tasks.verify $${RESULTS:+"$$RESULTS"}

up: export LOCALPACH_ROOT := $(or $(LOCALPACH_ROOT),$(CURDIR)/.localpach)
up: export SCRIPTWRIGHT_OUTPUT := $(or $(SCRIPTWRIGHT_OUTPUT),$(CURDIR)/output)
up: export PREFECT_SERVER_API_PORT ?= 4200
up: export REPORTS_PORT ?= 4201
up: export PAGE_PORT ?= 4202
up: export PREFECT_API_URL = http://127.0.0.1:$(PREFECT_SERVER_API_PORT)/api
# Of Prefect's two UIs this is the one that draws the artifacts' diagrams.
up: export PREFECT_UI_URL = http://127.0.0.1:$(PREFECT_SERVER_API_PORT)/v2
# Who has not logged in gets nothing, and pages of other origins not even that.
up: export PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED = true
up: export PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS = http://127.0.0.1:$(PREFECT_SERVER_API_PORT),http://localhost:$(PREFECT_SERVER_API_PORT)
up: export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT ?= false
# A run holds its turn by a lease; in the server's memory a restart would end it, and the run minutes later.
up: export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE ?= prefect.server.concurrency.lease_storage.filesystem
# What ends with all the rest is not started again by a run that is on its way out.
up: export LOCALPACH_START = false
# Where the reports are to be had; another address where they are looked at from another machine.
up: export SCRIPTWRIGHT_REPORTS_URL ?= http://127.0.0.1:$(REPORTS_PORT)
up: export SCRIPTWRIGHT_PAGE_URL ?= http://127.0.0.1:$(PAGE_PORT)
# In this terminal; runs have the whole of it in their logs.
up: export PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS ?= flows.console.OneLineHandler
# Of each run, in the worker's lines.
up: export SCRIPTWRIGHT_SIGN_OF_LIFE_SECONDS ?= 8
up: $(FLOWS_ENV) $(LOCALPACH_ENV) .prefect-login ## Prefect server, worker and localpach in the foreground
	@(umask 077 && mkdir -p "$$LOCALPACH_ROOT") && flock --nonblock "$$LOCALPACH_ROOT" true || \
		{ echo "make up is on already with the data in $$LOCALPACH_ROOT: end it with Ctrl-C, or set LOCALPACH_ROOT" >&2; exit 1; }
	@echo "Starting Prefect's server and worker, localpach and the reports"
	@login="$$(cat .prefect-login)" && PREFECT_API_AUTH_STRING="$$login" PREFECT_SERVER_API_AUTH_STRING="$$login" exec flock --nonblock --no-fork "$$LOCALPACH_ROOT" honcho start

.prefect-login: $(FLOWS_ENV)
	@umask 077 && python -c 'import secrets; print("scriptwright:" + secrets.token_urlsafe(32))' > $@.new && mv $@.new $@

down: $(FLOWS_ENV) $(LOCALPACH_ENV) ## stop the embedded Pachyderm
	@localpach stop --root="$${LOCALPACH_ROOT:-.localpach}"

clean: ## stop the embedded Pachyderm and delete its data, the results and the cache
	@root="$${LOCALPACH_ROOT:-.localpach}"; if localpach status --root="$$root" >/dev/null 2>&1; then localpach stop --root="$$root"; fi
	rm -rf -- "$${LOCALPACH_ROOT:-.localpach}" "$${SCRIPTWRIGHT_OUTPUT:-output}" "$${SCRIPTWRIGHT_CACHE:-.cache}"

model: $(MODEL_ENV) ## make the model's own environment, to train and write by hand: model/.venv/bin/python -m model.train

test: $(TOOLS) ## run the tests
	@cd localpach && .venv/bin/python -m pytest -m "not slow" $(TOGETHER)
	@model/.venv/bin/python -m pytest -m "not slow" $(TOGETHER) tests/model
	@cd prefect_pachyderm && python -m pytest -m "not slow" $(TOGETHER)
	@python -m pytest -m "not slow" $(TOGETHER) --ignore tests/model

test-slow: $(TOOLS) $(SUPPLY_ENV) ## run the slow tests
	@cd localpach && .venv/bin/python -m pytest -m slow $(TOGETHER)
	@model/.venv/bin/python -m pytest -m slow $(TOGETHER) tests/model
	@cd prefect_pachyderm && python -m pytest -m slow $(TOGETHER)
	@python -m pytest -m slow tests/docker
	@python -m pytest -m slow --ignore tests/docker --ignore tests/model $(TOGETHER) --no-loadscope-reorder

coverage: localpach/.venv/.tools ## which lines and branches of localpach no test reaches
	@cd localpach && .venv/bin/python -m pytest -m "not slow" $(TOGETHER) --cov --cov-report term-missing:skip-covered --cov-fail-under 95

lint: $(TOOLS) ## linters and type check
	@ruff check . && ruff format --check .
	@mypy
	@cd prefect_pachyderm && mypy
	@cd localpach && .venv/bin/mypy
	@mypy --config-file model/mypy.ini --python-executable model/.venv/bin/python

audit: $(SUPPLY_ENV) ## check that all is installed by its hash, and look for known vulnerabilities
	@python -m tools.audit

sbom: $(FLOWS_ENV) $(SUPPLY_ENV) ## write what each environment and the image are made of to sbom/, as CycloneDX
	@python -m tools.sbom sbom

mutants: $(TOOLS) ## change the code a little, many times, and see whether its tests notice
	@python tools/mutants.py

lock: $(UV) ## resolve the dependencies anew
	$(COMPILE) --upgrade pyproject.toml -o requirements.txt
	$(COMPILE) pyproject.toml --extra dev --constraints requirements.txt -o requirements-dev.txt
	$(COMPILE) --upgrade localpach/pyproject.toml -o localpach/requirements.txt
	$(COMPILE) localpach/pyproject.toml --extra dev --constraints localpach/requirements.txt -o localpach/requirements-dev.txt
	$(COMPILE) --upgrade --no-config --fork-strategy fewest model/requirements.in -o model/requirements.txt
	$(COMPILE) --no-config --fork-strategy fewest model/requirements-dev.in --constraints model/requirements.txt -o model/requirements-dev.txt
	printf '%s\n' setuptools grpcio-tools | $(COMPILE) --upgrade --constraints localpach/requirements.txt - -o localpach/requirements-build.txt
	$(COMPILE) --upgrade --no-config --fork-strategy fewest benchmarks/requirements.in --constraints model/requirements.txt -o benchmarks/requirements.txt
	printf '%s\n' cyclonedx-bom pip-audit | $(COMPILE) --upgrade - -o tools/requirements.txt
	echo setuptools | $(COMPILE) --upgrade - -o requirements-build.txt
	echo uv | $(COMPILE) --upgrade - -o requirements-uv.txt
