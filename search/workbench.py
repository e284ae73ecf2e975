"""The networks a worker keeps: for trials that go on, and for those that differ little.

Building and tracing a network takes seconds, as long as some epochs. A trial that is
continued in the same worker finds its network again and loads its checkpoint into it.
On TensorFlow learning rate and weight decay are variables (`hypermodels.optimizers`),
so that a trial which differs in nothing else starts in the same network, at the values
all its variables had when it was built: the seed is the study's, so they are what
building it anew would give.
"""

import gc
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.orders import Order

KEPT = 3
# Larger networks are not kept: training them takes longer than building them.
LARGEST_BYTES = 32 * 2**20


@dataclass
class Built:
    """A network that is built, and what belongs to it.

    Attributes:
        hypermodel: what built it.
        batch_size: images of a batch.
        start: values of all variables when it was built.
        parts: frozen part and head, once it was split.
        identity: of its frozen part.
    """

    model: Any
    hypermodel: Any
    batch_size: int
    variables: list[Any]
    start: list[NDArray[Any]] = field(default_factory=list)
    parts: Any = None
    identity: str = ""
    is_split: bool = False

    def bytes(self) -> int:
        """Return the bytes of all its variables."""
        return sum(int(np.prod(v.shape)) * 4 for v in self.variables)

    def restart(self) -> None:
        """Set all variables to what they were when the network was built."""
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)


def key_of(order: Order, parts: int, adjustable: tuple[str, ...]) -> str:
    """Return what two orders share whose networks are the same graph.

    Args:
        parts: training steps to an update.
        adjustable: knobs that are no part of the graph.
    """
    values = {k: v for k, v in order.values.items() if k not in adjustable}
    shared = [
        values,
        order.seed,
        order.length,
        order.study,
        order.data_folder,
        order.use_validation,
        parts,
    ]
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


class Workbench:
    """The last networks of this process."""

    def __init__(self) -> None:
        self._built: dict[str, Built] = {}

    def take(self, key: str) -> Built | None:
        """Take a network from the bench; `put` it back when its training went well."""
        return self._built.pop(key, None)

    def is_empty(self) -> bool:
        return not self._built

    def put(self, key: str, built: Built) -> None:
        """Keep a network, unless it is large, and only the last few."""
        if built.bytes() > LARGEST_BYTES:
            return
        self._built[key] = built
        while len(self._built) > KEPT:
            del self._built[next(iter(self._built))]

    def clear(self) -> None:
        """Free all networks, so that the device's memory is free."""
        self._built.clear()
        self.tidy()

    def tidy(self) -> None:
        """Free the graphs of networks that are not on the bench."""
        import keras

        keras.utils.clear_session(free_memory=False)
        gc.collect()


WORKBENCH = Workbench()
