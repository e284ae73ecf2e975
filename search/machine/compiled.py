"""What JAX compiled, kept in the cache folder for later processes.

JAX itself would keep the folder small, but then takes a lock to read or write a program
and looks at all of them to write one. So the driver does, when it makes workers.
"""

import contextlib
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from search.paths import cache_dir

LARGEST_BYTES = 2 * 2**30
FOLDER = "JAX_COMPILATION_CACHE_DIR"
SIZE = "JAX_COMPILATION_CACHE_MAX_SIZE"
LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


class Kept(NamedTuple):
    """A file of the folder; `used` is when, in seconds."""

    path: Path
    bytes: int
    used: float


def compiled_dir() -> Path:
    return cache_dir() / "jax"


def compilation_cache() -> dict[str, str]:
    """Return the variables that let JAX keep what it compiled, for later processes.

    All of it: the usual limit of a second would leave out those that draw a network's
    weights, 0.3 s for each new shape, and one of 0.1 s dozens that take 2 s together.
    """
    return {FOLDER: str(compiled_dir()), SIZE: "-1", LEAST_SECONDS: "0"}


def tell_jax(environment: Mapping[str, str]) -> None:
    """Tell JAX where it was imported what it would else read of an environment.

    It reads these variables once; who forks a worker may have imported it without them.
    """
    if "jax" not in sys.modules:
        return
    import jax

    for name, kind in ((FOLDER, str), (SIZE, int), (LEAST_SECONDS, float)):
        if name in environment:
            jax.config.update(name.lower(), kind(environment[name]))


def prune_compiled() -> None:
    """Remove the programs used longest ago where the folder has grown too large."""
    for one in too_much(files_in(compiled_dir()), LARGEST_BYTES):
        with contextlib.suppress(OSError):  # another driver was faster
            one.path.unlink()


def too_much(files: list[Kept], most: int) -> list[Kept]:
    """Return what must go so that the rest has at most so many bytes, oldest first."""
    excess = sum(one.bytes for one in files) - most
    gone = []
    for one in sorted(files, key=lambda one: one.used):
        if excess <= 0:
            break
        gone.append(one)
        excess -= one.bytes
    return gone


def files_in(folder: Path) -> list[Kept]:
    """Return the files below a folder.

    Most file systems note at least once a day that a file was read.
    """
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it is gone since
            told = path.stat()
            if stat.S_ISREG(told.st_mode):
                used = max(told.st_atime, told.st_mtime)
                found.append(Kept(path, told.st_size, used))
    return found
