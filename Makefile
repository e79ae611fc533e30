# make test   set up .venv and run the tests
# make demo   set up .venv and run the main job on the shipped mini corpus
# make lint   set up .venv and check style and types
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

# Else every process would compile anew what set-up leaves to the first import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: test demo lint setup clean

# A worker a core, each of one thread.
test: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto

demo: $(READY)
	$(VENV)/bin/merginguriel demo

lint: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

setup: $(READY)

# The lock pins versions that were tested together; without it pip may fetch another torch. What is used is compiled when
# it is first imported, which is a fraction of all that is installed.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) demo
