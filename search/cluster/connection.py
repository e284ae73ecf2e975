"""Join a running Ray cluster, or say in one line why not."""

import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

from search.errors import InputError, first_line

NAMESPACE = "vision-tuner"
SECONDS_TO_REACH = 10.0
SECONDS_TO_JOIN = 45.0
ADDRESS = re.compile(r"auto|(ray://)?(?P<host>[^\s/:]+|\[[0-9a-f:]+\]):(?P<port>\d+)")


@dataclass(frozen=True)
class RayOptions:
    """A cluster and what one trial takes of it.

    Attributes:
        address: `auto`, HOST:PORT of the head node, or ray://HOST:PORT.
        cpus: cores a trial; a fraction lets trials share one.
        gpus: 0 to 1 GPU a trial; None = 1 where the cluster has GPUs, else 0.
    """

    address: str
    cpus: float = 1.0
    gpus: float | None = None


def chosen_cluster(
    address: str | None,
    cpus: float | None,
    gpus: float | None,
    workers: int | Literal["auto"] | None,
    trials_per_gpu: int | Literal["auto"] = 1,
) -> RayOptions | None:
    """Return the cluster a command line asks for; None where it asks for none.

    Raises:
        InputError: options contradict each other.
    """
    if address is None:
        if cpus is not None or gpus is not None:
            raise InputError(
                "--ray with --cpus-per-trial and --gpus-per-trial",
                "no --ray",
                "On this machine --workers divides the cores",
            )
        return None
    if workers == 0:
        raise InputError(
            "--ray, or --workers 0 to train in this process", "both", "Choose one"
        )
    if workers == "auto" or trials_per_gpu == "auto":
        raise InputError(
            "--workers N or --gpus-per-trial with --ray",
            "auto",
            "Only this machine is measured; without --workers all places are used",
        )
    if trials_per_gpu != 1:
        raise InputError(
            "--gpus-per-trial with --ray",
            f"--trials-per-gpu {trials_per_gpu}",
            f"Pass --gpus-per-trial {1 / trials_per_gpu:.3g}",
        )
    return RayOptions(address, 1.0 if cpus is None else cpus, gpus)


def check_options(options: RayOptions) -> None:
    """Raise InputError where the numbers make no sense."""
    if options.cpus <= 0:
        raise InputError(
            "--cpus-per-trial above 0", options.cpus, "A fraction shares a core"
        )
    if options.gpus is not None and not 0 <= options.gpus <= 1:
        raise InputError(
            "--gpus-per-trial from 0 to 1",
            options.gpus,
            "A trial trains on one GPU; a fraction shares it",
        )


def import_ray() -> Any:
    """Import Ray.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise InputError(
            "Ray, to search on a cluster",
            "an installation without it",
            "Run `pip install '.[ray]'` where vision-tuner was cloned, on every node",
        ) from None
    return ray


def connect(options: RayOptions) -> None:
    """Connect this process to a running cluster, once.

    Raises:
        InputError: Ray is not installed, nothing answers within some seconds, or what
            answers is not a cluster this process can join.
    """
    check_options(options)
    ray = import_ray()
    if ray.is_initialized():
        return
    reach(options.address)
    try:
        ray.init(
            address=options.address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        raise unreachable(options.address, first_line(error)) from error


def disconnect() -> None:
    """Leave the cluster, where `connect` joined it."""
    ray = import_ray()
    if ray.is_initialized() and ray.get_runtime_context().namespace == NAMESPACE:
        ray.shutdown()


def reach(address: str) -> None:
    """Raise InputError where no cluster that can be joined answers at `address`."""
    if not ADDRESS.fullmatch(address):
        raise InputError(
            "--ray auto, HOST:PORT or ray://HOST:PORT",
            repr(address),
            "The head node prints its address when it starts",
        )
    match = ADDRESS.fullmatch(address)
    if match is not None and match["host"] is not None:
        place = match["host"].strip("[]"), int(match["port"])
        try:
            socket.create_connection(place, SECONDS_TO_REACH).close()
        except (OSError, OverflowError) as error:
            raise unreachable(address, first_line(error)) from error
    try_to_join(address)


def try_to_join(address: str) -> None:
    """Raise InputError where a process of its own cannot join within some seconds.

    Where no cluster answers, Ray tries for minutes and then ends the process.
    """
    code = (
        "import ray, sys;"
        "ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')"
    )
    command = [sys.executable, "-P", "-c", code, address]
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS_TO_JOIN,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        why = f"no answer in {SECONDS_TO_JOIN:g} seconds"
        raise unreachable(address, why) from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        why = lines[-1] if lines else f"exit status {error.returncode}"
        raise unreachable(address, why.partition("Error: ")[2] or why) from None


def unreachable(address: str, why: str) -> InputError:
    """Return the error of a cluster that cannot be joined."""
    return InputError(
        f"a running Ray cluster at --ray {address}",
        why,
        "Start one with `ray start --head`; run this on one of its nodes, or use"
        " ray://HOST:10001 from elsewhere",
    )
