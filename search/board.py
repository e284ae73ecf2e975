"""The verb `board`: TensorBoard on the right folder, for this machine only."""

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from search.errors import InputError
from search.studies import READY_MADE
from search.watching.event_layout import first_screen

HOST = "127.0.0.1"


def board(
    logs: Path, port: int, objectives: Sequence[str], console: Console | None = None
) -> int:
    """Run TensorBoard until it is ended; return its exit status.

    Args:
        port: 0 takes a free one.
        objectives: Keras' log keys whose curves the first screen shows.

    Raises:
        InputError: there is nothing to show, or the port is taken.
    """
    console = console or Console(stderr=True, quiet=True)
    if not any(logs.glob("**/events.out.tfevents.*")):
        raise InputError(
            f"TensorBoard runs in {logs}/", "none", "Run `vision-tuner search` first"
        )
    port = port or free_port()
    check_free(port)
    address = first_screen(f"http://{HOST}:{port}", objectives or known_objectives())
    console.print("Open, with the charts that matter pinned on top:")
    console.print(address, style="bold", highlight=False, soft_wrap=True)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
    try:
        return subprocess.call([*command, "--host", HOST, "--port", str(port)])
    except KeyboardInterrupt:  # how its user ends it
        return 0


def known_objectives() -> list[str]:
    """Return the objectives of the ready-made studies."""
    return list(dict.fromkeys(study.objective for study in READY_MADE))


def free_port() -> int:
    """Return a port nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def check_free(port: int) -> None:
    """Raise InputError where something listens on `port`."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise InputError(
                f"a free port on {HOST}", f"{port}, in use", "Choose another --port"
            )
