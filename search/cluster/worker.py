"""What runs on a node of a Ray cluster: a supervised worker process, and its checks.

The Ray actor is a thin shell around the executor of a single machine, so that a trial
meets the same worker function, the same limits and the same supervision everywhere.
When the actor dies its worker process loses its orders and ends.
"""

import hashlib
import os
import platform
import threading
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from search.cluster.shared_files import Sights, unseen
from search.environment import version
from search.errors import DamagedFileError
from search.files import read_json
from search.machine.devices import CORES
from search.machine.memory import machine_memory, memory_share
from search.machine.processes import module_command
from search.orders import Order, Progress, from_line, to_line
from search.workers.worker_processes import WorkerProcesses

LONGEST_WAIT_SECONDS = 2.0
# A driver asks every few seconds; one that is gone for good must not leave a training.
ORPHANED_AFTER_SECONDS = 300.0
BACKEND = "backend of Keras"
PACKAGES = ("vision-tuner", "keras", "tensorflow", "jax", "numpy")


class NodeReport(NamedTuple):
    """What a node is and has.

    Attributes:
        node_id: Ray's.
        node: for messages.
        software: name -> version of all that decides scores.
        unseen: paths that are absent here, or other files than the driver's.
    """

    node_id: str
    node: str
    software: dict[str, str]
    unseen: list[str]


class News(NamedTuple):
    """What an actor has to tell: lines of `to_line`, and what a user should know."""

    lines: list[str]
    notes: list[str]


class NodeWorker:
    """One place for trials on a node; made into an actor by the driver.

    Args:
        number: of the place, in the name of the folder for what its worker prints.
        cpus: cores it may use; Ray counts them but does not enforce them.
        gpus: share of one GPU; 0 hides the node's GPUs.
        memory: bytes the worker may hold; None = a share of the node by its cores.
        environment: variables of the driver that decide scores.
    """

    def __init__(
        self,
        number: int,
        logs: str,
        cpus: float,
        gpus: float,
        memory: int | None,
        environment: dict[str, str],
    ) -> None:
        os.environ.update(environment)
        os.environ[CORES] = str(max(1, int(cpus)))
        if gpus == 0:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._notes: list[str] = []
        self._workers = WorkerProcesses(
            1,
            Path(logs) / f"{node_id()[:8]}-{number}",
            memory_limit=memory
            or memory_share(places_here(cpus, gpus), machine_memory()),
            per_gpu=int(1 / gpus + 1e-6) if gpus else 1,
            say=self._notes.append,
            # One worker an actor: a nursery would be as large, and serve only it.
            command=module_command("workers.worker"),
        )
        self._asked = time.monotonic()
        threading.Thread(target=self._end_as_orphan, daemon=True).start()

    def hello(self, sights: Sights) -> NodeReport:
        """Report what this node has."""
        return report_node(sights)

    def begin(self, line: str) -> News:
        """Start an order, a line of `to_line`, and wait for first news."""
        order = from_line(line)
        assert isinstance(order, Order)
        self._workers.submit(order)
        return self.wait()

    def wait(self) -> News:
        """Wait a moment for news of the order."""
        lines: list[str] = []

        def note(progress: Progress) -> None:
            lines.append(to_line(progress))

        self._asked = time.monotonic()
        while not lines and time.monotonic() < self._asked + LONGEST_WAIT_SECONDS:
            outcome = self._workers.wait(note)
            if outcome is not None:
                lines.append(to_line(outcome))
        notes = self._notes.copy()
        self._notes.clear()
        return News(lines, notes)

    def stop(self) -> None:
        """Ask the order to end after its epoch."""
        self._workers.stop()

    def _end_as_orphan(self) -> None:
        while time.monotonic() < self._asked + ORPHANED_AFTER_SECONDS:
            time.sleep(1)
        os._exit(1)


def report_node(sights: Sights) -> NodeReport:
    """Report what this node has of what the driver sees; called by a Ray worker."""
    name = f"{platform.node()} ({node_id()[:8]})"
    return NodeReport(node_id(), name, software(), unseen(sights))


def places_here(cpus: float, gpus: float) -> int:
    """Return how many workers this node may hold, by its cores and its GPUs."""
    import ray

    mine = [node for node in ray.nodes() if node["NodeID"] == node_id()]
    has = mine[0]["Resources"] if mine else {}
    places = int(has.get("CPU", 1) / cpus + 1e-6)
    if gpus:
        places = min(places, int(has.get("GPU", 1)) * int(1 / gpus + 1e-6))
    return max(1, places)


def node_id() -> str:
    """Return Ray's id of the node this Ray worker is on."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


@cache
def software() -> dict[str, str]:
    """Return what must be the same on all nodes for the same scores."""
    found = {name: version(name) or "none" for name in PACKAGES}
    return {
        **found,
        BACKEND: backend_name(),
        "source of vision-tuner": source_hash(),
    }


def backend_name() -> str:
    """Return the backend that Keras would load here; importing it takes seconds."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        configured = read_json(home / "keras.json").get("backend", "tensorflow")
    except (OSError, DamagedFileError):
        configured = "tensorflow"
    return os.environ.get("KERAS_BACKEND") or str(configured)


def source_hash() -> str:
    """Return a short hash over the modules of this installation."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted([*root.glob("search/**/*.py"), *root.glob("hypermodels/*.py")]):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]
