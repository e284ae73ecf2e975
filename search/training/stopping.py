"""When a training has had its last epoch: functions of where it stands."""

from search.orders import Order
from search.records import best_epoch_of
from search.studies import Study
from search.training.checkpoints import Standing


def must_train(standing: Standing, order: Order, study: Study) -> bool:
    """Return whether another epoch is due."""
    return standing.epochs < order.epochs and not is_stale(standing, study)


def is_finished(standing: Standing, order: Order, study: Study) -> bool:
    """Return whether the training has had its last epoch, of all rungs."""
    return standing.epochs >= order.length or is_stale(standing, study)


def is_stale(standing: Standing, study: Study) -> bool:
    """Return whether the score has not improved for `study.patience` epochs."""
    best = best_epoch_of(standing.history, study.objective, study.direction)
    if study.patience is None or standing.epochs == 0:
        return False
    return standing.epochs - (best or 0) >= study.patience


def early_stop_message(standing: Standing, order: Order, study: Study) -> str | None:
    """Say why a training ended before its last epoch, where it did."""
    if standing.epochs >= order.epochs or not is_stale(standing, study):
        return None
    return f"stopped early: no better {study.objective} for {study.patience} epochs"
