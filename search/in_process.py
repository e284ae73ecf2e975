"""Runs orders in the driver's own process, one at a time; for debugging and small jobs."""

import threading

from search.orders import Order, Outcome, Report
from search.worker import run_order


class InProcess:
    """Runs orders in this process, one at a time; a crash ends the search."""

    capacity = 1

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self._stopped = threading.Event()

    def submit(self, order: Order) -> None:
        self._orders.append(order)

    def wait(self, report: Report) -> Outcome | None:
        if not self._orders:
            return None
        return run_order(self._orders.pop(), report, self._stopped.is_set)

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._orders.clear()
