"""Run orders in the driver's own process, one at a time: for debugging, small jobs."""

import threading
from collections.abc import Callable

from search.orders import Order, Outcome, Report
from search.training.leases import leased
from search.training.workbench import WORKBENCH
from search.workers.supervision import SILENCE_SECONDS
from search.workers.worker import run_order


class InProcess:
    """Runs orders in this process; a crash ends the search.

    Args:
        say: told in one line what keeps an order waiting.
    """

    capacity = 1

    def __init__(self, say: Callable[[str], None]) -> None:
        self._orders: list[Order] = []
        self._stopped = threading.Event()
        self._say = say

    def submit(self, order: Order) -> None:
        self._orders.append(leased(order))

    def wait(self, report: Report) -> Outcome | None:
        if not self._orders:
            return None
        return run_order(
            self._orders.pop(), report, self._stopped.is_set, self._passed_on
        )

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._orders.clear()
        WORKBENCH.clear()

    def _passed_on(self, text: str) -> None:
        if text not in SILENCE_SECONDS:
            self._say(text)
