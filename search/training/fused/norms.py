"""Batch and group normalisation in fewer passes over the images, on TensorFlow.

Keras writes both as an operation for each step of the formula, each of which reads and
writes a whole array. TensorFlow has one kernel that normalises a batch while training,
and one for the gradient. For groups it has none: Keras reshapes to five axes, which CPU
kernels copy to be able to sum; here pixels are pooled first, and of all arrays of the
images' size only the input is kept for the gradient. The formulas are those of Ioffe &
Szegedy 2015 and of Wu & He 2018.

XLA fuses what Keras writes, so what it compiles stays as it is.
"""

from typing import Any

from search.training.fused.calls import replace_calls


def fuse_norms(model: Any) -> None:
    """Let a network normalise its images in fewer passes while it trains.

    Its variables, its configuration and its predictions stay the same. Subclasses stay
    as they are, and layers that do more, or less, than to normalise the channels of
    (batch, height, width, channels), to scale and to centre them.

    Args:
        model: compiled, not yet traced.
    """
    import keras

    if keras.backend.backend() != "tensorflow" or model.jit_compile:
        return
    calls = {
        keras.layers.BatchNormalization: batch_normalized,
        keras.layers.GroupNormalization: group_normalized,
    }
    replace_calls(model, calls, is_usual)


def is_usual(layer: Any) -> bool:
    """Return whether a layer scales and centres the channels of images, no more."""
    is_special = any(getattr(layer, name, False) for name in ("renorm", "synchronized"))
    shape = layer.input.shape
    is_of_images = len(shape) == 4 and None not in shape[1:] and layer.axis in (-1, 3)
    return bool(is_of_images and layer.scale and layer.center and not is_special)


def batch_normalized(
    layer: Any, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    """Compute what `keras.layers.BatchNormalization` does."""
    import tensorflow as tf

    if mask is not None or not (training and layer.trainable):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=tf.cast(inputs, "float32"),
        scale=tf.cast(layer.gamma, "float32"),
        offset=tf.cast(layer.beta, "float32"),
        mean=tf.zeros(0),
        variance=tf.zeros(0),
        epsilon=layer.epsilon,
        is_training=True,
    )
    # The kernel estimates the variance of all images; Keras keeps that of these.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), "float32")
    variance *= (count - 1) / count
    kept = layer.momentum
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * kept + new * (1 - kept))
    return tf.cast(outputs, layer.compute_dtype)


def group_normalized(layer: Any, inputs: Any) -> Any:
    """Compute what `keras.layers.GroupNormalization` does."""
    import tensorflow as tf

    _, height, width, channels = inputs.shape
    groups = layer.groups

    def of_pixels(images: Any) -> Any:
        """Return the mean of each channel of an image, (batch, 1, 1, channels)."""
        return tf.nn.avg_pool2d(images, (height, width), 1, "VALID")

    def of_group(means: Any) -> Any:
        """Return for each channel the mean of its group's."""
        split = tf.reshape(means, (-1, 1, 1, groups, channels // groups))
        of_each = tf.reduce_mean(split, -1, keepdims=True)
        return tf.reshape(of_each * tf.ones_like(split), tf.shape(means))

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def normalized(images: Any, gamma: Any, beta: Any) -> Any:
        mean = of_group(of_pixels(images))
        squares = tf.math.squared_difference(images, mean)
        inverse = tf.math.rsqrt(of_group(of_pixels(squares)) + layer.epsilon)
        scale = inverse * gamma

        def gradients(above: Any) -> tuple[Any, Any, Any]:
            # Means over pixels of what comes from above, and of it times the outputs
            # before gamma and beta.
            plain = of_pixels(above)
            weighted = (of_pixels(above * images) - mean * plain) * inverse
            slope = -of_group(gamma * weighted) * inverse**2
            shift = -of_group(gamma * plain) * inverse - slope * mean
            pixels = float(height * width)
            return (
                (above * scale + shift) + images * slope,
                tf.reduce_sum(weighted, (0, 1, 2)) * pixels,
                tf.reduce_sum(plain, (0, 1, 2)) * pixels,
            )

        return images * scale + (beta - mean * scale), gradients

    outputs = normalized(
        tf.cast(inputs, "float32"),
        tf.cast(layer.gamma, "float32"),
        tf.cast(layer.beta, "float32"),
    )
    return tf.cast(outputs, layer.compute_dtype)
