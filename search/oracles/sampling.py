"""Draw configurations: a function of the seed and the configuration's number.

Nothing has to be remembered between draws, so a search that is started again draws the
same; and streams of different seeds are independent (keras-tuner's are shifted copies
of each other).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

ATTEMPTS = 1000


def new_values(
    space: Any, seed: int, number: int, tried: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the values of configuration `number`, unlike all in `tried`.

    Configuration 0 is the default one: the baseline everybody asks for.

    Args:
        space: declared `keras_tuner.HyperParameters`.

    Returns:
        None where `ATTEMPTS` draws found nothing new: the space is exhausted.
    """
    known = {tuple(sorted(values.items())) for values in tried}
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([seed, number, attempt])
        is_default = number == 0 and attempt == 0
        values = default_values(space) if is_default else random_values(space, rng)
        if tuple(sorted(values.items())) not in known:
            return values
    return None


def random_values(space: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Draw every active knob from its range, log-uniform where the knob says so."""
    import keras_tuner

    drawn = keras_tuner.HyperParameters()
    for knob in space.space:
        drawn.merge([knob])
        if drawn.is_active(knob):
            drawn.values[knob.name] = knob.prob_to_value(rng.random())
    return dict(drawn.values)


def default_values(space: Any) -> dict[str, Any]:
    """Return the default of every active knob."""
    import keras_tuner

    defaults = keras_tuner.HyperParameters()
    for knob in space.space:
        defaults.merge([knob])
    return dict(defaults.values)
