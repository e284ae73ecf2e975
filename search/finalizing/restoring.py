"""Weights of a finalized study that are gone: the same training again.

The work folder may be deleted after finalize, or a disk may damage it. Training is a
function of knobs and seed, so it comes to the same weights; what is on record stays.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from search.finalizing.blending import Calibrated
from search.finalizing.finalists import (
    REFIT,
    Member,
    exported_members,
    member_of,
    refit_order,
)
from search.finalizing.steps import Finalizing
from search.orders import Order
from search.paths import StudyPaths
from search.records import Ensemble, Finalist, History, Trial
from search.training.checkpoints import BEST, LAST, PREVIOUS, damage


def lost_members(
    paths: StudyPaths, record: Ensemble, finalists: Sequence[Finalist]
) -> list[Member]:
    """Return the exported members whose weights are missing or damaged."""
    ending = dict.fromkeys(record.refit.get("epochs", {}), REFIT)
    return [
        member
        for key, member in exported_members(record, finalists).items()
        if is_lost(Path(f"{paths.finalist(key)}{ending.get(key, '')}"))
    ]


def is_lost(folder: Path) -> bool:
    return damage(folder / BEST) is not None


def restore(
    run: Finalizing,
    record: Ensemble,
    lost: Sequence[Member],
    histories: dict[str, History],
) -> Ensemble:
    """Train again what was lost; the record stays.

    Args:
        histories: member id -> curves of its training.

    Raises:
        RuntimeError: a training failed.
    """
    orders = [
        order_again(run, record, member, histories)
        for member in lost
        if member.kind != "student"
    ]
    train_anew(run, orders)
    for member in lost:
        if member.kind == "student":
            restore_student(run, record, member)
    return record


def restore_student(run: Finalizing, record: Ensemble, student: Member) -> None:
    """Train the student again, on what the members said before any was refitted."""
    weights = dict(zip(record.members, record.weights, strict=True))
    blend = Calibrated(weights, record.temperature, record.threshold)
    known = {entry["member_id"]: entry for entry in record.library}
    library = {key: member_of(known[key]) for key in weights}
    teachers = [first_order(run, record, member) for member in library.values()]
    train_anew(run, [order for order in teachers if is_lost(Path(order.folder))])
    order = run.order(student)
    targets = Path(order.folder) / "soft_targets.npy"
    run.write_soft_targets(targets, blend, library)
    train_anew(run, [replace(order, soft_targets=str(targets))])


def train_anew(run: Finalizing, orders: Sequence[Order]) -> None:
    """Run orders from their first epoch on; what they have predicted stays."""
    for order in orders:
        for name in (BEST, LAST, PREVIOUS):
            Path(order.folder, name).unlink(missing_ok=True)
    if len(run.train(list(orders))) < len(orders):
        raise RuntimeError("a network of the record could not be trained again")


def first_order(run: Finalizing, record: Ensemble, member: Member) -> Order:
    """Return the order that comes to what a member was when it was chosen."""
    order = run.order(member)
    if member.kind != "trial":
        return order
    entries: dict[str, Any] = {entry["member_id"]: entry for entry in record.library}
    return replace(order, epochs=entries[member.member_id]["epoch"])


def order_again(
    run: Finalizing, record: Ensemble, member: Member, histories: dict[str, History]
) -> Order:
    """Return the order that comes to the weights of a member on record."""
    epochs = record.refit.get("epochs", {}).get(member.member_id)
    if epochs is None:
        return first_order(run, record, member)
    history = histories.get(member.member_id, {})
    return refit_order(run.order(member), epochs, history)


def histories_of(
    members: Sequence[Member], finalists: Sequence[Finalist], trials: Sequence[Trial]
) -> dict[str, History]:
    """Return member id -> curves, from the records."""
    own = {finalist.finalist_id: finalist.history for finalist in finalists}
    of_trials = {trial.trial_id: trial.history for trial in trials}
    return {
        member.member_id: own.get(member.member_id) or of_trials[member.trial_id]
        for member in members
    }
