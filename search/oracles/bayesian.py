"""Bayesian optimisation: every trial is a full training, the next one is modelled."""

from typing import Any

from search.oracles.guided import GuidedOracle
from search.oracles.surrogate import Known
from search.scoring.pareto import best_first


class BayesianOptimization(GuidedOracle):
    """Train what a Gaussian process expects the largest improvement of.

    The default configuration comes first, then evenly spread ones, then the model's.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values and status, as keras-tuner asks for them."""
        for _ in self.news():
            pass
        values = self.propose(len(self.trials), self.known)
        if values is None:
            return {"status": "STOPPED"}
        return {"status": "RUNNING", "values": values}

    def known(self) -> Known:
        """Return what is known of the configurations."""
        points, scored, failed, pending = [], [], [], []
        for trial_id, standing in self._standings.items():
            trial = self.trials[trial_id]
            values = trial.hyperparameters.values
            point = self.point(trial)
            if standing == "RUNNING":
                pending.append(values)
            elif standing == "COMPLETED" and point is not None:
                points.append(point)
                scored.append(values)
            else:
                failed.append(values)
        ranked = [scored[place] for place in best_first(points)]
        return Known(ranked, failed, pending, self.earlier)
