"""Asynchronous successive halving; a model proposes a share of the configurations.

After Li et al. 2020 (ASHA), Falkner et al. 2018 (BOHB) and Klein et al. 2020 (a
Gaussian process in place of the density estimate, and no waiting for rungs). One
process models all rungs: two configurations are compared at the highest rung both have
reached. Rungs whose order a higher one has contradicted are left out of it, and half of
the proposals look at the highest rung alone, as Falkner's do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from search.bookkeeping.asked import knobs_of
from search.oracles.asynchronous import (
    HALVING_FACTOR,
    Plan,
    decide,
    may_be_promoted,
    plan_halving,
)
from search.oracles.brackets import Decision
from search.oracles.guided import LOST, GuidedOracle
from search.oracles.hyperband import Hyperband
from search.oracles.ledger import Run
from search.oracles.memory import Values
from search.oracles.ranking import (
    History,
    histories_of,
    judging_rung,
    ranked,
    trusted_rung,
)
from search.oracles.surrogate import Known

# Tells this draw from those of `guided` and `sampling`.
HEDGE_STREAM = 2


class Bohb(Hyperband, GuidedOracle):
    """Start what is drawn or proposed; continue the best quarter of each rung.

    Args:
        max_epochs: of one trial.
        factor: of the trials of a rung, one in `factor` goes on.
        plan: from `plan_halving`; None = what one sweep of Hyperband costs.
    """

    random_share = 2 / 3

    def __init__(
        self,
        objective: Any = None,
        max_epochs: int = 81,
        factor: int = HALVING_FACTOR,
        plan: Plan | None = None,
        **oracle_options: Any,
    ) -> None:
        self.plan = plan or plan_halving(max_epochs, factor)
        self._knobs: dict[str, Values] = {}
        super().__init__(
            objective=objective,
            max_epochs=max_epochs,
            factor=factor,
            brackets=[self.plan.bracket],
            **oracle_options,
        )

    def decide(self) -> Decision:
        """Return what a free worker should do."""
        return decide(
            self.plan, self.ledger, self.factor, self._exhausted, self.orderable_epochs
        )

    def may_go_on(self) -> set[str]:
        """Return the ids of finished trials that may still be promoted."""
        self.listen()
        if self.further:  # new trials change the order of the others
            return {
                run_id
                for rung in self.ledger.rungs.values()
                for _, run_id in rung.waiting
            }
        return may_be_promoted(self.plan, self.ledger, self.factor)

    def new_values(self) -> Values | None:
        """Return a configuration that was not tried, None where there is none."""
        return self.propose(self._roots, self.known)

    def known(self) -> Known:
        """Return the configurations, best first, and what failed or is pending."""
        runs = self.ledger.runs.values()
        histories = histories_of(self.ledger)
        lowest = self.lowest_rung(histories)
        trusted = [past for past in histories if past[-1].rung >= lowest]
        others = [past[-1] for past in histories if past[-1].rung < lowest]
        return Known(
            [self.values_of(run) for run in ranked(trusted)],
            [self.values_of(run) for run in runs if run.state in LOST],
            [
                self.values_of(run)
                for run in runs
                if run.state == "RUNNING" and run.rung == 0
            ],
            self.earlier,
            [self.values_of(run) for run in others],
        )

    def lowest_rung(self, histories: Sequence[History]) -> int:
        """Return the lowest rung that the model of the next proposal looks at.

        Half of the models hedge: an early rung that misleads does so before any higher
        one can tell.
        """
        rng = np.random.default_rng([self.seed, self._roots, HEDGE_STREAM])
        hedges = rng.random() < 0.5
        return judging_rung(histories) if hedges else trusted_rung(histories)

    def values_of(self, run: Run) -> Values:
        """Return the knobs of a run."""
        if run.run_id not in self._knobs:
            self._knobs[run.run_id] = knobs_of(self.trials[run.run_id])
        return self._knobs[run.run_id]
