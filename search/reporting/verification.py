"""Recompute the numbers of a study's records from what they were made of.

Histories give scores and best epochs, runs of a comparison its differences, intervals
and verdicts, stored predictions the metrics of finalists and ensemble with their
intervals, files their sizes and hashes, choices the seal in the ledger. What lies no
longer on this machine cannot be recomputed, and is named.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.comparing.comparisons import (
    AblationPath,
    Comparison,
    best_of_run,
    differences_of,
    verdicts_of,
)
from search.files import file_hash
from search.finalizing.sealing import digest_on_disk
from search.paths import StudyPaths
from search.records import Trial, best_epoch_of
from search.reporting.records import StudyRecords

# JSON keeps every digit; sums may be taken in another order.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Finding:
    """A number that is not what it should be."""

    what: str
    recorded: Any
    recomputed: Any


@dataclass
class Verification:
    """What was recomputed, what differs, and what could not be recomputed."""

    checked: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def compare(self, kind: str, what: str, recorded: Any, recomputed: Any) -> None:
        """Count a number of a kind, and keep it where it differs."""
        self.checked[kind] = self.checked.get(kind, 0) + 1
        if not same(recorded, recomputed):
            self.findings.append(Finding(what, recorded, recomputed))


def same(first: Any, second: Any) -> bool:
    """Return whether two values are equal, numbers up to the last digits."""
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(
            same(a, b) for a, b in zip(first, second, strict=True)
        )
    numbers = all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in (first, second)
    )
    if numbers:
        return math.isclose(first, second, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(first == second)


def verify(records: StudyRecords, paths: StudyPaths) -> Verification:
    """Recompute all that can be."""
    found = Verification()
    for trial in records.trials:
        check_trial(found, trial, records)
    for finalist in records.finalists:
        check_finalist_history(found, finalist, records)
    for name, comparison in records.comparisons.items():
        check_comparison(found, name, comparison)
    for name, path in records.ablations.items():
        check_path(found, name, path)
    check_ensemble(found, records)
    check_files(found, records, paths)
    check_seal(found, records, paths)
    return found


def check_trial(found: Verification, trial: Trial, records: StudyRecords) -> None:
    """Compare a trial's score, best epoch and length with its history."""
    if not trial.history:
        return
    kind, name = "scores of trials", f"trial {trial.trial_id}"
    best = best_epoch_of(trial.history, records.objective, records.direction)
    score = None if best is None else trial.history[records.objective][best - 1]
    epochs = max(len(values) for values in trial.history.values())
    found.compare(kind, f"{name}: best epoch", trial.best_epoch, best)
    found.compare(kind, f"{name}: score", trial.score, score)
    found.compare(kind, f"{name}: epochs", trial.epochs, epochs)


def check_finalist_history(
    found: Verification, finalist: Any, records: StudyRecords
) -> None:
    """Compare a finalist's best epoch with its history."""
    history = finalist.history
    best = best_epoch_of(history, records.objective, records.direction)
    if best is not None:
        what = f"finalist {finalist.finalist_id}: best epoch"
        found.compare("best epochs of finalists", what, finalist.best_epoch, best)


def check_comparison(found: Verification, name: str, record: Comparison) -> None:
    """Compare scores, differences, intervals and verdicts with the runs."""
    kind = "numbers of comparisons"
    for run in record.runs:
        best = best_of_run(run.state, run.history, record.objective, record.direction)
        score = None if best is None else run.history[record.objective][best - 1]
        found.compare(kind, f"{name}, {run.run_id}: score", run.score, score)
    objective, images = record.objective, record.images
    differences = differences_of(record.runs, list(record.values), objective, images)
    for before, now in zip(record.differences, differences, strict=False):
        for part in ("mean", "low", "high", "by_seed"):
            what = f"{name}, {before.value}: {part} of the difference"
            found.compare(kind, what, getattr(before, part), getattr(now, part))
    verdicts = verdicts_of(
        record.runs, differences, objective, record.direction, images
    )
    found.compare(kind, f"{name}: verdicts", record.verdicts, verdicts)


def check_path(found: Verification, name: str, path: AblationPath) -> None:
    """Compare the gain of each step with the scores before and after it."""
    for before, step in zip(path.steps, path.steps[1:], strict=False):
        if step.gain is None or step.score is None or before.score is None:
            continue
        what = f"{name}: gain of {step.knob}"
        gain = step.score - before.score
        found.compare("steps of ablation paths", what, step.gain, gain)


def check_ensemble(found: Verification, records: StudyRecords) -> None:
    """Compare weights and differences with what they must add up to."""
    ensemble = records.ensemble
    if ensemble is None:
        return
    kind = "sums of the ensemble"
    found.compare(kind, "sum of the weights", sum(ensemble.weights), 1.0)
    differences = ensemble.intervals.get("difference", {})
    for metric, entry in differences.items():
        first, second = ensemble.test.get(metric), ensemble.best_single.test.get(metric)
        if first is not None and second is not None:
            what = f"ensemble − best single, {metric}"
            found.compare(kind, what, entry["value"], first - second)
    counts = records.errors.get("confusion")
    if counts and records.metric == "accuracy":
        table = counts["counts"]
        right = sum(row[place] for place, row in enumerate(table))
        share = right / max(1, sum(map(sum, table)))
        what = "accuracy of the confusion matrix"
        found.compare(kind, what, ensemble.test.get("accuracy"), share)


def check_files(found: Verification, records: StudyRecords, paths: StudyPaths) -> None:
    """Compare exported files with the sizes and hashes on record."""
    for item in records.exports:
        file = paths.folder / item.path
        if not file.is_file():
            found.left_out.append(f"{item.path}: not here, or a folder")
            continue
        found.compare("exported files", f"{item.path}: bytes", item.bytes,
                      file.stat().st_size)  # fmt: skip
        mark = file_hash(file)
        found.compare("exported files", f"{item.path}: sha256", item.sha256, mark)


def check_seal(found: Verification, records: StudyRecords, paths: StudyPaths) -> None:
    """Compare the choices with the seal they had before the test set was read."""
    sealed = records.looks[-1].get("choices") if records.looks else None
    if sealed is None or not paths.choices.exists():
        return
    mark = digest_on_disk(paths)
    found.compare("seals of the choices", "sha256 of choices.json", sealed, mark)


def compare_metrics(
    found: Verification,
    kind: str,
    name: str,
    recorded: Mapping[str, Any],
    recomputed: Mapping[str, Any],
) -> None:
    """Compare the metrics both sides have."""
    for metric, value in recomputed.items():
        if metric in recorded:
            found.compare(kind, f"{name}: {metric}", recorded[metric], value)
