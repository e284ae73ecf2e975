"""Is a network trained in bfloat16 as accurate as in float32? One command:

    python -m benchmarks.mixed_precision --data-dir DATA [--seeds 5]

A small convnet on 10,000 images of CIFAR-100, the same seeds in both precisions: all
but the rounding of its convolutions is the same. The best validation accuracy of each
training is added to `benchmarks/results/mixed_precision.json` when it ends; what is
there at this commit is not trained again.
"""

import argparse
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.speed_cases import SMALL_CONVNET
from search.beginning.inputs import prepared_data
from search.environment import environment
from search.files import read_json, write_json
from search.orders import Order
from search.scoring.paired import mean_interval
from search.spaces import declare_space, default_values
from search.studies import Study, ready_made
from search.training.loop import make_hypermodel
from search.workers.worker import run_order

RECORD = Path(__file__).parent / "results" / "mixed_precision.json"
PRECISIONS = ("float32", "mixed_bfloat16")
EPOCHS = 6


def made(precision: str, seed: int, epochs: int, images: int) -> Study:
    return replace(
        ready_made("cifar100-convnet"),
        precision=precision,
        seed=seed,
        epochs=epochs,
        limit_train=images,
        fixed=SMALL_CONVNET,
    )


def asked_of(study: Study) -> dict[str, Any]:
    """Return what tells one training from another."""
    return {
        "precision": study.precision,
        "seed": study.seed,
        "epochs": study.epochs,
        "images": study.limit_train,
    }


def trained(study: Study, data_dir: Path) -> dict[str, Any]:
    """Train the default configuration of a study; return what came of it."""
    data = prepared_data(study, data_dir)
    space = declare_space(make_hypermodel(study, data, study.epochs), study.fixed)
    with tempfile.TemporaryDirectory() as folder:
        order = Order(
            order_id="0000",
            job="train",
            study=asdict(study),
            data_folder=str(data.folder),
            folder=folder,
            logs=None,
            values=default_values(space),
            seed=study.seed,
            epochs=study.epochs,
            length=study.epochs,
        )
        outcome = run_order(order, lambda progress: None, lambda: False)
    if outcome.state != "COMPLETED":
        raise SystemExit(outcome.traceback or outcome.message)
    scores = [score for score in outcome.history[study.objective] if score is not None]
    return {"score": max(scores), "seconds": round(outcome.seconds, 1)}


def summary(runs: list[dict[str, Any]]) -> str:
    """Return the accuracies of both precisions, and their paired difference."""
    of = {
        precision: {r["seed"]: r["score"] for r in runs if r["precision"] == precision}
        for precision in PRECISIONS
    }
    seeds = sorted(set.intersection(*(set(scores) for scores in of.values())))
    lines = []
    for precision, scores in of.items():
        mine = [scores[seed] for seed in seeds]
        mean = sum(mine) / max(1, len(mine))
        lines.append(f"{precision}: {mean:.4f} over {len(mine)} seeds {mine}")
    exact, rounded = of.values()
    differences = [rounded[seed] - exact[seed] for seed in seeds]
    interval = mean_interval(differences)
    if interval is not None:
        mean, (low, high) = sum(differences) / len(differences), interval
        lines.append(f"difference {mean:+.4f} [{low:+.4f}, {high:+.4f}]")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--record", type=Path, default=RECORD)
    options = parser.parse_args()
    record = read_json(options.record) if options.record.exists() else {}
    commit = environment()["commit"]
    runs = [run for run in record.get("runs", []) if run["commit"] == commit]
    for seed in range(options.seeds):
        for precision in PRECISIONS:
            study = made(precision, seed, options.epochs, options.images)
            asked = asked_of(study)
            if any(asked.items() <= run.items() for run in runs):
                continue
            runs.append({**asked, **trained(study, options.data_dir), "commit": commit})
            about = {
                "command": "python -m benchmarks.mixed_precision --data-dir DATA",
                "hardware": f"{os.cpu_count()} CPU cores, no GPU",
                "environment": environment(),
            }
            write_json(options.record, {**about, "runs": runs})
            print(runs[-1], flush=True)
    print(summary(runs))


if __name__ == "__main__":
    main()
