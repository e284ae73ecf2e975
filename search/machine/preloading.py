"""What every worker imports, at once and before its first order."""

import contextlib
import gc
import sys
from collections.abc import Iterator
from importlib import import_module

from hypermodels import HYPERMODELS

# What the worker's side of this package imports inside its functions.
MODULES = (
    "keras",
    "keras_tuner",
    *(entry.place.partition(":")[0] for entry in HYPERMODELS.values()),
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

# What Keras and keras-tuner import where it is there, for notebooks and scikit-learn:
# 0.8 s and 54 MiB of processes that look at nothing and predict with nothing of it.
UNUSED = ("IPython", "matplotlib", "sklearn", "pandas")


def preload() -> None:
    """Import all of it, and keep the garbage collector from it; starts no device.

    A collection would go through every imported object, 0.3 s after each order, and
    write its marks into pages that forks share.
    """
    with hidden(UNUSED):
        import_all()
    gc.collect()
    gc.freeze()


def import_all() -> None:
    """Import all of it."""
    for name in MODULES:
        # A backend that is missing, say: the order that needs it tells.
        with contextlib.suppress(Exception):
            import_module(name)


@contextlib.contextmanager
def hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Let packages that are not imported yet seem absent, for a while."""
    absent = [name for name in names if name not in sys.modules]
    # Where None stands for a module, `import` says that there is none.
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
