"""Run a list of orders to their end, as many at a time as there are workers."""

from collections.abc import Sequence

from search.orders import Executor, Order, Outcome, Report


def run_all(
    orders: Sequence[Order], executor: Executor, report: Report
) -> dict[str, Outcome]:
    """Return the outcome of every order, failed ones included, by order id."""
    outcomes: dict[str, Outcome] = {}
    waiting = list(orders)
    running = 0
    while waiting or running:
        while waiting and running < executor.capacity:
            executor.submit(waiting.pop(0))
            running += 1
        outcome = executor.wait(report)
        if outcome is not None:
            outcomes[outcome.order_id] = outcome
            running -= 1
    return outcomes
