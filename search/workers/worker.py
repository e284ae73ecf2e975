"""A worker process: takes orders as lines on stdin, answers as lines on stdout.

It lives as long as its driver: when stdin ends, the driver is gone, and going on would
mean two processes training the same trial once the driver is started again.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from search.machine.devices import check_device, threads
from search.machine.memory import share_arenas
from search.machine.preloading import preload
from search.machine.processes import die_with_parent
from search.orders import Beat, Order, Outcome, Progress, Report, from_line, to_line
from search.training.continuing import train
from search.training.failures import failed_outcome
from search.training.predictions import predict_split
from search.training.pulse import Act, Pulse, at_once, silent
from search.training.workbench import WORKBENCH
from search.workers.supervision import SILENCE_SECONDS
from search.workers.throughput import measure

STOP = "stop"
# For which what can wait is waited for when no orders come any more.
SECONDS_TO_LOOK_BACK = 15.0


def run_order(
    order: Order,
    report: Report,
    is_stopped: Callable[[], bool],
    pulse: Pulse = silent,
) -> Outcome:
    """Run one order to its end; a failure is an outcome, not an exception.

    Args:
        report, is_stopped, pulse: as in `search.training.pulse.Link`.
    """
    try:
        return carry_out(order, report, is_stopped, pulse, at_once)
    finally:
        WORKBENCH.tidy()


def carry_out(
    order: Order,
    report: Report,
    is_stopped: Callable[[], bool],
    pulse: Pulse,
    later: Callable[[Act], None],
) -> Outcome:
    """Run one order; what can wait, and to tidy its graphs, is left to do."""
    try:
        check_device()
        if order.job == "train":
            return train(order, report, is_stopped, pulse, later)
        if order.job == "measure":
            return measure(order, report, is_stopped, pulse)
        return predict_split(order, pulse)
    except Exception as error:
        return failed_outcome(order, error)


def serve(orders: TextIO, answers: TextIO) -> None:
    """Run the orders that come in, one after the other, until `orders` ends."""
    stopped = threading.Event()
    inbox: list[Order] = []
    arrived = threading.Condition()
    speaking, looking_back = threading.Lock(), threading.Lock()

    def listen() -> None:
        for line in orders:
            if line.strip() == STOP:
                stopped.set()
                continue
            with arrived:
                order = from_line(line)
                assert isinstance(order, Order)
                inbox.append(order)
                arrived.notify()
        # Not sys.exit: the main thread may be inside a training step for minutes.
        looking_back.acquire(timeout=SECONDS_TO_LOOK_BACK)
        os._exit(0)

    def answer(message: Progress | Outcome | Beat) -> None:
        with speaking:
            answers.write(to_line(message))
            answers.flush()

    threading.Thread(target=listen, daemon=True).start()
    is_loaded = False
    while True:
        with arrived:
            arrived.wait_for(lambda: bool(inbox))
            order = inbox.pop(0)
        pulse = beating(order.order_id, answer)
        pulse("loading")
        if not is_loaded:  # after the first order: one that never comes costs nothing
            preload()
            is_loaded = True
        left: list[Act] = []
        outcome = carry_out(order, answer, stopped.is_set, pulse, left.append)
        with looking_back:  # while the driver makes up its mind, or this is replaced
            answer(outcome)
            for act in left:
                act()
        WORKBENCH.tidy()


def beating(order_id: str, answer: Callable[[Beat], None]) -> Pulse:
    """Return the pulse that sends beats; what is no stage is a notice while saving."""

    def pulse(text: str) -> None:
        is_stage = text in SILENCE_SECONDS
        answer(Beat(order_id, text) if is_stage else Beat(order_id, "saving", text))

    return pulse


def main() -> None:
    """Serve on stdin and stdout; what libraries print goes to stderr."""
    die_with_parent()
    share_arenas(threads())
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
