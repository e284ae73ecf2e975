"""A place of a cluster: one actor, and what it does."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from search.cluster.connection import import_ray
from search.orders import Order


@dataclass
class RemotePlace:
    """One actor.

    Attributes:
        call: the answer it owes; None where it has nothing to do.
        heard: when it last answered, by the monotonic clock.
        node: where it is; empty until its first answer.
    """

    number: int
    actor: Any
    call: Any
    heard: float
    node: str = ""
    order: Order | None = None
    is_told_to_stop: bool = False

    def idle(self) -> float:
        """Return the seconds since it last answered."""
        return time.monotonic() - self.heard

    def end(self) -> None:
        """End the actor, whether or not its node is still there."""
        ray = import_ray()
        with suppress(ray.exceptions.RayError):
            ray.kill(self.actor)
