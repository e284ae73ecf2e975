"""Upsampling and convolution in one step: the same training as with Keras' layers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from search.training.fused.upsampling import fuse_upsampling
from search.training.limits import exported_latency

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="measured on TensorFlow only"
)
layers = keras.layers
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(6, 4, 3, 2)).astype("float32")
TARGETS = RANDOM.normal(size=(6, 8, 6, 5)).astype("float32")

Network = Callable[[Any], Any]


def doubled(images: Any, **options: Any) -> Any:
    return layers.UpSampling2D(**{"size": 2, **options})(images)


def convolved(images: Any, **options: Any) -> Any:
    settings = {"filters": 5, "kernel_size": 3, "padding": "same", **options}
    return layers.Conv2D(bias_initializer="random_normal", **settings)(images)


def made(network: Network) -> Any:
    """Return a compiled network that begins with a convolution of single pixels."""
    keras.utils.set_random_seed(0)
    images = keras.Input(IMAGES.shape[1:])
    model = keras.Model(images, network(layers.Conv2D(3, 1)(images)))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def trained(model: Any) -> list[Any]:
    """Return all variables after three epochs, and then predictions."""
    model.fit(IMAGES, TARGETS, batch_size=4, epochs=3, shuffle=False, verbose=0)
    predictions = model.predict(IMAGES, verbose=0)
    return [*(np.asarray(v) for v in model.variables), predictions]


def is_fused(model: Any) -> bool:
    return any("call" in vars(layer) for layer in model.layers)


@pytest.mark.parametrize(
    "options", [{}, {"activation": "relu"}, {"use_bias": False}], ids=str
)
def test_both_in_one_step_train_as_one_after_the_other(options: Any) -> None:
    plain, fused = (made(lambda x: convolved(doubled(x), **options)) for _ in range(2))
    fuse_upsampling(fused)
    assert is_fused(fused)
    for expected, received in zip(trained(plain), trained(fused), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def read_twice(images: Any) -> Any:
    large = doubled(images)
    return layers.Concatenate()([convolved(large, filters=2), large])


def convolved_twice(images: Any) -> Any:
    layer = layers.Conv2D(5, 3, padding="same")
    return layers.Add()([layer(doubled(images)), layer(layers.UpSampling2D(2)(images))])


@pytest.mark.parametrize(
    "network",
    [
        lambda x: convolved(doubled(x, interpolation="bilinear")),
        lambda x: convolved(doubled(x), kernel_size=5),
        lambda x: convolved(doubled(x), dilation_rate=2),
        lambda x: layers.Conv2D(5, 1)(layers.ReLU()(doubled(x))),
        read_twice,
        convolved_twice,
    ],
)
def test_all_else_stays_as_it_is(network: Network) -> None:
    model = made(network)
    fuse_upsampling(model)
    assert not is_fused(model)
    trained(model)


def test_a_network_that_ends_with_the_enlarged_image_still_does() -> None:
    images = keras.Input(IMAGES.shape[1:])
    large = layers.UpSampling2D(2)(images)
    model = keras.Model(images, [large, convolved(large)])
    model.compile("sgd", "mse")
    fuse_upsampling(model)
    assert model.predict(IMAGES, verbose=0)[0].shape == (6, 8, 6, 2)


def test_the_latency_is_that_of_what_is_exported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keras' own layers, also where the network was trained with others."""
    model = made(lambda x: convolved(doubled(x)))
    fuse_upsampling(model)
    fused = [layer for layer in model.layers if "call" in vars(layer)]
    seen: list[bool] = []
    own = layers.UpSampling2D.call
    monkeypatch.setattr(
        layers.UpSampling2D, "call", lambda *a: seen.append(True) or own(*a)
    )
    assert exported_latency(model) > 0 and seen
    assert [layer for layer in model.layers if "call" in vars(layer)] == fused
    seen.clear()
    trained(model)
    assert not seen
