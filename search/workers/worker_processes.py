"""Supervised worker processes on this machine, one a share of its devices."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from search.machine.compiled import prune_compiled
from search.machine.devices import gpus, worker_environment
from search.machine.memory import holds_more, kernel_kills, memory_of
from search.machine.room import NO_PROCESS, NO_ROOM
from search.orders import Beat, Order, Outcome, Progress, Report, from_line, to_line
from search.training.failures import HUNG, OUT_OF_MEMORY, TIMEOUT, with_progress
from search.training.leases import leased
from search.training.workbench import KEPT, key_of
from search.workers.places import Leaving, Place, remove_abandoned
from search.workers.starting import is_replaced_at_once, start_worker
from search.workers.supervision import (
    allowed_silence,
    cause_of_end,
    described_end,
    is_given_up,
    is_worn_out,
)
from search.workers.worker import STOP

POLL_SECONDS = 0.5
SECONDS_BETWEEN_NOTICES = 10.0
SECONDS_WITHOUT_ANY = 900.0
MOST_LOG_BYTES = 10**6

Message = tuple[int, int, Outcome | Progress | Beat | None]


class WorkerProcesses:
    """Keeps `capacity` worker processes and replaces those that die, hang or swell.

    Where a new one costs nearly nothing, each network has a process of its own.

    An order whose worker was replaced goes on from its last epoch; where the same end
    comes again in the same epoch, it has failed (`search.workers.supervision`).

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
        self._leaving: list[Leaving] = []
        self._messages: queue.Queue[Message] = queue.Queue()
        self._looked = time.monotonic()
        self._noticed = -SECONDS_BETWEEN_NOTICES
        self._without_any: float | None = None
        self._stopped = False
        remove_abandoned()
        prune_compiled()

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
        except OSError as error:
            if error.errno in NO_PROCESS:
                return  # `wait` tries again
            place.order = None  # no room for its log, say: the place stays free
            raise

    def wait(self, report: Report) -> Outcome | None:
        for place in self._places:
            if place.order is not None and place.process is None:
                outcome = self._hand_over_later(place)
                if outcome is not None:
                    return outcome
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
            place.causes = []
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
            place.remove_temporary()
        while self._leaving:
            self._leaving.pop().end()

    def _pass_on_stop(self) -> None:
        for place in self._places:
            if place.process is None or place.order is None:
                continue
            if not place.is_told_to_stop:
                place.is_told_to_stop = True
                self._send(place, STOP + "\n")

    def _look(self) -> None:
        """Kill workers that hang or swell; their end arrives as a message.

        Only time in which this process looked counts: it may itself have been stopped,
        the machine suspended or its clock changed.
        """
        self._leaving = [each for each in self._leaving if not each.is_gone()]
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
        # On a GPU a new process has all to load there.
        orders = None if gpus() else place.orders_done
        worn_out = is_worn_out(orders, memory, self._memory_limit)
        if worn_out or outcome.failure == OUT_OF_MEMORY:
            self._end(place)
        return outcome

    def _hand_over(self, place: Place) -> None:
        """Give a worker its order, a new one if need be; later where it must wait."""
        if place.process is None and not place.is_vacant():
            return
        if place.process is None:
            self._start(place)
        assert place.order is not None
        place.listen()
        self._send(place, to_line(place.order))

    def _hand_over_later(self, place: Place) -> Outcome | None:
        """Hand over what waits for another process to end, where one can be started.

        Where none can, and the user asked for the end, the order is paused.
        """
        try:
            self._hand_over(place)
        except OSError as error:
            if error.errno not in (*NO_ROOM, *NO_PROCESS):
                raise
            order = place.order
            if self._stopped and order is not None:
                place.order = None
                paused = Outcome(order.order_id, "PAUSED", notes=list(place.notes))
                return with_progress(paused, order)
            now = time.monotonic()
            if all(each.process is None for each in self._places):
                self._without_any = self._without_any or now
                if now - self._without_any > SECONDS_WITHOUT_ANY:
                    raise  # nothing of ours runs that could make room
            else:
                self._without_any = None
            if now - self._noticed >= SECONDS_BETWEEN_NOTICES:
                self._noticed = now
                self._say(f"waiting for room for a worker: {error.strerror}")
        return None

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
            return self._hand_over_later(place)
        place.order = None
        times = place.causes.count(cause)
        message = note if times == 1 else f"{note}, {times} times"
        return replace(standing, failure=cause, message=message, notes=place.notes[:-1])

    def _end(self, place: Place) -> None:
        """End a worker that has nothing to do; its last epoch is on disk anyway.

        The next one need not wait until it has, but on a GPU, whose memory it holds.
        The driver waits for neither.
        """
        if place.process is not None:
            needs_room = not is_replaced_at_once(place.process)
            leaving = place.let_go()
            self._leaving.append(leaving)
            place.before = leaving if needs_room else None


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
