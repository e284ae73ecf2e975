# Both targets do all the set-up on a machine that has Python >= 3.11 and a package
# registry: a virtual environment in .venv, pinned by constraints.txt.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/vision-tuner demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(v < (3, 11) and 'Expected Python >= 3.11. Received: %d.%d. Run make PYTHON=/path/to/python3.11.' % v[:2])"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint,export]'
	touch $@

clean:
	rm -rf .venv build *.egg-info
