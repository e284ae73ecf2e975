"""What the options of a command say of who trains: workers, their memory, a cluster."""

import re
from typing import Literal, TypedDict

from search.cluster.connection import RayOptions, chosen_cluster
from search.errors import InputError
from search.machine.devices import gpus

SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
# No process of ours runs in less: a smaller number is one whose unit was forgotten.
SMALLEST_SIZE = 10**6


class WhoTrains(TypedDict):
    """Arguments that `search`, `finalize` and `compare` share."""

    workers: int | Literal["auto"] | None
    trials_per_gpu: int | Literal["auto"]
    worker_memory: int | None
    cluster: RayOptions | None


def who_trains(
    workers: str | None,
    trials_per_gpu: str,
    worker_memory: str | None,
    ray: str | None,
    cpus_per_trial: float | None,
    gpus_per_trial: float | None,
) -> WhoTrains:
    """Return what the options of a command line ask for.

    Raises:
        InputError: one cannot be read, or they contradict each other.
    """
    count = None if workers is None else parse_count(workers, least=0)
    per_gpu = parse_count(trials_per_gpu, least=1)
    if per_gpu not in (1, "auto") and ray is None and not gpus():
        raise InputError(
            "a GPU with --trials-per-gpu",
            "none on this machine",
            "Leave it out; --workers divides the cores",
        )
    return WhoTrains(
        workers=count,
        trials_per_gpu=per_gpu,
        worker_memory=parse_size(worker_memory) if worker_memory else None,
        cluster=chosen_cluster(ray, cpus_per_trial, gpus_per_trial, count, per_gpu),
    )


def parse_count(text: str, least: int) -> int | Literal["auto"]:
    """Return a number of workers, or `auto`.

    Raises:
        InputError: it is neither.
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < least:
        raise InputError(
            f"auto or a number from {least} on", repr(text), "Pass one of them"
        )
    return int(text)


def parse_size(text: str) -> int:
    """Return the bytes of `800m`, `4g`, `4 GB` or a large number of bytes.

    Raises:
        InputError: it is none of these, or less than any process needs.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", text.strip().lower())
    size = float(match[1]) * SIZES[match[2]] if match else 0.0
    if size < SMALLEST_SIZE:
        raise InputError(
            "a size such as 800m or 4g", repr(text), "Write a number and a unit"
        )
    return int(size)
