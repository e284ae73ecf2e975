"""Hyperband with pause and continue: `brackets` decides, this class keeps the record.

It speaks keras-tuner's own protocol: a promotion is a new keras-tuner trial whose
values name the trial it continues (`tuner/trial_id`) and the epochs to reach.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from search.bookkeeping.asked import knobs_of
from search.oracles import brackets as schedule
from search.oracles.brackets import (
    Bracket,
    Decision,
    Promote,
    Start,
    Wait,
    plan_brackets,
)
from search.oracles.ledger import Ledger, Run, Standing
from search.oracles.memory import RememberingOracle, Values
from search.oracles.sampling import new_values
from search.scoring.pareto import best_first


class Hyperband(RememberingOracle):
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
        self.ledger = Ledger()
        self._roots = 0
        self._exhausted = False

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values and status, as keras-tuner asks for them."""
        self.listen()
        decision = self.decide()
        if isinstance(decision, Start):
            values = self.requested() or self.new_values()
            if values is None:
                self._exhausted = True
                decision = self.decide()
            else:
                return self.running(values, decision.bracket, 0, None)
        if isinstance(decision, Promote):
            return self.promoted(decision)
        return {"status": "IDLE" if isinstance(decision, Wait) else "STOPPED"}

    def listen(self) -> None:
        """Take in what has become of the trials."""
        news = list(self.news())
        for news_id, trial, standing in news:
            self.hear(news_id, trial, standing)
        if self.further and news:
            self.ledger = self.by_fronts()

    def may_go_on(self) -> set[str]:
        """Return the ids of finished trials that may still be promoted."""
        self.listen()
        return schedule.may_be_promoted(self.brackets, self.ledger)

    def decide(self) -> Decision:
        """Return what a free worker should do."""
        return schedule.decide(self.brackets, self.ledger, self.factor, self._exhausted)

    def new_values(self) -> Values | None:
        """Return a configuration that was not tried, None where there is none."""
        return new_values(self.encoding, self.seed, self._roots, self.is_new)

    def hear(self, trial_id: str, trial: Any, standing: Standing) -> None:
        """Record that a trial has started or ended."""
        values = trial.hyperparameters.values
        is_known = trial_id in self.ledger.runs
        run = Run(
            run_id=trial_id,
            bracket=values["tuner/bracket"],
            rung=values["tuner/round"],
            parent=values.get("tuner/trial_id"),
            state=standing,
            score=self.signed_score(trial),
        )
        self._roots += not is_known and run.parent is None
        self.ledger.record(run)

    def by_fronts(self) -> Ledger:
        """Return the ledger with the runs of each rung scored front by front.

        Equal points come in the order of their ids, whatever the last order was: after
        a restart there is none.
        """
        places: dict[str, float] = {}
        for rung in self.ledger.rungs.values():
            ids = sorted(run_id for _, run_id in rung.finished)
            points = [self.point(self.trials[run_id]) or () for run_id in ids]
            places |= {ids[i]: -place for place, i in enumerate(best_first(points))}
        return Ledger(
            replace(run, score=places.get(run.run_id))
            for run in self.ledger.runs.values()
        )

    def promoted(self, decision: Promote) -> dict[str, Any]:
        """Return the answer that continues a trial."""
        run = decision.run
        values = knobs_of(self.trials[run.run_id])
        answer = self.running(values, run.bracket, run.rung + 1, run.run_id)
        if decision.epochs is not None:
            answer["values"]["tuner/epochs"] = decision.epochs
        return answer

    def running(
        self, knobs: Values, bracket: int, rung: int, parent: str | None
    ) -> dict[str, Any]:
        """Return the answer that trains a configuration to a rung."""
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

    def get_state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        state: dict[str, Any] = super().get_state()
        return state | {"exhausted": self._exhausted}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state of `get_state`."""
        super().set_state(state)
        self.ledger = Ledger()
        self._roots = 0
        self._exhausted = state["exhausted"]
