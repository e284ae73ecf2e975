"""Where a search draws at random and where it asks its model."""

from typing import Any

import numpy as np

from search.oracles.encoding import Encoding
from search.oracles.memory import RememberingOracle, Values
from search.oracles.sampling import new_values
from search.oracles.surrogate import Known, Surrogate

# Results before the model is asked, and the share of proposals that stay random: with
# them a model that is wrong for good still finds what random search does.
FIRST_RANDOM = 10
RANDOM_SHARE = 0.2
# Tells these draws from those of `sampling`.
STREAM = 1


class GuidedOracle(RememberingOracle):
    """An oracle whose configurations come from a surrogate model."""

    def __init__(self, objective: Any = None, **oracle_options: Any) -> None:
        super().__init__(objective=objective, **oracle_options)
        self._surrogate: Surrogate | None = None
        self._model_state: dict[str, Any] = {}

    def propose(self, number: int, known: Known) -> Values | None:
        """Return configuration `number`, None where the space is exhausted."""
        asked = self.requested()
        if asked is not None:
            return asked
        rng = np.random.default_rng([self.seed, number, STREAM])
        enough = len(known.ranked) + len(known.earlier) >= FIRST_RANDOM
        if enough and self.encoding.searched and rng.random() >= RANDOM_SHARE:
            values = self.surrogate.propose(known, rng, self.is_new)
            if values is not None:
                return values
        return new_values(self.encoding, self.seed, number, self.is_new)

    @property
    def surrogate(self) -> Surrogate:
        """Return the model, over the space as it is now."""
        encoding: Encoding = self.encoding
        if self._surrogate is None or self._surrogate.encoding is not encoding:
            self._surrogate = Surrogate(encoding)
            self._surrogate.set_state(self._model_state)
        return self._surrogate

    def get_state(self) -> dict[str, Any]:
        """Return the state as plain values."""
        state: dict[str, Any] = super().get_state()
        model = self._surrogate.get_state() if self._surrogate else self._model_state
        return state | {"surrogate": model}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state of `get_state`."""
        super().set_state(state)
        self._surrogate = None
        self._model_state = state["surrogate"]
