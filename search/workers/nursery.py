"""The nursery: a process that has imported what workers import, and forks them.

Importing TensorFlow and Keras takes seconds and hundreds of MiB. Here it happened once;
a worker then begins at once, and shares the pages. The nursery is itself a fork of the
driver where that runs a single thread, so that it shares them, too; else it imports
beside the driver. No device and no thread is started before a fork: neither outlives it
in the child.

The driver asks over a socket and hands over what the worker is to read and write. How a
worker ended reaches it through a pipe of that worker's own. The driver could also wait
for workers itself, as the reaper of orphans (`PR_SET_CHILD_SUBREAPER`); but it may be a
user's program, which would inherit all its other orphans, too.
"""

import contextlib
import gc
import json
import os
import select
import socket
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from search.machine.compiled import tell_jax
from search.machine.preloading import preload
from search.machine.processes import die_with_parent, reset_signals, threads_of_its_own
from search.workers import worker

READY = b"r"
REFUSED = b"0"
# A driver that asks for no worker for so long starts a new nursery when it does.
IDLE_SECONDS = 600.0


class Handed(NamedTuple):
    """What the driver hands over for a worker, as file descriptors.

    Attributes:
        orders, answers, log: the worker's stdin, stdout and stderr; the first line on
            stdin is its environment.
        folder: its working directory.
        status: where its exit status is written to.
    """

    orders: int
    answers: int
    log: int
    folder: int
    status: int


class Child(NamedTuple):
    """A worker that runs."""

    pid: int
    status: int


def fork_workers(driver: socket.socket, set_by_imports: Mapping[str, str]) -> bool:
    """Fork a worker whenever the driver asks, until it is gone.

    Args:
        set_by_imports: environment variables.

    Returns:
        Whether this is a worker: it returns, too.
    """
    asked = driver.fileno()
    children: dict[int, Child] = {}  # by pidfd
    while True:
        ready = select.select([asked, *children], [], [], IDLE_SECONDS)[0]
        if not ready and not children:
            return False
        for ended in children.keys() & set(ready):
            bury(ended, children.pop(ended))
        if asked in ready:
            handed = received(driver)
            if handed is None:
                return False
            try:
                pid = os.fork()
            except OSError:  # no room for one more; those that run go on
                for descriptor in handed:
                    os.close(descriptor)
                driver.sendall(REFUSED)
                continue
            if pid == 0:
                driver.close()
                for pidfd, child in children.items():
                    os.close(pidfd)
                    os.close(child.status)
                become_worker(handed, set_by_imports)
                return True
            pidfd = os.pidfd_open(pid)
            for descriptor in handed[:-1]:
                os.close(descriptor)
            children[pidfd] = Child(pid, handed.status)
            socket.send_fds(driver, [str(pid).encode()], [pidfd])


def received(driver: socket.socket) -> Handed | None:
    """Return what came with a request; None where the driver is gone."""
    with contextlib.suppress(ConnectionError):
        flags = socket.MSG_CMSG_CLOEXEC
        _, descriptors, *_ = socket.recv_fds(driver, 1, len(Handed._fields), flags)
        return Handed(*descriptors) if descriptors else None
    return None


def bury(pidfd: int, child: Child) -> None:
    """Tell the driver how a worker ended, as `subprocess` does."""
    status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):  # it no longer listens
        os.write(child.status, str(status).encode())
    os.close(child.status)
    os.close(pidfd)


def become_worker(handed: Handed, set_by_imports: Mapping[str, str]) -> None:
    """Make this fork what a process would be that was started as a worker.

    Nothing handles signals here but Python itself, as in any new process.
    """
    die_with_parent()
    os.setsid()
    for number, descriptor in enumerate(handed[:3]):
        os.dup2(descriptor, number)
    os.fchdir(handed.folder)
    for descriptor in handed:
        os.close(descriptor)
    line = sys.stdin.readline()
    if not line:  # the driver is gone
        os._exit(0)
    os.environ.clear()
    os.environ.update({**set_by_imports, **json.loads(line)})
    settle()
    gc.enable()


def settle() -> None:
    """Set what imports have set: random state, BLAS' threads, the temporary folder.

    And where JAX keeps what it compiles.
    """
    import numpy as np
    import threadpoolctl

    tempfile.tempdir = None
    np.random.seed()
    threadpoolctl.threadpool_limits(int(os.environ.get("OMP_NUM_THREADS", "1")))
    tell_jax(os.environ)


def take_over(driver: socket.socket, parent: int) -> NoReturn:
    """Be the nursery in a fork of the driver that has imported all; never return.

    What the driver was doing is not gone on with: nothing here goes back up its stack.

    Args:
        parent: the driver's process id.
    """
    status = 1
    try:
        die_with_parent()
        if os.getppid() == parent:  # else it died before the kernel was told
            os.setsid()
            reset_signals()
            keep_only(driver.fileno())
            gc.disable()
            gc.freeze()
            serve(driver, {})
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def keep_only(descriptor: int) -> None:
    """Close what else is open, and give the standard streams new files.

    A lock on a file would else be held as long as this process lives, and what is left
    in the buffer of the driver's stdin would be read as an order.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number != descriptor:
            with contextlib.suppress(OSError):  # the folder's own is closed by now
                os.close(number)


def serve(driver: socket.socket, set_by_imports: Mapping[str, str]) -> None:
    """Say that workers can be had, and fork them; in one of them, be it."""
    driver.sendall(READY)
    if fork_workers(driver, set_by_imports):
        worker.main()


def main() -> None:
    """Import, then fork; the socket to the driver is the descriptor in argv."""
    die_with_parent()
    # What a collection would find now is imported modules.
    gc.disable()
    before = dict(os.environ)
    driver = socket.socket(fileno=int(sys.argv[1]))
    preload()
    imports = {k: v for k, v in os.environ.items() if before.get(k) != v}
    os.close(os.pidfd_open(os.getpid()))  # told now where the kernel has none
    threads = threads_of_its_own()
    if threads > 1:
        sys.exit(f"{threads} threads run after the imports: a fork would lose them")
    serve(driver, imports)


if __name__ == "__main__":
    main()
