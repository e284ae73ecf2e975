"""How far a search is, kept up to date by what changes: no look at all the trials."""

from collections import Counter
from collections.abc import Iterable, Sequence

from search.orders import Progress
from search.records import Direction, Trial, leading


class Tally:
    """Counts the trials of a search, their epochs, and knows the best one.

    Attributes:
        first: the trial that began first, as it began, or None.
        states: state -> number of trials.
        failures: kind -> number of trials that failed.
        epochs: spent by all trials, those under way included.
        best: the trial with the best score, or None; failed ones do not count.
    """

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._trials: dict[str, Trial] = {}
        self._epochs: dict[str, int] = {}
        self.latest: dict[str, Progress] = {}
        self.first: Trial | None = None
        self.states: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.epochs = 0
        self.best: Trial | None = None

    @property
    def trials(self) -> list[Trial]:
        """Return all, as they were told last, in the order they began."""
        return list(self._trials.values())

    def progress(self, progress: Progress) -> None:
        """Take note of an epoch."""
        self.latest[progress.order_id] = progress
        self._reached(progress.order_id, progress.epoch)

    def changed(self, trials: Iterable[Trial]) -> list[Trial]:
        """Take note of trials that began or ended; return what was news of them.

        Args:
            trials: in the order they began; the same object again is no news.
        """
        news = []
        for trial in trials:
            before = self._trials.get(trial.trial_id)
            if before is trial:
                continue
            if before is not None:
                self._count(before, -1)
            self._count(trial, 1)
            self._reached(trial.trial_id, trial.epochs)
            self._trials[trial.trial_id] = trial
            self.first = self.first or trial
            news.append(trial)
        self._find_best(news)
        return news

    def _count(self, trial: Trial, number: int) -> None:
        self.states[trial.state] += number
        if trial.state == "FAILED":
            self.failures[trial.failure or "unknown"] += number

    def _reached(self, trial_id: str, epoch: int) -> None:
        before = self._epochs.get(trial_id, 0)
        if epoch > before:
            self._epochs[trial_id] = epoch
            self.epochs += epoch - before

    def _find_best(self, news: Sequence[Trial]) -> None:
        candidates = news
        if self.best is not None:
            now = self._trials[self.best.trial_id]
            is_worse = leading([now, self.best], self._direction, 1)[0] is not now
            candidates = self.trials if is_worse else [now, *news]
        first = leading(candidates, self._direction, 1)
        self.best = first[0] if first else None
