# Everything that one does with greenrun's source tree. `make` alone lists it.

PYTHON ?= python3
VENV ?= .venv
EPOCHS ?= 20
PYTEST_FLAGS ?=

BIN := $(VENV)/bin

# Without compiled modules every start of greenrun would compile them again, and the demo would show that; with output
# unbuffered the tests would miss what only a buffer does.
unexport PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
# The checker's own look for a newer version of itself is no business of a test.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint types dist bench peers prediction soak data clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "  PYTHON=python3.12 chooses the interpreter that $(VENV) is made with, VENV=DIR another place for it."

demo: $(VENV)/demo.installed ## train on handwritten digits under greenrun (EPOCHS=20)
	. $(BIN)/activate && greenrun --epochs $(EPOCHS) python examples/digits.py --epochs $(EPOCHS)

test: lint types ## lint, types and the whole test suite
	$(BIN)/pytest -n 4 --dist worksteal $(PYTEST_FLAGS)

lint: $(VENV)/dev.installed ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.installed ## mypy (strict) and pyright
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

dist: $(VENV)/dev.installed ## build sdist and wheel, and see that no module is missing from either
	rm -rf dist
	$(BIN)/python -m build --quiet
	DIST=dist $(BIN)/pytest -q tests/test_distribution.py
	ls -l dist

bench: $(VENV)/dev.installed ## measure greenrun itself on an idle machine: start, accuracy, cost, size (6 minutes)
	set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done
	$(BIN)/python benchmarks/_document.py

peers: $(VENV)/dev.installed ## measure greenrun beside the tools that people use, as root (10 minutes; QUICK=1: 4)
	PYTHONPATH=benchmarks $(BIN)/python -m peers $(if $(QUICK),--quick)
	$(BIN)/python benchmarks/_document.py

prediction: $(VENV)/dev.installed ## judge the predictions by the held-out traces, and write docs/prediction.md
	$(BIN)/python benchmarks/prediction/score.py

soak: $(VENV)/dev.installed ## the tests that take longer than the suite may (4 minutes)
	$(BIN)/pytest -m soak $(PYTEST_FLAGS)
	$(BIN)/python benchmarks/_document.py

data: $(VENV)/data.installed ## make the tables of carbon intensity anew from their sources (FROM=DIR: from files in DIR, offline)
	$(BIN)/python tools/update_data.py $(if $(FROM),--from '$(FROM)')

clean: ## remove what the other targets made, the virtual environment too, but no run log
	rm -rf $(VENV) dist build .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are made last, so that an interrupted installation is done again.
$(VENV)/pip.upgraded:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/demo.installed: $(VENV)/pip.upgraded pyproject.toml
	$(BIN)/python -m pip install --quiet --editable . --group demo
	touch $@

$(VENV)/data.installed: $(VENV)/pip.upgraded pyproject.toml
	$(BIN)/python -m pip install --quiet --editable . --group data
	touch $@

$(VENV)/dev.installed: $(VENV)/pip.upgraded pyproject.toml
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@
