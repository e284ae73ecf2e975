"""As `bohb`, whose draws are near the default configuration while that does well.

Most draws from a space of many knobs are bad in at least one of them; the author of a
network has chosen a default that is not. After Mallik et al. 2023 (PriorBand), with a
few knobs drawn again in place of a distribution around each.
"""

from collections.abc import Callable, Sequence

import numpy as np

from search.oracles.bohb import Bohb
from search.oracles.encoding import Encoding, comparable
from search.oracles.guided import FIRST_RANDOM
from search.oracles.memory import Values
from search.oracles.surrogate import Known
from search.spaces import default_values

# Of the draws, those near the default configuration, up to which configuration; then
# the n-th has that number over n of it: what the default can tell is soon told.
NEAR = 0.5
NEAR_FOR = 8
# Of the knobs of a configuration near the default one.
REDRAWN = 0.2
# What differs in more of its knobs is not near.
NEAR_UP_TO = 0.4
BEST = 0.25
ATTEMPTS = 100
# Tells these draws from those of `guided`, `bohb` and `sampling`.
STREAM = 3


class Priorband(Bohb):
    """Draw half of what is first drawn near the default, less later or if it is bad."""

    def drawn(
        self, number: int, known: Callable[[], Known], rng: np.random.Generator
    ) -> Values | None:
        """Return a random configuration, near the default one or from anywhere."""
        own = np.random.default_rng([self.seed, number, STREAM])
        share = NEAR * min(1.0, NEAR_FOR / max(1, number))
        if number and own.random() < share * self.trust(known):
            values = near_default(self.encoding, own, self.is_new)
            if values is not None:
                return values
        return super().drawn(number, known, rng)

    def trust(self, known: Callable[[], Known]) -> float:
        """Return how far the default is to be trusted, from 0 to 1."""
        ranked = known().ranked
        return (
            1.0
            if len(ranked) < FIRST_RANDOM
            else trust_in_default(self.encoding, ranked)
        )


def near_default(
    encoding: Encoding, rng: np.random.Generator, is_new: Callable[[Values], bool]
) -> Values | None:
    """Return the default configuration with some knobs drawn again.

    Returns:
        None where `ATTEMPTS` draws found nothing new.
    """
    searched = np.array(encoding.searched, int)
    defaults = {k: knob.default for k, knob in enumerate(encoding.knobs)}
    for _ in range(ATTEMPTS):
        redrawn = searched[rng.random(len(searched)) < REDRAWN]
        positions = np.full(len(defaults), np.nan)
        positions[redrawn] = rng.random(len(redrawn))
        # As they are: by way of their positions they would come back rounded.
        kept = {k: default for k, default in defaults.items() if k not in redrawn}
        values = encoding.values(positions, given=kept)
        if is_new(values):
            return values
    return None


def trust_in_default(encoding: Encoding, ranked: Sequence[Values]) -> float:
    """Return how far the default is to be trusted, by what came of it.

    Fully where what is near it is good half as often again as the rest, by half where
    it is as often, and not where it is half as often.

    Args:
        ranked: configurations, best first; the best quarter is good.
    """
    default = default_values(encoding.space)
    near = np.array([is_near(values, default, encoding) for values in ranked], bool)
    good = np.arange(len(near)) < BEST * len(near)
    # As if one of four more had been good: nothing follows from a few.
    shares = [(1 + (good & kind).sum()) / (4 + kind.sum()) for kind in (near, ~near)]
    return float(np.clip(shares[0] / shares[1] - 0.5, 0.0, 1.0))


def is_near(values: Values, default: Values, encoding: Encoding) -> bool:
    """Return whether few of the searched knobs differ from the default's."""
    names = [encoding.knobs[k].name for k in encoding.searched]
    differ = sum(
        comparable(values.get(name)) != comparable(default.get(name)) for name in names
    )
    return bool(differ <= NEAR_UP_TO * len(names))
