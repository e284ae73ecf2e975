"""Start worker processes: forked by the nursery where there is one, else by themselves.

The nursery is a fork of this process where it runs one thread when it is to import
Keras, else a program of its own.

One nursery serves all searches of this process. Where it cannot be had (no Linux, a
backend that runs threads, no memory for it) workers are started as any program is.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from search.machine.backend import load_keras
from search.machine.compiled import compilation_cache
from search.machine.devices import gpus
from search.machine.memory import memory_of
from search.machine.preloading import import_all
from search.machine.processes import is_single, module_command, module_environment
from search.workers.keepers import SECONDS_TO_TELL, ForkKeeper, Keeper
from search.workers.nursery import REFUSED, Handed

CAN_FORK = sys.platform == "linux" and hasattr(os, "pidfd_open")
# As a worker may be silent while it loads; and what a fork may take.
SECONDS_TO_IMPORT = 600.0
SECONDS_TO_FORK = 60.0
# Bytes of its own of a process that is forked to be the nursery.
LARGEST_FORKED = 2**30
ATTEMPTS = 2
# Begin the names of variables that are read when frameworks are imported.
READ_AT_IMPORT = ("HOME", "JAX_", "KERAS_", "LD_", "PYTHON", "TF_", "XLA_")


class WorkerProcess(Protocol):
    """What supervision needs of a worker's process: `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...
    @property
    def stdin(self) -> IO[str] | None: ...
    @property
    def stdout(self) -> IO[str] | None: ...
    def kill(self) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...


