"""What one GPU does, in parts of a few minutes that can be run one by one:

    python -m benchmarks.gpu --work DIR [--part throughput] [--data-dir DIR]

    throughput  images a second of our epochs against a bare compiled loop
    sharing     trials an hour with several processes on the GPU against one
    scratch     CIFAR-100 from scratch: seconds of training to 70 % and to the end
    search      a search, finalists and an ensemble within --minutes

Runs on TensorFlow or JAX (`KERAS_BACKEND`). The data can be carried as prepared arrays:
copy `prepared/` of the cache folder and `tensorflow_datasets/cifar100/*/
dataset_info.json`. A part that has its result in `DIR/gpu.json` is left out; one that
was cut off goes on where its search or training stood. `--toy` does the same on
generated images in seconds, on any machine.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.bare_loop import images_a_second
from search.crew import Auto
from search.datasets import PreparedDataset
from search.environment import environment
from search.files import read_json, write_json
from search.finalize import finalize
from search.inputs import prepared_data
from search.orders import Order, Progress
from search.paths import StudyPaths, study_paths
from search.records import Trial
from search.search import search
from search.state import read_state
from search.studies import Study, ready_made
from search.training import build_model, make_hypermodel
from search.worker import run_order

# A residual network of three stages (He et al. 2016), 30 epochs of one cycle (Smith &
# Topin 2018) with Nesterov momentum: the plain recipe of the speed runs of CIFAR.
RECIPE: dict[str, Any] = {
    "stem_stride": 1,
    "stages": 3,
    "blocks_per_stage": 2,
    "base_filters": 64,
    "width_growth": 2.0,
    "convolution": "standard",
    "residual": True,
    "normalization": "batch",
    "activation": "relu",
    "downsampling": "stride",
    "squeeze_excitation": False,
    "stochastic_depth_rate": 0.0,
    "dropout_rate": 0.0,
    "augmentation": "flip_crop",
    "mixing": "none",
    "erasing_probability": 0.0,
    "batch_size": 256,
    "label_smoothing": 0.1,
    "weight_averaging": False,
    "optimizer": "sgd",
    "sgd_learning_rate": 0.2,
    "sgd_weight_decay": 5e-4,
    "schedule": "one_cycle",
}
SMALL = {"stages": 2, "blocks_per_stage": 1, "base_filters": 16, "batch_size": 32}


@dataclass(frozen=True)
class Bench:
    """What the parts work with."""

    study: Study
    data: PreparedDataset
    work: Path
    values: dict[str, Any]
    epochs: int
    minutes: float

    def paths(self, name: str) -> StudyPaths:
        return study_paths(name, self.work / "results", self.work / "logs")

    def order(self, name: str, epochs: int) -> Order:
        return Order(
            order_id=name,
            job="train",
            study=asdict(self.study),
            data_folder=str(self.data.folder),
            folder=str(self.work / name),
            logs=None,
            values=self.values,
            seed=self.study.seed,
            epochs=epochs,
            length=epochs,
        )


def throughput(bench: Bench) -> dict[str, Any]:
    """Compare our epochs, validation included (a third the work), and a bare loop."""
    seen: list[Progress] = []
    order = bench.order("throughput", 4)
    outcome = run_order(order, seen.append, lambda: False)
    assert outcome.state == "COMPLETED", outcome
    model = build_model(order, make_hypermodel(bench.study, bench.data, 4))
    images, targets = bench.data.open_train(
        bench.study.task, bench.study.limit_train, bench.study.seed
    )
    size = bench.values["batch_size"]
    batch = images[:size].astype("float32"), targets[:size]
    bare = images_a_second(model, *batch, steps=max(10, len(images) // size))
    count = len(images) + bench.data.sizes["validation"] / 3  # forward only
    ours = count / min(progress.seconds for progress in seen[1:])
    return {"ours": ours, "bare": bare, "ratio": ours / bare, "values": bench.values}


def sharing(bench: Bench) -> dict[str, Any]:
    """Compare trials an hour, one at a time and as many as `auto` chooses.

    What it measures to choose takes a minute or two, once, and is told apart.
    """
    rates: dict[str, float] = {}
    crew: dict[str, Any] = {}
    choices: tuple[int, Auto] = (1, "auto")
    for per_gpu in choices:
        name = f"sharing-{per_gpu}"
        study = replace(
            bench.study,
            name=name,
            tuner="random",
            trials=12,
            epochs=3,
            limit_train=10_000,
            fixed={"base_filters": 16, "stages": 3},
        )
        paths = bench.paths(name)
        found = search(
            study,
            paths,
            data_dir=None if study.data_dir is None else Path(study.data_dir),
            trials_per_gpu=per_gpu,
        )
        done = sum(trial.state == "COMPLETED" for trial in found)
        state, _ = read_state(paths)  # whose seconds are those of all runs
        assert state is not None
        crew = read_json(paths.crew) if paths.crew.exists() else {}
        seconds = state.seconds - crew.get("seconds", 0.0)
        rates[str(per_gpu)] = 3600 * done / seconds
    ratio = rates["auto"] / rates["1"]
    return {"trials an hour": rates, "ratio": ratio, "auto": crew}


def scratch(bench: Bench) -> dict[str, Any]:
    """Train the recipe; score the test set once, with the weights that were best."""
    from search.predictions import load_best

    order = bench.order("scratch", bench.epochs)
    outcome = run_order(order, lambda progress: None, lambda: False)
    assert outcome.state == "COMPLETED", outcome
    model = load_best(order)
    images, targets = bench.data.open("test", bench.study.task)
    scores = model.evaluate(
        images, targets, batch_size=500, verbose=0, return_dict=True
    )
    curve = outcome.history["val_accuracy"]
    each = outcome.seconds / len(curve)
    reached = [n for n, value in enumerate(curve, 1) if (value or 0) >= 0.70]
    return {
        "epochs": len(curve),
        "training_seconds": outcome.seconds,
        "seconds to 70 % on validation": each * reached[0] if reached else None,
        "test_accuracy": float(scores["accuracy"]),
        "values": bench.values,
    }


def whole_search(bench: Bench) -> dict[str, Any]:
    """Search and finalize; the same command goes on where it was cut off."""
    study = replace(
        bench.study,
        name="search",
        tuner="bohb",
        epochs=bench.epochs,
        budget_seconds=60 * bench.minutes,
    )
    paths = bench.paths("search")
    data_dir = None if study.data_dir is None else Path(study.data_dir)
    found: list[Trial] = search(study, paths, data_dir=data_dir, finalize_top=3)
    record = finalize(paths, data_dir=data_dir)
    return {
        "trials": len(found),
        "best validation": max(t.score or 0.0 for t in found),
        "single, test": record.best_single.test,
        "ensemble, test": record.test,
    }


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "throughput": throughput,
    "sharing": sharing,
    "scratch": scratch,
    "search": whole_search,
}


def device() -> str:
    """Return the GPU's name, or that there is none."""
    try:
        result = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return f"no GPU, {os.cpu_count()} CPU cores"
    return result.stdout.strip().splitlines()[0]


def make_bench(options: argparse.Namespace) -> Bench:
    name = "shapes-convnet" if options.toy else "cifar100-convnet"
    study = replace(ready_made(name), limit_train=64 if options.toy else None)
    if options.data_dir is not None:
        study = replace(study, data_dir=str(options.data_dir))
    values = RECIPE | (SMALL if options.toy else {})
    data = prepared_data(study, options.data_dir)
    epochs = 1 if options.toy else 30
    return Bench(study, data, options.work, values, epochs, options.minutes)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--minutes", type=float, default=24, help="Of the search.")
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args(arguments)
    path = options.work / "gpu.json"
    record = read_json(path) if path.exists() else {}
    bench = make_bench(options)
    for part in options.part or PARTS:
        if part in record:
            continue
        result = PARTS[part](bench)
        record[part] = {
            **result,
            "device": device(),
            "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
            "environment": environment(),
            "toy": options.toy,
        }
        write_json(path, record)
        print(json.dumps({part: result}), flush=True)


if __name__ == "__main__":
    main()
