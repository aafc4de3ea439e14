# Every target sets up its own virtual environment: all that is needed is Python 3.11 or newer, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

SECONDS ?=
SUMMARY ?=
DEMO_FLAGS := $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SUMMARY),--summary $(SUMMARY))

.PHONY: help demo test bench drill chaos soak lint generate format lock clean

help:
	@echo "make demo [SECONDS=30] [SUMMARY=out.json]  run the whole chain on this machine"
	@echo "make test                                  run all tests"
	@echo "make bench [ONLY='throughput latency']      measure the service on this machine"
	@echo "make drill [SUMMARY=out.json]              measure patterns of high availability by real faults"
	@echo "make chaos [KILLS=100] [SUMMARY=out.json]  kill real services at random under load"
	@echo "make soak                                  simulate crashes and faults until told to stop"
	@echo "make lint                                  format, lint and type checks"
	@echo "make format                                format the code"
	@echo "make generate                              write what is made from the settings and the chart's values"
	@echo "make lock                                  resolve the dependencies anew"

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(STAMP)
	@exec $(BIN)/sandbox demo $(DEMO_FLAGS)

test: $(STAMP)
	$(BIN)/pytest

ROUNDS ?= 3
ONLY ?=

bench: $(STAMP)
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY))

KILLS ?= 100
REDIS_RESTARTS ?= 0

chaos: $(STAMP)
	@exec $(BIN)/sandbox chaos --kills $(KILLS) --redis-restarts $(REDIS_RESTARTS) $(if $(SUMMARY),--summary $(SUMMARY))

SCALE ?= 20
CHART ?=

drill: $(STAMP)
	@exec $(BIN)/sandbox drill --scale $(SCALE) $(if $(SUMMARY),--summary $(SUMMARY)) $(if $(CHART),--chart $(CHART))

soak: $(STAMP)
	$(BIN)/python -m tests.simulation.simulate

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

generate: $(STAMP)
	$(BIN)/python -m tools.generate

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One resolution for all: the smaller locks may only choose what the development lock chose.
lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	cd requirements && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --upgrade --all-extras ../pyproject.toml -o dev.txt
	cd requirements && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-annotate --upgrade build.in -o build.txt
	cd requirements && for name in service edge sandbox; do \
		../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
			--no-emit-index-url --no-annotate --extra $$name -c dev.txt ../pyproject.toml -o $$name.txt; \
	done

clean:
	rm -rf $(VENV) build dist *.egg-info tests/node/node_modules
