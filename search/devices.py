"""How many workers this machine carries and which share of it each gets."""

import os
import shutil
import subprocess
from functools import cache

# A worker holds a copy of TensorFlow and of the shuffled training images.
MOST_CPU_WORKERS = 4


# A core trains 6 (separable) to 18 GFLOPs a second, forward and back counted as three
# times the forward ones: measured on one core of a virtual machine, 32 px, TensorFlow.
CPU_EPOCH_FLOPS = 1.5e11


def cpu_flops(images: int) -> float:
    """Return the largest network, in forward FLOPs an image, a CPU should be given.

    An epoch of `images` then takes a core half a minute or so; a few large networks
    would else take most of a search's time.
    """
    return CPU_EPOCH_FLOPS / images


@cache
def gpus() -> list[str]:
    """Return the ids of the GPUs that may be used, without initialising one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part for part in visible.split(",") if part not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    lines = [line for line in listing.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))]


def cores() -> int:
    """Return the processors this process may use."""
    return len(os.sched_getaffinity(0))


def default_workers(per_gpu: int = 1) -> int:
    """Return `per_gpu` workers a GPU, or one a core up to `MOST_CPU_WORKERS`."""
    return per_gpu * len(gpus()) or min(cores(), MOST_CPU_WORKERS)


def worker_environment(place: int, workers: int) -> dict[str, str]:
    """Return the environment of the worker at `place` of `workers`.

    Threads are divided, because two one-thread processes do more than one process of
    two threads; GPUs are dealt out in turn and, where workers share one, its memory is
    taken as needed instead of whole.
    """
    threads = str(max(1, cores() // workers))
    environment = dict(os.environ)
    environment.update(
        OMP_NUM_THREADS=threads,
        TF_NUM_INTRAOP_THREADS=threads,
        TF_NUM_INTEROP_THREADS=threads,
        TF_CPP_MIN_LOG_LEVEL="2",
        PYTHONUNBUFFERED="1",
    )
    if gpus():
        sharing = -(-workers // len(gpus()))
        environment.update(
            CUDA_VISIBLE_DEVICES=gpus()[place % len(gpus())],
            TF_FORCE_GPU_ALLOW_GROWTH="true",
            XLA_PYTHON_CLIENT_MEM_FRACTION=f"{0.9 / sharing:.2f}",
        )
    return environment
