"""Where orders run: worker processes on this machine, or this very process.

To add a place to run orders: an `Executor` in a file of its own, an option in `Workers`
and a line in `make_executor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search.devices import default_workers
from search.in_process import InProcess
from search.orders import Executor
from search.worker_processes import WorkerProcesses


def nothing(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Workers:
    """What runs the orders of a search or of finalize.

    Attributes:
        count: processes that train; None = what the machine carries, 0 = train in this
            process.
        per_gpu: processes that share one GPU.
        memory: bytes a process may hold before it is replaced; None = its share of the
            machine.
    """

    count: int | None = None
    per_gpu: int = 1
    memory: int | None = None


def make_executor(
    workers: Workers, logs: Path, say: Callable[[str], None] = nothing
) -> Executor:
    """Make what runs orders.

    Args:
        logs: folder for what the workers print.
        say: told in one line what happens to workers.
    """
    count = default_workers(workers.per_gpu) if workers.count is None else workers.count
    if count == 0:
        return InProcess()
    return WorkerProcesses(count, logs)
