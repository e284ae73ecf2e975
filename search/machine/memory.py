"""How much memory processes hold, and how much this machine has."""

import contextlib
import ctypes
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

# What the driver and the rest of the machine need beside the workers.
FRACTION_FOR_WORKERS = 0.85
GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")
M_ARENA_MAX = -8  # of malloc.h


def machine_memory() -> int:
    """Return the bytes this process may use: the machine's, or its container's."""
    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
            total = min(total, int((CGROUP / name).read_text()))
    return total


def memory_share(workers: int, total: int) -> int:
    """Return the bytes one of `workers` may hold of a machine of `total`."""
    return int(total * FRACTION_FOR_WORKERS / max(1, workers))


def memory_of(pid: int) -> int:
    """Return the bytes a process holds of its own; 0 where it is gone.

    What would be free without it: neither mapped files (the prepared data), which all
    workers share, nor what it still shares with the process it was forked from. Linux
    tells the latter in some milliseconds; elsewhere there are no forks.
    """
    most = most_memory_of(pid)
    with contextlib.suppress(OSError, ValueError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {line.split()[0]: int(line.split()[1]) for line in lines}
        return min(most, 1024 * (sizes["Private_Dirty:"] + sizes["Swap:"]))
    return most


def most_memory_of(pid: int) -> int:
    """Return what a process holds at most of its own, in microseconds."""
    try:
        info = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(info.rss - getattr(info, "shared", 0))


def holds_more(pid: int, limit: int) -> bool:
    """Return whether a process holds more than `limit` bytes of its own."""
    return most_memory_of(pid) > limit and memory_of(pid) > limit


def share_arenas(threads: int) -> None:
    """Let threads free memory for each other: no more arenas than threads, or two.

    glibc would take up to eight a core, each of which keeps what is free in it.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, max(2, threads))


def peak_gpu_memory() -> int | None:
    """Return the most bytes this process has held on its GPU; None without one."""
    if backend_loaded() == "tensorflow":
        tensorflow = sys.modules["tensorflow"]
        if not tensorflow.config.list_logical_devices("GPU"):
            return None
        return int(tensorflow.config.experimental.get_memory_info("GPU:0")["peak"])
    told = told_by_jax()
    return int(told["peak_bytes_in_use"]) if told else None


def unused_gpu_memory() -> int:
    """Return the bytes this process has taken of its GPU and never used.

    JAX takes its share at once, TensorFlow what it needs.
    """
    told = told_by_jax()
    return unused_of(told) if told else 0


def told_by_jax() -> Mapping[str, int] | None:
    """Return the statistics of JAX's memory on a GPU; None without JAX or GPU."""
    if backend_loaded() != "jax":
        return None
    told: Mapping[str, int] | None = (
        sys.modules["jax"].local_devices()[0].memory_stats()
    )
    return told


def backend_loaded() -> str | None:
    """Return Keras' backend; None where Keras is not imported, so that no GPU is held.

    Of the library that holds it no other may be asked: it would take memory, too.
    """
    keras = sys.modules.get("keras")
    return keras.config.backend() if keras else None


def unused_of(told: Mapping[str, int]) -> int:
    """Return what JAX's allocator has taken and never used, of its statistics.

    Without `pool_bytes` it is one that has taken all it may.
    """
    taken = told.get("pool_bytes", told["bytes_limit"])
    return max(0, taken - told["peak_bytes_in_use"])


def kernel_kills() -> int:
    """Return how many processes the kernel has killed for memory so far (Linux)."""
    for path in (CGROUP / "memory.events", Path("/proc/vmstat")):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def size_text(size: float) -> str:
    """Return bytes as `512 KB`, `1.5 GB` or so (powers of 1000)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e3:.3g} KB"
