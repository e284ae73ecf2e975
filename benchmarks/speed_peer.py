"""The search of plain keras-tuner beside ours; benchmarks/speed.py starts it.

    python -m benchmarks.speed_peer CASE --data-dir DIR --work DIR

keras-tuner is used as its documentation shows it: a tuner with its default settings,
`search` with the arrays, a TensorBoard callback. It gets our hypermodel and, but for
Hyperband, which draws the same by itself, the configurations our search trained, with
the size limit that had.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed_cases import CASES
from search.paths import StudyPaths, study_paths
from search.records import Trial, read_records
from search.studies import Study, open_study


def paths_of(case: str, work: Path) -> StudyPaths:
    return study_paths(case, work / "results", work / "logs")


def keras_tuners(study: Study, data_dir: Path, work: Path) -> Any:
    """Run keras-tuner on the same hypermodel, arrays, configurations and epochs."""
    import keras
    import keras_tuner as kt

    from search.beginning.inputs import prepared_data
    from search.spaces import declare_space
    from search.training.loop import make_hypermodel

    trials = read_records(paths_of(study.name, work).trials, Trial)
    listed = [trial.values for trial in trials if trial.state == "COMPLETED"]
    data = prepared_data(study, data_dir)
    hypermodel = make_hypermodel(study, data, study.epochs)

    class ListedOracle(kt.oracles.RandomSearchOracle):  # type: ignore[misc]
        """Hands out the listed configurations in turn."""

        def populate_space(self, trial_id: str) -> dict[str, Any]:
            if len(self.trials) >= len(listed):
                return {"status": "STOPPED"}
            return {"status": "RUNNING", "values": listed[len(self.trials)]}

    common = {
        "objective": kt.Objective(study.objective, study.direction),
        "hyperparameters": declare_space(hypermodel, study.fixed),
        "seed": study.seed + 1,
    }
    places = {"directory": str(work / "keras_tuner"), "project_name": study.name}
    if study.tuner == "kt-hyperband":
        tuner = kt.Hyperband(
            hypermodel, max_epochs=study.epochs, factor=3, **common, **places
        )
    else:
        oracle = ListedOracle(max_trials=len(listed), **common)
        tuner = kt.Tuner(oracle, hypermodel, **places)
    tuner.search(
        *data.open_train(study.task, study.limit_train, study.seed),
        epochs=study.epochs,
        validation_data=data.open("validation", study.task),
        callbacks=[keras.callbacks.TensorBoard(str(work / "keras_tuner_logs"))],
        verbose=0,
    )
    done = [t for t in tuner.oracle.trials.values() if t.status == "COMPLETED"]
    scores = [trial.score for trial in done]
    return {"trials": len(done), "scores": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--trials", type=int)
    options = parser.parse_args()
    study = CASES[options.case].made(options.data_dir, options.trials)
    limit = open_study(paths_of(study.name, options.work)).max_flops
    study = replace(study, max_flops=limit)
    print(json.dumps(keras_tuners(study, options.data_dir, options.work)))


if __name__ == "__main__":
    main()
