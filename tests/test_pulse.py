"""What is looked at between the steps of an epoch, by Keras' own `fit`."""

from typing import Any

import keras
import numpy as np
import pytest

from search.errors import NotFiniteError, OutOfTimeError
from search.training.pulse import STEPS_AHEAD, TrialClock, make_pulse

STEPS = 40
GOOD = np.ones((STEPS, 2), "float32")
BAD = np.full((STEPS, 2), np.nan, "float32")
TARGETS = np.zeros((STEPS, 1), "float32")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inputs = keras.Input((2,))
    made = keras.Model(
        inputs, keras.layers.Dense(1, kernel_initializer="zeros")(inputs)
    )
    made.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    return made


def fitted(
    model: keras.Model, images: Any, seen: Any, clock: TrialClock, beats: list[str]
) -> Any:
    callbacks = make_pulse(beats.append, clock)(model)
    own = callbacks.step

    def step(stage: str, logs: Any) -> None:
        steps.append(stage)
        own(stage, logs)

    steps: list[str] = []
    callbacks.step = step
    options = {"batch_size": 1, "verbose": 0, "callbacks": callbacks}
    try:
        history = model.fit(images, TARGETS, validation_data=(seen, TARGETS), **options)
    except (NotFiniteError, OutOfTimeError) as error:
        return error, steps
    return history.history, steps


def test_the_history_is_that_of_keras_and_stages_are_told(model: keras.Model) -> None:
    beats: list[str] = []
    history, steps = fitted(model, GOOD, GOOD, TrialClock(0.0, None), beats)
    assert history == {"loss": [0.0], "val_loss": [0.0]}
    assert steps == ["training"] * STEPS + ["validating"] * STEPS
    assert beats[0] == "training"


def test_a_loss_that_is_not_finite_ends_an_epoch_some_steps_later(
    model: keras.Model,
) -> None:
    error, steps = fitted(model, BAD, GOOD, TrialClock(0.0, None), [])
    assert isinstance(error, NotFiniteError)
    assert steps == ["training"] * (STEPS_AHEAD + 1)


def test_one_of_validation_is_recorded_and_ends_nothing() -> None:
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    history, _ = fitted(model, GOOD, BAD, TrialClock(0.0, None), [])
    assert np.isfinite(history["loss"]).all()
    assert np.isnan(history["val_loss"]).all()


def test_a_trial_that_has_used_up_its_time_ends_at_the_next_step(
    model: keras.Model,
) -> None:
    error, steps = fitted(model, GOOD, GOOD, TrialClock(10.0, 5.0), [])
    assert isinstance(error, OutOfTimeError)
    assert steps == ["training"]
