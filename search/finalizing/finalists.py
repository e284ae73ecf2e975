"""Finalists: the configurations that are retrained, and the search's own checkpoints.

Together they are the library an ensemble is chosen from: members that differ in their
seed and in their hyperparameters, the hyper-deep ensemble of Wenzel et al. 2020.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from search.driving.retention import TOP_KEPT
from search.files import whole_file
from search.finalizing.diversity import choose_different
from search.orders import Order
from search.paths import StudyPaths
from search.records import Ensemble, Finalist, History, Trial, Values, ranked
from search.scoring.pareto import best_first, point_of, value_of
from search.studies import Study
from search.training.checkpoints import BEST, LAST, damage, read_standing

Kind = Literal["finalist", "trial", "student"]


@dataclass(frozen=True)
class Member:
    """A trained network that can be part of an ensemble.

    Attributes:
        member_id: name of its folder in work/finalists/.
        kind: `finalist` (retrained), `trial` (the search's best checkpoint) or
            `student` (distilled).
        chosen_because: why it is here.
        training: how it was trained.
    """

    member_id: str
    kind: Kind
    trial_id: str
    seed: int
    values: Values
    chosen_because: str = ""
    training: str = ""


def choose(trials: Sequence[Trial], study: Study, top: int, seeds: int) -> list[Member]:
    """Return `top` configurations × `seeds`, best first; the first seed is the trial's.

    Configurations are chosen for their score and for being different; with several
    objectives they are the best of the front, far apart on it.
    """
    if study.further_objectives:
        chosen = spread(trials, study)[:top]
    else:
        chosen = choose_different(trials, study.direction, top)
    return [
        Member(
            f"{trial.trial_id}-seed{trial.seed + offset}",
            "finalist",
            trial.trial_id,
            trial.seed + offset,
            trial.values,
            chosen_because,
            "from the beginning" if offset else training_of(trial, study),
        )
        for trial, chosen_because in chosen
        for offset in range(seeds)
    ]


def spread(trials: Sequence[Trial], study: Study) -> list[tuple[Trial, str]]:
    """Return the best score, then front by front, the least crowded first; and why."""
    scored = ranked(trials, study.direction)
    points = [point for trial in scored if (point := point_of(trial, study))]
    order = [place for place in best_first(points) if place]
    places = [*range(len(scored))[:1], *order]
    return [
        (
            scored[place],
            f"{'best score' if not rank else f'place {rank + 1}, front by front,'}"
            f" among {len(trials)} trials: {study.objective} {scored[place].score:.4f}"
            f"{others(scored[place], study)}",
        )
        for rank, place in enumerate(places)
    ]


def others(trial: Trial, study: Study) -> str:
    """Return a trial's further objectives in words, nothing where there are none."""
    return "".join(
        f", {name} {value:.4g}"
        for name in study.further_objectives
        if (value := value_of(trial, name)) is not None
    )


def training_of(trial: Trial, study: Study) -> str:
    """Say what training a finalist with its trial's seed is."""
    if trial.epochs >= study.epochs:
        return f"its trial, which ran the full {study.epochs} epochs"
    if trial.message is not None:
        return f"its trial: {trial.message}"
    return f"its trial, continued from epoch {trial.epochs}"


def continue_trial(paths: StudyPaths, member: Member, trials: Sequence[Trial]) -> None:
    """Let a finalist with its trial's seed go on from the trial's last epoch.

    Training is a function of knobs and seed, so this is the retraining, without the
    epochs that are already done. Where the search has deleted the checkpoint, or work/
    is gone, it starts from the beginning and comes to the same.
    """
    source = paths.trial(member.trial_id)
    target = paths.finalist(member.member_id)
    seeds = {trial.trial_id: trial.seed for trial in trials}
    if member.seed != seeds.get(member.trial_id) or (target / LAST).exists():
        return
    if not ((source / LAST).exists() and (source / BEST).exists()):
        return
    for name in (BEST, LAST):
        copy_whole(source / name, target / name)


def search_checkpoints(
    paths: StudyPaths,
    trials: Sequence[Trial],
    study: Study,
    finalists: Sequence[Member],
    say: Callable[[str], None],
) -> list[Member]:
    """Return the best trials that are no finalists and whose weights are still there.

    One that cannot be read is left out, with a word.

    Each is kept beside the finalists under its epoch: a trial that goes on later does
    not change what was chosen.
    """
    own = {(member.trial_id, member.seed) for member in finalists}
    members: list[Member] = []
    for trial in ranked(trials, study.direction):
        best = paths.trial(trial.trial_id) / BEST
        wrong = damage(best) if best.exists() else None
        if wrong is not None:
            say(f"trial {trial.trial_id} is left out: {wrong}")
            continue
        standing = read_standing(best)
        if (trial.trial_id, trial.seed) in own or standing is None:
            continue
        member = Member(
            f"{trial.trial_id}-epoch{standing.epochs}",
            "trial",
            trial.trial_id,
            trial.seed,
            trial.values,
            f"score {trial.score:.4f} in the search",
            f"the search's checkpoint of epoch {standing.epochs}",
        )
        target = paths.finalist(member.member_id) / BEST
        if not target.exists():
            copy_whole(best, target)
        members.append(member)
        if len(members) == TOP_KEPT:
            break
    return members


def copy_whole(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, or copy it where the disk has no such thing.

    Checkpoints are replaced and never written into, so the second name keeps its file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    with source.open("rb") as old, whole_file(target) as new:
        shutil.copyfileobj(old, new)


def member_order(
    study: Study, paths: StudyPaths, data_folder: Path, member: Member
) -> Order:
    """Return the order that trains a member to the study's full length.

    Predicting and exporting derive theirs from it.
    """
    member_id = member.member_id
    return Order(
        order_id=member_id,
        job="train",
        # It met the limits as a trial; a second measurement must not lose it.
        study=asdict(replace(study, max_latency_ms=None, trial_timeout_seconds=None)),
        data_folder=str(data_folder),
        folder=str(paths.finalist(member_id)),
        logs=str(paths.logs / "finalists" / member_id),
        values=member.values,
        seed=member.seed,
        epochs=study.epochs,
        length=study.epochs,
    )


def refit_order(order: Order, epochs: int, history: History | None = None) -> Order:
    """Return the order that trains a member anew on train + validation.

    The number of epochs is fixed beforehand: the best one by validation, of the same
    schedule. There is no score to stop by.

    Args:
        order: of the member (`member_order`).
        history: of the member, for schedules that look at validation.
    """
    guide = {
        name: values[:epochs]
        for name, values in (history or {}).items()
        if name.startswith("val_")
    }
    return replace(
        order,
        study=order.study | {"patience": None},
        folder=order.folder + REFIT,
        logs=None if order.logs is None else order.logs + REFIT,
        epochs=epochs,
        use_validation=True,
        guide=guide,
    )


REFIT = "-refit"


def recorded_members(
    record: Ensemble, finalists: Collection[Finalist]
) -> dict[str, Member]:
    """Return member id -> member of all that is on record."""
    members = {
        item.finalist_id: Member(
            item.finalist_id, "finalist", item.trial_id, item.seed, item.values
        )
        for item in finalists
    }
    student = [record.student] if record.student else []
    for entry in [*record.library, *student]:
        members[entry["member_id"]] = member_of(entry)
    return members


def exported_members(
    record: Ensemble, finalists: Sequence[Finalist]
) -> dict[str, Member]:
    """Return the members whose weights an export holds; the student comes last."""
    members = recorded_members(record, finalists)
    wanted = dict.fromkeys([*record.members, record.best_single.member])
    if record.student:
        wanted[record.student["member_id"]] = None
    return {key: members[key] for key in wanted}


def member_of(entry: dict[str, Any]) -> Member:
    """Return a member from its entry in ensemble.json."""
    fields = ("member_id", "kind", "trial_id", "seed", "values")
    return Member(**{name: entry[name] for name in fields})


def recorded_order(
    study: Study, paths: StudyPaths, data_folder: Path, member: Member, record: Ensemble
) -> Order:
    """Return the order whose folder holds the weights of a member on record."""
    order = member_order(study, paths, data_folder, member)
    epochs = record.refit.get("epochs", {}).get(member.member_id)
    return order if epochs is None else refit_order(order, epochs)
