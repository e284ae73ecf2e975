"""Finalists: which configurations are retrained, and the orders that do it."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from search.checkpoints import BEST, LAST
from search.files import whole_file
from search.orders import Order
from search.paths import StudyPaths
from search.records import Finalist, Trial, Values, ranked
from search.studies import Study


@dataclass(frozen=True)
class Candidate:
    """A configuration and a seed to be retrained."""

    finalist_id: str
    trial: Trial
    seed: int
    chosen_because: str


def choose(
    trials: Sequence[Trial], study: Study, top: int, seeds: int
) -> list[Candidate]:
    """Return the `top` best trials × `seeds`, best first; the first seed is theirs."""
    best = ranked([t for t in trials if t.state != "FAILED"], study.direction)[:top]
    return [
        Candidate(
            f"{trial.trial_id}-seed{trial.seed + offset}",
            trial,
            trial.seed + offset,
            f"rank {rank} of {len(trials)} trials: {study.objective}"
            f" {trial.score:.4f} in epoch {trial.best_epoch}",
        )
        for rank, trial in enumerate(best, start=1)
        for offset in range(seeds)
    ]


def continue_trial(paths: StudyPaths, candidate: Candidate) -> None:
    """Let a finalist with its trial's seed go on from the trial's last epoch.

    Training is a function of knobs and seed, so this is the retraining, without the
    epochs that are already done. Where work/ was deleted it starts from the beginning.
    """
    source = paths.trial(candidate.trial.trial_id)
    target = paths.finalist(candidate.finalist_id)
    if candidate.seed != candidate.trial.seed or (target / LAST).exists():
        return
    for name in (BEST, LAST):
        if (source / LAST).exists() and (source / name).exists():
            with (source / name).open("rb") as old, whole_file(target / name) as new:
                shutil.copyfileobj(old, new)


def training_order(
    study: Study, paths: StudyPaths, data_folder: Path, candidate: Candidate
) -> Order:
    """Return the order that trains a finalist to its full length."""
    return finalist_order(
        study,
        paths,
        data_folder,
        candidate.finalist_id,
        candidate.trial.values,
        candidate.seed,
    )


def finalist_order(
    study: Study,
    paths: StudyPaths,
    data_folder: Path,
    finalist_id: str,
    values: Values,
    seed: int,
) -> Order:
    """Return the order of one finalist; `predict` and export derive theirs from it."""
    return Order(
        order_id=finalist_id,
        job="train",
        # It met the limit as a trial; a second measurement must not lose it.
        study=asdict(replace(study, max_latency_ms=None)),
        data_folder=str(data_folder),
        folder=str(paths.finalist(finalist_id)),
        logs=str(paths.logs / "finalists" / finalist_id),
        values=values,
        seed=seed,
        epochs=study.epochs,
        length=study.epochs,
    )


def recorded_order(
    study: Study, paths: StudyPaths, data_folder: Path, finalist: Finalist
) -> Order:
    """Return the order of a finalist on record."""
    return finalist_order(
        study, paths, data_folder, finalist.finalist_id, finalist.values, finalist.seed
    )
