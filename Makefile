# Every target sets up its own virtual environment: all that is needed is Python 3.11 or newer, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NATIVE := dedup_service/adapters/eventhubs/below_sdk/native.c

# What a target takes from the command line, as in `make demo SECONDS=30`.
SECONDS ?=
SUMMARY ?=
ONLY ?=
ROUNDS ?= 3
KILLS ?= 100
REDIS_RESTARTS ?= 0
REDIS_FAILOVERS ?= 0
SCALE ?= 20
CHART ?=

DEMO_FLAGS := $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SUMMARY),--summary $(SUMMARY))
# `unit` and `unit/service/test_x.py::test_y` are below tests/; anything else is a path or node id as pytest takes it.
TESTS = $(foreach name,$(ONLY),$(if $(wildcard tests/$(firstword $(subst ::, ,$(name)))),tests/$(name),$(name)))

NOT_INSTALLED = pip could not install the packages. If it says CERTIFICATE_VERIFY_FAILED, this network has an authority of its \
	own: add it to the system's trust store, or name its PEM file in PIP_CERT.

.DEFAULT_GOAL := help
.PHONY: help demo test picture bench scale drill chaos soak lint rooms azure generate format lock clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1#/p' $(firstword $(MAKEFILE_LIST)) | while IFS='#' read -r target text; do \
		printf 'make %-9s %s\n' "$$target" "$$text"; \
	done

$(STAMP): requirements/dev.txt pyproject.toml setup.py $(NATIVE)
	@echo "Installing what this needs into $(VENV); the first time, that takes some minutes."
	@$(PYTHON) -m venv $(VENV)
	@export PIP_CERT="$$($(BIN)/python tools/authorities.py)" PIP_DISABLE_PIP_VERSION_CHECK=1 && \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt && \
		$(BIN)/python -m pip install --quiet --no-deps --editable . || { echo "$(NOT_INSTALLED)" >&2; exit 1; }
	@touch $@

demo: $(STAMP) ## run the whole chain on this machine [SECONDS=30] [SUMMARY=out.json]
	@exec $(BIN)/sandbox demo $(DEMO_FLAGS)

test: $(STAMP) ## run all tests, or some folders and node ids [ONLY='unit contract/test_leases.py']
	$(BIN)/pytest $(TESTS)

picture: $(STAMP) ## renew docs/dashboard.png, which shows the demo while an edge is down
	RENEW_PICTURE=1 $(BIN)/pytest -n 0 tests/web/test_demo_dashboard.py

bench: $(STAMP) ## measure the service on this machine [ONLY='throughput latency'] [ROUNDS=3]
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY))

scale: $(STAMP) ## count what pods ask of Redis and the blobs without any reading, and of the hubs at their first start
	$(BIN)/python -m benchmarks.scale

drill: $(STAMP) ## measure patterns of high availability under real faults [SUMMARY=out.json] [CHART=out.svg] [SCALE=20]
	@exec $(BIN)/sandbox drill --scale $(SCALE) $(if $(SUMMARY),--summary $(SUMMARY)) $(if $(CHART),--chart $(CHART))

chaos: $(STAMP) ## kill real services at random under load [KILLS=100] [REDIS_RESTARTS=0] [REDIS_FAILOVERS=0] [SUMMARY=out.json]
	@exec $(BIN)/sandbox chaos --kills $(KILLS) --redis-restarts $(REDIS_RESTARTS) --redis-failovers $(REDIS_FAILOVERS) \
		$(if $(SUMMARY),--summary $(SUMMARY))

soak: $(STAMP) ## the SDK's live tests on the stand-in, hostile messages for ten minutes, then simulated crashes until told to stop
	$(BIN)/python -m tests.sdk.live_tests
	$(BIN)/pytest --hypothesis-profile=soak tests/property/test_formats.py tests/property/test_cut_messages.py
	$(BIN)/python -m tests.simulation.simulate

lint: $(STAMP) ## check format, lint rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

rooms: $(STAMP) ## print which part of the code imports which, and any import against the order
	$(BIN)/python -m tools.rooms

azure: $(STAMP) ## compare deploy/azure with what Microsoft publishes of its resources (downloads 6 MB)
	@PIP_CERT="$$($(BIN)/python tools/authorities.py)" $(BIN)/python -m tools.azure_types

generate: $(STAMP) ## write the files that are made from the settings and the chart's values
	$(BIN)/python -m tools.generate

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One resolution for all: the smaller locks may only choose what the development lock chose.
lock: $(STAMP) ## resolve the dependencies again
	$(BIN)/python -m pip install --quiet uv
	cd requirements && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --upgrade --all-extras ../pyproject.toml -o dev.txt
	cd requirements && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --upgrade build.in -o build.txt
	cd requirements && for name in service edge sandbox; do \
		../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-annotate --extra $$name -c dev.txt ../pyproject.toml -o $$name.txt; \
	done

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info tests/node/node_modules examples/javascript/node_modules
