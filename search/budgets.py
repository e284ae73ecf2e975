"""What a search has spent, what it and finalize will need: functions of the records."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from search.records import Trial, ranked
from search.studies import Study


@dataclass
class WallTime:
    """The wall time of a search over all its runs.

    Attributes:
        limit: seconds, or None.
        before: seconds of earlier runs.
        began: this one, a reading of the monotonic clock.
        overheads: seconds each order took beyond its epochs: starting, building.
    """

    limit: float | None = None
    before: float = 0.0
    began: float = field(default_factory=time.monotonic)
    overheads: list[float] = field(default_factory=list)

    def spent(self) -> float:
        """Return the seconds of all runs."""
        return self.before + time.monotonic() - self.began

    def left(self) -> float | None:
        """Return the seconds left, or None where there is no limit."""
        return None if self.limit is None else self.limit - self.spent()

    def overhead(self) -> float:
        """Return what an order takes beyond its epochs, in seconds."""
        return statistics.median(self.overheads) if self.overheads else 0.0


def finalize_seconds(
    trials: Sequence[Trial], study: Study, top: int, workers: int, overhead: float
) -> float:
    """Predict what finalize needs for the `top` trials, which it continues.

    Each is trained to its end and predicts twice; an epoch stands for the predictions.

    Args:
        overhead: of an order beyond its epochs, in seconds.
    """
    best = ranked(trials, study.direction)[:top]
    each = [
        3 * overhead
        + (study.epochs - trial.epochs + 1) * trial.seconds / max(1, trial.epochs)
        for trial in best
    ]
    return max(max(each, default=0.0), sum(each) / max(1, workers))


def epochs_ordered(trials: Sequence[Trial], running: dict[str, int]) -> int:
    """Return the epochs trained and under way.

    Args:
        running: trial id -> epoch its order trains to.
    """
    return sum(max(t.epochs, running.get(t.trial_id, 0)) for t in trials)
