"""Random search: evenly spread draws first, then independent ones, none twice.

Sources: Bergstra and Bengio 2012; Bousquet et al. 2017 (scrambled Sobol sequences).
"""

from typing import Any

from search.oracles.memory import RememberingOracle
from search.oracles.sampling import new_values


class RandomSearch(RememberingOracle):
    """Draw configurations independently of their results; the default one first."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values and status, as keras-tuner asks for them."""
        for _ in self.news():
            pass
        number = len(self.trials)
        values = self.requested() or new_values(
            self.encoding, self.seed, number, self.is_new
        )
        if values is None:
            return {"status": "STOPPED"}
        return {"status": "RUNNING", "values": values}
