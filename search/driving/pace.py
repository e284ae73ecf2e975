"""How long epochs take, and what trainings under way have done since their order."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from search.orders import Progress
from search.records import Trial


@dataclass
class Heard:
    """The epochs of one order so far.

    Attributes:
        epoch: the latest, from 1, over the trial's whole life.
        count: those that were reported.
        seconds: of them.
    """

    epoch: int = 0
    count: int = 0
    seconds: float = 0.0


class Pace:
    """What the reports of epochs tell, by the trials they are of.

    Args:
        trials: those on record, in the order they began; what their epochs took tells
            how long the next one takes, where none has been reported yet.

    Attributes:
        latest: seconds of the latest epoch of all, 0 where there was none.
    """

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._of_an_epoch = {
            trial.trial_id: trial.seconds / trial.epochs
            for trial in trials
            if trial.epochs
        }
        self.latest = next(reversed(self._of_an_epoch.values()), 0.0)
        self._under_way: dict[str, Heard] = {}

    def hear(self, progress: Progress) -> None:
        """Take note of an epoch that ended."""
        heard = self._under_way.setdefault(progress.order_id, Heard())
        heard.epoch = progress.epoch
        heard.count += 1
        heard.seconds += progress.seconds
        self._of_an_epoch[progress.order_id] = self.latest = progress.seconds

    def forget(self, trial_id: str) -> None:
        """Drop what was under way: it is on record now, or begins again."""
        self._under_way.pop(trial_id, None)

    def next_epoch(self, running: Iterable[str]) -> float:
        """Return the seconds that an epoch of some of the trials takes at most.

        Where none of them has had one, the latest of all tells it.
        """
        known = self._of_an_epoch
        return max((known[key] for key in running if key in known), default=self.latest)

    def so_far(self, trial: Trial) -> Trial:
        """Return a trial with the epochs under way, its other fields as on record."""
        heard = self._under_way.get(trial.trial_id)
        if heard is None or heard.epoch <= trial.epochs:
            return trial
        # Of epochs done before the search was killed only the number is known.
        new = (heard.epoch - trial.epochs) * heard.seconds / heard.count
        return replace(trial, epochs=heard.epoch, seconds=trial.seconds + new)

    @property
    def under_way(self) -> list[str]:
        """Return the ids of the trials that have epochs under way."""
        return list(self._under_way)
