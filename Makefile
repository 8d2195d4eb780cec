# demo and test need Python >= 3.11, make and a package index, nothing else: each makes its own .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# make bench BENCHES=benchmarks/bench_step.py BENCH_NAME=step: some benchmarks alone.
BENCHES ?= benchmarks
BENCH_NAME ?= latest
METHODS ?= ridge vanilla embedder_warmup orca mona
# Tests and the demo run in as many processes as there are cores (the demo in at most four), each with one thread: two
# cells side by side take less time than one after the other with two threads.
ONE_THREAD = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
JOBS ?= $(shell cores=$$(nproc 2>/dev/null || echo 2); echo $$((cores < 4 ? cores : 4)))

.PHONY: demo test test-fast lint bench fuzz install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): some 6 GB with torch, which takes minutes and says nothing meanwhile."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(ONE_THREAD) $(BIN)/python -m bench run --suite quick --methods $(METHODS) --probe --results-dir results/demo \
		--executor local --jobs $(JOBS)
	$(BIN)/python -m bench report --results-dir results/demo --out reports/demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses auto --dist loadgroup --durations 20

# While working: everything but what is marked slow (pyproject.toml says what that is) and what starts Slurm.
test-fast: install
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses auto --dist loadgroup -m 'not slow and not slurm'

bench: install
	$(ONE_THREAD) $(BIN)/python -m pytest $(BENCHES) --benchmark-only --benchmark-columns=median,min,max,rounds \
		--benchmark-json=benchmarks/results/$(BENCH_NAME).json

# Random files against the readers, each in a process of its own, and against every verb that reads a store; the tests
# run fewer of the same.
fuzz: install
	$(BIN)/python -m tests.fuzz_pickles 10000
	$(BIN)/python -m tests.fuzz_files 2000
	$(BIN)/python -m tests.fuzz_records 5000

clean:
	rm -rf $(VENV) build
