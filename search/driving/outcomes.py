"""What the outcome of an order makes of its trial, and what ends a search."""

import re
from collections.abc import Collection
from dataclasses import replace

from search.orders import Outcome
from search.records import Trial, best_epoch_of
from search.studies import Study
from search.training.failures import (
    BUG,
    CRASHED,
    HUNG,
    KILLED,
    NOT_FINITE,
    OUT_OF_MEMORY,
)

SAME_BUGS_ALLOWED = 3
MOST_NOTES = 20
# Kinds of failure that say nothing of the configuration itself, or not for certain.
MAY_PASS = (BUG, CRASHED, HUNG, KILLED, OUT_OF_MEMORY)


def ended_trial(trial: Trial, outcome: Outcome, study: Study) -> Trial:
    """Return the trial with what its worker reported."""
    history = outcome.history or trial.history
    best = best_epoch_of(history, study.objective, study.direction)
    lengths = [len(values) for values in history.values()]
    no_score = outcome.state == "COMPLETED" and best is None
    failure = outcome.failure
    if outcome.state == "PAUSED" and trial.failure in MAY_PASS:
        failure = trial.failure  # it was being tried again, and still is
    return replace(
        trial,
        state="FAILED" if no_score else outcome.state,
        score=None if best is None else history[study.objective][best - 1],
        best_epoch=best,
        epochs=max(lengths, default=0),
        seconds=outcome.seconds or trial.seconds,
        parameters=outcome.parameters or trial.parameters,
        measured=outcome.measured or trial.measured,
        message=f"no {study.objective} was ever finite"
        if no_score
        else outcome.message,
        failure=NOT_FINITE if no_score else failure,
        history=history,
        # What an earlier rung has said of a checkpoint is said once.
        notes=list(dict.fromkeys([*trial.notes, *outcome.notes]))[-MOST_NOTES:],
    )


def tried_again(before: Trial, failed: Trial, is_promotion: bool) -> Trial | None:
    """Return a failed trial as one that goes on from its checkpoint.

    A training that was promoted is one of the best so far: to lose it costs more than
    an epoch that fails twice. A new one is not worth that. One that gets no further
    than the last time has failed for good, so that each attempt finishes an epoch.

    Args:
        before: the trial as its order was given; it keeps the failure of an order that
            is tried again.

    Returns:
        None where it has failed for good.
    """
    may_pass = failed.state == "FAILED" and failed.failure in MAY_PASS
    is_stuck = before.failure in MAY_PASS and failed.epochs <= before.epochs
    if not (is_promotion and may_pass) or is_stuck:
        return None
    what = f"{failed.failure} in epoch {failed.epochs + 1}: {failed.message}"
    notes = [*failed.notes, f"{what}; tried again"]
    return replace(failed, state="PAUSED", notes=notes[-MOST_NOTES:])


def without_numbers(message: str | None) -> str:
    """Return a message without what differs between the same bug's messages."""
    return re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "#", message or "")


def is_repeated_bug(trials: Collection[Trial], outcome: Outcome) -> bool:
    """Return whether nothing but the same bug has come back so far."""
    if any(trial.score is not None for trial in trials):
        return False
    message = without_numbers(outcome.message)
    same = [t for t in trials if t.failure == BUG]
    same = [t for t in same if without_numbers(t.message) == message]
    return len(same) >= SAME_BUGS_ALLOWED
