"""Normalisation in fewer passes: the same training as with Keras' own layers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from search.training.fused.norms import fuse_norms

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="kernels of TensorFlow"
)
layers = keras.layers
RANDOM = np.random.default_rng(0)
# Channels far from zero, as convolutions without a bias make them.
OFFSETS = RANDOM.normal(size=(1, 1, 1, 8)) * 5
IMAGES = (RANDOM.normal(size=(6, 5, 4, 8)) + OFFSETS).astype("float32")
TARGETS = RANDOM.normal(size=(6, 1)).astype("float32")
SCALES, SHIFTS = RANDOM.normal(size=(2, 8))
MAKERS: dict[str, Callable[..., Any]] = {
    "batch": lambda **more: layers.BatchNormalization(momentum=0.8, **more),
    "group": lambda **more: layers.GroupNormalization(groups=2, **more),
}


def network(layer: Any, precision: str = "float32") -> Any:
    """Return a compiled network; the layer's scales and shifts are not trivial."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        keras.utils.set_random_seed(0)
        images = keras.Input((5, 4, 8))
        hidden = layers.Conv2D(8, 1, use_bias=False)(layer(images))
        model = keras.Model(images, layers.Dense(1)(layers.Flatten()(hidden)))
    finally:
        keras.config.set_dtype_policy(usual)
    for variable, values in ((layer.gamma, SCALES), (layer.beta, SHIFTS)):
        if variable is not None:
            variable.assign(values)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def trained(model: Any) -> list[Any]:
    """Return all variables after three epochs, and then predictions."""
    model.fit(IMAGES, TARGETS, batch_size=4, epochs=3, shuffle=False, verbose=0)
    predictions = model.predict(IMAGES, verbose=0)
    return [*(np.asarray(v) for v in model.variables), predictions]


def is_fused(layer: Any) -> bool:
    return "call" in vars(layer)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_fused_norm_trains_as_that_of_keras(kind: str) -> None:
    plain, fused = network(MAKERS[kind]()), network(layer := MAKERS[kind]())
    fuse_norms(fused)
    assert is_fused(layer)
    for expected, received in zip(trained(plain), trained(fused), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_gradient_of_images_is_that_of_keras(kind: str) -> None:
    import tensorflow as tf

    gradients = []
    for is_to_be_fused in (False, True):
        layer = MAKERS[kind]()
        model = network(layer)
        if is_to_be_fused:
            fuse_norms(model)
        images = tf.constant(IMAGES)
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(layer(images, training=True) ** 3)
        gradients.append(tape.gradient(loss, images).numpy())
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", MAKERS)
def test_in_mixed_precision_it_is_computed_in_float32_as_by_keras(kind: str) -> None:
    results = []
    for is_to_be_fused in (False, True):
        model = network(MAKERS[kind](), "mixed_bfloat16")
        if is_to_be_fused:
            fuse_norms(model)
        results.append(trained(model))
    for expected, received in zip(*results, strict=True):
        np.testing.assert_allclose(received, expected, rtol=2e-2, atol=2e-2)


def test_a_frozen_batch_norm_keeps_its_statistics() -> None:
    layer = MAKERS["batch"]()
    layer.trainable = False
    model = network(layer)
    fuse_norms(model)
    trained(model)
    assert not np.any(layer.moving_mean)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.BatchNormalization(scale=False),
        lambda: layers.BatchNormalization(axis=1),
        lambda: layers.BatchNormalization(renorm=True),
        lambda: type("Own", (layers.BatchNormalization,), {})(),
        lambda: layers.GroupNormalization(groups=2, center=False),
    ],
)
def test_what_is_special_stays_as_it_is(make: Callable[[], Any]) -> None:
    layer = make()
    images = keras.Input((5, 4, 8))
    model = keras.Model(images, layer(images))
    model.compile("sgd", "mse")
    fuse_norms(model)
    assert not is_fused(layer)


def test_what_xla_compiles_stays_as_it_is() -> None:
    model = network(layer := MAKERS["batch"]())
    model.compile("sgd", "mse", jit_compile=True)
    fuse_norms(model)
    assert not is_fused(layer)
