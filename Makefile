# make demo, make test: each sets up what it needs, once. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready

.PHONY: help setup demo demo-data test test-fast test-cluster test-long lint types lock clean
.DEFAULT_GOAL := help

help:           ## this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Bytecode now, not in the first process that may write it: an import of torch takes 1.5 s with it and 3.1 s without.
setup: $(STAMP) ## system packages, .venv and dependencies (done once; the other targets call it)

$(STAMP): containers/requirements.lock pyproject.toml containers/install-system.sh containers/apt-packages.txt
	containers/install-system.sh containers/apt-packages.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet uv
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --no-deps --python $(PY) -r containers/requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps -e .
	touch $(STAMP)

demo: setup     ## two small datasets, ten nets on each, a report: minutes on two cores
	@test -f data/demo-shapes/dataset.json || $(MAKE) --no-print-directory demo-data
	$(PY) -m toolkit.launch --array 0-7 --models torchvision/shufflenet_v2_x1_0 timm/test_efficientnet_gn \
	  --dataset demo-textures demo-shapes --recipe quick --study demo --executor local
	$(PY) -m toolkit.status demo
	$(PY) -m toolkit.report demo --out report/demo

demo-data: setup
	$(PY) -m data_prep.synthetic

test: setup     ## all tests but the long ones (what CI runs), fast ones first
	containers/install-system.sh tests/apt-packages.txt
	$(PY) -m pytest -m "not long"

test-fast: setup ## the tests that need neither Slurm nor a container
	$(PY) -m pytest -m "not long and not cluster" -x -q

test-cluster: setup ## the long fault run on the one-machine Slurm
	containers/install-system.sh tests/apt-packages.txt
	$(PY) -m pytest -m "long and cluster" -v

test-long: setup ## the long tests that need no cluster
	$(PY) -m pytest -m "long and not cluster" -v

lint: setup     ## ruff
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: setup    ## mypy, strict
	$(VENV)/bin/mypy

lock:           ## pin all dependencies, with hashes, for setup (requirements.lock) and for the image (image.lock)
	$(VENV)/bin/uv pip compile -q --generate-hashes --all-extras --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command 'make lock' --overrides containers/overrides.txt pyproject.toml -o containers/requirements.lock
	$(VENV)/bin/uv pip compile -q --generate-hashes --extra train --extra imagenot --python-version 3.11 \
	  --no-emit-index-url --no-annotate --custom-compile-command 'make lock' --constraints containers/requirements.lock \
	  --overrides containers/overrides.txt --overrides containers/image-overrides.txt pyproject.toml -o containers/image.lock

clean:          ## remove what setup and demo made
	rm -rf $(VENV) data/demo-* runs/demo
