# make lab · make run · make test — each makes .venv and installs what it needs on first use
PYTHON ?= python3
# two processes that share the cores wait asleep, not spinning: torch was four times as fast so (alone it is slower, by
# half where steps are short, so `bench` does without)
export OMP_WAIT_POLICY ?= passive
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COLAB := .overlays/colab
OLD_KERNEL := .overlays/ipykernel6
AXE := .overlays/axe
FROM ?=
# two processes, a file to each at a time: a notebook's cells share a kernel; long ones first (tests/conftest.py)
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

SGD ?= ../shared/data/dialogues/sgd.txt.xz
SMS ?= ../shared/data/sms/SMSSpamCollection

.PHONY: lab run test proofs notebooks images colab bench corpus site
.DEFAULT_GOAL := lab

lab: $(VENV)/lab                ## open JupyterLab at section 6.5 (what is not trusted is shown without its pictures)
	@$(BIN)/jupyter trust notebooks/*.ipynb >/dev/null
	@# a relative path: JupyterLab globs for its extensions, widgets among them, and trips over brackets
	JUPYTER_PATH=$(VENV)/share/jupyter$${JUPYTER_PATH:+:$$JUPYTER_PATH} $(BIN)/jupyter lab notebooks/06_5_classification_head.ipynb $(LAB_ARGS)

run: $(VENV)/lab                ## execute all notebooks in order and print a row for each
	$(BIN)/python notebooks/build.py run

test: $(VENV)/dev $(COLAB)/installed  ## what a user would notice if it broke
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) $(ARGS)

proofs: $(VENV)/dev $(COLAB)/installed $(OLD_KERNEL)/installed $(AXE)/installed  ## the slow rest of the tests
	$(PYTEST) -m "proof and not network" $(ARGS)

notebooks: $(VENV)/dev          ## execute and save all notebooks (FROM=py or FROM=ipynb where a pair differs, ONLY=name for one)
	$(BIN)/python notebooks/build.py save $(if $(FROM),--from $(FROM)) $(ONLY)

images: $(VENV)/dev             ## redraw images/; the widgets' pictures need Chromium
	$(BIN)/python -m workshop.pictures.model
	$(BIN)/python -m tests.screenshot

bench: $(VENV)/dev              ## measure, print a table and write it to benchmarks.json (ONLY=name for one)
	env -u OMP_WAIT_POLICY $(BIN)/python -m tests.benchmarks $(ONLY)

corpus: $(VENV)/dev             ## build corpus/ and corpus-short/, the nano's text; needs npm and Debian's bible-kjv
	$(BIN)/python -m tools.nano.corpus --out corpus --short corpus-short $(if $(wildcard $(SGD)),--dialogues $(SGD)) $(if $(wildcard $(SMS)),--without $(SMS))

site: $(VENV)/dev               ## show the notebooks as pages, with their saved outputs: site/_build/html/index.html
	rm -rf site/_build
	$(BIN)/python -m sphinx -M html . site/_build -c site -q -W --keep-going

colab: $(VENV)/dev              ## stamp the repository's address into badges and setup cells: make colab REPO=owner/name
	$(BIN)/python notebooks/build.py colab $(REPO)

# what a learner needs: the libraries of the notebooks, and JupyterLab
$(VENV)/lab: requirements.txt requirements-lab.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "This course needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is none of them; name one: make lab PYTHON=python3.12"; \
	  exit 1; }
	@echo "Installing PyTorch, TensorFlow and JupyterLab into $(VENV); this takes some minutes, once."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -c constraints.txt -r requirements.txt -r requirements-lab.txt
	@# a notebook keeps its widgets' state, so that they are live when it is opened again
	@mkdir -p $(VENV)/share/jupyter/lab/settings
	@echo '{"@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": true}}' > $(VENV)/share/jupyter/lab/settings/overrides.json
	@touch $@

# what a developer needs besides: tests, pages, two other implementations of GPT-2 to compare with
$(VENV)/dev: $(VENV)/lab requirements-dev.txt
	@echo "Installing what the tests and the pages need into $(VENV); this takes a minute or two, once."
	@$(PIP) -c constraints.txt -r requirements-dev.txt
	@touch $@

# the versions of a stock Colab that differ in kind from ours, put first on PYTHONPATH by tests/test_colab.py
$(COLAB)/installed: $(VENV)/dev Makefile
	@echo "Installing Colab's ipywidgets and pandas into $(COLAB)."
	@rm -rf $(COLAB)
	@$(PIP) --no-deps --target $(COLAB) ipywidgets==7.7.1 ipython_genutils==0.2.0 pandas==2.2.3 pytz==2025.2
	@touch $@

# Colab's kernel, under which tests/test_lab_in_a_kernel.py stops a training
$(OLD_KERNEL)/installed: $(VENV)/dev Makefile
	@echo "Installing Colab's ipykernel into $(OLD_KERNEL)."
	@rm -rf $(OLD_KERNEL)
	@$(PIP) --no-deps --target $(OLD_KERNEL) ipykernel==6.17.1
	@touch $@

# what tests/test_site.py asks about the pages; without npm or the net that test is skipped, and the next `make proofs` tries again
$(AXE)/installed: Makefile
	@echo "Fetching axe-core into $(AXE)."
	@rm -rf $(AXE)
	@mkdir -p $(AXE)
	@if npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(AXE) axe-core@4.14.1; then touch $@; else \
	  echo "axe-core could not be fetched with npm: its look at the pages will be skipped"; fi
