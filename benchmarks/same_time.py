"""Which search has the better model after the same time? One command:

    python -m benchmarks.same_time --data-dir DIR [--seconds 300] [--seeds 3]

Ours is `vision-tuner search --budget … --finalize` with `bohb`, its default tuner, and
with `priorband`. keras-tuner 1.4.8 is used as its documentation shows it: `Hyperband`
or `RandomSearch` with their default settings, a TensorBoard callback, at the end
`get_best_models`. All get one space (small convnets, so that none needs a limit of
size), the same training and validation images and the same most epochs. Time counts
from the start of the process, imports and compilation included; preparing the data does
not, nor does the test of keras-tuner's model. It gets as long as `bohb` took with that
seed where that was longer. What it trains when its time is over is lost, as it would be
to its user; where no trial has ended there is no model. The test images are seen by
none before.

Runs are added to `benchmarks/results/same_time.json`, and those that are there are not
repeated; `--table` only prints it. Other work on the machine makes a run worthless.
"""

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.speed_cases import SMALL_CONVNET
from search.environment import commit, environment
from search.files import read_json, write_json
from search.paths import StudyPaths, study_paths
from search.records import Trial, read_ensemble, read_records
from search.studies import Study, ready_made

RECORD = Path(__file__).parent / "results" / "same_time.json"
STUDY, IMAGES, EPOCHS = "cifar100-convnet", 5_000, 27
# Of the time, for what lies around a search with --finalize: imports, the test set.
SECONDS_AROUND = 15.0
HYPERBAND, RANDOM = "keras-tuner Hyperband", "keras-tuner RandomSearch"
OURS = ("bohb", "priorband")
SIDES = (*OURS, HYPERBAND, RANDOM)
Run = dict[str, Any]


def paths_of(work: Path) -> StudyPaths:
    return study_paths(STUDY, work / "results", work / "logs")


def study_of(seed: int) -> Study:
    return replace(
        ready_made(STUDY),
        limit_train=IMAGES,
        epochs=EPOCHS,
        fixed=dict(SMALL_CONVNET),
        seed=seed,
    )


