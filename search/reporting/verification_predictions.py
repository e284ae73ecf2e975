"""Recompute test and validation scores from predictions and targets on this machine."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.prepared import INDEX, PreparedDataset, open_prepared
from search.files import read_json
from search.finalizing.blending import Calibrated, Judge, Predictions
from search.paths import StudyPaths, cache_dir
from search.records import Ensemble
from search.reporting.records import StudyRecords
from search.reporting.verification import Verification, compare_metrics
from search.scoring.intervals import intervals
from search.wording import counted

KIND = "scores from predictions"


def check_predictions(
    found: Verification, records: StudyRecords, paths: StudyPaths
) -> None:
    """Recompute metrics of finalists and ensemble, and the intervals of the test."""
    ensemble = records.ensemble
    if ensemble is None:
        return
    data = recorded_data(records)
    if data is None:
        found.left_out.append("scores from predictions: the data is not prepared here")
        return
    splits = {
        split: Judge(
            records.study.task,
            data.open(split, records.study.task)[1],
            data.coarse_of_classes(),
            records.study.metric,
        )
        for split in ("validation", "test")
    }
    for split, judge in splits.items():
        check_finalists(found, records, paths, judge, split)
        check_blends(found, ensemble, paths, judge, split)


def check_finalists(
    found: Verification,
    records: StudyRecords,
    paths: StudyPaths,
    judge: Judge,
    split: str,
) -> None:
    """Recompute the metrics of every finalist whose predictions are here."""
    absent = 0
    for finalist in records.finalists:
        key = finalist.finalist_id
        own = stored(paths, [key], {}, split)
        if own is None:
            absent += 1
            continue
        metrics = judge.metrics(own, Calibrated({key: 1.0}))
        name = f"finalist {key}, {split}"
        compare_metrics(found, KIND, name, getattr(finalist, split), metrics)
    if absent:
        names = counted(absent, "finalist")
        found.left_out.append(f"{names}, {split}: predictions not here")


def check_blends(
    found: Verification, ensemble: Ensemble, paths: StudyPaths, judge: Judge, split: str
) -> None:
    """Recompute the metrics of the ensemble and of the best single model."""
    single = ensemble.best_single
    weights = dict(zip(ensemble.members, ensemble.weights, strict=True))
    blends = {
        "ensemble": Calibrated(weights, ensemble.temperature, ensemble.threshold),
        "best_single": Calibrated(
            {single.member: 1.0}, single.temperature, single.threshold
        ),
    }
    trials = {entry["member_id"]: entry["trial_id"] for entry in ensemble.library}
    members = list(dict.fromkeys([*weights, single.member]))
    predictions = stored(paths, members, trials, split)
    if predictions is None or (ensemble.refit and split == "test"):
        found.left_out.append(f"ensemble, {split}: not all predictions are here")
        return
    columns = {}
    for name, blend in blends.items():
        recorded = getattr(ensemble if name == "ensemble" else single, split)
        metrics = judge.metrics(predictions, blend)
        compare_metrics(found, KIND, f"{name}, {split}", recorded, metrics)
        columns[name] = judge.columns(predictions, blend)
    if split == "test" and ensemble.intervals:
        stored_ones = ensemble.intervals
        again = intervals(
            columns["ensemble"],
            columns["best_single"],
            stored_ones["resamples"],
            stored_ones["seed"],
            mirrored=stored_ones.get("mirrored", ()),  # earlier versions: none
            fewest=stored_ones.get("fewest", 1),
        )
        for name in blends:
            compare_metrics(
                found, "intervals", f"{name}, interval", stored_ones[name], again[name]
            )


def stored(
    paths: StudyPaths, members: list[str], trials: dict[str, str], split: str
) -> Predictions | None:
    """Return member id -> stored probabilities, or None where one is missing."""
    found = {}
    for member in members:
        folders = [paths.finalist(member), paths.trial(trials.get(member, member))]
        files = [folder / f"{split}.npy" for folder in folders]
        arrays = filter(lambda array: array is not None, map(opened, files))
        array = next(arrays, None)
        if array is None:
            return None
        found[member] = array
    return found


def opened(file: Path) -> NDArray[Any] | None:
    """Open an array, or return None where there is none, or a damaged one."""
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array


def recorded_data(records: StudyRecords) -> PreparedDataset | None:
    """Return the study's data set from the cache, told by its fingerprint."""
    wanted = records.about.get("data", {}).get("fingerprint")
    for index in sorted(cache_dir().rglob(INDEX)):
        if has_fingerprint(index, wanted):
            return open_prepared(index.parent)
    return None


def has_fingerprint(index: Path, wanted: str | None) -> bool:
    """Return whether a prepared data set is the wanted one."""
    try:
        return bool(wanted) and read_json(index).get("fingerprint") == wanted
    except ValueError:
        return False
