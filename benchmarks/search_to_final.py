"""Does a finalist come out as the search said? Retrain winners from the beginning.

    python benchmarks/search_to_final.py --data-dir DIR --work DIR

Searches CIFAR-100 (10,000 training images, small networks), takes the five best trials
and trains each again from the first epoch, in a folder that knows nothing of the
search, with the search's seed and epochs. Writes what differed, metric by metric and
epoch by epoch, to benchmarks/results/search_to_final.json.

Cost: see "training_seconds" in the record. Expected result: no difference at all on a
CPU.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from search import search
from search.beginning.inputs import prepared_data
from search.driving.batches import run_all
from search.driving.executors import Workers, make_executor
from search.environment import environment
from search.files import write_json
from search.finalizing.finalists import Member, member_order
from search.orders import Outcome
from search.paths import StudyPaths, study_paths
from search.records import Trial, ranked
from search.studies import Study, open_study, ready_made

RECORD = Path(__file__).parent / "results" / "search_to_final.json"
WINNERS = 5


def the_study(arguments: argparse.Namespace) -> Study:
    """Return the search whose winners are retrained."""
    return replace(
        ready_made("cifar100-convnet"),
        name="search-to-final",
        tuner="hyperband",
        epochs=arguments.epochs,
        trials=arguments.trials,
        limit_train=arguments.images,
        fixed={"base_filters": 16, "stages": 2},
        max_flops=arguments.max_flops,
        data_dir=str(arguments.data_dir),
    )


def retrain(
    study: Study, paths: StudyPaths, winners: list[Trial], workers: int
) -> dict[str, Outcome]:
    """Train each winner from the beginning, as long as the search did.

    In a folder of its own; a retraining that was interrupted goes on there.
    """
    data = prepared_data(study, Path(study.data_dir or "."))
    orders = []
    for trial in winners:
        member = Member(
            trial.trial_id, "finalist", trial.trial_id, trial.seed, trial.values
        )
        order = member_order(study, paths, data.folder, member)
        folder = paths.work / "from_scratch" / trial.trial_id
        orders.append(
            replace(order, folder=str(folder), logs=None, epochs=trial.epochs)
        )
    executor = make_executor(Workers(workers), paths.worker_logs)
    try:
        return run_all(orders, executor, lambda progress: None, print)
    finally:
        executor.close()


def compared(trial: Trial, outcome: Outcome, objective: str) -> dict[str, Any]:
    """Return the largest difference of every metric over all epochs."""
    differences = {
        name: max(
            abs((first or 0.0) - (second or 0.0))
            for first, second in zip(values, outcome.history[name], strict=True)
        )
        for name, values in trial.history.items()
    }
    score = max(value or 0.0 for value in outcome.history[objective])
    return {
        "trial_id": trial.trial_id,
        "epochs": trial.epochs,
        "search_score": trial.score,
        "retrained_score": score,
        "is_exact": score == trial.score,
        "largest_difference": differences,
        "values": trial.values,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--max-flops", type=float, default=5e6)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    study = the_study(arguments)
    paths = study_paths(study.name, arguments.work / "results", arguments.work / "logs")
    trials = search(
        study, paths, data_dir=arguments.data_dir, workers=arguments.workers
    )
    winners = ranked(trials, study.direction)[:WINNERS]
    outcomes = retrain(open_study(paths), paths, winners, arguments.workers)
    rows = [compared(t, outcomes[t.trial_id], study.objective) for t in winners]
    record = {
        "command": "python benchmarks/search_to_final.py --data-dir DATA --work WORK"
        f" --epochs {arguments.epochs} --trials {arguments.trials}"
        f" --images {arguments.images} --max-flops {arguments.max_flops:g}"
        f" --workers {arguments.workers}",
        "environment": environment(),
        "hardware": f"{os.cpu_count()} CPU cores, no GPU",
        "training_seconds": {
            "search": sum(trial.seconds or 0.0 for trial in trials),
            "retraining": sum(outcome.seconds for outcome in outcomes.values()),
        },
        "training_images": study.limit_train,
        "winners": rows,
        "exact": sum(row["is_exact"] for row in rows),
    }
    write_json(RECORD, record)
    print(
        json.dumps(
            {key: record[key] for key in ("exact", "training_seconds")}, indent=1
        )
    )


if __name__ == "__main__":
    main()
