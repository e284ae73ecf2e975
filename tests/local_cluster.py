"""A real Ray cluster on this machine whose nodes can be added and killed.

Where the user may make namespaces, it lives in its own: no network but loopback, and
no process outlives it, however the test ends (the kernel ends a process namespace with
its first process, and that one ends with this one's pipe).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FIRST_PROCESS = """
import fcntl, signal, socket, struct, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are reaped
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    request = struct.pack("16sh", b"lo", 0x1 | 0x40)  # up and running
    fcntl.ioctl(s, 0x8914, request.ljust(40, b"\\0"))
print("ready", flush=True)
sys.stdin.read()
"""
# Ray gives a node 30 seconds to come up, which a busy machine exceeds.
AGAIN_WHERE_IT_FAILS = ["sh", "-c", 'for _ in 1 2 3; do "$@" && break; done', "sh"]
UNSHARE = ["--net", "--pid", "--fork", "--mount-proc", "--kill-child"]


class LocalCluster:
    """Starts nodes and runs commands beside them; ends all when it is left."""

    def __init__(self) -> None:
        # Not pytest's folder: the names of Ray's sockets must stay short.
        self.folder = Path(tempfile.mkdtemp(prefix="vt-ray-"))
        self.address = ""
        self._processes: list[subprocess.Popen[Any]] = []
        self._namespace = open_namespace()
        self._nodes = 0

    @property
    def is_apart(self) -> bool:
        """Return whether it lives in namespaces of its own."""
        return self._namespace is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            kill_tree(process)
        if self._namespace is not None:
            # The kernel ends everything in the namespace before its first process.
            for first in children(self._namespace.pid):
                os.kill(first, signal.SIGKILL)
            self._namespace.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command beside the nodes."""
        if self._namespace is not None:
            (first,) = children(self._namespace.pid)
            inside = ["nsenter", "-t", str(first), "-n", "-p", "-m", "--"]
            folder = str(options.get("cwd") or Path.cwd())  # nsenter leaves it
            command = [*inside, "env", "-C", folder, *command]
        environment = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self.folder),
            # A killed node is noticed in seconds.
            "RAY_health_check_initial_delay_ms": "1000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "5",
            **options.pop("env", {}),
        }
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, **options
        )
        self._processes.append(process)
        return process

    def run(self, code: str, *arguments: object, **options: Any) -> str:
        """Run Python code beside the nodes and return what it prints."""
        command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = self.start(command, **pipes, **options)
        output, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        return str(output)

    def add_node(
        self, cpus: float = 1, gpus: int = 0, hides: Path | None = None
    ) -> subprocess.Popen[Any]:
        """Start a node, the first one as head; it joins while the caller goes on.

        Args:
            hides: a folder the node does not see, as if it were not shared; only in
                namespaces.
        """
        is_head, self._nodes = self._nodes == 0, self._nodes + 1
        if is_head:
            port = free_port()
            self.address = f"127.0.0.1:{port}"
            role = ["--head", f"--port={port}", "--include-dashboard=false"]
            role += [f"--temp-dir={self.folder}"]
        else:
            role = [f"--address={self.address}"]
        hiding: list[str] = []
        if hides is not None and self.is_apart:
            script = f'mount -t tmpfs none "{hides}" && exec "$@"'
            hiding = ["unshare", "--mount", "sh", "-c", script, "sh"]
        log = self.folder / f"node{self._nodes}.log"
        with log.open("w") as output:
            return self.start(
                [
                    *hiding,
                    *AGAIN_WHERE_IT_FAILS,
                    sys.executable,
                    "-m",
                    "ray.scripts.scripts",
                    "start",
                    "--block",
                    f"--node-ip-address=127.0.0.{self._nodes}",
                    f"--num-cpus={cpus:g}",
                    f"--num-gpus={gpus}",
                    *role,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for_nodes(self, count: int) -> None:
        """Wait until `count` nodes are alive."""
        code = (
            "import ray, sys, time; ray.init(sys.argv[1], log_to_driver=False);"
            "alive = lambda: sum(node['Alive'] for node in ray.nodes())\n"
            "while alive() < int(sys.argv[2]): time.sleep(0.2)"
        )
        wait_until(self.is_listening)
        self.run(code, self.address, count)

    def is_listening(self) -> bool:
        """Return whether the head node answers."""
        host, port = self.address.split(":")
        code = f"import socket; socket.create_connection(({host!r}, {port}), 5)"
        probe = self.start([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        return probe.wait() == 0


def open_namespace() -> subprocess.Popen[bytes] | None:
    """Start the first process of new namespaces; None where that is not allowed."""
    if not (shutil.which("unshare") and shutil.which("nsenter")) or os.geteuid():
        return None
    process = subprocess.Popen(
        ["unshare", *UNSHARE, sys.executable, "-c", FIRST_PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    if process.stdout.readline() == b"ready\n":
        return process
    process.communicate()
    return None


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """Return the processes a process has started, of all its threads."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in listing.read_text().split()]
        except OSError:
            continue  # a thread that has just ended
    return found


def descendants(pid: int) -> list[int]:
    """Return all processes below a process."""
    below = children(pid)
    return below + [pid for child in below for pid in descendants(child)]


def kill_tree(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all below it; those that start others first."""
    for pid in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def wait_until(
    condition: Callable[[], bool],
    process: subprocess.Popen[Any] | None = None,
    seconds: float = 900,
) -> None:
    """Wait for a condition; fail where `process` ends first, or after a long time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
