"""What one GPU does, in parts of a few minutes that can be run one by one:

    python -m benchmarks.gpu --work DIR [--part throughput] [--data-dir DIR]

    throughput  images a second of our epochs against a bare compiled loop
    sprint      CIFAR-100 from scratch with a ResNet-18 in 20 epochs
    scratch     CIFAR-100 from scratch with a wider network in 60 epochs
    search      a search and an ensemble of what it found
    sharing-one, sharing-auto
                trials an hour, one at a time and as many as a measurement chooses; when
                both are there, of the same device, their ratio is `sharing`

Runs on TensorFlow or JAX (`KERAS_BACKEND`). The data can be carried as prepared arrays:
copy `prepared/` of the cache folder and `tensorflow_datasets/cifar100/*/
dataset_info.json`. A part that has its result in `DIR/gpu.json` is left out; one that
was cut off goes on where its search or training stood, but `throughput` and the two of
`sharing`, which begin again. On JAX a process takes most of the GPU: of several parts
each gets a process of its own. `--toy` does the same on generated images in seconds, on
any machine.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.sharing import AUTO, ONE, compared, half
from benchmarks.throughput import beside_bare_loop
from search.beginning.crew import Auto
from search.beginning.inputs import prepared_data
from search.bookkeeping.state import read_state
from search.datasets import PreparedDataset
from search.environment import device, environment
from search.files import read_json, write_json
from search.finalize import finalize
from search.machine.devices import have_bfloat16
from search.machine.processes import module_environment
from search.orders import Order, Progress
from search.paths import StudyPaths, study_paths
from search.search import search
from search.studies import Study, ready_made
from search.workers.worker import run_order

# ResNet-18 (He et al. 2016) with one cycle (Smith & Topin 2018) and Nesterov momentum:
# the plain recipe of the speed runs of CIFAR. A decoupled decay of 5e-3 pulls as far as
# the usual 5e-4 in the gradient, which momentum of 0.9 makes ten times as large.
SPRINT: dict[str, Any] = {
    "stem_stride": 1,
    "stages": 4,
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
    "sgd_weight_decay": 5e-3,
    "schedule": "one_cycle",
}
# WRN-16-8 (Zagoruyko & Komodakis 2016) with mixup (Zhang et al. 2018).
SCRATCH = SPRINT | {"stages": 3, "base_filters": 128, "mixing": "mixup"}
# WRN-22-8, and what a search leaves open. Of five trials of 64 epochs the one with
# mixup, smoothed labels and no dropout was the best on validation (0.800; 0.773 to
# 0.787 the others, which differed in more than that): benchmarks/results/gpu.json.
WIDE = SCRATCH | {"blocks_per_stage": 3, "schedule": "cosine", "warmup_fraction": 0.05}
SEARCHED = (
    "activation",
    "squeeze_excitation",
    "stochastic_depth_rate",
    "erasing_probability",
)
SMALL_TRIALS = {"stages": 3, "base_filters": 16, "batch_size": 128}
TOY = {"stages": 2, "blocks_per_stage": 1, "base_filters": 16, "batch_size": 32}


@dataclass(frozen=True)
class Bench:
    """What the parts work with.

    Attributes:
        toy: everything in seconds.
        trials, epochs: of the search.
    """

    study: Study
    data: PreparedDataset
    work: Path
    toy: bool
    trials: int
    epochs: int

    @property
    def data_dir(self) -> Path | None:
        return None if self.study.data_dir is None else Path(self.study.data_dir)

    def paths(self, name: str) -> StudyPaths:
        return study_paths(name, self.work / "results", self.work / "logs")

    def values(self, recipe: dict[str, Any]) -> dict[str, Any]:
        return recipe | (TOY if self.toy else {})

    def order(self, name: str, recipe: dict[str, Any], epochs: int) -> Order:
        return Order(
            order_id=name,
            job="train",
            study=asdict(self.study),
            data_folder=str(self.data.folder),
            folder=str(self.work / name),
            logs=None,
            values=self.values(recipe),
            seed=self.study.seed,
            epochs=epochs,
            length=epochs,
        )


def throughput(bench: Bench) -> dict[str, Any]:
    order = bench.order("throughput", SPRINT, 3 if bench.toy else 12)
    return beside_bare_loop(order, bench.study, bench.data)


def sprint(bench: Bench) -> dict[str, Any]:
    return from_scratch(bench, "sprint", SPRINT, 1 if bench.toy else 20)


def scratch(bench: Bench) -> dict[str, Any]:
    return from_scratch(bench, "scratch", SCRATCH, 1 if bench.toy else 60)


def from_scratch(
    bench: Bench, name: str, recipe: dict[str, Any], epochs: int
) -> dict[str, Any]:
    """Train a recipe on train + validation; score the last weights on the test set."""
    from search.training.predictions import load_best

    seen: list[Progress] = []
    order = replace(bench.order(name, recipe, epochs), use_validation=True)
    outcome = run_order(order, seen.append, lambda: False)
    assert outcome.state == "COMPLETED", outcome
    model = load_best(order)
    images, targets = bench.data.open("test", bench.study.task)
    scores = model.evaluate(
        images, targets, batch_size=500, verbose=0, return_dict=True
    )
    each = [progress.seconds for progress in seen]
    return {
        "epochs": epochs,
        "test_accuracy": float(scores["accuracy"]),
        "training_seconds": outcome.seconds,
        "of which compiling": each[0] - median(each) if len(each) > 1 else None,
        "seconds an epoch": median(each) if each else None,
        "values": order.values,
    }


def whole_search(bench: Bench) -> dict[str, Any]:
    """Search, and combine what was found; the same command goes on where it stopped."""
    recipe = bench.values(WIDE)
    study = replace(
        bench.study,
        name="search",
        tuner="bayesian",
        trials=bench.trials,
        epochs=bench.epochs,
        fixed={k: v for k, v in recipe.items() if k not in SEARCHED},
    )
    paths = bench.paths("search")
    found = search(study, paths, data_dir=bench.data_dir, trials_per_gpu=2)
    began = time.monotonic()
    record = finalize(
        paths,
        tta=("flip",),
        data_dir=bench.data_dir,
        workers=1 if bench.toy else 4,
    )
    return {
        "trials": [
            {"values": {k: t.values.get(k) for k in SEARCHED}, "score": t.score}
            for t in found
        ],
        "search_seconds": seconds_of(paths),
        "finalize_seconds": time.monotonic() - began,
        "single, test": record.best_single.test,
        "ensemble, test": record.test,
        "with flipped views, test": {
            name: record.tta[name]["test"] for name in ("best_single", "ensemble")
        },
        "members": dict(zip(record.members, record.weights, strict=True)),
    }


def sharing_one(bench: Bench) -> dict[str, Any]:
    return half_of_sharing(bench, ONE, 1, 2 if bench.toy else 8)


def sharing_auto(bench: Bench) -> dict[str, Any]:
    """Search with as many trials at a time as a measurement chooses.

    Three times the trials, as eight may run at once, and a search is longer than that;
    the first are the same.
    """
    return half_of_sharing(bench, AUTO, "auto", 4 if bench.toy else 24)


def half_of_sharing(
    bench: Bench, name: str, per_gpu: int | Auto, trials: int
) -> dict[str, Any]:
    study = replace(
        bench.study,
        name=name,
        tuner="random",
        trials=trials,
        epochs=1 if bench.toy else 6,
        fixed=TOY if bench.toy else SMALL_TRIALS,
    )
    return half(study, bench.paths(name), per_gpu, bench.data_dir)


def seconds_of(paths: StudyPaths) -> float:
    """Return the wall time of a search, over all its runs."""
    state, _ = read_state(paths)
    assert state is not None
    return state.seconds


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "throughput": throughput,
    "sprint": sprint,
    "scratch": scratch,
    "search": whole_search,
    ONE: sharing_one,
    AUTO: sharing_auto,
}


def make_bench(options: argparse.Namespace) -> Bench:
    name = "shapes-convnet" if options.toy else "cifar100-convnet"
    study = replace(
        ready_made(name),
        limit_train=128 if options.toy else None,
        patience=None,
        precision="mixed_bfloat16" if have_bfloat16() else "float32",
    )
    if options.data_dir is not None:
        study = replace(study, data_dir=str(options.data_dir))
    data = prepared_data(study, options.data_dir)
    trials, epochs = (2, 1) if options.toy else (options.trials, options.epochs)
    return Bench(study, data, options.work, options.toy, trials, epochs)


def run_part(part: str, options: argparse.Namespace) -> None:
    """Run a part and record it, and what is known of two parts together."""
    began = time.monotonic()
    result = PARTS[part](make_bench(options))
    result["wall_seconds"] = time.monotonic() - began
    record = recorded(options)
    record[part] = {
        **result,
        "device": device(),
        "backend": os.environ.get("KERAS_BACKEND", "tensorflow"),
        "environment": environment(),
        "toy": options.toy,
    }
    told = {part: result}
    ratio = compared(record)
    if ratio is not None:
        record["sharing"] = ratio
        told |= {"sharing": ratio} if part in (ONE, AUTO) else {}
    write_json(options.work / "gpu.json", record)
    print(json.dumps(told), flush=True)


def recorded(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was measured before."""
    path = options.work / "gpu.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found


def command(part: str, options: argparse.Namespace) -> list[str]:
    """Return what runs one part in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.gpu", "--part", part]
    for name in ("work", "trials", "epochs"):
        words += [f"--{name}", str(getattr(options, name))]
    words += [] if options.data_dir is None else ["--data-dir", str(options.data_dir)]
    return [*words, "--toy"] if options.toy else words


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--trials", type=int, default=6, help="Of the search.")
    parser.add_argument("--epochs", type=int, default=100, help="Of its trials.")
    parser.add_argument("--toy", action="store_true")
    options = parser.parse_args(arguments)
    wanted = options.part or list(PARTS)
    for part in [part for part in wanted if part not in recorded(options)]:
        if len(wanted) == 1:
            run_part(part, options)
        else:
            ours = module_environment(os.environ)
            subprocess.run(command(part, options), env=ours, check=True)


if __name__ == "__main__":
    main()
