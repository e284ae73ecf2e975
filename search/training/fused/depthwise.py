"""Depthwise convolution as a sum of shifted images, on JAX.

XLA has no kernel for it. The gradient of a convolution with as many groups as channels
costs what one without groups does (github.com/jax-ml/jax/issues/13800). A sum over the
places of the kernel, each a product of the image, moved by a pixel or two, and a number
a channel, is what XLA fuses into one pass. Sums differ by rounding.
"""

from typing import Any

from search.training.fused.calls import replace_calls

# A pass for each place of the kernel is worth it for small ones only.
MOST_PLACES = 25


def fuse_depthwise(model: Any) -> None:
    """Let a network convolve each channel by itself in one pass while it trains.

    Its variables, its configuration and, but for rounding, its predictions stay the
    same. Subclasses stay as they are, and layers with dilation or several filters a
    channel.

    Args:
        model: compiled, not yet traced.
    """
    import keras

    if keras.backend.backend() != "jax":
        return
    calls = {
        keras.layers.DepthwiseConv2D: depthwise_convolved,
        keras.layers.SeparableConv2D: separably_convolved,
    }
    replace_calls(model, calls, is_usual)


def is_usual(layer: Any) -> bool:
    """Return whether a layer has one small kernel a channel, which comes last."""
    height, width = layer.kernel_size
    is_plain = layer.depth_multiplier == 1 and layer.dilation_rate == (1, 1)
    is_last = layer.data_format == "channels_last"
    return bool(height * width <= MOST_PLACES and is_plain and is_last)


def depthwise_convolved(layer: Any, inputs: Any) -> Any:
    """Compute what `keras.layers.DepthwiseConv2D` does."""
    sums = sum_of_shifted(inputs, layer.kernel, layer.strides, layer.padding)
    return finished(layer, sums)


def separably_convolved(layer: Any, inputs: Any) -> Any:
    """Compute what `keras.layers.SeparableConv2D` does."""
    from keras import ops

    kernel = layer.depthwise_kernel
    sums = sum_of_shifted(inputs, kernel, layer.strides, layer.padding)
    return finished(layer, ops.conv(sums, layer.pointwise_kernel))


def finished(layer: Any, outputs: Any) -> Any:
    """Return outputs with a layer's bias and activation, where it has them."""
    if layer.use_bias:
        outputs = outputs + layer.bias
    return layer.activation(outputs) if layer.activation else outputs


def sum_of_shifted(
    images: Any, kernel: Any, strides: tuple[int, int], padding: str
) -> Any:
    """Convolve each channel of images with a kernel of its own.

    Args:
        images: (batch, height, width, channels).
        kernel: (height, width, channels, 1).
        strides: pixels from one place to the next, down and to the right.
        padding: `valid` or `same`, with zeros.

    Returns:
        (batch, height, width, channels), in the type of the images; sums are float32.
    """
    from keras import ops

    spans, margins = [], [(0, 0)]
    for size, places, step in zip(
        images.shape[1:3], kernel.shape, strides, strict=False
    ):
        steps = -(-size // step) if padding == "same" else (size - places) // step + 1
        span = (steps - 1) * step + 1
        missing = max(0, span + places - 1 - size) if padding == "same" else 0
        margins.append((missing // 2, missing - missing // 2))
        spans.append(span)
    padded = ops.cast(ops.pad(images, [*margins, (0, 0)]), "float32")
    numbers = ops.cast(kernel, "float32")
    total: Any = 0.0
    for down in range(kernel.shape[0]):
        for right in range(kernel.shape[1]):
            moved = padded[
                :,
                down : down + spans[0] : strides[0],
                right : right + spans[1] : strides[1],
            ]
            total = total + moved * numbers[down, right, :, 0]
    return ops.cast(total, images.dtype)
