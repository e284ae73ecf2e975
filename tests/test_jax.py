"""The JAX backend, where TensorFlow is not installed: `make test-jax` makes the place.

A search, a finalist and an export, by the command line of that environment.
"""

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-jax" / "bin" / "python"
NEVER_IN_IT = {"tensorflow"}
ONLY_IN_IT = {"jax"}


def packages(lines: list[str]) -> dict[str, str]:
    """Return package -> requirement, without comments."""
    wanted = [line.strip() for line in lines if line.strip()[:1] not in ("", "#")]
    return {re.split("[<>=]", line)[0].lower(): line for line in wanted}


def test_requirements_are_those_of_the_package_but_tensorflow() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    usual = packages(config["options"]["install_requires"].splitlines())
    here = packages((ROOT / "requirements-jax.txt").read_text().splitlines())
    assert here.keys() == usual.keys() - NEVER_IN_IT | ONLY_IN_IT
    for name in here.keys() & usual.keys():
        assert here[name] == usual[name]


@pytest.fixture(scope="module")
def python() -> str:
    """Return the interpreter of an environment that has JAX and no TensorFlow."""
    code = (
        "import importlib.util as u, sys;"
        "sys.exit(not u.find_spec('jax') or bool(u.find_spec('tensorflow')))"
    )
    for interpreter in (sys.executable, str(PYTHON)):
        if Path(interpreter).exists():
            found = subprocess.run([interpreter, "-c", code], check=False)
            if found.returncode == 0:
                return interpreter
    pytest.skip("needs .venv-jax, JAX without TensorFlow: `make test-jax` installs it")


@pytest.mark.parametrize(
    ("study", "fixed"),
    [
        (
            "shapes-convnet",
            "stages=2 base_filters=16 mixing=cutmix schedule=reduce_on_plateau",
        ),
        ("shapes-unet", "depth=2 base_filters=8"),
    ],
)
def test_a_search_runs_on_jax_without_tensorflow(
    python: str, study: str, fixed: str, tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        result = subprocess.run(
            [python, "-m", "search", *arguments],
            cwd=tmp_path,
            env=os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    knobs = [word for knob in fixed.split() for word in ("--fix", knob)]
    size = ["--epochs", "2", "--trials", "2", "--limit-train", "64", "--workers", "0"]
    run("search", study, "--tuner", "random", *size, *knobs)
    trials = json.loads(run("trials", study, "--json"))
    assert [trial["state"] for trial in trials] == ["COMPLETED"] * 2
    recorded = json.loads((tmp_path / "results" / study / "study.json").read_text())
    assert "tensorflow" not in recorded["environment"]["packages"]
    assert recorded["environment"]["packages"]["jax"]
    run("finalize", study, "--top", "1", "--workers", "0")
    exported = json.loads(run("export", study, "--json"))
    assert {item["agreement"] for item in exported} == {1.0}
