# make demo: score a real MR slice, undersampled more and more.   make test: run the tests.
# Both create the environment first if it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check notebooks docs dist clean

demo: $(VENV)/ready
	$(BIN)/mriqf demo --out demo_out --force

test: $(VENV)/ready
	$(BIN)/python -m pytest -q

check: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

notebooks: $(VENV)/ready
	$(BIN)/python notebooks/run.py

docs: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/failures.py
	$(BIN)/python docs/pages.py
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs

# The same commit gives the same bytes.
dist: $(VENV)/ready
	$(BIN)/python -m build --no-isolation --outdir dist

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

clean:
	rm -rf $(VENV) demo_out build dist docs/generated
