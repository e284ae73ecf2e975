"""What a search has spent, what it and finalize will need: functions of the records."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from search.bookkeeping.state import read_state
from search.paths import StudyPaths
from search.records import Trial, ranked
from search.studies import Study

MOST_RESERVED = 0.5


@dataclass
class WallTime:
    """The wall time of a search over all its runs.

    Attributes:
        limit: seconds, or None.
        before: seconds of earlier runs.
        began: this one, a reading of the monotonic clock.
    """

    limit: float | None = None
    before: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def spent(self) -> float:
        """Return the seconds of all runs."""
        return self.before + time.monotonic() - self.began

    def left(self) -> float | None:
        """Return the seconds left, or None where there is no limit."""
        return None if self.limit is None else self.limit - self.spent()


def finalist_seconds(trial: Trial, epochs: int, overhead: float) -> float:
    """Predict what one finalist takes: trained to its end, it predicts twice.

    An epoch stands for the predictions.

    Args:
        trial: whose configuration it has.
        epochs: that it has to train.
        overhead: of an order beyond its epochs, in seconds.
    """
    return 3 * overhead + (epochs + 1) * trial.seconds / max(1, trial.epochs)


def epochs_left(trial: Trial, epochs: int) -> int:
    """Return what a trial goes on for, of `epochs`: nothing where it stopped early."""
    return 0 if trial.message is not None else max(0, epochs - trial.epochs)


def seconds_together(each: Sequence[float], workers: int) -> float:
    """Return what trainings of so many seconds take on so many workers."""
    return max(max(each, default=0.0), sum(each) / max(1, workers))


def affordable(each: Sequence[float], workers: int, seconds: float) -> list[int]:
    """Return the places of the trainings that fit into `seconds`, the first before."""
    chosen: list[int] = []
    for place in range(len(each)):
        asked = [each[other] for other in (*chosen, place)]
        if seconds_together(asked, workers) <= seconds:
            chosen.append(place)
    return chosen


def reserved_seconds(
    trials: Sequence[Trial], study: Study, top: int, workers: int, overhead: float
) -> float:
    """Return what a search keeps of its budget to train the `top` trials to their end.

    At most half the budget: fewer are trained where it is short.

    Args:
        trials: those that may be among the best.
        overhead: of a trial beyond its epochs (`mean_overhead`), in seconds.
    """
    each = [
        finalist_seconds(trial, epochs_left(trial, study.epochs), overhead)
        for trial in ranked(trials, study.direction)[:top]
    ]
    most = MOST_RESERVED * (study.budget_seconds or math.inf)
    chosen = affordable(each, workers, most)
    return seconds_together([each[place] for place in chosen], workers)


def seconds_left(paths: StudyPaths, limit: float | None) -> float | None:
    """Return what a search has left of its budget, None where it had none."""
    state, _ = read_state(paths)
    return None if limit is None or state is None else max(0.0, limit - state.seconds)


def mean_overhead(trials: int, trained: float, seconds: float, workers: int) -> float:
    """Return what a trial of a search of so many seconds took beyond its epochs.

    Args:
        trials: number of all of them.
        trained: seconds of their epochs.
    """
    return max(0.0, seconds * max(1, workers) - trained) / max(1, trials)
