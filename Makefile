# make demo: score a real MR slice, undersampled more and more.   make test: run the tests, but for the slow ones.
# Both create the environment first if it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests in as many processes as there are cores, eight at most, each with one thread; files stay together.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses logical --maxprocesses 8 --dist loadfile

.PHONY: demo test test-end-to-end test-all check gpu-check notebooks docs dist lock container-check release-check clean

demo: $(VENV)/ready
	$(BIN)/mriqf demo --out demo_out --force

test: $(VENV)/ready
	$(PYTEST) -m 'not end_to_end'

# Whole commands, trainings and processes.
test-end-to-end: $(VENV)/ready
	$(PYTEST) -m end_to_end

test-all: test test-end-to-end

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Results of a GPU against those of the CPU, and its speed, in at most 8 minutes; without a GPU, a rehearsal.
gpu-check: $(VENV)/ready
	timeout 480 $(BIN)/python -m benchmarks.gpu

notebooks: $(VENV)/ready
	$(BIN)/python notebooks/run.py

docs: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/failures.py
	$(BIN)/python docs/pages.py
	$(BIN)/python docs/browser.py
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs

# The same commit gives the same bytes.
dist: $(VENV)/ready
	$(BIN)/python -m build --no-isolation --outdir dist

# Versions and checksums of all that a container installs, but for torch, whose build is chosen there and brings its own
# packages of CUDA.
lock: $(VENV)/ready
	mkdir -p build
	$(BIN)/python -m pip install --quiet 'uv>=0.5'
	$(BIN)/uv pip compile --quiet pyproject.toml --extra bids --extra cluster --extra dicom --extra recon \
		--constraint constraints.txt --python-version 3.11 --python-platform x86_64-manylinux_2_28 --generate-hashes \
		--no-header --no-annotate --no-emit-package torch --upgrade --output-file build/lock.txt
	awk '/^[a-z]/ { ours = !/^(cuda|nvidia|triton)/ } ours' build/lock.txt > container/requirements.txt

# The steps of the containers in an empty prefix, and scores without a network.
container-check: $(VENV)/ready
	rm -rf build/container
	$(BIN)/python -m build --no-isolation --wheel --outdir build/container
	container/install.sh build/container/prefix build/container/*.whl ''
	container/check.sh build/container/prefix

# What a release must pass; publishes nothing.
release-check: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[release]'
	$(BIN)/python release/check.py

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	$(BIN)/python -m pip install --quiet --no-deps 'fastmri>=0.3'
	touch $@

clean:
	rm -rf $(VENV) demo_out build dist docs/generated
