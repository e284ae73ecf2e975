"""Where orders run: worker processes here or on a cluster, or this very process.

To add a place to run orders: an `Executor` in a file of its own, an option in `Workers`
and a line in `make_executor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search.cluster.connection import RayOptions
from search.cluster.executor import RayExecutor
from search.cluster.nodes import gpus_in, places_in
from search.machine.devices import default_workers, gpus
from search.machine.memory import machine_memory, memory_share
from search.orders import Executor
from search.workers.in_process import InProcess
from search.workers.starting import start_nursery
from search.workers.worker_processes import WorkerProcesses


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
        cluster: where they run, if not on this machine; `count` = None is then as many
            as it holds.
    """

    count: int | None = None
    per_gpu: int = 1
    memory: int | None = None
    cluster: RayOptions | None = None

    def number(self) -> int:
        """Return how many processes train."""
        if self.count is not None:
            return self.count
        if self.cluster is not None:
            return places_in(self.cluster)
        return default_workers(self.per_gpu)

    def have_gpus(self) -> bool:
        """Return whether each process gets a GPU, or a share of one."""
        if self.cluster is not None:
            return gpus_in(self.cluster) > 0
        return bool(gpus())

    def expect(self) -> None:
        """Let what worker processes here import be imported from now on."""
        if self.cluster is None and self.number() > 0:
            start_nursery()


def make_executor(
    workers: Workers, logs: Path, say: Callable[[str], None] = nothing
) -> Executor:
    """Make what runs orders.

    Args:
        logs: folder for what the workers print.
        say: told in one line what happens to workers.

    Raises:
        InputError: the cluster cannot be used.
    """
    if workers.cluster is not None:
        return RayExecutor(workers.cluster, workers.count, workers.memory, logs, say)
    count = workers.number()
    if count == 0:
        return InProcess(say)
    limit = workers.memory or memory_share(count, machine_memory())
    return WorkerProcesses(
        count, logs, memory_limit=limit, per_gpu=workers.per_gpu, say=say
    )
