"""Bayesian optimisation: every trial is a full training, the next one is modelled."""

from typing import Any

from search.oracles.guided import GuidedOracle
from search.oracles.surrogate import Known


class BayesianOptimization(GuidedOracle):
    """Train what a Gaussian process expects the largest improvement of.

    The default configuration comes first, then evenly spread ones, then the model's.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values and status, as keras-tuner asks for them."""
        for _ in self.news():
            pass
        values = self.propose(len(self.trials), self.known())
        if values is None:
            return {"status": "STOPPED"}
        return {"status": "RUNNING", "values": values}

    def known(self) -> Known:
        """Return the trials, those of earlier studies with them."""
        scored = [(self.sign * score, values) for values, score in self.earlier]
        failed, pending = [], []
        for trial_id, standing in self._standings.items():
            trial = self.trials[trial_id]
            values = trial.hyperparameters.values
            score = self.signed_score(trial)
            if standing == "RUNNING":
                pending.append(values)
            elif standing == "COMPLETED" and score is not None:
                scored.append((score, values))
            else:
                failed.append(values)
        scored.sort(key=lambda item: -item[0])
        return Known([values for _, values in scored], failed, pending)
