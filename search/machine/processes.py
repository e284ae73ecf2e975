"""Start a module of this package in a process of its own."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


def module_command(module: str) -> list[str]:
    """Return the command that runs `search.<module>`.

    `-P`: a folder named search in the user's working directory is not this package.
    """
    return [sys.executable, "-P", "-m", f"search.{module}"]


def module_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `module_command` finds this package."""
    package = str(Path(__file__).parents[2])
    inherited = environment.get("PYTHONPATH")
    path = package if not inherited else os.pathsep.join([package, inherited])
    return {**environment, "PYTHONPATH": path}


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies (Linux).

    A stopped or hung process would not notice otherwise, and wake up later to write
    into a folder that belongs to the next driver's worker.
    """
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG in linux/prctl.h
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def is_single() -> bool:
    """Return whether this thread is all that runs here, so that a fork loses nothing.

    The kernel ties what dies with its parent to the thread that has started it: only
    the main thread lasts as long as the process. Linux only.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and threads_of_its_own() == 1


def threads_of_its_own() -> int:
    """Return the threads of this process but those of OpenBLAS (Linux).

    That ends them before a fork, and starts new ones when there is something to do.
    """
    import threadpoolctl

    pools = threadpoolctl.threadpool_info()
    blas = (pool for pool in pools if pool["internal_api"] == "openblas")
    idle = sum(int(pool["num_threads"]) - 1 for pool in blas)
    return max(1, len(list(Path("/proc/self/task").iterdir())) - idle)


def reset_signals() -> None:
    """Handle signals as a new process of Python does."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
