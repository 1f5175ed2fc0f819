# Two commands on a fresh machine (Python 3.11 or newer, pip, git, make; nothing else):
#   make reproduce    everything from nothing to the report
#   make test         the tests
# Another interpreter: make reproduce PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched when the environment is complete; redone when the pins or the module's own metadata change.
READY := $(VENV)/.ready
# Another build of PyTorch than the lock's, such as TORCH=cpu: what uv's --torch-backend knows. A later call keeps it.
TORCH ?= $(shell cat $(VENV)/.torch 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup reproduce lab check test test-all publish readme lock clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | while IFS="$$(printf '\t')" read -r name text; \
	  do printf '  make %-10s %s\n' "$$name" "$$text"; done

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11: name a newer one, such as make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# uv installs the lock in seconds where pip takes minutes. Compiling takes a minute once; without it, and with
	@# PYTHONDONTWRITEBYTECODE set, every notebook's kernel would spend half a minute compiling what it imports.
	$(BIN)/python -m pip install --quiet uv
	@# Another build of PyTorch brings its own CUDA libraries, or none: those of the lock are left out.
	@grep -vE "$(if $(TORCH),^(cuda|nvidia|triton)-?,^$$)" requirements.lock > $(VENV)/requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode $(TORCH:%=--torch-backend %) \
	  --requirement $(VENV)/requirements.lock
	@# the build tool is in the lock: nothing else is fetched
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@# librosa compiles its inner loops on first use: here, by one process, instead of in the first notebook
	$(BIN)/python -c 'from ser_utils import audio; audio.load_librosa()'
	@$(if $(TORCH),$(BIN)/python -c 'import torch; import torchaudio' && echo $(TORCH) > $(VENV)/.torch)
	@touch $@

setup: $(READY) ## Create .venv with all pinned packages and the module (TORCH=cpu: PyTorch without CUDA)

reproduce: $(READY) ## Install what is needed, run all notebooks on the demo corpus, say where the report is
	$(BIN)/ser run

lab: $(READY) ## Open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks/

# A worker that dies fails the tests and is not replaced: xdist's scheduler then waits for ever now and then
# (https://github.com/pytest-dev/pytest-xdist/issues/1378).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

# A test that hangs says where, and fails; the longest takes four minutes.
test: $(READY) ## Install what is needed, run the tests (all but the slow ones)
	$(PYTEST) -m "not slow" -o faulthandler_timeout=1200 -o faulthandler_exit_on_timeout=true

test-all: $(READY) ## Run all tests, the slow ones too (ONLY="-m browser" or ONLY=tests/test_audio.py: just those)
	$(PYTEST) $(ONLY)

# Unit tests and style: what a commit is checked with. Left out are the notebooks, clusters and whatever is slow.
check: $(READY) ## Style, types and the quick tests, in under two minutes
	$(BIN)/ruff check ser_utils tests tools notebooks
	$(BIN)/mypy
	$(PYTEST) -m "not slow and not browser and not cluster and not long" --ignore=tests/notebooks/test_notebooks.py

publish: $(READY) ## Copy scores and chosen figures of the last run into figures/ (CORPUS=demo)
	$(BIN)/python tools/publish.py $(or $(CORPUS),demo)

readme: $(READY) ## Put the results of figures/*/scores.csv into README.md
	$(BIN)/python tools/readme_tables.py

# Versions already pinned stay; `make lock UPGRADE=--upgrade` moves them. --universal: one file for every platform
# and Python from 3.11 on. No index or host is written into the file.
lock: ## Compile requirements.lock from pyproject.toml (UPGRADE=--upgrade for newer versions)
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 $(UPGRADE) \
	  --quiet --no-emit-index-url --no-annotate --no-header --output-file requirements.lock

clean: ## Remove what runs made, save .venv and downloaded corpora
	rm -rf data/processed data/interim reports build .pytest_cache .ruff_cache
	find ser_utils tests -name __pycache__ -type d -prune -exec rm -rf {} +
