"""One kernel an update: the same training as Keras' own optimizers."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from hypermodels.optimizers import SlowPart, slowed
from search.training.fused.updates import fuse_updates

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="kernels of TensorFlow"
)
INPUTS = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(48, 2)).astype("float32")


def trained(make: Callable[[Any], Any], is_fused: bool) -> list[Any]:
    """Return all variables of a small network after three epochs."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(5, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    optimizer = make(model)
    if is_fused:
        fuse_updates(optimizer)
        assert "fused.updates" in "".join(map(str, type(optimizer).__mro__))
    model.compile(optimizer, "mse")
    model.fit(INPUTS, TARGETS, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return [np.asarray(v) for v in [*model.variables, *optimizer.variables]]


def schedule() -> Any:
    return keras.optimizers.schedules.CosineDecay(0.05, 9)


def slow_half(model: Any) -> Any:
    part = SlowPart(model.get_layer("hidden").trainable_variables, 0.1, 2)
    optimizer = slowed(keras.optimizers.AdamW, part)(schedule(), weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


MAKERS = {
    "adam": lambda model: keras.optimizers.Adam(schedule()),
    "adamw": lambda model: keras.optimizers.AdamW(schedule(), weight_decay=0.1),
    "averaged": lambda model: keras.optimizers.Adam(
        0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
    ),
    "clipped": lambda model: keras.optimizers.Adam(0.01, clipnorm=0.1),
    "sgd": lambda model: keras.optimizers.SGD(
        schedule(), momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "plain momentum": lambda model: keras.optimizers.SGD(0.01, momentum=0.9),
    "slow part": slow_half,
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_fused_update_is_the_update_of_keras(name: str) -> None:
    plain, fused = (trained(MAKERS[name], is_fused) for is_fused in (False, True))
    for expected, received in zip(plain, fused, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_gradient_of_an_embedding_is_applied_as_by_keras(name: str) -> None:
    tables = []
    for is_fused in (False, True):
        keras.utils.set_random_seed(0)
        table = keras.layers.Embedding(7, 2)
        model = keras.Sequential([keras.Input((1,)), table, keras.layers.Flatten()])
        optimizer = MAKERS[name](model)
        if is_fused:
            fuse_updates(optimizer)
        model.compile(optimizer, "mse")
        rows = np.arange(48)[:, None] % 5
        model.fit(rows, TARGETS, batch_size=16, shuffle=False, verbose=0)
        tables.append(np.asarray(table.embeddings))
    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-5, atol=1e-6)


def test_what_has_no_kernel_stays_as_it_is() -> None:
    class Own(keras.optimizers.Adam):
        def update_step(self, gradient: Any, variable: Any, rate: Any) -> None:
            self.assign_sub(variable, gradient)

    for optimizer in (
        keras.optimizers.RMSprop(),
        keras.optimizers.Adam(amsgrad=True),
        keras.optimizers.SGD(),
    ):
        kind = type(optimizer)
        fuse_updates(optimizer)
        assert type(optimizer) is kind
    own = Own()
    fuse_updates(own)
    assert type(own).update_step is Own.update_step
