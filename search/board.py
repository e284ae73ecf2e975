"""The verb `board`: TensorBoard on the right folder, for this machine only."""

import socket
import subprocess
import sys
from pathlib import Path

from search.errors import InputError

HOST = "127.0.0.1"


def board(logs: Path, port: int) -> int:
    """Run TensorBoard until it is ended; return its exit status.

    Raises:
        InputError: there is nothing to show, or the port is taken.
    """
    if not any(logs.glob("**/events.out.tfevents.*")):
        raise InputError(
            f"TensorBoard runs in {logs}/", "none", "Run `vision-tuner search` first"
        )
    if port:
        check_free(port)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
    return subprocess.call([*command, "--host", HOST, "--port", str(port)])


def check_free(port: int) -> None:
    """Raise InputError where something listens on `port`."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise InputError(
                f"a free port on {HOST}", f"{port}, in use", "Choose another --port"
            )
