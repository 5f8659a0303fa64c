# Two commands: `make demo` (see it work) and `make test` (prove that it does). Both install what they need.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
OPENID := tests/openid/node_modules/.package-lock.json

.PHONY: help demo test screenshots revocation reloads schemathesis openapi-documents check lint types imports format lock bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/run.stamp ## the gateway with a sample upstream, a token and curl lines; Ctrl-C ends it
	@exec $(BIN)/python -m gateway demo

test: .venv/dev.stamp .venv/system.stamp $(OPENID) ## every test, three files at a time
	@$(BIN)/python -m pytest -n 3 --dist loadfile tests

screenshots: .venv/dev.stamp .venv/system.stamp ## pictures of every page into docs/images, as the browser of the tests sees them
	@SCREENSHOTS=1 $(BIN)/python -m pytest tests/browser/test_screenshots.py

revocation: .venv/dev.stamp ## 200 ends of tokens on three nodes, under load and at rest, with their figures (REVOKES=N: so many)
	@REVOKES=$(or $(REVOKES),200) $(BIN)/python -m pytest -s --timeout 1800 tests/fault/test_revocation_on_nodes.py -k once_an_end_is_answered

reloads: .venv/dev.stamp ## a hundred policies swapped in under load, with figures (RELOADS=N: so many)
	@RELOADS=$(or $(RELOADS),100) $(BIN)/python -m pytest -s --timeout 1800 tests/fault/test_reload_under_load.py -k misjudge

schemathesis: .venv/dev.stamp ## the management API against its description, for longer than the tests do (EXAMPLES=N a call, SEED=N)
	@SCHEMATHESIS_EXAMPLES=$(or $(EXAMPLES),1000) SCHEMATHESIS_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -s tests/flow/test_management_schemathesis.py

openapi-documents: .venv/dev.stamp ## GitHub's, Kubernetes' and Stripe's OpenAPI documents, fetched once, through import, check and coverage, with time and memory
	@$(BIN)/python -m tests.openapi.documents

check: lint types imports ## linter, formatter, strict types, import contract

lint: .venv/dev.stamp
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/dev.stamp
	@$(BIN)/mypy

imports: .venv/dev.stamp
	@$(BIN)/lint-imports

format: .venv/dev.stamp ## let the formatter and the linter mend what they can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: .venv/dev.stamp ## every gateway in turn, one core each (docs/bench.md); installs nginx, HAProxy, Envoy …
	@sh bench/install $(BIN)/python
	@$(BIN)/python -m bench && $(BIN)/python -m bench.footprint && $(BIN)/python -m bench.summary

lock: .venv/run.stamp ## write the locks anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml $(LOCK) -o requirements/run.txt
	@$(BIN)/uv pip compile pyproject.toml $(LOCK) --extra oidc -o requirements/oidc.txt
	@$(BIN)/uv pip compile pyproject.toml $(LOCK) --extra oidc --group dev -o requirements/dev.txt
	@sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(BIN)/uv pip compile - $(LOCK) -o requirements/build.txt
	@$(BIN)/uv pip compile requirements/bench.in $(LOCK) -o requirements/bench.txt

clean: ## remove the virtual environment and what tests and tools left
	rm -rf .venv tests/openid/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .cache dist data

LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

.venv/run.stamp: requirements/run.txt requirements/uv.txt requirements/install
	@sh requirements/install $(PYTHON) requirements/run.txt
	@touch $@

# The tests' packages contain the runtime's: both stamps are set, so that `make demo` afterwards removes nothing.
.venv/dev.stamp: requirements/dev.txt requirements/run.txt requirements/uv.txt requirements/install
	@sh requirements/install $(PYTHON) requirements/dev.txt
	@touch .venv/run.stamp $@

# The OpenID provider that people sign in with in the tests. npm writes this file last.
$(OPENID): tests/openid/package-lock.json requirements/install-npm .venv/dev.stamp
	@sh requirements/install-npm tests/openid
	@touch $@

# What tests drive from outside: a Redis with TLS, openssl, systemd's checker of units, setpriv.
.venv/system.stamp: requirements/system-test requirements/install-system .venv/dev.stamp
	@sh requirements/install-system requirements/system-test
	@touch $@
