"""Training: schedules over a trial's whole life, slow backbones, exact resumption."""

from typing import Any

import keras
import keras_tuner as kt
import numpy as np
import pytest

import hypermodels
from hypermodels import backbones
from hypermodels.augmented_model import AugmentedModel, EpochRules
from hypermodels.blocks import MOMENTUM
from hypermodels.optimizers import (
    SlowPart,
    TrialSchedule,
    make_optimizer,
    plateau_scale,
)

CLASSES = 7
SGD = {"optimizer": "sgd", "sgd_learning_rate": 0.5, "schedule": "constant"}


def rates(kind: str, warmup_fraction: float = 0.0) -> list[float]:
    schedule = TrialSchedule(kind, 2.0, 100, warmup_fraction)
    return [float(schedule(step)) for step in range(101)]


def test_cosine_rises_linearly_then_falls_to_zero() -> None:
    values = rates("cosine", 0.1)
    np.testing.assert_allclose(values[:10], np.arange(1, 11) * 0.2, rtol=1e-5)
    assert values[55] == pytest.approx(1.0)
    assert values[100] == pytest.approx(0, abs=1e-6)


def test_step_and_constant_and_one_cycle() -> None:
    assert rates("constant") == [2.0] * 101
    values = rates("step")
    np.testing.assert_allclose([values[0], values[49]], 2.0)
    np.testing.assert_allclose([values[50], values[74]], 0.2, rtol=1e-5)
    np.testing.assert_allclose([values[75], values[100]], 0.02, rtol=1e-5)
    values = rates("one_cycle")
    assert values[0] == pytest.approx(2.0 / 25)
    assert max(values) == values[30] == pytest.approx(2.0)
    assert values[100] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_a_plateau_s_scale_is_what_keras_callback_makes_of_the_same_losses(
    patience: int,
) -> None:
    rng = np.random.default_rng(patience)
    losses = [float(loss) for loss in np.round(rng.uniform(1, 2, 30), 2)]
    callback = keras.callbacks.ReduceLROnPlateau(factor=0.1, patience=patience)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        expected = float(model.optimizer.learning_rate)
        scale = plateau_scale(losses[: epoch + 1], patience)
        assert scale == pytest.approx(expected, rel=1e-5)
    assert expected < 0.1


def test_a_loss_that_is_not_finite_does_not_improve() -> None:
    assert plateau_scale([], 2) == 1.0
    assert plateau_scale([1.0, None, None], 2) == pytest.approx(0.1)
    assert plateau_scale([1.0, None, 0.5, None], 2) == 1.0


def test_a_plateau_reduces_the_rate_of_a_plain_fit() -> None:
    hypermodel = hypermodels.load("convnet")((8, 8, 3), CLASSES, epochs=4, train_size=8)
    values = {
        "stages": 1,
        "normalization": "none",
        "schedule": "reduce_on_plateau",
        "warmup_fraction": 0.0,
        "learning_rate": 1e-9,  # The loss stays.
    }
    hp = with_values(values)
    model = hypermodel.build(hp)
    data = np.ones((8, 8, 8, 3), "uint8"), np.zeros(8, "int32")
    seen: list[float] = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            float(np.asarray(model.optimizer.learning_rate))
        )
    )
    hypermodel.fit(
        hp, model, *data, validation_data=data, epochs=4, verbose=0, callbacks=[note]
    )
    # Best in the first epoch, then two that are no better: patience 2.
    np.testing.assert_allclose(seen, [1e-9, 1e-9, 1e-9, 1e-10], rtol=1e-4)


def test_a_backbone_that_waits_keeps_weights_and_statistics() -> None:
    inputs = keras.Input((4,))
    norm = keras.layers.BatchNormalization(momentum=0.5)
    backbone = keras.layers.Dense(3)
    outputs = keras.layers.Dense(2)(norm(backbone(inputs)))
    model = AugmentedModel(
        inputs, outputs, rules=EpochRules(waiting=(norm,), wait_epochs=1)
    )
    slow = [*backbone.trainable_variables, *norm.trainable_variables]
    part = SlowPart(slow, rate_fraction=0.5, wait_steps=2)
    model.compile(make_optimizer(SGD, steps=4, slow_part=part), "mse")
    model.optimizer.build(model.trainable_variables)
    rng = np.random.default_rng(0)
    data = rng.normal(3, 2, (8, 4)), rng.normal(0, 1, (8, 2))
    pretrained = [*slow, norm.moving_mean, norm.moving_variance]
    before = [np.asarray(variable.value) for variable in pretrained]
    for epoch, moves in enumerate((False, True)):
        model.begin_epoch(epoch, {})
        model.fit(*data, batch_size=4, initial_epoch=epoch, epochs=epoch + 1, verbose=0)
        for variable, old in zip(pretrained, before, strict=True):
            assert (np.asarray(variable.value) != old).any() == moves, variable.path


def test_a_schedule_is_restored_from_its_settings() -> None:
    schedule = TrialSchedule("one_cycle", 0.1, 50)
    again = TrialSchedule.from_config(schedule.get_config())
    assert float(again(7)) == float(schedule(7))


