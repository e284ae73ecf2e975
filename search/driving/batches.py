"""Run a list of orders to their end, as many at a time as there are workers."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from search.machine.room import when_there_is_room
from search.orders import Executor, Order, Outcome, Report


def run_all(
    orders: Sequence[Order],
    executor: Executor,
    report: Report,
    say: Callable[[str], None],
) -> dict[str, Outcome]:
    """Return the outcome of every order, failed ones included, by order id.

    Args:
        say: told what is waited for where the disk is full.

    Raises:
        StorageError: an order cannot be given, as its folder cannot be written.
    """
    outcomes: dict[str, Outcome] = {}
    waiting = list(orders)
    running = 0
    while waiting or running:
        while waiting and running < executor.capacity:
            order = waiting.pop(0)
            submit = partial(executor.submit, order)
            when_there_is_room(submit, Path(order.folder), say)
            running += 1
        outcome = executor.wait(report)
        if outcome is not None:
            outcomes[outcome.order_id] = outcome
            running -= 1
    return outcomes
