"""Hyperband with pause and continue: `brackets` decides, this class keeps the record.

It speaks keras-tuner's own protocol: a promotion is a new keras-tuner trial whose
values name the trial it continues (`tuner/trial_id`) and the epochs to reach.
"""

from collections.abc import Sequence
from typing import Any, Literal

import keras_tuner

from search.oracles.brackets import (
    Bracket,
    Promote,
    Run,
    Start,
    Wait,
    decide,
    may_be_promoted,
    plan_brackets,
)
from search.oracles.sampling import new_values

# keras-tuner's status -> the schedule's; the driver marks infeasible trials INVALID.
STATES: dict[str, Literal["COMPLETED", "FAILED", "INFEASIBLE"]] = {
    "COMPLETED": "COMPLETED",
    "FAILED": "FAILED",
    "INVALID": "INFEASIBLE",
}


class Hyperband(keras_tuner.Oracle):
    """Successive halving over several trade-offs of epochs against configurations.

    Args:
        max_epochs: of one trial.
        factor: of the trials of a rung, one in `factor` goes on.
        brackets: from `plan_brackets`; None = one sweep.
    """

    def __init__(
        self,
        objective: Any = None,
        max_epochs: int = 81,
        factor: int = 3,
        brackets: Sequence[Bracket] | None = None,
        **oracle_options: Any,
    ) -> None:
        super().__init__(objective=objective, **oracle_options)
        self.max_epochs = max_epochs
        self.factor = factor
        self.brackets = list(brackets or plan_brackets(max_epochs, factor))
        self._exhausted = False

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values and status, as keras-tuner asks for them."""
        decision = decide(self.brackets, self._runs(), self.factor, self._exhausted)
        if isinstance(decision, Start):
            values = self._new_values()
            if values is None:
                self._exhausted = True
                return self.populate_space(trial_id)
            return self._running(values, decision.bracket, 0, None)
        if isinstance(decision, Promote):
            run = decision.run
            parent = self.trials[run.run_id].hyperparameters.values
            return self._running(
                knobs_of(parent), run.bracket, run.rung + 1, run.run_id
            )
        return {"status": "IDLE" if isinstance(decision, Wait) else "STOPPED"}

    def _new_values(self) -> dict[str, Any] | None:
        roots = [
            knobs_of(trial.hyperparameters.values)
            for trial in self.trials.values()
            if "tuner/trial_id" not in trial.hyperparameters.values
        ]
        return new_values(self.hyperparameters, self.seed, len(roots), roots)

    def _running(
        self, knobs: dict[str, Any], bracket: int, rung: int, parent: str | None
    ) -> dict[str, Any]:
        epochs = (0, *self.brackets[bracket].epochs)
        values = knobs | {
            "tuner/epochs": epochs[rung + 1],
            "tuner/initial_epoch": epochs[rung],
            "tuner/bracket": bracket,
            "tuner/round": rung,
        }
        if parent is not None:
            values["tuner/trial_id"] = parent
        return {"status": "RUNNING", "values": values}

    def _runs(self) -> list[Run]:
        sign = 1 if self.objective.direction == "max" else -1
        runs = []
        for trial_id, trial in self.trials.items():
            values = trial.hyperparameters.values
            runs.append(
                Run(
                    run_id=trial_id,
                    bracket=values["tuner/bracket"],
                    rung=values["tuner/round"],
                    parent=values.get("tuner/trial_id"),
                    state=STATES.get(trial.status, "RUNNING"),
                    score=None if trial.score is None else sign * trial.score,
                )
            )
        return runs

    def may_go_on(self) -> set[str]:
        """Return the ids of finished trials that may still be promoted."""
        return may_be_promoted(self.brackets, self._runs())

    def get_state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        state: dict[str, Any] = super().get_state()
        return state | {"exhausted": self._exhausted}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state of `get_state`."""
        super().set_state(state)
        self._exhausted = state["exhausted"]


def knobs_of(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values without keras-tuner's own entries."""
    return {k: v for k, v in values.items() if not k.startswith("tuner/")}