def start_worker(
    environment: Mapping[str, str], log: IO[str], command: Sequence[str] = ()
) -> WorkerProcess:
    """Start a worker in a session of its own: Ctrl-C is for the driver.

    Args:
        log: what it prints goes there.
        command: starts another worker than ours.

    Raises:
        OSError: there is no room for another process.
    """
    environment = module_environment(environment)
    forked = None if command else forked_worker(environment, log)
    return forked or subprocess.Popen(
        list(command) or module_command("workers.worker"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
        start_new_session=True,
    )


def is_replaced_at_once(process: WorkerProcess | None) -> bool:
    """Return whether a new process in place of this one costs nearly nothing.

    TensorFlow keeps the memory that its largest network needed; with the process it is
    given back. A fork takes milliseconds, but on a GPU it has all to load there.
    """
    return isinstance(process, ForkedWorker) and not gpus()


class Nursery:
    """The driver's side of a nursery; gone with it, at the latest when Python ends.

    Attributes:
        imports_under: variables its imports have read.
        has_imported: it has answered.
    """

    def __init__(self, keeper_class: type[Keeper | ForkKeeper] = Keeper) -> None:
        self.imports_under = read_at_import()
        self.has_imported = False
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(SECONDS_TO_IMPORT)
        keeper = keeper_class(theirs)
        keeper.start()
        # Its workers hold on to it: it is not ended under them.
        self.end = weakref.finalize(self, end, self._socket, keeper, os.getpid())

    def fork(self, environment: Mapping[str, str], log: IO[str]) -> "ForkedWorker":
        """Let a worker be forked.

        Raises:
            BlockingIOError: there is no room for one more process, or pipes to it.
            OSError: it is dead, or does not answer.
        """
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            try:
                orders, stdin = pipe(theirs, ours)
                stdout, answers = pipe(ours, theirs)
                told, status = pipe(ours, theirs)
                folder = os.open(".", os.O_PATH)
            except OSError as error:  # of this process, which has too much open
                raise BlockingIOError(*error.args) from error
            theirs.callback(os.close, folder)
            handed = Handed(orders, answers, log.fileno(), folder, status)
            pid, pidfd = self._ask(handed)
            ours.callback(os.close, pidfd)
            worker = ForkedWorker(self, pid, (pidfd, told), (stdin, stdout))
            ours.pop_all()
        with contextlib.suppress(OSError):  # it is dead; its end arrives as a message
            worker.stdin.write(json.dumps(dict(environment)) + "\n")
            worker.stdin.flush()
        return worker

    def await_imports(self) -> None:
        """Wait until workers can be forked.

        Raises:
            OSError: it is dead, or does not answer.
        """
        if not self.has_imported:
            if not self._socket.recv(1):
                raise ConnectionResetError("the nursery ended while it imported")
            self.has_imported = True
            self._socket.settimeout(SECONDS_TO_FORK)

    def _ask(self, handed: Handed) -> tuple[int, int]:
        """Return the process id of a new worker, and a descriptor of the process."""
        self.await_imports()
        socket.send_fds(self._socket, [b"w"], handed)
        flags = socket.MSG_CMSG_CLOEXEC
        pid, descriptors, *_ = socket.recv_fds(self._socket, 32, 1, flags)
        if pid == REFUSED:
            raise BlockingIOError("no room for another process")
        if not descriptors:
            raise ConnectionResetError("the nursery ended")
        return int(pid), descriptors[0]


class ForkedWorker:
    """A worker that the nursery forked, with the face of `subprocess.Popen`."""

    def __init__(
        self,
        nursery: Nursery,
        pid: int,
        watched: tuple[int, int],
        talk: tuple[int, int],
    ) -> None:
        self.pid = pid
        self.stdin: IO[str] = os.fdopen(talk[0], "w")
        self.stdout: IO[str] = os.fdopen(talk[1])
        self._pidfd, self._told = watched
        self._nursery = nursery
        self._status: int | None = None

    def kill(self) -> None:
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if self._status is None:
            if not is_readable(self._pidfd, timeout):
                raise subprocess.TimeoutExpired("worker", timeout or 0)
            # Of a nursery that died the workers were killed.
            said = is_readable(self._told, SECONDS_TO_TELL) and os.read(self._told, 32)
            self._status = int(said or -signal.SIGKILL)
            os.close(self._told)
            os.close(self._pidfd)
        return self._status


_lock = threading.Lock()
_nursery: Nursery | None = None
_is_hopeless = not CAN_FORK


def start_nursery() -> None:
    """Import what workers import, here where this process can be forked, else beside.

    Raises:
        InputError: the backend that Keras is told to use is not installed.
    """
    with _lock:
        if not _is_hopeless:
            current_nursery(may_import=True)


def current_nursery(may_import: bool = False) -> Nursery:
    """Return the nursery, a new one where variables its imports read have changed.

    Args:
        may_import: what workers need may be imported here, to fork this process.
    """
    global _nursery
    if _nursery is None or _nursery.imports_under != read_at_import():
        keeper_class = keeper_for(may_import)
        _nursery = Nursery(keeper_class)
        if keeper_class is ForkKeeper:
            # Until then it holds what is open here. Who needs it is told if it fails.
            with contextlib.suppress(OSError):
                _nursery.await_imports()
    return _nursery


def keeper_for(may_import: bool) -> type[Keeper | ForkKeeper]:
    """Return what makes the nursery.

    A user's program that holds much is not forked: what it frees later would stay.
    """
    if not may_import or not is_single() or memory_of(os.getpid()) > LARGEST_FORKED:
        return Keeper
    load_keras()
    import_all()
    return ForkKeeper if is_single() else Keeper


def forked_worker(environment: Mapping[str, str], log: IO[str]) -> ForkedWorker | None:
    """Return a worker forked by the nursery; None where there can be none.

    A nursery that died, of what kills workers, is replaced; not one that never was.
    """
    global _nursery, _is_hopeless
    with _lock:
        for _ in range(0 if _is_hopeless else ATTEMPTS):
            nursery = current_nursery()
            try:
                return nursery.fork(environment, log)
            except BlockingIOError:
                return None
            except OSError:
                nursery.end()
                _nursery = None
                _is_hopeless = not nursery.has_imported
                if _is_hopeless:
                    break
    return None


def end(connection: socket.socket, keeper: Keeper | ForkKeeper, owner: int) -> None:
    """End a nursery; a fork of its owner only lets go of it."""
    connection.close()
    if os.getpid() == owner:
        keeper.end()


def forget_nursery() -> None:
    """Leave the nursery to the process this one was forked from."""
    global _nursery
    _nursery = None


os.register_at_fork(after_in_child=forget_nursery)


def read_at_import() -> dict[str, str]:
    """Return the variables that make one import unlike another."""
    environment = {**compilation_cache(), **os.environ}
    return {k: v for k, v in environment.items() if k.startswith(READ_AT_IMPORT)}


def pipe(reads: contextlib.ExitStack, writes: contextlib.ExitStack) -> tuple[int, int]:
    """Return a pipe, whose ends are closed with these."""
    read, write = os.pipe()
    reads.callback(os.close, read)
    writes.callback(os.close, write)
    return read, write


def is_readable(descriptor: int, timeout: float | None) -> bool:
    """Return whether there is something to read within `timeout` seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
