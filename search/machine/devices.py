"""How many workers this machine carries and which share of it each gets."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from itertools import takewhile

from search.errors import DeviceError
from search.machine.compiled import compilation_cache

# Each holds its networks and what the backend allocates for them.
MOST_CPU_WORKERS = 4

# Set where something else deals out the cores (Ray): how many this process may use.
CORES = "VISION_TUNER_CORES"


# A core trains 6 (separable) to 18 GFLOPs a second, forward and back counted as three
# times the forward ones: measured on one core of a virtual machine, 32 px, TensorFlow.
CPU_EPOCH_FLOPS = 1.5e11
CPU_TRAINING_FLOPS = 1.2e10
# What brings the CUDA libraries of each backend.
WITH_CUDA = {"tensorflow": "tensorflow[and-cuda]", "jax": "jax[cuda12]"}
# Building and tracing a network: 3 convolutions 2.3 s, 20 convolutions 10.4 s on two
# cores, TensorFlow.
SECONDS_TO_BUILD = 6.0
# With which XLA compiles for a GPU, where there are as many cores.
COMPILING_THREADS = 8


def cpu_flops(images: int) -> float:
    """Return the largest network, in forward FLOPs an image, a CPU should be given.

    An epoch of `images` then takes a core half a minute or so; a few large networks
    would else take most of a search's time.
    """
    return CPU_EPOCH_FLOPS / images


def cpu_epoch_seconds(flops: float, images: int) -> float:
    """Return about what an epoch of a network takes one core, in seconds.

    Args:
        flops: forward, one image.
    """
    return 3 * flops * images / CPU_TRAINING_FLOPS


@cache
def gpus() -> list[str]:
    """Return the ids of the GPUs that may be used, without initialising one."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:  # what follows a -1 is hidden; Slurm names no device so
        named = "" if visible == "NoDevFiles" else visible
        return [*takewhile(lambda part: part not in ("", "-1"), named.split(","))]
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


def check_device() -> None:
    """Raise DeviceError where there are GPUs and Keras' backend can use none.

    It would train on the CPU, with the workers and limits of a GPU. Initialises them.
    """
    import keras

    name = keras.config.backend()
    if not gpus() or backend_has_gpu(name):
        return
    where = "CUDA_VISIBLE_DEVICES" if "CUDA_VISIBLE_DEVICES" in os.environ else "driver"
    raise DeviceError(
        f"Expected a GPU that {name} can use. Received: GPU {', '.join(gpus())} by the"
        f" {where}, and none in {name}. Install its CUDA libraries (pip install"
        f" '{WITH_CUDA[name]}'), or train on the CPU under another --name, with"
        " CUDA_VISIBLE_DEVICES= (nothing) before the command."
    )


def backend_has_gpu(name: str) -> bool:
    """Return whether a backend sees a GPU; initialises it. Others are believed."""
    if name == "tensorflow":
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    if name == "jax":
        import jax

        platforms = os.environ.get("JAX_PLATFORMS", "")
        if platforms and not {"cuda", "gpu", "rocm"} & set(platforms.split(",")):
            return True  # the user's own choice
        return bool(jax.default_backend() == "gpu")
    return True


def gpu_memory_fraction(unused: int) -> float:
    """Return the fraction of a GPU's memory that is in use; of the fullest.

    Args:
        unused: bytes of each GPU that are taken, but not used.
    """
    rows = told_by_gpus("memory.used,memory.total")
    spare = unused / 2**20
    return max(((float(u) - spare) / float(total) for u, total in rows), default=0.0)


def have_bfloat16() -> bool:
    """Return whether there are GPUs and all of them compute in bfloat16 (Ampere on).

    Source: NVIDIA, CUDA C++ Programming Guide, compute capability 8.0.
    """
    numbers = [float(number) for (number,) in told_by_gpus("compute_cap")]
    return bool(gpus() and numbers) and min(numbers) >= 8.0


def told_by_gpus(fields: str) -> list[list[str]]:
    """Return fields of every GPU that may be used; none where nvidia-smi is unsure.

    Of all GPUs where it does not know the visible ones by their names, as parts of one.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") and gpus()
    chosen = [["--id", ",".join(id_.strip() for id_ in visible)]] if visible else []
    for choice in [*chosen, []]:
        query = [f"--query-gpu={fields}", "--format=csv,noheader,nounits", *choice]
        try:
            listing = subprocess.run(
                ["nvidia-smi", *query],
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        lines = listing.stdout.splitlines()
        return [line.split(",") for line in lines if line.strip()]
    return []


def cores() -> int:
    """Return the processors this process may use."""
    return int(os.environ.get(CORES) or len(os.sched_getaffinity(0)))


def threads() -> int:
    """Return the threads this process computes with, of those `device_share` gives."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or cores())


def default_workers(per_gpu: int = 1) -> int:
    """Return `per_gpu` workers a GPU, or one a core up to `MOST_CPU_WORKERS`."""
    return per_gpu * len(gpus()) or min(cores(), MOST_CPU_WORKERS)


def worker_environment(place: int, workers: int, per_gpu: int = 1) -> dict[str, str]:
    """Return the environment of the worker at `place` of `workers`."""
    share = device_share(place, workers, per_gpu, cores(), gpus())
    # JAX ends where this stands beside the older name, which its versions all know.
    ours = {k: v for k, v in os.environ.items() if k != "XLA_CLIENT_MEM_FRACTION"}
    return {**compilation_cache(), **ours, **share}


def device_share(
    place: int, workers: int, per_gpu: int, cores: int, gpus: Sequence[str]
) -> dict[str, str]:
    """Return the variables that give a worker its share of cores and GPUs.

    Threads are divided, because two one-thread processes do more than one process of
    two threads. GPUs are dealt out in turn; where workers share one, TensorFlow takes
    memory as needed instead of all, and JAX takes its fraction. They compile for a
    short time each, with threads that the others do not need then.
    """
    threads = str(max(1, cores // workers))
    share = {
        "OMP_NUM_THREADS": threads,
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONUNBUFFERED": "1",
        # XLA's thread pool: on the CPU it computes, for a GPU it compiles.
        "NPROC": threads,
    }
    if gpus:
        sharing = max(per_gpu, -(-workers // len(gpus)))
        share |= {
            "NPROC": str(max(int(threads), min(cores, COMPILING_THREADS))),
            "CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)],
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{int(90 / sharing) / 100:.2f}",
        }
    return share
