"""The networks a worker keeps: for trials that go on, and for those that differ little.

Building and tracing a network takes seconds, as long as some epochs. A trial that is
continued in the same worker finds its network again and loads its checkpoint into it.
Some knobs are variables (`hypermodels.dials`), so that a trial which differs in nothing
else starts in the same network, at the values all its variables had
when it was built: the seed is the study's, so they are what building it anew would
give.
"""

import gc
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypermodels import ADJUSTABLE, ADJUSTABLE_ABOVE_ZERO
from search.machine.devices import gpus
from search.orders import Order
from search.records import Values

KEPT = 3
# Larger networks are not kept: on a CPU training them takes longer than building them.
LARGEST_BYTES = 32 * 2**20
# For a GPU they are compiled, which takes as long as many epochs: 20 to 25 s of ResNets
# on an H100, whose epochs took 1 to 2 s.
LARGEST_BYTES_ON_GPU = 2**30


@dataclass
class Built:
    """A network that is built, and what belongs to it.

    Attributes:
        hypermodel: what built it.
        batch_size: images of a batch.
        values: of the knobs it was built with.
        dials: knob -> what sets it without another graph.
        start: values of all variables when it was built; none where they are not kept.
        parts: frozen part and head, once it was split.
        identity: of its frozen part.
    """

    model: Any
    hypermodel: Any
    batch_size: int
    variables: list[Any]
    values: Values = field(default_factory=dict)
    dials: dict[str, Callable[[float], None]] = field(default_factory=dict)
    start: list[NDArray[Any]] = field(default_factory=list)
    parts: Any = None
    identity: str = ""
    is_split: bool = False

    def bytes(self) -> int:
        """Return the bytes of all its variables."""
        return sum(int(np.prod(v.shape)) * 4 for v in self.variables)

    def can_become(self, values: Values, is_new: bool) -> bool:
        """Return whether it can be what another configuration would build.

        Args:
            is_new: its variables are to be those of a network that was just built.
        """
        knobs = {*values, *self.values}
        other = {knob for knob in knobs if values.get(knob) != self.values.get(knob)}
        return other <= self.dials.keys() and (bool(self.start) or not is_new)

    def adjust(self, values: Values) -> None:
        """Set what can be set to the values of a configuration."""
        for knob, dial in self.dials.items():
            if knob in values:
                dial(float(values[knob]))

    def restart(self) -> None:
        """Set all variables to what they were when the network was built."""
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)


def key_of(order: Order, parts: int) -> str:
    """Return what two orders share whose networks may be the same graph.

    Args:
        parts: training steps to an update.
    """
    shared = [
        graph_values(order.values),
        order.seed,
        order.length,
        order.study,
        order.data_folder,
        order.use_validation,
        parts,
    ]
    return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()


def graph_values(values: Values) -> Values:
    """Return what of a configuration no dial can set."""
    return {
        knob: bool(value) if knob in ADJUSTABLE_ABOVE_ZERO else value
        for knob, value in values.items()
        if knob not in ADJUSTABLE
    }


def largest_bytes() -> int:
    """Return how large a network may be that is kept."""
    return LARGEST_BYTES_ON_GPU if gpus() else LARGEST_BYTES


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
        if built.bytes() > largest_bytes():
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
