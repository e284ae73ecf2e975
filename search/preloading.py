"""What every worker imports, at once and before its first order."""

import contextlib
import gc
from importlib import import_module

from hypermodels import HYPERMODELS

# What the worker's side of this package imports inside its functions.
MODULES = (
    "keras",
    "keras_tuner",
    *(place.partition(":")[0] for place in HYPERMODELS.values()),
    "hypermodels.cost",
    "hypermodels.frozen_part",
    "hypermodels.optimizers",
    "filelock",
    "PIL.PngImagePlugin",
    "scipy.ndimage",
    "tensorboard.plugins.custom_scalar.layout_pb2",
    "tensorboard.plugins.hparams.summary_v2",
    "tensorboard.summary.writer.record_writer",
    "threadpoolctl",
)


def preload() -> None:
    """Import all of it, and keep the garbage collector from it; starts no device.

    A collection would go through every imported object, 0.3 s after each order, and
    write its marks into pages that forks share.
    """
    for name in MODULES:
        # A backend that is missing, say: the order that needs it tells.
        with contextlib.suppress(Exception):
            import_module(name)
    gc.collect()
    gc.freeze()
