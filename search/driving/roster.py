"""The trials of a search as its driver knows them; no question goes over them all."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from search.bookkeeping.asked import parent_of
from search.bookkeeping.state import same_values
from search.driving.pace import Pace
from search.records import Trial, Values


class Roster:
    """Records by id, and what the driver asks of all of them, kept up to date.

    Args:
        trials: in the order they began.
        roots: as the attribute.
        remembered: as the attribute.

    Attributes:
        trials: trial id -> record, in the order they began; changed by `record` alone.
        roots: keras-tuner's id -> trial id; the rungs of a trial share one.
        rungs: trial id -> how many trials of keras-tuner's it has been.
        epochs: trained, of all of them.
        seconds: of these epochs.
        pace: of the epochs, and what has been heard of those under way.
        unsaved: ids of those that changed since the last save, in that order.
        unswept: ids of those that may have checkpoints.
        remembered: trials of trials.json where the tuner's state was lost.
        unclaimed_epochs: of those of them that were not asked for again yet.
    """

    def __init__(
        self,
        trials: Iterable[Trial] = (),
        roots: Mapping[str, str] | None = None,
        remembered: Mapping[str, Trial] | None = None,
    ) -> None:
        self.remembered = dict(remembered or {})
        self._unclaimed = dict(self.remembered)
        self.unclaimed_epochs = sum(trial.epochs for trial in self._unclaimed.values())
        self.roots = dict(roots or {})
        self.rungs = Counter(self.roots.values())
        self._trials: dict[str, Trial] = {}
        self.trials: Mapping[str, Trial] = self._trials
        self.epochs, self.seconds = 0, 0.0
        self.unsaved: dict[str, None] = {}
        self.unswept: set[str] = set()
        known = [*trials, *self.remembered.values()]
        self.pace = Pace(known)
        for trial in known:
            self.record(trial)

    def record(self, trial: Trial) -> None:
        """Take note of a trial that is new or has changed."""
        before = self._trials.get(trial.trial_id)
        self._trials[trial.trial_id] = trial
        self.pace.forget(trial.trial_id)
        self.epochs += trial.epochs - (before.epochs if before else 0)
        self.seconds += trial.seconds - (before.seconds if before else 0.0)
        self.unsaved[trial.trial_id] = None
        if before is None or trial.state == "RUNNING":
            self.unswept.add(trial.trial_id)

    def ordered(self, targets: Mapping[str, int]) -> int:
        """Return the epochs trained and under way.

        Args:
            targets: trial id -> epoch its order trains to, of those that run.
        """
        return self.epochs + sum(self.to_come(key, to) for key, to in targets.items())

    def to_come(self, trial_id: str | None, to: int) -> int:
        """Return the epochs that an order to epoch `to` trains, of None all of them.

        A trial that stopped early, of itself, trains no further.
        """
        if trial_id is None:
            return to
        trial = self._trials[trial_id]
        stopped_early = trial.message is not None and trial.failure is None
        return 0 if stopped_early else max(0, to - trial.epochs)

    def seconds_so_far(self) -> float:
        """Return the seconds of the epochs trained, those under way included."""
        recorded = [self._trials[trial_id] for trial_id in self.pace.under_way]
        new = (self.pace.so_far(trial).seconds - trial.seconds for trial in recorded)
        return self.seconds + sum(new)

    def with_checkpoints(self) -> list[Trial]:
        """Return those that may have checkpoints: what may go on, and the best."""
        return [self._trials[trial_id] for trial_id in sorted(self.unswept)]

    def root_of(self, asked: Any, knobs: Values) -> str:
        """Return the id of the trial an oracle's trial is, new or continued."""
        if asked.trial_id not in self.roots:
            root = self.known_as(asked, knobs) or f"{len(self._trials):04d}"
            self.roots[asked.trial_id] = root
            self.rungs[root] += 1
            claimed = self._unclaimed.pop(root, None)
            self.unclaimed_epochs -= claimed.epochs if claimed else 0
        return self.roots[asked.trial_id]

    def continued(self, asked: Any, knobs: Values) -> str | None:
        """Return the id of the trial that an oracle's trial goes on with, if any.

        With other knobs, or beside one that trains, it would be another training.
        """
        if asked.trial_id in self.roots:
            return self.roots[asked.trial_id]
        parent = self._trials.get(self.roots.get(parent_of(asked) or "", ""))
        goes_on = parent and parent.state != "RUNNING" and parent.values == knobs
        return parent.trial_id if parent and goes_on else None

    def known_as(self, asked: Any, knobs: Values) -> str | None:
        """Return the id of the trial that an oracle's trial continues or repeats."""
        root = self.continued(asked, knobs)
        if root is not None:
            return root
        repeated = same_values(self._unclaimed.values(), knobs)
        return None if repeated is None else repeated.trial_id
