"""Leases: of all workers that may hold a trial, only the last one may write it.

A worker that cannot be reached may still be alive. Whenever an order is handed over,
but in place of a process that is known to be dead, a new token is written into the
order's folder and goes with the order; a worker whose token is no longer the one on
disk ends before it writes its next checkpoint. (One that
was past that question when the token changed still writes a whole checkpoint of the
same training, which the new worker continues or replaces.)
"""

import uuid
from dataclasses import replace
from pathlib import Path

from search.files import write_text
from search.orders import Order

LEASE = "lease"


class LeaseLostError(RuntimeError):
    """Another worker was given the trial."""


def leased(order: Order) -> Order:
    """Return the order with a new lease; whoever held the last one may not write."""
    token = uuid.uuid4().hex
    write_text(Path(order.folder) / LEASE, token + "\n")
    return replace(order, lease=token)


def check_lease(order: Order) -> None:
    """Raise LeaseLostError where the order was handed to another worker since."""
    if order.lease is None:
        return
    path = Path(order.folder) / LEASE
    holder = path.read_text().strip() if path.exists() else "nobody"
    if holder != order.lease:
        raise LeaseLostError(f"{path.parent} was given to another worker ({holder})")
