"""Depthwise convolution as a sum of shifted images: what Keras' layers compute."""

from typing import Any

import keras
import numpy as np
import pytest

from search.training.fused.depthwise import fuse_depthwise, sum_of_shifted
from search.training.limits import exported_latency

layers = keras.layers
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(6, 9, 8, 5)).astype("float32")
LABELS = RANDOM.integers(0, 3, 6)
on_jax = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="others have kernels for it"
)


@pytest.mark.parametrize("size", [(3, 3), (2, 4), (5, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("strides", [1, 2], ids=str)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_the_sum_is_the_convolution(
    size: tuple[int, int], strides: int, padding: str
) -> None:
    kernel = RANDOM.normal(size=(*size, 5, 1)).astype("float32")
    expected = keras.ops.depthwise_conv(IMAGES, kernel, strides, padding)
    received = sum_of_shifted(
        keras.ops.array(IMAGES), kernel, (strides, strides), padding
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(received),
        keras.ops.convert_to_numpy(expected),
        rtol=1e-4,
        atol=1e-5,
    )


def made(**options: Any) -> Any:
    """Return a compiled network with both kinds of layers."""
    keras.utils.set_random_seed(0)
    images = keras.Input(IMAGES.shape[1:])
    x = layers.SeparableConv2D(
        4, 3, padding="same", bias_initializer="random_normal", **options
    )(images)
    x = layers.DepthwiseConv2D(3, strides=2, activation="relu", **options)(x)
    model = keras.Model(images, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def trained(model: Any) -> list[Any]:
    """Return all variables after three epochs, and then predictions."""
    model.fit(IMAGES, LABELS, batch_size=4, epochs=3, shuffle=False, verbose=0)
    predictions = model.predict(IMAGES, verbose=0)
    return [*(np.asarray(v) for v in model.variables), predictions]


def fused(model: Any) -> list[str]:
    return [layer.name for layer in model.layers if "call" in vars(layer)]


@on_jax
@pytest.mark.parametrize("options", [{}, {"use_bias": False}], ids=str)
def test_networks_train_to_the_same_weights(options: Any) -> None:
    plain, quick = made(**options), made(**options)
    fuse_depthwise(quick)
    assert len(fused(quick)) == 2 and not fused(plain)
    for expected, received in zip(trained(plain), trained(quick), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


@on_jax
def test_half_precision_is_no_less_exact_than_with_keras() -> None:
    images = keras.ops.cast(IMAGES, "bfloat16")
    kernel = keras.ops.cast(RANDOM.normal(size=(3, 3, 5, 1)), "bfloat16")
    exact = keras.ops.depthwise_conv(
        keras.ops.cast(images, "float32"), keras.ops.cast(kernel, "float32")
    )
    of_keras = keras.ops.depthwise_conv(images, kernel)
    ours = sum_of_shifted(images, kernel, (1, 1), "valid")
    assert ours.dtype == of_keras.dtype
    errors = [
        float(keras.ops.max(keras.ops.abs(keras.ops.cast(y, "float32") - exact)))
        for y in (ours, of_keras)
    ]
    assert errors[0] <= 1.01 * errors[1]


@on_jax
def test_all_else_stays_as_it_is() -> None:
    for options in ({"depth_multiplier": 2}, {"dilation_rate": 2}):
        images = keras.Input((16, 16, 3))
        model = keras.Model(images, layers.DepthwiseConv2D(3, **options)(images))
        fuse_depthwise(model)
        assert not fused(model)


@on_jax
def test_the_latency_is_that_of_what_is_exported() -> None:
    model = made()
    fuse_depthwise(model)
    seen = fused(model)
    assert exported_latency(model) > 0 and fused(model) == seen
