"""Supervised worker processes on this machine, one a share of its devices."""

import contextlib
import queue
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from search.devices import worker_environment
from search.failures import OUT_OF_MEMORY, killed_outcome
from search.orders import Order, Outcome, Progress, Report, from_line, to_line
from search.processes import module_command, module_environment
from search.worker import STOP

# A process grows by some 13 MiB a trial even when its graphs are freed.
ORDERS_PER_WORKER = 25
DEATHS_ALLOWED = 2
POLL_SECONDS = 0.5
SECONDS_TO_END = 5


@dataclass
class Place:
    """One worker's place: its process and what it is doing."""

    number: int
    process: subprocess.Popen[str] | None = None
    order: Order | None = None
    orders_done: int = 0
    deaths: int = 0


class WorkerProcesses:
    """Keeps `capacity` worker processes and replaces those that die.

    An order whose worker died is given to a fresh one, which goes on from the last
    epoch; after `DEATHS_ALLOWED` deaths it has failed.
    """

    def __init__(self, capacity: int, logs: Path) -> None:
        self.capacity = capacity
        self._logs = logs
        self._places = [Place(number) for number in range(capacity)]
        self._messages: queue.Queue[tuple[int, int, Outcome | Progress | None]] = (
            queue.Queue()
        )
        self._stopped = False

    def submit(self, order: Order) -> None:
        place = next(place for place in self._places if place.order is None)
        place.order, place.deaths = order, 0
        self._hand_over(place)

    def wait(self, report: Report) -> Outcome | None:
        try:
            number, pid, message = self._messages.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return None
        place = self._places[number]
        if place.process is None or place.process.pid != pid:
            return None  # the last words of a process that has been replaced
        if message is None:
            return self._bury(place)
        if isinstance(message, Progress):
            report(message)
            return None
        place.order = None
        place.orders_done += 1
        worn_out = place.orders_done >= ORDERS_PER_WORKER
        if worn_out or message.failure == OUT_OF_MEMORY:
            self._end(place)
        return message

    def stop(self) -> None:
        self._stopped = True
        for place in self._places:
            if place.order is not None:
                self._send(place, STOP + "\n")

    def close(self) -> None:
        for place in self._places:
            self._end(place)

    def _hand_over(self, place: Place) -> None:
        if place.process is None:
            self._start(place)
        assert place.order is not None
        self._send(place, to_line(place.order))
        if self._stopped:
            self._send(place, STOP + "\n")

    def _send(self, place: Place, line: str) -> None:
        assert place.process is not None and place.process.stdin is not None
        try:
            place.process.stdin.write(line)
            place.process.stdin.flush()
        except OSError:
            return  # it is dead; its end arrives as a message

    def _start(self, place: Place) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"worker{place.number}.log").open("a") as log:
            # A session of its own: Ctrl-C is for the driver, which asks workers to
            # end after their epoch.
            place.process = subprocess.Popen(
                module_command("worker"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=module_environment(worker_environment(place.number, self.capacity)),
                start_new_session=True,
            )
        place.orders_done = 0
        process, stdout = place.process, place.process.stdout
        assert stdout is not None
        threading.Thread(
            target=listen,
            args=(stdout, place.number, process.pid, self._messages.put),
            daemon=True,
        ).start()

    def _bury(self, place: Place) -> Outcome | None:
        """Replace a worker that died; its order goes on or has failed."""
        assert place.process is not None
        status = hang_up(place.process)
        order, place.process = place.order, None
        place.deaths += 1
        if order is None:
            return None
        if place.deaths < DEATHS_ALLOWED:
            self._hand_over(place)
            return None
        place.order = None
        return killed_outcome(order.order_id, status, place.deaths)

    def _end(self, place: Place) -> None:
        """End a worker that has nothing to do; its last epoch is on disk anyway."""
        if place.process is None:
            return
        process, place.process = place.process, None
        hang_up(process)


def hang_up(process: subprocess.Popen[str]) -> int:
    """Close a worker's orders, which ends it, and return its exit status."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it died with an order half read
        process.stdin.close()
    try:
        return process.wait(timeout=SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def listen(
    stdout: IO[str],
    number: int,
    pid: int,
    put: Callable[[tuple[int, int, Outcome | Progress | None]], None],
) -> None:
    """Pass on what a worker says; None when it has ended."""
    with stdout:
        for line in stdout:
            message = from_line(line)
            assert not isinstance(message, Order)
            put((number, pid, message))
    put((number, pid, None))
