"""A worker that does what the order's values say, without TensorFlow.

`acts` is a list: one act for each time the order is given; the rest of a list that is
used up is "finish". The epoch trained so far lies in the order's folder, as with ours.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from search.machine.processes import die_with_parent
from search.orders import Beat, Order, Outcome, Progress, from_line, to_line


def say(message: Beat | Outcome | Progress) -> None:
    sys.stdout.write(to_line(message))
    sys.stdout.flush()


lingers_until: Path | None = None


def act(order: Order) -> None:
    folder = Path(order.folder)
    folder.mkdir(parents=True, exist_ok=True)
    turns = folder / "turns"
    turn = len(turns.read_text()) if turns.exists() else 0
    turns.write_text("x" * (turn + 1))
    acts = json.loads(str(order.values["acts"]))
    word = acts[turn] if turn < len(acts) else "finish"
    say(Beat(order.order_id, "training"))
    if word == "epoch then kill":
        say(Progress(order.order_id, turn + 1, 0.1, {}))
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "crash":
        print("the last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if word == "swell":
        memory = bytearray(os.urandom(1)) * 400_000_000
        time.sleep(600 + len(memory) * 0)
    if word == "linger":  # after its orders, as one that draws pictures does
        global lingers_until
        lingers_until = folder / "go"
    if word == "speak":
        say(Beat(order.order_id, "saving", "waiting for room"))
    say(Outcome(order.order_id, "COMPLETED", notes=[f"pid {os.getpid()}"]))


if __name__ == "__main__":
    die_with_parent()
    for line in sys.stdin:
        message = from_line(line) if line.startswith("{") else None
        if isinstance(message, Order):
            act(message)
    while lingers_until is not None and not lingers_until.exists():
        time.sleep(0.02)
