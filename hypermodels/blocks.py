"""Blocks, tensor to tensor, with layers named as in the papers (`stage1_block1_conv1`).

Batch normalisation has momentum 0.9: Keras' 0.99 makes validation meaningless for the
first epochs of a small set (20 steps an epoch: a U-Net measured Dice 0.000 with it).
"""

from typing import Any

import keras

MOMENTUM = 0.9
NORMALIZATIONS = ("batch", "group", "none")
CONVOLUTIONS = ("standard", "separable")
UPSAMPLINGS = ("bilinear", "transpose", "nearest", "pixel_shuffle")


def resize_to(x: Any, height: int, width: int, name: str) -> Any:
    """Resize (batch, h, w, channels) bilinearly, unless it has that size."""
    if tuple(x.shape[1:3]) == (height, width):
        return x
    return keras.layers.Resizing(height, width, dtype="float32", name=name)(x)


def normalize(x: Any, how: str, name: str) -> Any:
    """Normalise channels: `batch`, `group` (Wu & He 2018, of 8 channels) or `none`."""
    if how == "none":
        return x
    if how == "batch":
        return keras.layers.BatchNormalization(momentum=MOMENTUM, name=name)(x)
    groups = max(1, x.shape[-1] // 8)
    while x.shape[-1] % groups:
        groups -= 1
    return keras.layers.GroupNormalization(groups=groups, name=name)(x)


def activate(x: Any, how: str, name: str) -> Any:
    """Apply an activation of Keras by name."""
    return keras.layers.Activation(how, name=name)(x)


def convolve(
    x: Any,
    filters: int,
    *,
    name: str,
    kernel_size: int = 3,
    strides: int = 1,
    convolution: str = "standard",
    use_bias: bool = True,
) -> Any:
    """Convolve, `standard` or depthwise `separable` (Chollet 2017), same padding."""
    options: dict[str, Any] = {
        "strides": strides,
        "padding": "same",
        "use_bias": use_bias,
        "name": name,
    }
    if convolution == "separable":
        return keras.layers.SeparableConv2D(
            filters,
            kernel_size,
            # Keras counts all channels as inputs of a depthwise kernel, which has one:
            # times their number, the variance is LeCun's, 1 / 9 for 3 x 3.
            depthwise_initializer=keras.initializers.VarianceScaling(x.shape[-1]),
            pointwise_initializer="he_normal",
            **options,
        )(x)
    return keras.layers.Conv2D(
        filters, kernel_size, kernel_initializer="he_normal", **options
    )(x)


def convolution_unit(
    x: Any,
    filters: int,
    *,
    name: str,
    normalization: str = "batch",
    activation: str = "relu",
    strides: int = 1,
    convolution: str = "standard",
) -> Any:
    """Convolve 3x3, normalise, activate."""
    x = convolve(
        x,
        filters,
        strides=strides,
        convolution=convolution,
        use_bias=normalization == "none",
        name=name,
    )
    x = normalize(x, normalization, f"{name}_norm")
    return activate(x, activation, f"{name}_{activation}")


def drop(x: Any, rate: float, name: str) -> Any:
    """Drop single values (Srivastava et al. 2014); no layer at rate 0."""
    return drop_by(x, "dropout_rate", rate, 1.0, name=name)


def drop_branch(x: Any, rate: float, share: float, name: str) -> Any:
    """Drop a whole residual branch of an image (Huang et al. 2016).

    Args:
        share: of the rate, for this branch.
    """
    shape = (None, 1, 1, 1)
    knob = "stochastic_depth_rate"
    return drop_by(x, knob, rate, share, noise_shape=shape, name=name)


def drop_by(x: Any, knob: str, rate: float, share: float, **options: Any) -> Any:
    """Drop a share of a knob's rate; the layer knows both (`hypermodels.dials`)."""
    if not rate:
        return x
    layer = keras.layers.Dropout(share * rate, **options)
    layer.rate_knob, layer.rate_share = knob, share
    return layer(x)


def squeeze_excite(x: Any, name: str) -> Any:
    """Weigh channels by what the whole image shows (Hu et al. 2018, ratio 16)."""
    filters = x.shape[-1]
    weights = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    weights = keras.layers.Conv2D(
        max(4, filters // 16), 1, activation="relu", name=f"{name}_reduce"
    )(weights)
    weights = keras.layers.Conv2D(
        filters, 1, activation="sigmoid", name=f"{name}_expand"
    )(weights)
    return keras.layers.Multiply(name=f"{name}_scale")([x, weights])


def upsample(
    x: Any, how: str, filters: int, *, name: str, kernel_size: int | None = None
) -> Any:
    """Double height and width.

    Args:
        how: `transpose` (strided transposed convolution), `bilinear` or `nearest`
            (resize, then convolve 3x3: Odena et al. 2016), `pixel_shuffle` (Shi et al.
            2016, initialised like a nearest resize: Aitken et al. 2017).
        kernel_size: of `transpose`; an even one, since an odd one paints checkerboards.
    """
    if how == "transpose":
        return keras.layers.Conv2DTranspose(
            filters,
            kernel_size or 2,
            strides=2,
            padding="same",
            kernel_initializer="he_normal",
            name=name,
        )(x)
    if how in ("bilinear", "nearest"):
        x = keras.layers.UpSampling2D(interpolation=how, name=f"{name}_{how}")(x)
        return convolve(x, filters, name=name)
    if how != "pixel_shuffle":
        raise ValueError(f"Expected one of {UPSAMPLINGS}. Received: {how!r}.")
    spread = keras.layers.Conv2D(
        4 * filters, 3, padding="same", kernel_initializer="he_normal", name=name
    )
    x = spread(x)
    first = keras.ops.convert_to_numpy(spread.kernel)[..., :filters]
    spread.kernel.assign(keras.ops.tile(first, (1, 1, 1, 4)))
    return keras.ops.depth_to_space(x, 2)


def class_probabilities(x: Any, num_classes: int) -> Any:
    """Return softmax probabilities of (batch, features), float32.

    So are the logits: in bfloat16 the largest of many are often the same number.
    """
    x = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.layers.Activation("softmax", dtype="float32", name="probabilities")(x)


def foreground_probability(x: Any, height: int, width: int) -> Any:
    """Return the probability of foreground, (batch, height, width, 1) float32."""
    x = keras.layers.Conv2D(1, 1, dtype="float32", name="logits")(x)
    x = resize_to(x, height, width, "resize_logits")
    return keras.layers.Activation(
        "sigmoid", dtype="float32", name="foreground_probability"
    )(x)
