"""Tell failures apart: out of memory, not finite, infeasible, killed or bug."""

import traceback
from pathlib import Path

from search.checkpoints import LAST, Standing, read_standing
from search.errors import InfeasibleError
from search.orders import Order, Outcome
from search.records import State

OUT_OF_MEMORY = "out of memory"
NOT_FINITE = "not finite"
INFEASIBLE = "infeasible"
KILLED = "killed"
BUG = "bug"

# How TensorFlow, XLA and CUDA say it; the classes differ by backend.
MEMORY_WORDS = ("resource_exhausted", "resourceexhausted", "out of memory", "oom when")


def failure_kind(error: BaseException) -> str:
    """Return the kind of failure an exception stands for."""
    text = f"{type(error).__name__} {error}".lower()
    if isinstance(error, InfeasibleError):
        return INFEASIBLE
    if isinstance(error, ArithmeticError):
        return NOT_FINITE
    if isinstance(error, MemoryError) or any(word in text for word in MEMORY_WORDS):
        return OUT_OF_MEMORY
    return BUG


def failed_outcome(order: Order, error: BaseException) -> Outcome:
    """Return the record of an order that ended with an exception."""
    standing = read_standing(Path(order.folder) / LAST) or Standing()
    kind = failure_kind(error)
    state: State = "INFEASIBLE" if kind == INFEASIBLE else "FAILED"
    return Outcome(
        order.order_id,
        state=state,
        failure=kind,
        history=standing.history,
        seconds=standing.seconds,
        parameters=standing.parameters or None,
        message=str(error) if kind == INFEASIBLE else one_line(error),
        traceback="".join(traceback.format_exception(error)) if kind == BUG else None,
    )


def killed_outcome(order_id: str, exit_status: int, deaths: int) -> Outcome:
    """Return the record of an order whose worker died each time it was tried."""
    cause = f"signal {-exit_status}" if exit_status < 0 else f"exit {exit_status}"
    return Outcome(
        order_id,
        state="FAILED",
        failure=KILLED,
        message=f"its worker process died {deaths} times ({cause});"
        " on Linux signal 9 is mostly the kernel running out of memory",
    )


def one_line(error: BaseException) -> str:
    """Return `Type: first line`, short enough for a table."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
