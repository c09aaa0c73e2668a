# make demo, make test: each sets up what it needs, once. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
WHEELS := --require-hashes --only-binary :all:
FROM_SOURCE := --build-constraints containers/build.lock $(addprefix --no-binary ,ffcv assertpy fastargs pyturbojpeg)
COMPILE := $(UV) pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url --custom-compile-command 'make lock'
STAMP := $(VENV)/.ready

.PHONY: help setup setup-ffcv demo demo-data test test-fast test-cluster test-long lint types docs mutate lock audit clean
.DEFAULT_GOAL := help

help:           ## this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# No root, no compiler: wheels, every one of them pinned by its hash. A source package is built by what it names itself,
# which no lock pins: so only those few are taken that have no wheel, and are built by the setuptools of build.lock.
# Bytecode is made now, not in the first process that may write it: an import of torch takes 1.5 s with it and 3.1 s without.
setup: $(STAMP) ## .venv and dependencies, without root (done once; the other targets call it)

$(STAMP): containers/requirements.lock containers/uv.lock containers/build.lock pyproject.toml
	@echo "setting up $(VENV): some 7 GB, most of it PyTorch with CUDA"
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet $(WHEELS) -r containers/uv.lock
	$(UV) pip install --compile-bytecode --no-deps $(WHEELS) $(FROM_SOURCE) \
	  --python $(PY) -r containers/requirements.lock
	$(UV) pip install --quiet --python $(PY) --no-deps --build-constraints containers/build.lock -e .
	touch $(STAMP)

setup-ffcv: setup ## FFCV beside it, compiled from its source: needs root for Debian's headers (`make test` calls it)
	@$(PY) -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("ffcv"))' || { \
	  containers/install-system.sh containers/apt-packages.txt && $(UV) pip install --no-deps $(WHEELS) \
	  $(FROM_SOURCE) --python $(PY) -r containers/ffcv.lock; }

demo: setup     ## two small datasets, forty small nets on each, a verdict: minutes on two cores
	@test -f data/demo-shapes/dataset.json || $(MAKE) --no-print-directory demo-data
	$(PY) -m toolkit.anynet sample 40 --flops 14e6 60e6 --depth 6 --out data/demo-nets.json
	$(PY) -m toolkit.launch --population data/demo-nets.json --dataset demo-textures demo-shapes \
	  --recipe demo --study demo --executor local
	$(PY) -m toolkit.status demo
	$(PY) -m toolkit.report demo --out report/demo

demo-data: setup
	$(PY) -m data_prep.synthetic --classes 8 --train 768 --size 20

# Three workers on two cores: tests of a cluster mostly wait.
test: setup-ffcv ## all tests but the long ones (what CI runs), fast ones first
	containers/install-system.sh tests/apt-packages.txt
	$(PY) -m pytest -m "not long" -n 3 --dist loadgroup --no-loadscope-reorder --durations 40

test-fast: setup ## the quick tests, which need neither Slurm nor a container nor FFCV: while one writes code
	$(PY) -m pytest -m "not slow and not long and not cluster" -x -q -n 2 --dist worksteal

test-cluster: setup-ffcv ## the long fault run on the one-machine Slurm
	containers/install-system.sh tests/apt-packages.txt
	$(PY) -m pytest -m "long and cluster" -v -s

test-long: setup-ffcv ## the long tests that need no cluster
	$(PY) -m pytest -m "long and not cluster" -v

lint: setup     ## ruff, and import-linter: imports point one way
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

types: setup    ## mypy, strict
	$(VENV)/bin/mypy

docs: setup     ## the docs site, into build/site; a link that leads nowhere is an error
	@test -x $(VENV)/docs/bin/mkdocs || { $(UV) venv --quiet --python $(PY) $(VENV)/docs && \
	  $(UV) pip install --quiet $(WHEELS) --python $(VENV)/docs -r containers/docs.lock; }
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --quiet --strict

# mutmut has a folder of its own: its libraries are none of the project's.
mutate: setup   ## ROOM=stats|study|planning|launching|imagefile: break its code here and there; what do its tests miss?
	$(UV) pip install --quiet --no-deps $(WHEELS) --python $(PY) --target $(VENV)/mutmut -r containers/mutate.lock
	MUTMUT=$(CURDIR)/$(VENV)/mutmut $(PY) -m tests.mutate $(ROOM) --sample $(or $(SAMPLE),80) --seed $(or $(SEED),0)

lock:           ## pin all dependencies, with hashes: for setup, for FFCV, for building, for the image
	$(COMPILE) --extra train --extra imagenot --extra ocr --extra s3 --extra tensorboard --extra dev --overrides containers/overrides.txt pyproject.toml \
	  -o containers/requirements.lock
	$(COMPILE) --extra ffcv --constraints containers/requirements.lock --overrides containers/overrides.txt \
	  pyproject.toml -o containers/ffcv.lock
	$(COMPILE) --extra train --extra imagenot --extra ffcv --no-annotate --constraints containers/requirements.lock \
	  --constraints containers/ffcv.lock --overrides containers/overrides.txt \
	  --overrides containers/image-overrides.txt pyproject.toml -o containers/image.lock
	echo setuptools | $(COMPILE) --constraints containers/requirements.lock - -o containers/build.lock
	echo uv | $(COMPILE) - -o containers/uv.lock
	printf 'cyclonedx-bom\npip-audit\n' | $(COMPILE) - -o containers/tools.lock
	printf 'mkdocs-material\nmkdocstrings[python]\n' | $(COMPILE) - -o containers/docs.lock
	echo mutmut | $(COMPILE) --constraints containers/requirements.lock - -o containers/mutate.lock

audit: setup    ## known weaknesses of what setup and the image install (asks the package index for its advisories)
	$(UV) venv --quiet --clear --python $(PY) $(VENV)/tools
	$(UV) pip install --quiet $(WHEELS) --python $(VENV)/tools -r containers/tools.lock
	for lock in requirements ffcv image build uv tools docs mutate; do \
	  $(VENV)/tools/bin/pip-audit --disable-pip --require-hashes -r containers/$$lock.lock || status=1; done; exit $${status:-0}

clean:          ## remove what setup and demo made
	rm -rf $(VENV) data/demo-* runs/demo report/demo
