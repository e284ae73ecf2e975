"""What a network costs: read from its layers, or measured."""

import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

WARM_UP_RUNS = 3
LEAST_RUNS, MOST_RUNS = 5, 11
ENOUGH_SECONDS = 0.1


def forward_flops(model: keras.Model) -> int:
    """Return the floating-point operations of one image, forward.

    Two for every multiply-add of convolutions and dense layers, which are all but a few
    per cent of the whole; training costs about three times as much where nothing is
    frozen.
    """
    return 2 * sum(multiply_adds(layer) for layer in model.layers)


def latency_ms(model: keras.Model) -> float:
    """Return the milliseconds of one image forward, compiled, on this machine.

    The median of several runs, after some that compile and warm up; of fewer where they
    take longer, whose times differ less.
    """
    image = [np.zeros((1, *t.shape[1:]), "float32") for t in model.inputs]
    seconds: list[float] = []
    for number in range(WARM_UP_RUNS + MOST_RUNS):
        started = time.perf_counter()
        answer(model, image)
        if number >= WARM_UP_RUNS:
            seconds.append(time.perf_counter() - started)
        if len(seconds) >= LEAST_RUNS and sum(seconds) > ENOUGH_SECONDS:
            break
    return 1000.0 * statistics.median(seconds)


def answer(model: keras.Model, image: Sequence[Any]) -> Any:
    """Return what a network says of one image, compiled.

    Args:
        image: an array of one row for each input, float32: other types are other
            programs.
    """
    return model.predict_on_batch(list(image) if len(image) > 1 else image[0])


def multiply_adds(layer: Any) -> int:
    """Return the multiply-adds of one layer for one image; 0 where it has no kernel."""
    if isinstance(layer, keras.Model):
        return sum(multiply_adds(inner) for inner in layer.layers)
    if isinstance(layer, keras.layers.Dense):
        return size(layer.kernel)
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return size(layer.kernel) * pixels(layer.input)
    if isinstance(layer, keras.layers.SeparableConv2D):
        weights = size(layer.depthwise_kernel) + size(layer.pointwise_kernel)
        return weights * pixels(layer.output)
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
        return size(layer.kernel) * pixels(layer.output)
    return 0


def size(kernel: Any) -> int:
    """Return the number of weights."""
    return math.prod(int(edge) for edge in kernel.shape)


def pixels(tensor: Any) -> int:
    """Return height x width of (batch, height, width, channels)."""
    return int(tensor.shape[1]) * int(tensor.shape[2])
