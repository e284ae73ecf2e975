"""The nursery's process as the driver sees it: begun, waited for and ended.

It is a program of its own, or a fork of the driver.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

from search.machine.devices import cores, worker_environment
from search.machine.processes import module_command, module_environment
from search.workers.nursery import take_over

SECONDS_TO_TELL = 5.0


class Keeper(threading.Thread):
    """Starts the nursery's process and waits for its end.

    The kernel kills the nursery when the thread that started it ends; a search may run
    in one that does not last.
    """

    def __init__(self, theirs: socket.socket) -> None:
        super().__init__(daemon=True)
        self._theirs = theirs
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = module_environment(worker_environment(0, cores()))

    def run(self) -> None:
        number = self._theirs.fileno()
        # Without the memory to start it, its end of the socket closes here.
        with self._theirs, contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [*module_command("workers.nursery"), str(number)],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,
            )
        if self._process is not None:
            self._process.wait()

    def end(self) -> None:
        """End the nursery, and with it its workers."""
        if self._process is not None:
            self._process.kill()
            self.join(SECONDS_TO_TELL)


class ForkKeeper(threading.Thread):
    """Forks this process to be the nursery, and waits for its end.

    To be made in the main thread of a process without others.
    """

    def __init__(self, theirs: socket.socket) -> None:
        super().__init__(daemon=True)
        self._pid, self._pidfd = 0, -1
        driver = os.getpid()
        with theirs, contextlib.suppress(OSError):  # without room it is closed here
            sys.stdout.flush()
            sys.stderr.flush()
            self._pid = os.fork()
            if self._pid == 0:
                take_over(theirs, driver)
            self._pidfd = os.pidfd_open(self._pid)

    def run(self) -> None:
        with contextlib.suppress(OSError):  # the program waits for all its children
            if self._pid:
                os.waitpid(self._pid, 0)

    def end(self) -> None:
        """End the nursery, and with it its workers."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.join(SECONDS_TO_TELL)
            os.close(self._pidfd)
