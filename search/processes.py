"""Start a module of this package in a process of its own."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path


def module_command(module: str) -> list[str]:
    """Return the command that runs `search.<module>`.

    `-P`: a folder named search in the user's working directory is not this package.
    """
    return [sys.executable, "-P", "-m", f"search.{module}"]


def module_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which `module_command` finds this package."""
    package = str(Path(__file__).parents[1])
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
