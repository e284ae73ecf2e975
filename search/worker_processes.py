"""Supervised worker processes on this machine, one a share of its devices."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory
from typing import IO

from search.devices import worker_environment
from search.failures import HUNG, OUT_OF_MEMORY, TIMEOUT, with_progress
from search.leases import leased
from search.memory import holds_more, kernel_kills, memory_of
from search.orders import Beat, Order, Outcome, Progress, Report, from_line, to_line
from search.starting import WorkerProcess, is_replaced_at_once, start_worker
from search.supervision import (
    allowed_silence,
    cause_of_end,
    described_end,
    is_given_up,
    is_worn_out,
)
from search.workbench import KEPT, key_of
from search.worker import STOP

POLL_SECONDS = 0.5
SECONDS_TO_END = 5
MOST_LOG_BYTES = 10**6

Message = tuple[int, int, Outcome | Progress | Beat | None]


@dataclass
class Place:
    """One worker's place: its process and what it is doing.

    Attributes:
        epoch: the order is in, from 1; 0 = not known yet.
        causes: of the worker's ends in this epoch.
        notes: of all its ends in this order.
        stage, silence, longest: what it does, for how long nothing was heard, and the
            longest silence of this order, in seconds.
        seconds: since the order was handed over.
        ended_for: why the driver killed the process, where it did.
        kernel_kills: when the process began.
        known: keys of the networks the process has trained last, as of `key_of`.
        temporary: the process's folder for what ends with it: it may be killed, and
            TensorFlow writes the code of each function it traces into a file.
    """

    number: int
    process: WorkerProcess | None = None
    order: Order | None = None
    orders_done: int = 0
    epoch: int = 0
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

    def take(self, order: Order) -> None:
        """Begin with an order."""
        self.order = order
        self.epoch, self.causes, self.notes = 0, [], []

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
                prefix="vision-tuner-", ignore_cleanup_errors=True
            )
        return self.temporary.name

    def hang_up(self) -> int:
        """End the process and what ends with it; return its exit status."""
        assert self.process is not None
        process, self.process = self.process, None
        status = hang_up(process)
        if self.temporary is not None:
            self.temporary.cleanup()
            self.temporary = None
        return status


class WorkerProcesses:
    """Keeps `capacity` worker processes and replaces those that die, hang or swell.

    Where a new one costs nearly nothing, each network has a process of its own.

    An order whose worker was replaced goes on from its last epoch; where the same end
    comes again in the same epoch, it has failed (`search.supervision`).

    Args:
        memory_limit: bytes of its own a worker may hold, or None.
        per_gpu: workers that share a GPU.
        say: told in one line what happens to workers.
        patience: factor of all limits on silence.
        command: starts another worker than ours, which speaks the same.
    """

    def __init__(
        self,
        capacity: int,
        logs: Path,
        *,
        memory_limit: int | None,
        per_gpu: int,
        say: Callable[[str], None],
        patience: float = 1.0,
        command: Sequence[str] = (),
    ) -> None:
        self.capacity = capacity
        self._logs = logs
        self._memory_limit = memory_limit
        self._per_gpu = per_gpu
        self._say = say
        self._patience = patience
        self._command = command
        self._places = [Place(number) for number in range(capacity)]
        self._messages: queue.Queue[Message] = queue.Queue()
        self._looked = time.monotonic()
        self._stopped = False

    def submit(self, order: Order) -> None:
        free = [place for place in self._places if place.order is None]
        # Where its network was trained before, by this trial or another, it still is.
        key = key_of(order, 1)
        place = next((p for p in free if key in p.known), free[0])
        holds_others = bool(place.known) and key not in place.known
        if holds_others and is_replaced_at_once(place.process):
            self._end(place)
        place.take(order if order.lease else leased(order))
        try:
            self._hand_over(place)
        except OSError:  # no room for its log, say: the place stays free
            place.order = None
            raise

    def wait(self, report: Report) -> Outcome | None:
        if self._stopped:
            self._pass_on_stop()
        if time.monotonic() - self._looked >= POLL_SECONDS:
            self._look()
        try:
            number, pid, message = self._messages.get(timeout=POLL_SECONDS)
        except queue.Empty:
            return None
        place = self._places[number]
        if place.process is None or place.process.pid != pid:
            return None  # the last words of a process that has been replaced
        if message is None:
            return self._bury(place)
        if isinstance(message, Outcome):
            return self._ended(place, message)
        if isinstance(message, Progress):
            place.epoch, place.causes = message.epoch + 1, []
            place.heard(None)
            report(message)
        else:
            place.heard(message.stage)
            if message.notice:
                self._say(f"trial {message.order_id}: {message.notice}")
        return None

    def stop(self) -> None:
        self._stopped = True  # passed on by `wait`: this may be a signal handler

    def close(self) -> None:
        for place in self._places:
            self._end(place)

    def _pass_on_stop(self) -> None:
        for place in self._places:
            if place.order is not None and not place.is_told_to_stop:
                place.is_told_to_stop = True
                self._send(place, STOP + "\n")

    def _look(self) -> None:
        """Kill workers that hang or swell; their end arrives as a message.

        Only time in which this process looked counts: it may itself have been stopped,
        the machine suspended or its clock changed.
        """
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 2 * POLL_SECONDS), now
        for place in self._places:
            if place.process is None or place.ended_for is not None:
                continue
            place.silence += passed
            place.seconds += passed
            place.ended_for = self._reason_to_end(place)
            if place.ended_for is not None:
                place.process.kill()

    def _reason_to_end(self, place: Place) -> str | None:
        """Return why a worker must not go on, or None."""
        assert place.process is not None
        limit = self._memory_limit
        if limit is not None and holds_more(place.process.pid, limit):
            return OUT_OF_MEMORY
        if place.order is None:
            return None
        hung_before = place.causes.count(HUNG)
        allowed = allowed_silence(
            place.stage, place.longest, hung_before, self._patience
        )
        timeout = place.order.study.get("trial_timeout_seconds")
        if timeout is not None and place.seconds > timeout:
            allowed = min(allowed, max(60.0, 2 * timeout))
        if place.silence <= allowed:
            return None
        return TIMEOUT if timeout is not None and place.seconds > timeout else HUNG

    def _ended(self, place: Place, outcome: Outcome) -> Outcome:
        """Free a place whose order has ended."""
        assert place.process is not None
        outcome = replace(outcome, notes=[*place.notes, *outcome.notes])
        assert place.order is not None
        key, place.order = key_of(place.order, 1), None
        place.orders_done += 1
        if outcome.state != "INFEASIBLE":  # of such a one nothing was trained
            others = (known for known in place.known if known != key)
            place.known = [*others, key][-KEPT:]
        memory = memory_of(place.process.pid)
        worn_out = is_worn_out(place.orders_done, memory, self._memory_limit)
        if worn_out or outcome.failure == OUT_OF_MEMORY:
            self._end(place)
        return outcome

    def _hand_over(self, place: Place) -> None:
        if place.process is None:
            self._start(place)
        assert place.order is not None
        place.listen()
        self._send(place, to_line(place.order))

    def _send(self, place: Place, line: str) -> None:
        assert place.process is not None and place.process.stdin is not None
        try:
            place.process.stdin.write(line)
            place.process.stdin.flush()
        except OSError:
            return  # it is dead; its end arrives as a message

    def _start(self, place: Place) -> None:
        environment = worker_environment(place.number, self.capacity, self._per_gpu)
        environment["TMPDIR"] = place.temporary_folder()
        with open_log(self._log(place)) as log:
            place.process = start_worker(environment, log, self._command)
        place.orders_done, place.ended_for, place.known = 0, None, []
        place.kernel_kills = kernel_kills()
        process, stdout = place.process, place.process.stdout
        assert stdout is not None
        threading.Thread(
            target=listen,
            args=(stdout, place.number, process.pid, self._messages.put),
            daemon=True,
        ).start()

    def _log(self, place: Place) -> Path:
        return self._logs / f"worker{place.number}.log"

    def _bury(self, place: Place) -> Outcome | None:
        """Replace a worker that ended; its order goes on or has failed."""
        status, order = place.hang_up(), place.order
        if order is None:
            return None
        killed = kernel_kills() > place.kernel_kills
        cause = cause_of_end(status, place.ended_for, killed)
        place.causes.append(cause)
        standing = with_progress(Outcome(order.order_id, "FAILED"), order)
        epoch = max(map(len, standing.history.values()), default=0) + 1
        note = described_end(
            cause, status, epoch, self._memory_limit, last_line(self._log(place))
        )
        place.notes.append(note)
        if not is_given_up(place.causes):
            self._say(f"trial {order.order_id}: {note}; replaced, the trial goes on")
            self._hand_over(place)
            return None
        place.order = None
        times = place.causes.count(cause)
        message = note if times == 1 else f"{note}, {times} times"
        return replace(standing, failure=cause, message=message, notes=place.notes[:-1])

    def _end(self, place: Place) -> None:
        """End a worker that has nothing to do; its last epoch is on disk anyway."""
        if place.process is not None:
            place.hang_up()


def hang_up(process: WorkerProcess) -> int:
    """Close a worker's orders, which ends it, and return its exit status."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it died with an order half read
        process.stdin.close()
    try:
        return process.wait(timeout=SECONDS_TO_END)
    except TimeoutExpired:
        process.kill()
        return process.wait()


def listen(
    stdout: IO[str], number: int, pid: int, put: Callable[[Message], None]
) -> None:
    """Pass on what a worker says; None when it has ended."""
    with stdout, contextlib.suppress(ValueError):  # a line cut by its death
        for line in stdout:
            message = from_line(line)
            assert not isinstance(message, Order)
            put((number, pid, message))
    put((number, pid, None))


def open_log(path: Path) -> IO[str]:
    """Open a worker's log to go on with it; a long one begins again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_long = path.exists() and path.stat().st_size > MOST_LOG_BYTES
    return path.open("w" if is_long else "a")


def last_line(log: Path) -> str:
    """Return the last line of a log, short enough for a table."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    words = [line.strip() for line in lines if line.strip()]
    return words[-1][:200] if words else "it printed nothing"
