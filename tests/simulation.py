"""An executor that trains nothing: learning curves are a function of the values.

It stands where a test is about the driver and the oracle alone.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from search.orders import Order, Outcome, Progress, Report
from search.records import State


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it and tidy up."""


@dataclass
class SimulatedWorkers:
    """Ends orders in random order; may kill the driver after some answers.

    Attributes:
        failing: fraction of configurations that fail, always the same ones.
        crashing: fraction of orders to go on that crash, once or twice.
        attempts: order id and target -> times it was begun.
        dies_after: answers until `Killed` is raised; None = never.
        trained: order id -> epochs trained, over all lives of the driver.
    """

    capacity: int = 1
    seed: int = 0
    failing: float = 0.0
    crashing: float = 0.0
    dies_after: int | None = None
    trained: dict[str, int] = field(default_factory=dict)
    attempts: Counter[tuple[str, int]] = field(default_factory=Counter)
    running: list[Order] = field(default_factory=list)
    is_closed: bool = False

    def submit(self, order: Order) -> None:
        assert len(self.running) < self.capacity
        self.running.append(order)

    def wait(self, report: Report) -> Outcome | None:
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise Killed
        rng = random.Random(self.seed + len(self.running) + sum(self.trained.values()))
        order = self.running.pop(rng.randrange(len(self.running)))
        if self.fails(order):
            return Outcome(
                order.order_id, "FAILED", failure="bug", message=f"bug {order.order_id}"
            )
        self.attempts[order.order_id, order.epochs] += 1
        done = self.trained.get(order.order_id, 0)
        if self.attempts[order.order_id, order.epochs] <= self.crashes(order, done):
            return self.outcome(order, "FAILED", done)
        for epoch in range(done + 1, order.epochs + 1):
            report(Progress(order.order_id, epoch, 0.1, {}))
        self.trained[order.order_id] = max(done, order.epochs)
        return self.outcome(order, "COMPLETED", order.epochs)

    def outcome(self, order: Order, state: State, epochs: int) -> Outcome:
        curve = [self.score(order, epoch) for epoch in range(1, epochs + 1)]
        failure = "crashed" if state == "FAILED" else None
        return Outcome(
            order.order_id,
            state,
            failure=failure,
            message=failure and "worker crashed",
            history={"val_accuracy": curve},
            seconds=1.0,
        )

    def crashes(self, order: Order, done: int) -> int:
        """Return how many attempts of an order crash."""
        rng = random.Random(f"crash{sorted(order.values.items())}{order.epochs}")
        is_crashing = 0 < done < order.epochs and rng.random() < self.crashing
        return rng.choice([1, 2]) if is_crashing else 0

    def fails(self, order: Order) -> bool:
        return random.Random(f"fail{sorted(order.values.items())}").random() < (
            self.failing
        )

    def score(self, order: Order, epoch: int) -> float:
        quality = random.Random(f"{sorted(order.values.items())}").random()
        return quality * (1 - 0.5**epoch)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True

    def next_life(self, dies_after: int | None) -> "SimulatedWorkers":
        """Return the workers a restarted driver makes; checkpoints are kept."""
        return replace(self, running=[], dies_after=dies_after, is_closed=False)
