"""Random search: independent draws, none twice (Bergstra and Bengio 2012)."""

from typing import Any

import keras_tuner

from search.oracles.sampling import new_values


class RandomSearch(keras_tuner.Oracle):
    """Draw configurations independently of their results; the default one first."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values and status, as keras-tuner asks for them."""
        tried = [trial.hyperparameters.values for trial in self.trials.values()]
        values = new_values(self.hyperparameters, self.seed, len(tried), tried)
        if values is None:
            return {"status": "STOPPED"}
        return {"status": "RUNNING", "values": values}
