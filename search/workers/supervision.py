"""When a worker is given up, and what its end means: functions of plain values.

A heartbeat from a thread would beat on while a training step hangs, so beats come from
the training itself: between its stages and after its steps. How long it may be silent
follows from what it has shown: the longest step so far, tracing and compiling included.
"""

import signal
from collections.abc import Sequence

from search.machine.memory import size_text
from search.training.failures import CRASHED, HUNG, KILLED, OUT_OF_MEMORY, TIMEOUT

# The longest silence of a stage, before anything of this order was measured. Loading
# includes the import of the framework; the first step traces and compiles.
SILENCE_SECONDS = {
    "loading": 600.0,
    "building": 600.0,
    "first step": 1800.0,
    "training": 120.0,
    "validating": 120.0,
    "saving": 600.0,
    "predicting": 1800.0,
}
# A step may take ten times the longest one seen: other processes come and go.
TIMES_THE_LONGEST = 10.0

# How often a worker may end in one epoch before its trial is given up. From outside is
# bad luck; the other ends will most likely come again.
ENDS_ALLOWED = {KILLED: 10, CRASHED: 2, OUT_OF_MEMORY: 2, HUNG: 2}

# A process grows by some 13 MiB a trial even when its graphs are freed.
ORDERS_PER_WORKER = 25
WORN_FRACTION = 0.5

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def allowed_silence(
    stage: str, longest: float, hung_before: int, factor: float = 1.0
) -> float:
    """Return the seconds a worker may be silent now.

    Args:
        longest: silence of this order so far, in seconds.
        hung_before: times it was taken for hung; each doubles the patience.
        factor: of all limits; smaller in tests.
    """
    patience = max(SILENCE_SECONDS[stage], TIMES_THE_LONGEST * longest)
    return float(patience * factor * 2**hung_before)


def cause_of_end(status: int, ended_for: str | None, kernel_killed: bool) -> str:
    """Return the kind of failure an exit status stands for.

    Args:
        status: as of `subprocess`: minus the signal, or the exit code.
        ended_for: why the driver killed it, where it did.
        kernel_killed: the kernel has killed for memory since the worker began.
    """
    if ended_for is not None:
        return ended_for
    if status == -signal.SIGKILL and kernel_killed:
        return OUT_OF_MEMORY
    return KILLED if -status in FROM_OUTSIDE else CRASHED


def is_given_up(causes: Sequence[str]) -> bool:
    """Return whether an order has failed, after these ends in one epoch."""
    return causes[-1] == TIMEOUT or (
        causes.count(causes[-1]) >= ENDS_ALLOWED[causes[-1]]
    )


def described_end(
    cause: str, status: int, epoch: int, memory_limit: int | None, log: str
) -> str:
    """Return what happened to a worker, in words.

    Args:
        epoch: it was in, from 1.
        log: the last line it printed.
    """
    where = f"in epoch {epoch}"
    if cause == OUT_OF_MEMORY:
        limit = "" if memory_limit is None else f" than {size_text(memory_limit)}"
        return f"worker ended for memory {where}: it needed more{limit}"
    if cause == HUNG:
        return f"worker hung {where}: no sign of life"
    if cause == TIMEOUT:
        return f"worker hung {where} until --trial-timeout"
    if cause == KILLED:
        return f"worker killed from outside {where} ({exit_text(status)})"
    return f"worker crashed {where} ({exit_text(status)}): {log}"


def exit_text(status: int) -> str:
    """Return an exit status as `SIGKILL` or `exit 1`."""
    if status >= 0:
        return f"exit {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def is_worn_out(orders_done: int | None, memory: int, memory_limit: int | None) -> bool:
    """Return whether a worker is replaced before its next order.

    Args:
        orders_done: None = they do not count.
    """
    if orders_done is not None and orders_done >= ORDERS_PER_WORKER:
        return True
    return memory_limit is not None and memory > WORN_FRACTION * memory_limit
