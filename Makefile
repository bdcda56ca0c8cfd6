# Every target does its own set-up: it needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# How long `make verify` goes on with the service under load, with seeds of the simulation, and with fuzzing.
ENDURANCE_SECONDS ?= 600
SIMULATION_SECONDS ?= 600
FUZZ_SECONDS ?= 600

# Containers often set it; then each of the hundreds of processes that the tests start would compile all of it again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test verify mutants mutmut simulate sweep check bench lock clean

demo: $(READY)  ## run the main job: 12 s of load, three SIGKILLs, every output compared
	$(BIN)/actorstream demo

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

verify: $(READY)  ## what takes too long for `make test`: more seeds, bugs put in, ten minutes under load, 200 SIGKILLs
	SIMULATION_SECONDS=$(SIMULATION_SECONDS) $(BIN)/python -m pytest -n 2 --dist worksteal tests/simulation
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -n 2 --dist worksteal tests/fuzz
	$(BIN)/python -m pytest -n 2 --dist worksteal -m mutants tests/mutations
	$(BIN)/python -m pytest -m verify tests/bounds
	$(BIN)/python -m pytest -n 2 --dist worksteal -m verify tests/faults/test_cancellation.py -k fail_inside
	$(BIN)/python -m pytest -n 2 --dist worksteal -m verify tests/evolve/test_promotion_faults.py
	ENDURANCE_SECONDS=$(ENDURANCE_SECONDS) $(BIN)/python -m pytest -m endurance
	$(BIN)/python -m pytest -m kills

mutants: $(READY)  ## bugs put into the real code, one at a time: by what each is found, after how many tries
	$(BIN)/python -m pytest -n 2 --dist worksteal -m mutants tests/mutations

mutmut:  ## ordinary mutation testing of ROOM by TESTS, every EVERY-th mutant: 44 minutes for the largest room
	.ci/mutmut $(or $(ROOM),operators/windows) $(or $(TESTS),tests/operators/windows) $(or $(EVERY),1)

simulate: $(READY)  ## random topologies for SECONDS: seeds, crash-recoveries an hour, a line for each failure
	$(BIN)/python -m tests.simulation $(or $(SECONDS),60)

sweep: $(READY)  ## sweeps without gaps, for hours: every byte of a store flipped, every system call failed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m verify

check: $(READY)  ## formatting, lint, types, layers, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --warnings
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(READY)  ## measure cost, latency, state, log, unaligned checkpoints and rescale: tables, and the plots in docs/plots
	$(BIN)/python -m benchmarks cost
	$(BIN)/python -m benchmarks operators
	$(BIN)/python -m benchmarks files
	$(BIN)/python -m benchmarks async
	$(BIN)/python -m benchmarks latency --plot docs/plots/latency.svg
	$(BIN)/python -m benchmarks state --largest 10000000 --plot docs/plots/restart.svg
	$(BIN)/python -m benchmarks state --only stalls --calm
	$(BIN)/python -m benchmarks log
	$(BIN)/python -m benchmarks unaligned
	$(BIN)/python -m benchmarks rescale --largest 10000000 --plot docs/plots/rescale.svg

lock:  ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --no-annotate --no-header -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "actorstream needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