def test_a_slow_part_waits_then_follows_and_is_not_decayed() -> None:
    keras.utils.set_random_seed(0)
    first = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    second = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    inputs = keras.Input((1,))
    model = keras.Model(inputs, second(first(inputs)))
    part = SlowPart(first.trainable_variables, rate_fraction=0.1, wait_steps=2)
    values = SGD | {"sgd_weight_decay": 0.1}
    optimizer = make_optimizer(values, steps=10, slow_part=part)
    # Nesterov momentum would blur what one step did.
    optimizer.momentum = 0.0
    optimizer.build(model.trainable_variables)
    gradient = keras.ops.ones((1, 1))
    slow, fast = [], []
    for _ in range(3):
        before = float(first.kernel[0, 0]), float(second.kernel[0, 0])
        optimizer.apply([gradient, gradient])
        slow.append(before[0] - float(first.kernel[0, 0]))
        fast.append((before[1] - float(second.kernel[0, 0]), before[1]))
    np.testing.assert_allclose(slow, [0, 0, 0.05], atol=1e-6)
    for moved, weight in fast:
        assert moved == pytest.approx(0.5 + 0.5 * 0.1 * weight, rel=1e-4)


def test_scales_and_biases_are_not_decayed() -> None:
    layers = [keras.layers.Dense(2), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((3,)), *layers])
    values = {"optimizer": "adamw", "learning_rate": 1e-2, "weight_decay": 0.1}
    optimizer = make_optimizer(values | {"schedule": "cosine"}, steps=5)
    optimizer.build(model.trainable_variables)
    before = [keras.ops.copy(variable) for variable in model.trainable_variables]
    optimizer.apply([keras.ops.zeros_like(value) for value in before])
    moved = {
        variable.name
        for variable, value in zip(model.trainable_variables, before, strict=True)
        if float(keras.ops.max(keras.ops.abs(variable - value))) > 0
    }
    assert moved == {"kernel"}


def test_only_the_upper_stages_learn_and_only_their_statistics_move() -> None:
    inputs = keras.Input((3,))
    x, names = inputs, []
    for stage in range(1, 6):
        x = keras.layers.Dense(3, name=f"stage{stage}")(x)
        x = keras.layers.BatchNormalization(name=f"norm{stage}")(x)
        names.append(f"stage{stage}")
    model = keras.Model(inputs, x)
    unfrozen = backbones.unfreeze(model.layers, tuple(names), 2)
    assert [layer.name for layer in unfrozen] == ["stage4", "norm4", "stage5", "norm5"]
    assert len(model.trainable_variables) == 8
    model(np.random.default_rng(0).normal(5, 3, (20, 3)), training=True)
    for stage in range(1, 6):
        norm = model.get_layer(f"norm{stage}")
        moved = float(keras.ops.max(keras.ops.abs(norm.moving_mean))) > 0
        assert moved == (stage >= 4)
        assert norm.momentum == (MOMENTUM if stage >= 4 else 0.99)
    assert backbones.unfreeze(model.layers, tuple(names), 0) == ()


def test_validation_and_prediction_are_not_augmented() -> None:
    class Refuse(keras.layers.Layer):
        def call(self, images: Any, targets: Any) -> Any:
            raise AssertionError("augmented")

    inputs = keras.Input((3,))
    model = AugmentedModel(inputs, keras.layers.Dense(1)(inputs), Refuse())
    model.compile(loss="mse")
    data = np.ones((4, 3)), np.ones((4, 1))
    model.evaluate(*data, verbose=0)
    model.predict(data[0], verbose=0)
    with pytest.raises(AssertionError, match="augmented"):
        model.fit(*data, verbose=0)


def weights_of(model: keras.Model) -> list[Any]:
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def with_values(values: dict[str, Any]) -> kt.HyperParameters:
    hp = kt.HyperParameters()
    hp.values.update(values)
    return hp


def test_a_resumed_training_equals_the_uninterrupted_one() -> None:
    hypermodel = hypermodels.load("convnet")(
        (16, 16, 3), CLASSES, epochs=4, train_size=64
    )
    values = {
        "stages": 2,
        "dropout_rate": 0.3,
        "augmentation": "flip_crop",
        "mixing": "mixup",
        "batch_size": 16,
        "stochastic_depth_rate": 0.2,
        "weight_averaging": True,
    }
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 16, 16, 3), "uint8")
    labels = rng.integers(0, CLASSES, 64)

    def train(model: keras.Model, first: int, last: int) -> None:
        epochs = {"initial_epoch": first, "epochs": last, "batch_size": 16}
        model.fit(images, labels, shuffle=False, verbose=0, **epochs)

    keras.utils.set_random_seed(5)
    straight = hypermodel.build(with_values(values))
    straight.optimizer.build(straight.trainable_variables)
    start = weights_of(straight)
    train(straight, 0, 4)
    arrays = start
    for first in (0, 2):
        keras.utils.set_random_seed(100 + first)
        model = hypermodel.build(with_values(values))
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables]
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        train(model, first, first + 2)
        arrays = weights_of(model)
    for expected, received in zip(weights_of(straight), arrays, strict=True):
        np.testing.assert_array_equal(received, expected)
