"""Draw configurations: a function of the seed and the configuration's number.

Nothing has to be remembered between draws, so a search that is started again draws the
same; and streams of different seeds are independent (keras-tuner's are shifted copies
of each other).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import qmc

from search.oracles.encoding import Array, Encoding
from search.spaces import default_values

Values = dict[str, Any]
ATTEMPTS = 1000
# Configurations of a Sobol sequence, which cover the space more evenly than chance;
# the later ones are independent draws.
EVEN = 64


def new_values(
    encoding: Encoding, seed: int, number: int, is_new: Callable[[Values], bool]
) -> Values | None:
    """Return the values of configuration `number`, one that has not been tried.

    Configuration 0 is the default one: the baseline everybody asks for.

    Returns:
        None where `ATTEMPTS` draws found nothing new: the space is exhausted.
    """
    for attempt in range(ATTEMPTS):
        if attempt == 0 and number == 0:
            values = default_values(encoding.space)
        elif attempt == 0 and number <= EVEN:
            values = encoding.values(
                even_positions(seed, len(encoding.knobs))[number - 1]
            )
        else:
            rng = np.random.default_rng([seed, number, attempt])
            values = encoding.values(rng.random(len(encoding.knobs)))
        if is_new(values):
            return values
    return None


@lru_cache(maxsize=8)
def even_positions(seed: int, knobs: int) -> Array:
    """Return the first positions of a scrambled Sobol sequence, (EVEN, knobs)."""
    sobol = qmc.Sobol(max(1, knobs), scramble=True, rng=np.random.default_rng([seed]))
    result: Array = sobol.random(EVEN)
    return result


def random_values(space: Any, rng: np.random.Generator) -> Values:
    """Draw every active knob from its range, log-uniform where the knob says so."""
    encoding = Encoding(space)
    return encoding.values(rng.random(len(encoding.knobs)))
