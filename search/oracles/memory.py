"""What our oracles share: which configurations they asked for, and what became of them.

A keras-tuner oracle holds every trial; going through all of them at every question
would make long searches slow, so each trial is looked at again only until it has ended.
"""

from collections.abc import Iterator
from typing import Any

import keras_tuner

from search.bookkeeping.growth import new_keys
from search.oracles.encoding import Encoding, configuration_key
from search.oracles.ledger import Standing
from search.records import Direction
from search.scoring.pareto import signed

Values = dict[str, Any]
# keras-tuner's status -> the schedule's; the driver marks infeasible trials INVALID.
STATES: dict[str, Standing] = {
    "COMPLETED": "COMPLETED",
    "FAILED": "FAILED",
    "INVALID": "INFEASIBLE",
}


class RememberingOracle(keras_tuner.Oracle):
    """An oracle that knows its configurations and tells news of its trials.

    Attributes:
        further: further objectives, name -> direction.
        first: configurations to try after the default one; see `--start-from`.
        earlier: configurations of earlier studies with their normal scores.
        orderable_epochs: that may still be ordered, None = any number; whoever gives
            the orders sets it before each question.
    """

    orderable_epochs: int | None = None

    def __init__(
        self,
        objective: Any = None,
        further: dict[str, Direction] | None = None,
        first: list[Values] | None = None,
        earlier: list[tuple[Values, float]] | None = None,
        **oracle_options: Any,
    ) -> None:
        super().__init__(objective=objective, **oracle_options)
        self.further = dict(further or {})
        self.first = list(first or [])
        self.earlier = list(earlier or [])
        self._standings: dict[str, Standing] = {}
        self._open: dict[str, None] = {}  # running at the last look, in order
        self._tried: set[tuple[tuple[str, Any], ...]] = set()
        self._encoding: Encoding | None = None

    @property
    def sign(self) -> int:
        """Return what makes scores better the larger they are."""
        return 1 if self.objective.direction == "max" else -1

    @property
    def encoding(self) -> Encoding:
        """Return the encoding of the space, which a plain Tuner may extend."""
        if self._encoding is None or len(self._encoding.knobs) != len(
            self.hyperparameters.space
        ):
            self._encoding = Encoding(self.hyperparameters)
        return self._encoding

    def news(self) -> Iterator[tuple[str, Any, Standing]]:
        """Go through the trials that are new or have ended since the last call."""
        started = new_keys(self.trials, len(self._standings))
        for trial_id in [*self._open, *started]:
            trial, before = self.trials[trial_id], self._standings.get(trial_id)
            now: Standing = STATES.get(trial.status, "RUNNING")
            if now != before:
                self._standings[trial_id] = now
                if now == "RUNNING":
                    self._open[trial_id] = None
                else:
                    self._open.pop(trial_id, None)
                self._tried.add(configuration_key(trial.hyperparameters.values))
                yield trial_id, trial, now

    def is_new(self, values: Values) -> bool:
        """Return whether a configuration has not been asked for."""
        return configuration_key(values) not in self._tried

    def requested(self) -> Values | None:
        """Return the next configuration the user asked for that has not been tried.

        The default configuration comes before them.
        """
        if not self.trials:
            return None
        return next((values for values in self.first if self.is_new(values)), None)

    def point(self, trial: Any) -> tuple[float, ...] | None:
        """Return the objectives of a trial, each better the larger."""
        score = self.signed_score(trial)
        if score is None:
            return None
        others = []
        for name, direction in self.further.items():
            known = trial.metrics.exists(name)
            value = trial.metrics.get_last_value(name) if known else None
            others.append(signed(value, direction))
        return (score, *others)

    def signed_score(self, trial: Any) -> float | None:
        """Return the score, better the larger."""
        return None if trial.score is None else self.sign * float(trial.score)

    def get_state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        state: dict[str, Any] = super().get_state()
        return state | {"first": self.first, "earlier": self.earlier}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state of `get_state`; the trials are read anew."""
        super().set_state(state)
        self.first = state["first"]
        self.earlier = [(values, score) for values, score in state["earlier"]]
        self._standings.clear()
        self._open.clear()
        self._tried.clear()
        self._encoding = None
