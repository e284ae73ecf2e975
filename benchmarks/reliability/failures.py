"""A space in which 30% of the configurations fail: does the search do its work?

    python benchmarks/reliability/failures.py FOLDER [--trials 100]

Out of memory (device and host), a loss that is not finite, and bugs, a tenth each,
raised in real worker processes that train a network of NumPy (`failing_network.py`).
Checks that the budget is spent, that every bracket of Hyperband reaches its top rung,
and that failures are told apart.
"""

import argparse
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import forked
import searches
from failing_network import FailingModel, planned_failure

from search.commands.knobs import parse_fixed
from search.datasets import prepare
from search.driving.driver import Driver
from search.oracles import FACTOR, make_oracle, planned
from search.oracles.brackets import plan_brackets
from search.paths import StudyPaths
from search.records import Trial
from search.spaces import declare_space
from search.studies import Study
from search.training.loop import make_hypermodel
from search.watching.live import Quiet
from search.workers.worker_processes import WorkerProcesses

BRACKETS_OF = "tuner/bracket"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=100)
    options = parser.parse_args()
    folder = searches.fresh(options.folder)
    os.environ[forked.LIGHT] = "1"
    forked.networks.append(FailingModel)
    forked.warm_up(folder)
    forked.fork_workers()
    study = Study(
        "failing",
        "classification",
        "shapes",
        "convnet",
        tuner="hyperband",
        epochs=9,
        trials=options.trials,
        limit_train=64,
        fixed=parse_fixed(list(searches.FIXED)),
    )
    driver = make_driver(folder, study)
    trials = driver.search()
    searches.write_result("failures.json", result(study, driver, trials))


def make_driver(folder: Path, study: Study) -> Driver:
    """Make a driver as `search` does, with workers that fail."""
    data = prepare("shapes", task="classification", image_size=32)
    hypermodel = make_hypermodel(study, data, study.epochs)
    return Driver(
        study=study,
        paths=StudyPaths(folder / "results", folder / "logs", study.name),
        data_folder=data.folder,
        oracle=make_oracle(study, declare_space(hypermodel, study.fixed)),
        executor=WorkerProcesses(
            1,
            folder / "workers",
            memory_limit=None,
            per_gpu=1,
            say=print,
        ),
        watcher=Quiet(),
    )


def result(study: Study, driver: Driver, trials: list[Trial]) -> dict[str, Any]:
    """Return what happened, beside what should have."""
    expected = {t.trial_id: planned_failure(t.values) for t in trials}
    failed = [t for t in trials if expected[t.trial_id]]
    right = [t for t in trials if t.failure == expected[t.trial_id]]
    plan = planned(study)
    assert plan is not None
    tops = Counter(
        asked.hyperparameters.values[BRACKETS_OF]
        for asked in driver.oracle.trials.values()
        if asked.status == "COMPLETED"
        and asked.hyperparameters.values["tuner/epochs"] == study.epochs
    )
    brackets = plan_brackets(study.epochs, FACTOR, study.trials)
    return {
        **searches.circumstances(),
        "trials": len(trials),
        "trials planned": plan[0],
        "epochs trained": sum(trial.epochs for trial in trials),
        "epochs planned": plan[1],
        "configurations that had to fail": len(failed),
        "by kind": dict(Counter(expected[t.trial_id] for t in failed)),
        "told apart rightly": f"{len(right)} of {len(trials)}",
        "misclassified": [
            {**asdict(t), "expected": expected[t.trial_id], "history": {}}
            for t in trials
            if t not in right
        ],
        "brackets": len(brackets),
        "brackets whose top rung was reached": len(tops),
        "messages": sorted({str(t.message) for t in failed})[:20],
    }


if __name__ == "__main__":
    main()
