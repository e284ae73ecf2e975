"""How far a search is, kept up to date by what changes: no look at all the trials."""

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from operator import is_not

from search.orders import Progress
from search.records import Direction, Trial, leading


class Tally:
    """Counts the trials of a search, their epochs, and knows the best one.

    Attributes:
        trials: as they were told last.
        states: state -> number of trials.
        failures: kind -> number of trials that failed.
        epochs: spent by all trials, those under way included.
        best: the trial with the best score, or None; failed ones count.
    """

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._epochs: dict[str, int] = {}
        self.trials: Sequence[Trial] = []
        self.latest: dict[str, Progress] = {}
        self.states: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.epochs = 0
        self.best: Trial | None = None

    def progress(self, progress: Progress) -> None:
        """Take note of an epoch."""
        self.latest[progress.order_id] = progress
        self._reached(progress.order_id, progress.epoch)

    def changed(self, trials: Sequence[Trial]) -> list[Trial]:
        """Take note of trials that began or ended; return those.

        Args:
            trials: all, in the order they began; unchanged ones are the same objects.
        """
        known = len(self.trials)
        changed = list(compress(trials, map(is_not, self.trials, trials)))
        for before in compress(self.trials, map(is_not, self.trials, trials)):
            self._count(before, -1)
        changed += trials[known:]
        for trial in changed:
            self._count(trial, 1)
            self._reached(trial.trial_id, trial.epochs)
        self.trials = trials
        self._find_best(changed)
        return changed

    def _count(self, trial: Trial, number: int) -> None:
        self.states[trial.state] += number
        if trial.state == "FAILED":
            self.failures[trial.failure or "unknown"] += number

    def _reached(self, trial_id: str, epoch: int) -> None:
        before = self._epochs.get(trial_id, 0)
        if epoch > before:
            self._epochs[trial_id] = epoch
            self.epochs += epoch - before

    def _find_best(self, changed: Sequence[Trial]) -> None:
        if self.best is None:
            candidates = changed
        elif any(trial.trial_id == self.best.trial_id for trial in changed):
            candidates = self.trials
        else:
            candidates = [self.best, *changed]
        first = leading(candidates, self._direction, 1)
        self.best = first[0] if first else None
