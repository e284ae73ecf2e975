"""Tell failures apart by exception, message and exit status, and record them."""

import errno
import os
import traceback
from dataclasses import replace
from pathlib import Path

from search.errors import (
    DeviceError,
    InfeasibleError,
    LostDataError,
    NotFiniteError,
    OutOfTimeError,
    StorageError,
    first_line,
)
from search.machine.room import STORAGE_FAILS
from search.orders import Order, Outcome
from search.records import State
from search.training.checkpoints import standing_in

OUT_OF_MEMORY = "out of memory"
NOT_FINITE = "not finite"
TIMEOUT = "timeout"
INFEASIBLE = "infeasible"
KILLED = "killed"
HUNG = "hung"
CRASHED = "crashed"
STORAGE = "storage"
BUG = "bug"

# How TensorFlow, XLA and CUDA say that a device is full; the classes differ by backend.
DEVICE_MEMORY_WORDS = (
    "resource_exhausted",
    "resourceexhausted",
    "out of memory",
    "out_of_memory",
    "oom when",
    "alloc_failed",
    "failed to allocate memory",
)
HOST_MEMORY_WORDS = ("bad_alloc", "cannot allocate memory")
# tf.debugging.check_numerics and jax_debug_nans.
NOT_FINITE_WORDS = ("tensor had nan", "tensor had inf", "invalid value (nan)")


def is_storage(error: BaseException) -> bool:
    """Return whether a disk is full or fails, in the words of whatever wrote to it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in STORAGE_FAILS
    return tells_of_storage(text_of(error))


def tells_of_storage(text: str) -> bool:
    """Return whether a message is the system's for a disk that is full or fails."""
    return any(os.strerror(number).lower() in text.lower() for number in STORAGE_FAILS)


def is_device_full(error: BaseException) -> bool:
    """Return whether a device (TensorFlow counts the CPU as one) ran out of memory."""
    if isinstance(error, MemoryError | OSError):
        return False
    return any(word in text_of(error) for word in DEVICE_MEMORY_WORDS)


def is_host_full(error: BaseException) -> bool:
    """Return whether the process could not get memory of its own."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or any(
        word in text_of(error) for word in HOST_MEMORY_WORDS
    )


def text_of(error: BaseException) -> str:
    """Return class and message, in lower case."""
    return f"{type(error).__name__} {error}".lower()


def failure_kind(error: BaseException) -> str:
    """Return the kind of failure an exception stands for."""
    known = {
        InfeasibleError: INFEASIBLE,
        NotFiniteError: NOT_FINITE,
        FloatingPointError: NOT_FINITE,
        OutOfTimeError: TIMEOUT,
        StorageError: STORAGE,
        LostDataError: STORAGE,
        DeviceError: STORAGE,
    }
    for kind, name in known.items():
        if isinstance(error, kind):
            return name
    if is_storage(error):
        return STORAGE
    if is_device_full(error) or is_host_full(error):
        return OUT_OF_MEMORY
    if any(word in text_of(error) for word in NOT_FINITE_WORDS):
        return NOT_FINITE
    return BUG


def failed_outcome(order: Order, error: BaseException) -> Outcome:
    """Return the record of an order that ended with an exception.

    Where storage or the machine failed it is no failure of the trial: it pauses.
    """
    kind = failure_kind(error)
    states: dict[str, State] = {INFEASIBLE: "INFEASIBLE", STORAGE: "PAUSED"}
    plain = kind in (INFEASIBLE, TIMEOUT, STORAGE)
    outcome = Outcome(
        order.order_id,
        state=states.get(kind, "FAILED"),
        failure=kind,
        message=str(error) if plain else brief(error),
        traceback="".join(traceback.format_exception(error)) if kind == BUG else None,
    )
    return with_progress(outcome, order)


def raise_where_storage_failed(outcome: Outcome) -> None:
    """Raise StorageError: an order that ended so is no result, and would go on."""
    if outcome.failure == STORAGE:
        raise StorageError(outcome.message)


def with_progress(outcome: Outcome, order: Order) -> Outcome:
    """Return the outcome with the epochs that are safe on disk."""
    standing = standing_in(Path(order.folder))
    return replace(
        outcome,
        history=standing.history,
        seconds=standing.seconds,
        parameters=standing.parameters or None,
    )


def brief(error: BaseException) -> str:
    """Return `Type: first line`, short enough for a table."""
    kind = type(error).__name__
    return f"{kind}: {first_line(error)}"[:300] if str(error).strip() else kind
