"""The verb `studies`: ready-made and searched ones, and how far each has come."""

from pathlib import Path
from typing import Any

import hypermodels
from search.errors import InputError
from search.exporting.manifest import current_exports
from search.paths import StudyPaths, studies_in, study_paths
from search.records import Trial, ranked, read_records
from search.studies import READY_MADE, Study, is_recorded, open_study


def studies(results_dir: Path, logs_dir: Path) -> list[dict[str, Any]]:
    """List the ready-made studies and those found in `results_dir`."""
    known = {study.name: study for study in READY_MADE}
    rows = []
    for name in dict.fromkeys([*known, *studies_in(results_dir)]):
        paths = study_paths(name, results_dir, logs_dir)
        searched = is_recorded(paths)
        try:
            study = open_study(paths) if searched else known[name]
            trials = read_records(paths.trials, Trial)
            state = study_state(paths, trials) if searched else "ready"
        except (InputError, ValueError):
            rows.append(damaged_row(name))
            continue
        best = ranked(trials, study.direction)
        rows.append(
            {
                "name": name,
                "task": study.task,
                "dataset": study.dataset,
                "hypermodel": study.hypermodel,
                "knobs": knobs_of(study),
                "tuner": study.tuner,
                "epochs": study.epochs,
                "state": state,
                "trials": len(trials),
                "objective": study.objective,
                "best_score": best[0].score if best else None,
            }
        )
    return rows


def knobs_of(study: Study) -> list[str]:
    """Return what is searched; of a network of one's own it is not known here."""
    names = hypermodels.knob_names(study.hypermodel)
    return [name for name in names if name not in study.fixed]


def damaged_row(name: str) -> dict[str, Any]:
    """Return the row of a study whose records cannot be read."""
    unknown = ("task", "dataset", "hypermodel", "tuner", "epochs", "objective")
    known = {"name": name, "state": "damaged", "knobs": [], "trials": 0}
    return known | dict.fromkeys(unknown, "") | {"best_score": None}


def study_state(paths: StudyPaths, trials: list[Trial]) -> str:
    """Return how far a searched study has come, in one word."""
    if current_exports(paths):
        return "exported"
    if paths.ensemble.exists():
        return "finalized"
    if not trials and any(paths.comparisons.glob("*.json")):
        return "compared"
    open_states = ("WAITING", "RUNNING", "PAUSED")
    is_open = not trials or any(trial.state in open_states for trial in trials)
    return "unfinished" if is_open else "searched"
