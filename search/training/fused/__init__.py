"""Layers and optimizers in fewer passes than Keras takes, while a network trains.

Each module says what it replaces, and for which backend. Variables, configuration and,
but for rounding, predictions stay the same: what is exported are Keras' own layers.
"""

from typing import Any

from search.training.fused.depthwise import fuse_depthwise
from search.training.fused.norms import fuse_norms
from search.training.fused.upsampling import fuse_upsampling


def fuse_layers(model: Any) -> None:
    """Let the layers of a network compute in fewer passes.

    Args:
        model: functional, compiled, not yet traced.
    """
    for fuse in (fuse_depthwise, fuse_norms, fuse_upsampling):
        fuse(model)
