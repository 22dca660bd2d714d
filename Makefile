# Everything a fresh machine needs is Python >= 3.10 and make; the rest goes into .venv, from the package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pip leaves a half-made environment when it is interrupted: only the stamp says that it is whole.
STAMP := $(VENV)/.installed
# The pip that comes with Python 3.10 to 3.13 knows no dependency groups: they came with 25.1.
PIP := pip>=25.1,<27
EXTRAS := video,heic,onnx,openvino,grounded-sam,ray

# The tests' worker processes: one more than there are cores, as some tests wait, and at most 4. Each may take 3 GB.
WORKERS := $(shell n=$$(($$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)); [ $$n -gt 4 ] && n=4; echo $$n)
# One thread: the tests' tensors are small, and idle threads that spin only take turns away from each other. A file's
# tests stay in one process, which makes what they share once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test check lint docs clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; set PYTHON=…")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(PIP)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable '.[$(EXTRAS)]'
	touch $@

demo: $(STAMP)
	$(BIN)/autodistill-seg demo --output runs/demo --resume

test: $(STAMP)
	$(PYTEST)

# What needs no training, browser, or seconds for one test.
check: lint
	$(PYTEST) -m "not train and not browser and not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The searchable pages, in build/docs. No network is needed; a warning is an error.
docs: $(STAMP)
	$(BIN)/python docs/generate_reference.py
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
