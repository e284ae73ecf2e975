"""Nearest upsampling and the convolution after it as one transposed convolution.

Of the nine pixels that a 3x3 kernel sees in an image enlarged twice, only four differ,
the others are copies. What the kernel does to copies can be added up first: what comes
of it is a transposed convolution with stride 2, whose 4x4 kernel is the 3x3 kernel
convolved with a box of 2x2 ones. That is 16 products for a pixel of the small image
instead of 36, and the enlarged image is never written. Sums differ by rounding.

XLA may do with this what it likes, and was not measured: there all stays as it is.
"""

from functools import partial
from typing import Any


def fuse_upsampling(model: Any) -> None:
    """Let a network enlarge and convolve at once, where nothing else reads between.

    Its variables and its configuration stay the same. Between the two layers now lies
    the small image, so that nothing else may read there.

    Args:
        model: functional, compiled, not yet traced.
    """
    import keras

    if keras.backend.backend() != "tensorflow" or model.jit_compile:
        return
    for layer in model.layers:
        reader = only_reader(layer, model)
        if doubles_nearest(layer) and convolves_3x3(reader):
            layer.call = as_it_is
            reader.call = partial(enlarged_and_convolved, reader)


def only_reader(layer: Any, model: Any) -> Any:
    """Return the layer that alone reads what another makes, or None."""
    nodes = layer._inbound_nodes
    if len(nodes) != 1 or len(nodes[0].outputs) != 1:
        return None
    output = nodes[0].outputs[0]
    if any(output is other for other in model.outputs):
        return None
    readers = [node.operation for node in layer._outbound_nodes]
    is_alone = len(readers) == 1 and len(readers[0]._inbound_nodes) == 1
    return readers[0] if is_alone else None


def doubles_nearest(layer: Any) -> bool:
    """Return whether a layer repeats each pixel twice in both directions."""
    import keras

    return (
        type(layer) is keras.layers.UpSampling2D
        and layer.size == (2, 2)
        and layer.interpolation == "nearest"
        and layer.data_format == "channels_last"
    )


def convolves_3x3(layer: Any) -> bool:
    """Return whether a layer convolves 3x3, to the same size, with nothing special."""
    import keras

    return (
        type(layer) is keras.layers.Conv2D
        and layer.kernel_size == (3, 3)
        and layer.strides == (1, 1)
        and layer.dilation_rate == (1, 1)
        and layer.padding == "same"
        and layer.groups == 1
        and layer.lora_rank is None
        and layer.data_format == "channels_last"
    )


def as_it_is(inputs: Any) -> Any:
    return inputs


def enlarged_and_convolved(layer: Any, inputs: Any) -> Any:
    """Compute what `keras.layers.Conv2D` does with the image enlarged twice.

    Args:
        inputs: the small image, (batch, height, width, channels).

    Returns:
        (batch, 2 height, 2 width, filters).
    """
    from keras import ops

    # A transposed convolution applies its kernel turned, and has inputs last.
    kernel = ops.transpose(ops.flip(layer.kernel, (0, 1)), (0, 1, 3, 2))
    for axis in (0, 1):
        before, after = ([(0, 0)] * 4 for _ in range(2))
        before[axis], after[axis] = (1, 0), (0, 1)
        kernel = ops.pad(kernel, before) + ops.pad(kernel, after)
    outputs = ops.conv_transpose(inputs, kernel, strides=2, padding="same")
    if layer.use_bias:
        outputs = ops.add(outputs, layer.bias)
    return layer.activation(outputs) if layer.activation else outputs
