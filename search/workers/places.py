"""A place of a worker: its process, what it is doing, and how the process leaves."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory

from search.orders import Order
from search.workers.starting import WorkerProcess
from search.workers.worker import SECONDS_TO_LOOK_BACK

# A little more than a worker takes for what could wait.
SECONDS_TO_END = SECONDS_TO_LOOK_BACK + 5
# Begins the names of workers' temporary folders; the driver's process id follows.
TEMPORARY = "vision-tuner-worker-"


@dataclass
class Leaving:
    """A process that gets no orders any more, and what ends with it."""

    process: WorkerProcess
    temporary: TemporaryDirectory[str] | None
    since: float = field(default_factory=time.monotonic)

    def is_gone(self) -> bool:
        """Return whether it has ended; one that has not in time is killed."""
        left = self.since + SECONDS_TO_END - time.monotonic()
        try:
            self.process.wait(timeout=0)
        except TimeoutExpired:
            if left > 0:
                return False
            self.process.kill()
        self.end()
        return True

    def end(self) -> int:
        """Wait for its end, not for ever, and return its exit status."""
        status = end_of(self.process)
        if self.temporary is not None:
            self.temporary.cleanup()
        return status


@dataclass
class Place:
    """One worker's place: its process and what it is doing.

    Attributes:
        causes: of the worker's ends in this epoch.
        notes: of all its ends in this order.
        stage, silence, longest: what it does, for how long nothing was heard, and the
            longest silence of this order, in seconds.
        seconds: since the order was handed over.
        ended_for: why the driver killed the process, where it did.
        kernel_kills: when the process began.
        known: keys of the networks the process has trained last, as of `key_of`.
        before: the process whose end the next one here waits for.
        temporary: the process's folder for what ends with it: it may be killed, and
            TensorFlow writes the code of each function it traces into a file.
    """

    number: int
    process: WorkerProcess | None = None
    order: Order | None = None
    orders_done: int = 0
    causes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stage: str = "loading"
    silence: float = 0.0
    longest: float = 0.0
    seconds: float = 0.0
    ended_for: str | None = None
    kernel_kills: int = 0
    known: list[str] = field(default_factory=list)
    temporary: TemporaryDirectory[str] | None = None
    is_told_to_stop: bool = False
    before: Leaving | None = None

    def is_vacant(self) -> bool:
        """Return whether a process may begin here: none has to end first."""
        if self.before is not None and self.before.is_gone():
            self.before = None
        return self.before is None

    def take(self, order: Order) -> None:
        """Begin with an order."""
        self.order = order
        self.causes, self.notes = [], []

    def listen(self) -> None:
        """Begin to wait for signs of life."""
        self.stage, self.silence, self.longest, self.seconds = "loading", 0.0, 0.0, 0.0
        self.is_told_to_stop = False

    def heard(self, stage: str | None) -> None:
        """Take note of a sign of life."""
        if self.stage not in ("loading", "saving"):
            self.longest = max(self.longest, self.silence)
        self.silence = 0.0
        self.stage = stage or self.stage

    def temporary_folder(self) -> str:
        """Return the folder for what ends with the process, a new one if need be."""
        if self.temporary is None:
            self.temporary = TemporaryDirectory(
                prefix=f"{TEMPORARY}{os.getpid()}-", ignore_cleanup_errors=True
            )
        return self.temporary.name

    def remove_temporary(self) -> None:
        """Remove the folder of a process that never began."""
        if self.temporary is not None:
            self.temporary.cleanup()
            self.temporary = None

    def hang_up(self) -> int:
        """End the process and what ends with it; return its exit status."""
        return self.let_go().end()

    def let_go(self) -> Leaving:
        """Tell the process that no orders come any more; it may look back first."""
        assert self.process is not None
        leaving = Leaving(self.process, self.temporary)
        self.process = self.temporary = None
        close_orders(leaving.process)
        return leaving


def hang_up(process: WorkerProcess) -> int:
    """Close a worker's orders, which ends it, and return its exit status."""
    close_orders(process)
    return end_of(process)


def close_orders(process: WorkerProcess) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it died with an order half read
        process.stdin.close()


def end_of(process: WorkerProcess) -> int:
    try:
        return process.wait(timeout=SECONDS_TO_END)
    except TimeoutExpired:
        process.kill()
        return process.wait()


def remove_abandoned() -> None:
    """Remove temporary folders of workers whose driver was killed with them."""
    import psutil

    for path in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        driver = re.fullmatch(rf"{TEMPORARY}(\d+)-[a-z0-9_]{{8}}", path.name)
        if driver and not psutil.pid_exists(int(driver[1])):
            shutil.rmtree(path, ignore_errors=True)
