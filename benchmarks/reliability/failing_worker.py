"""A worker of ours in which 30% of the configurations fail, really and always the same.

Which one a configuration gets follows from a hash of its values, so that the harness
knows it, too. What is raised comes from TensorFlow, NumPy and Python themselves; the
loss that is not finite is that of weights that are not.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from search import training, worker
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


def main() -> None:
    trained = training.fit_epoch

    def fit_epoch(model: Any, *arguments: Any) -> Any:
        kind = planned_failure(current[0])
        if kind == "out of memory":
            exhaust(odd(current[0]))
        if kind == "not finite":
            model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
        if kind == "bug":
            raise ValueError(f"shapes {current[0]['dropout_rate']} do not match")
        return trained(model, *arguments)

    current: list[Values] = []
    built = training.build_model

    def build_model(order: Any, *arguments: Any) -> Any:
        current[:] = [order.values]
        return built(order, *arguments)

    training.fit_epoch = fit_epoch
    training.build_model = build_model
    worker.main()


def odd(values: Values) -> bool:
    return len(json.dumps(values)) % 2 == 1


def exhaust(host: bool) -> None:
    """Ask for more memory than there is: of NumPy, or of TensorFlow's device."""
    if host:
        np.ones(2**45)
    import tensorflow as tf

    tf.zeros([2**45])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