def ours(
    tuner: str, seed: int, seconds: float, data_dir: Path, work: Path
) -> dict[str, Any]:
    """Run our search with its finalize from a process of its own on."""
    began = time.time()
    command = [sys.executable, "-m", "search", "search", STUDY, "--tuner", tuner]
    command += ["--limit-train", str(IMAGES), "--epochs", str(EPOCHS)]
    for knob, value in SMALL_CONVNET.items():
        command += ["--fix", f"{knob}={value}"]
    command += ["--seed", str(seed), "--budget", f"{seconds - SECONDS_AROUND:.0f}s"]
    command += ["--finalize", "--data-dir", str(data_dir), "--quiet"]
    command += ["--results-dir", f"{work}/results", "--logs-dir", f"{work}/logs"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.time() - began
    paths = paths_of(work)
    record, trials = read_ensemble(paths.ensemble), read_records(paths.trials, Trial)
    assert record is not None
    return {
        "wall_seconds": wall,
        "trials": len(trials),
        "epochs": sum(trial.epochs for trial in trials),
        "validation": record.best_single.validation["accuracy"],
        "test": record.best_single.test["accuracy"],
        "ensemble test": record.test["accuracy"],
    }


def keras_tuners(
    side: str, seed: int, began: float, seconds: float, data_dir: Path, work: Path
) -> dict[str, Any]:
    """Run a tuner of keras-tuner's until the time is over; score its best model."""
    import keras
    import keras_tuner as kt

    from search.beginning.inputs import prepared_data
    from search.spaces import declare_space
    from search.training.loop import make_hypermodel

    class Deadline(keras.callbacks.Callback):  # type: ignore[misc]
        """Interrupts the search, as its user would."""

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            if time.time() - began >= seconds:
                raise KeyboardInterrupt

        on_test_batch_end = on_batch_end

    study = study_of(seed)
    data = prepared_data(study, data_dir)
    hypermodel = make_hypermodel(study, data, study.epochs)
    limits = {
        HYPERBAND: (kt.Hyperband, {"max_epochs": study.epochs}),
        RANDOM: (kt.RandomSearch, {"max_trials": 1_000}),
    }
    kind, limit = limits[side]
    tuner = kind(
        hypermodel,
        objective=kt.Objective(study.objective, study.direction),
        **limit,
        hyperparameters=declare_space(hypermodel, study.fixed),
        seed=seed + 1,
        directory=str(work / "keras_tuner"),
        project_name=study.name,
    )
    board = keras.callbacks.TensorBoard(str(work / "keras_tuner_logs"))
    with contextlib.suppress(KeyboardInterrupt):
        tuner.search(
            *data.open_train(study.task, study.limit_train, study.seed),
            epochs=study.epochs,
            validation_data=data.open("validation", study.task),
            callbacks=[board, Deadline()],
            verbose=0,
        )
    finished = [t for t in tuner.oracle.trials.values() if t.status == "COMPLETED"]
    epochs = [epochs_of(trial, study.epochs) for trial in finished]
    found = {"trials": len(finished), "epochs": sum(epochs)}
    if not finished:
        return found
    model = tuner.get_best_models(1)[0]
    scores = model.evaluate(
        *data.open("test", study.task), batch_size=500, verbose=0, return_dict=True
    )
    return found | {
        "validation": max(trial.score for trial in finished),
        "test": float(scores["accuracy"]),
    }


def epochs_of(trial: Any, most: int) -> int:
    """Return the epochs a trial of keras-tuner's has trained."""
    values = trial.hyperparameters.values
    reached: int = values.get("tuner/epochs", most)
    return reached - int(values.get("tuner/initial_epoch", 0))


def run_peer(
    side: str, seed: int, seconds: float, data_dir: Path, work: Path
) -> dict[str, Any]:
    """Run a side of keras-tuner's from a process of its own on."""
    command = [sys.executable, "-m", "benchmarks.same_time", "--peer", side]
    command += ["--first-seed", str(seed), "--seconds", str(seconds)]
    command += ["--data-dir", str(data_dir), "--work", str(work)]
    told = subprocess.run(
        [*command, "--began", str(time.time())],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout
    return {"wall_seconds": seconds, **json.loads(told.splitlines()[-1])}


def run_seed(
    seed: int,
    seconds: float,
    data_dir: Path,
    done: Sequence[Run],
    sides: Sequence[str],
) -> Iterator[Run]:
    """Run the sides that have not been run with a seed, in turn."""
    own = {run["side"]: run for run in done if run["seed"] == seed}
    for side in sides:
        if side in own:
            continue
        with tempfile.TemporaryDirectory() as work:
            if side in OURS:
                found = ours(side, seed, seconds, data_dir, Path(work))
            else:
                given = max(seconds, own[OURS[0]]["wall_seconds"])
                found = run_peer(side, seed, given, data_dir, Path(work))
        own[side] = {"side": side, "seed": seed, "seconds": seconds, **found}
        yield own[side] | {"commit": commit()}


def table(runs: Sequence[Run]) -> str:
    """Return rows for docs/tuners-evidence.md: means and standard deviations."""
    lines = ["| | seeds | trials | epochs | best single, test | ensemble, test |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for side in SIDES:
        own = [run for run in runs if run["side"] == side]
        if not own:
            continue
        cells = [f"{mean(run[key] for run in own):.3g}" for key in ("trials", "epochs")]
        for key in ("test", "ensemble test"):
            scores = [run[key] for run in own if key in run]
            spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
            cells.append(f"{mean(scores):.4f}{spread}" if scores else "–")
        lines.append(f"| {side} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--side", action="append", choices=OURS, help="only these")
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    parser.add_argument("--record", type=Path, default=RECORD)
    for name, kind in (("--peer", str), ("--work", Path), ("--began", float)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    seed, seconds, data_dir = given.first_seed, given.seconds, given.data_dir
    if given.peer is not None:
        arguments = given.began, seconds, data_dir, given.work
        print(json.dumps(keras_tuners(given.peer, seed, *arguments)))
        return
    record = read_json(given.record) if given.record.exists() else {}
    runs = record.get("runs", [])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for number in range(seed, seed + (0 if given.table else given.seeds)):
        prepare(number, data_dir)
        for run in run_seed(number, seconds, data_dir, runs, given.side or SIDES):
            runs = [*runs, run]
            record = {
                "command": "python -m benchmarks.same_time --data-dir DATA",
                "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, no GPU",
                "environment": environment(),
                "runs": runs,
            }
            write_json(given.record, record)
            print(json.dumps(run), flush=True)
    print(table(runs))


def prepare(seed: int, data_dir: Path) -> None:
    """Prepare the data outside what is timed."""
    from search.beginning.inputs import prepared_data

    prepared_data(study_of(seed), data_dir)


if __name__ == "__main__":
    main()
