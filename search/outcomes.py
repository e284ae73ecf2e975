"""What the outcome of an order makes of its trial, and what ends a search."""

import re
from collections.abc import Sequence
from dataclasses import replace

from search.failures import BUG, NOT_FINITE
from search.orders import Outcome
from search.records import Trial, Value, Values, best_epoch_of
from search.studies import Study

SAME_BUGS_ALLOWED = 3
MOST_NOTES = 20


def plain_values(values: dict[str, Value]) -> Values:
    """Return the knobs without keras-tuner's own entries."""
    return {k: v for k, v in values.items() if not k.startswith("tuner/")}


def ended_trial(trial: Trial, outcome: Outcome, study: Study) -> Trial:
    """Return the trial with what its worker reported."""
    history = outcome.history or trial.history
    best = best_epoch_of(history, study.objective, study.direction)
    lengths = [len(values) for values in history.values()]
    no_score = outcome.state == "COMPLETED" and best is None
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
        failure=NOT_FINITE if no_score else outcome.failure,
        history=history,
        notes=[*trial.notes, *outcome.notes][-MOST_NOTES:],
    )


def without_numbers(message: str | None) -> str:
    """Return a message without what differs between the same bug's messages."""
    return re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "#", message or "")


def is_repeated_bug(trials: Sequence[Trial], outcome: Outcome) -> bool:
    """Return whether nothing but the same bug has come back so far."""
    if any(trial.score is not None for trial in trials):
        return False
    message = without_numbers(outcome.message)
    same = [t for t in trials if t.failure == BUG]
    same = [t for t in same if without_numbers(t.message) == message]
    return len(same) >= SAME_BUGS_ALLOWED
