# Both targets do all the set-up on a machine that has Python >= 3.11 and a package
# registry: a virtual environment in .venv, pinned by constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
JAX_TESTS := tests/test_hypermodels.py tests/test_hypermodels_knobs.py \
	tests/test_hypermodels_training.py tests/test_backbones.py \
	tests/test_augmentation.py tests/test_losses.py \
	tests/test_resident.py tests/test_workbench.py tests/test_pulse.py \
	tests/test_crew.py tests/test_fused_depthwise.py tests/test_jax.py

.PHONY: demo test test-jax docs package-check lint clean

demo: .venv/installed
	$(BIN)/vision-tuner demo

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The hypermodels, and a search, on JAX where no TensorFlow is installed.
test-jax: .venv-jax/installed
	KERAS_BACKEND=jax .venv-jax/bin/python -m pytest -n 2 --dist worksteal $(JAX_TESTS)

docs: .venv/installed
	$(BIN)/python -m docs.hypermodels
	$(BIN)/python -m docs.api
	$(BIN)/python -m docs.results
	$(BIN)/python -m docs.cli

# Wheel and sdist, installed into clean environments of every Python there is.
package-check: .venv/installed
	rm -rf build/package-check
	$(BIN)/python -m benchmarks.package_check build/package-check

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(v < (3, 11) and 'Expected Python >= 3.11. Received: %d.%d. Run make PYTHON=/path/to/python3.11.' % v[:2])"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,lint,export,ray]'
	touch $@

.venv-jax/installed: requirements-jax.txt constraints.txt
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/python -m pip install --quiet --constraint constraints.txt --requirement requirements-jax.txt pytest pytest-xdist
	.venv-jax/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf .venv .venv-jax build *.egg-info
