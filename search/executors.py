"""Where orders run: worker processes on this machine, or this very process.

To add a place to run orders: an `Executor` in a file of its own, an option in `Workers`
and a line in `make_executor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search.devices import default_workers
from search.in_process import InProcess
from search.memory import machine_memory, memory_share
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

    def number(self) -> int:
        """Return how many processes train."""
        return default_workers(self.per_gpu) if self.count is None else self.count


def make_executor(
    workers: Workers, logs: Path, say: Callable[[str], None] = nothing
) -> Executor:
    """Make what runs orders.

    Args:
        logs: folder for what the workers print.
        say: told in one line what happens to workers.
    """
    count = workers.number()
    if count == 0:
        return InProcess(say)
    limit = workers.memory or memory_share(count, machine_memory())
    return WorkerProcesses(
        count, logs, memory_limit=limit, per_gpu=workers.per_gpu, say=say
    )
