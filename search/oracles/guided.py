"""Where a search draws at random and where it asks its model."""

from collections.abc import Callable
from typing import Any

import numpy as np

from search.oracles.encoding import Encoding
from search.oracles.memory import RememberingOracle, Values
from search.oracles.sampling import new_values
from search.oracles.surrogate import Known, Surrogate

# Results before the model is asked.
FIRST_RANDOM = 10
# Of the draws, those that may be what would probably fail.
UNSPARED = 0.2
LOST = ("FAILED", "INFEASIBLE")
# Tells these draws from those of `sampling`.
STREAM = 1


class GuidedOracle(RememberingOracle):
    """An oracle whose configurations come from a surrogate model.

    Attributes:
        random_share: of the configurations that stay random: with them a model that is
            wrong for good still finds what random search does.
    """

    random_share = 0.2

    def __init__(self, objective: Any = None, **oracle_options: Any) -> None:
        super().__init__(objective=objective, **oracle_options)
        self._surrogate: Surrogate | None = None
        self._model_state: dict[str, Any] = {}

    def propose(self, number: int, known: Callable[[], Known]) -> Values | None:
        """Return configuration `number`, None where the space is exhausted.

        The first is the default one, whatever is known of earlier studies.

        Args:
            known: asked only where the model is.
        """
        asked = self.requested()
        if asked is not None:
            return asked
        rng = np.random.default_rng([self.seed, number, STREAM])
        is_random = rng.random() < self.random_share or not number
        if not is_random and self.encoding.searched:
            facts = known()
            if len(facts.ranked) + len(facts.earlier) >= FIRST_RANDOM:
                values = self.surrogate.propose(facts, rng, self.is_new)
                if values is not None:
                    return values
        return self.drawn(number, known, rng)

    def drawn(
        self, number: int, known: Callable[[], Known], rng: np.random.Generator
    ) -> Values | None:
        """Return a random configuration, mostly one that can be trained."""
        values = new_values(self.encoding, self.seed, number, self.is_new)
        fails = any(standing in LOST for standing in self._standings.values())
        is_spared = fails and self.encoding.searched and rng.random() >= UNSPARED
        if values is None or not number or not is_spared:
            return values
        other = self.surrogate.spared(known(), values, rng)
        return other if self.is_new(other) else values

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
