# `make demo` and `make test` need Python 3.11 or newer and nothing else: they make .venv and install into it what they use.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# CI measures branch coverage as well, and fails below the limit in pyproject.toml.
COVERAGE := $(if $(CI),--cov --cov-report=term:skip-covered)

# Of the slow tests CI runs a part each day; TURN is the number of another part.
TURN ?= today
PYTEST = $(BIN)/python -m pytest -q -n auto --dist worksteal --durations=40 --durations-min=1

# `make gpu` installs nothing: it takes a Python that has torch for the GPU and triton.
GPU_PYTHON ?= python3

.PHONY: help demo gallery docs test test-all attack lint form types pytest format bench gpu clean

help:
	@echo "make demo      train LeNet on the digits that come with netc, and compare fused with unfused"
	@echo "make gallery   run the examples and write their figures into examples/README.md; ARGS='--full lenet'"
	@echo "make docs      the documentation as a site, in build/site"
	@echo "make test      ruff, mypy --strict, and every test that takes under ten seconds"
	@echo "make test-all  the same with the slow tests"
	@echo "make attack    hostile files, random nets and faults of the machine, for SECONDS=600 (docs/reliability.md)"
	@echo "make lint      ruff and mypy only"
	@echo "make format    put the Python files in form"
	@echo "make bench     netc beside PyTorch, and fused beside unfused (benchmarks/)"
	@echo "make gpu       on a machine with a GPU: its tests, and netc beside PyTorch; GPU_PYTHON, OUT, ARGS (docs/gpu.md)"

demo: .venv/base
	$(BIN)/python examples/demo.py

gallery: .venv/base
	$(BIN)/python examples/gallery.py $(ARGS)

docs: .venv/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

# mypy has one process only, and takes a minute in a fresh checkout: it runs beside the tests.
test: TESTS = $(if $(CI),--turn $(TURN),-m "not slow")
test test-all: form
	@$(MAKE) --no-print-directory --jobs=2 types pytest TESTS='$(TESTS)'

pytest: .venv/test
	$(PYTEST) $(TESTS) $(COVERAGE)

# A fault that is found is made small, and kept in tests/attack/corpus.
SECONDS ?= 600
attack: .venv/test
	PYTHONPATH=tests $(BIN)/python -m attack --seconds $(SECONDS) $(ARGS)

lint: form types

form: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/test
	$(BIN)/mypy --strict netc tests

format: .venv/test
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: .venv/test
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/fusion.py

gpu:
	$(GPU_PYTHON) benchmarks/gpu.py $(if $(OUT),-o $(OUT)) $(ARGS)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

# A stamp file stands for each state of the environment, so that a second call installs nothing.
.venv/made:
	$(PYTHON) -m venv .venv
	@touch $@

.venv/base: .venv/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/test: .venv/made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ .venv/base
