"""The JAX backend, where TensorFlow is not installed: `make test-jax` makes the place.

A search, a finalist and an export, by the command line of that environment.
"""

import configparser
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return variables with which tests keep what is compiled for each other."""
    return os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # What is compiled here runs for seconds.
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }


@pytest.fixture
def run(python: str, environment: dict[str, str], tmp_path: Path) -> Callable[..., Any]:
    """Return what runs a verb there and returns its records."""

    def run_verb(*arguments: str, refused: bool = False) -> Any:
        result = subprocess.run(
            [python, "-m", "search", *arguments, "--json"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == (2 if refused else 0), result.stderr
        return result.stderr if refused else json.loads(result.stdout)

    return run_verb


def tiny_search(study: str, knobs: str, *options: str) -> list[str]:
    fixed = [word for knob in knobs.split() for word in ("--fix", knob)]
    size = ["--epochs", "2", "--limit-train", "64", "--workers", "0"]
    return ["search", study, "--tuner", "random", *size, *fixed, *options]


def test_classification_is_searched_on_jax(run: Callable[..., Any]) -> None:
    knobs = (
        "stages=2 base_filters=16 blocks_per_stage=1 augmentation=rand_augment "
        "mixing=cutmix weight_averaging=true schedule=reduce_on_plateau "
        "stem_stride=2 width_growth=1.5 convolution=standard residual=false "
        "normalization=batch activation=relu downsampling=stride optimizer=adamw "
        "squeeze_excitation=false dropout_rate=0 erasing_probability=0 "
        "batch_size=16 warmup_fraction=0"
    )
    trials = run(*tiny_search("shapes-convnet", knobs, "--trials", "2"))
    assert [trial["state"] for trial in trials] == ["COMPLETED"] * 2
    assert all(0 <= trial["score"] <= 1 for trial in trials)


def test_segmentation_is_searched_and_exported_on_jax(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    knobs = "depth=2 base_filters=8 stem_stride=2 convolutions_per_level=1"
    trials = run(*tiny_search("shapes-unet", knobs, "--trials", "1"))
    assert [trial["state"] for trial in trials] == ["COMPLETED"]
    record = json.loads((tmp_path / "results/shapes-unet/study.json").read_text())
    assert "tensorflow" not in record["environment"]["packages"]
    assert record["environment"]["packages"]["jax"]
    run("finalize", "shapes-unet", "--top", "1", "--workers", "0")
    exported = run("export", "shapes-unet")
    assert {item["agreement"] for item in exported} == {1.0}
    for name in ("savedmodel", "onnx", "litert"):
        said = run("export", "shapes-unet", "--format", name, refused=True)
        assert f"TensorFlow, which Keras needs to write {name}" in said


def test_what_there_is_on_jax_alone_and_what_is_there_too(
    python: str, environment: dict[str, str]
) -> None:
    """Files that are skipped on TensorFlow, and one of networks that are shared."""
    if python == sys.executable:
        pytest.skip("run by themselves here")
    alone = ("test_resident", "test_fused_depthwise", "test_pictures_compiled")
    files = [f"tests/{name}.py" for name in (*alone, "test_workbench")]
    result = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    last = result.stdout.splitlines()[-1]
    assert "passed" in last and "skipped" not in last


COMPILES = """
import os
from collections import Counter

from search.machine.devices import worker_environment

os.environ.update(worker_environment(0, 1))
import jax

seen = Counter()
jax.monitoring.register_event_listener(lambda name, **rest: seen.update([name]))
jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((8, 8))).block_until_ready()
print(seen["/jax/compilation_cache/cache_hits"])
"""


def test_a_worker_finds_what_an_earlier_one_compiled(
    python: str, tmp_path: Path
) -> None:
    here = {"VISION_TUNER_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    # Programs as small as this one are else not worth a file.
    here["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment = {**os.environ, **here}
    hits = [
        int(subprocess.check_output([python, "-c", COMPILES], env=environment))
        for _ in range(2)
    ]
    assert hits[0] == 0 < hits[1]
    assert any((tmp_path / "jax").iterdir())


# The driver imports JAX and is forked; of a user's program, JAX is there before.
COMMAND = ["-m", "search"]
# It finalizes, too, and says whether it has begun to use the device itself.
SEARCHES = """
import jax, sys
from jax._src import xla_bridge
from search.cli import run

assert run(sys.argv[1:]) == 0
assert run(["finalize", sys.argv[sys.argv.index("--name") + 1], "--top", "1"]) == 0
print("driver uses its device:", xla_bridge.backends_are_initialized())
"""
PROGRAM = ["-c", SEARCHES]
# As where there is a GPU: there is one by name, and JAX is told to use the CPU.
A_GPU = {"CUDA_VISIBLE_DEVICES": "0", "JAX_PLATFORMS": "cpu"}


def test_workers_forked_by_a_driver_keep_what_they_compile_and_find_it(
    python: str, tmp_path: Path
) -> None:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("JAX_")},
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(ROOT),
        "VISION_TUNER_CACHE": str(tmp_path / "cache"),
        # However fast this machine compiles.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # It then says what it found, in the log of the worker.
        "JAX_LOG_COMPILES": "1",
    }
    asked = tiny_search(
        "shapes-convnet",
        "stages=2 base_filters=16 blocks_per_stage=1 batch_size=16 stem_stride=2",
    )
    hits, kept = [], []
    for name, how, more in (("first", COMMAND, {}), ("second", PROGRAM, A_GPU)):
        once = ["--name", name, "--trials", "1", "--epochs", "1", "--workers", "1"]
        command = [python, *how, *asked, *once]
        here = environment | more
        said = subprocess.check_output(command, cwd=tmp_path, env=here, text=True)
        log = tmp_path / "results" / name / "work/workers/worker0.log"
        hits.append(log.read_text().count("Persistent compilation cache hit"))
        kept.append(len(list((tmp_path / "cache/jax").iterdir())))
    assert kept[0] > 10
    assert hits[1] > 10 > hits[0]
    # On a GPU it would hold the memory that is its workers'.
    assert said.splitlines()[-1] == "driver uses its device: False"


TRAINS = """
import os
import sys
from collections import Counter
from pathlib import Path

from search.machine.devices import worker_environment

os.environ.update(worker_environment(0, 1))
import jax
from search.datasets import prepare
from search.workers.worker import run_order
from test_training import ignore, never, order

seen = Counter()
jax.monitoring.register_event_listener(lambda name, **rest: seen.update([name]))
rate, dropped, folder = float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
data = prepare("shapes", task="classification", image_size=32)
knobs = {"learning_rate": rate, "weight_decay": rate}
knobs |= {"dropout_rate": dropped, "label_smoothing": dropped}
outcome = run_order(order(data, folder, 1, **knobs), ignore, never)
assert outcome.state == "COMPLETED", outcome
print([seen[f"/jax/compilation_cache/cache_{kind}"] for kind in ("hits", "misses")])
"""


def test_a_trial_with_other_rates_finds_what_was_compiled_for_the_first(
    python: str, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    counts = []
    for rate, dropped in (("0.001", "0.1"), ("0.004", "0.3")):
        command = [python, "-c", TRAINS, rate, dropped, str(tmp_path / rate)]
        said = subprocess.check_output(command, env=environment, text=True)
        counts.append(json.loads(said.splitlines()[-1]))
    assert counts[0][1] > 10
    assert counts[1][1] == 0
