"""Trials an hour of a GPU that several trials share, against one at a time: two halves.

A half is one search from its beginning to its end in one run of a process: of one that
was cut off, finished epochs and compiled programs are left that no clock has counted.
"""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from search.beginning.crew import Auto
from search.files import read_json, write_json
from search.machine.compiled import FOLDER
from search.paths import StudyPaths
from search.records import Trial
from search.search import search
from search.studies import Study
from search.training.leases import LEASE

ONE, AUTO = "sharing-one", "sharing-auto"


def half(
    study: Study, paths: StudyPaths, per_gpu: int | Auto, data_dir: Path | None
) -> dict[str, Any]:
    """Search from the beginning, and return how many trials an hour that came to.

    The clock runs from the first order to the end of the search: a longer one would
    start its driver and choose its crew only once, too. Neither half finds what the
    other compiled.
    """
    compiled = paths.folder.parent / f"{study.name}-jax"
    begin_again(paths, compiled)
    os.environ[FOLDER] = str(compiled.resolve())
    console = Console(stderr=True)  # why a number could not be measured
    found = search(
        study, paths, data_dir=data_dir, trials_per_gpu=per_gpu, console=console
    )
    seconds = time.time() - first_order(paths, found)
    crew = read_json(paths.crew) if paths.crew.exists() else {}
    count = sum(trial.state == "COMPLETED" for trial in found)
    measuring = crew.get("seconds", 0.0)
    return {
        "trials": count,
        "seconds": seconds,
        "trials an hour": 3600 * count / seconds,
        "trials an hour, measurement included": 3600 * count / (seconds + measuring),
        "seconds of each trial's epochs": [trial.seconds for trial in found],
        "crew": crew,
    }


def begin_again(paths: StudyPaths, compiled: Path) -> None:
    """Remove what an attempt that was cut off has left.

    But what it measured to choose its crew: no trial was trained for that, nothing that
    was compiled is kept of it, and its seconds are on record.
    """
    crew = read_json(paths.crew) if paths.crew.exists() else None
    for folder in (paths.folder, paths.logs, compiled):
        shutil.rmtree(folder, ignore_errors=True)
    if crew is not None:
        paths.crew.parent.mkdir(parents=True)
        write_json(paths.crew, crew)


def first_order(paths: StudyPaths, trials: list[Trial]) -> float:
    """Return when the first trial was handed to a worker, in seconds of the epoch."""
    leases = (paths.trial(trial.trial_id) / LEASE for trial in trials)
    return min(lease.stat().st_mtime for lease in leases)


def compared(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ratios of two halves; None where one is missing or ran elsewhere."""
    if ONE not in record or AUTO not in record:
        return None
    one, auto = record[ONE], record[AUTO]
    if any(one[same] != auto[same] for same in ("device", "backend", "toy")):
        return None
    rate = "trials an hour"
    included = f"{rate}, measurement included"
    return {
        "ratio": auto[rate] / one[rate],
        "ratio, measurement included": auto[included] / one[included],
        "device": one["device"],
        "toy": one["toy"],
    }
