"""A network of which 30% of the configurations fail, really and always the same.

Which one a configuration gets follows from a hash of its values, so that the harness
knows it, too. What is raised comes from TensorFlow, NumPy and Python themselves; the
loss that is not finite is that of weights that are not.
"""

import hashlib
import json
from typing import Any

import numpy as np
from light_network import LightModel

from search.records import Values

# The order decides nothing; each has a tenth of the space.
KINDS = ("out of memory", "not finite", "bug")
SHARE = 0.1


def planned_failure(values: Values) -> str | None:
    """Return the failure a configuration is to end with, or None."""
    text = json.dumps(values, sort_keys=True).encode()
    place = int(hashlib.sha256(text).hexdigest()[:8], 16) / 16**8
    kind = int(place / SHARE)
    return KINDS[kind] if kind < len(KINDS) else None


class FailingModel(LightModel):
    """Fails in its first epoch where its configuration is to."""

    def __init__(self, order: Any) -> None:
        super().__init__(order)
        self.values = order.values

    def fit(self, *arguments: Any, **options: Any) -> Any:
        kind = planned_failure(self.values)
        if kind == "out of memory":
            exhaust(odd(self.values))
        if kind == "not finite":
            self.weights.assign(np.full_like(self.weights.value, np.nan))
        if kind == "bug":
            raise ValueError(f"shapes {self.values['dropout_rate']} do not match")
        return super().fit(*arguments, **options)


def odd(values: Values) -> bool:
    return len(json.dumps(values)) % 2 == 1


def exhaust(host: bool) -> None:
    """Ask for more memory than there is: of NumPy, or of TensorFlow's device."""
    if host:
        np.ones(2**45)
    import tensorflow as tf

    tf.zeros([2**45])
