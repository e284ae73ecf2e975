"""Batches in parts: the same updates, the same schedule, and what memory has to do."""

import errno
import resource
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training import STUDY, arrays, ignore, never
from test_training import order as full_order

from search.datasets import PreparedDataset, prepare
from search.errors import (
    InfeasibleError,
    LostDataError,
    NotFiniteError,
    OutOfTimeError,
    StorageError,
)
from search.orders import Order
from search.training import loop
from search.training.accumulation import (
    IN_HALVES,
    accumulate,
    lasting_variables,
    part_slices,
    recount_steps,
)
from search.training.checkpoints import LAST, find_checkpoint, read_standing
from search.training.failures import failure_kind, is_device_full, is_host_full
from search.training.feeds import Fit
from search.training.streams import stream_of
from search.training.workbench import WORKBENCH
from search.workers.worker import run_order

# Quick to trace: what is tested here does not depend on them.
CHEAP = {
    "augmentation": "none",
    "stochastic_depth_rate": 0.0,
    "weight_averaging": False,
}


def order(data: PreparedDataset, folder: Path, epochs: int = 4) -> Order:
    return full_order(data, folder, epochs, **CHEAP)


@pytest.fixture(scope="module")
def data() -> PreparedDataset:
    return prepare("shapes", task="classification", image_size=32)


def test_parts_of_batches_cover_all_images_and_none_is_empty() -> None:
    slices = part_slices(10, 4, 2)
    assert [(s.start, s.stop) for s in slices] == [
        *((0, 2), (2, 4), (4, 6), (6, 8)),
        *((8, 9), (9, 10)),
    ]
    assert [(s.start, s.stop) for s in part_slices(5, 4, 2)][-2:] == [(4, 5), (4, 5)]


def linear_model(optimizer: Any, parts: int) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    if parts > 1:
        accumulate(optimizer, parts)
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def optimizers(name: str) -> Any:
    import keras

    rate = keras.optimizers.schedules.CosineDecay(0.1, 12)
    average = {"use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 4}
    if name == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    return keras.optimizers.AdamW(rate, weight_decay=0.1, **average)


@pytest.mark.parametrize("name", ["sgd", "adamw with averaged weights"])
def test_halves_with_accumulated_gradients_are_the_same_training(name: str) -> None:
    """Keras counts parts as steps in schedules and in averages of weights."""
    rng = np.random.default_rng(0)
    images, targets = rng.normal(size=(32, 5)), rng.normal(size=(32, 3))
    whole = linear_model(optimizers(name), 1)
    halves = linear_model(optimizers(name), 2)
    for _ in range(2):
        whole.fit(images, targets, batch_size=8, shuffle=False, verbose=0)
    for _ in range(2):
        stream = stream_of((images, targets), 8, 2)
        halves.fit(stream.source, shuffle=False, verbose=0)
    for ours, theirs in zip(
        [*halves.variables, *lasting_variables(halves.optimizer)][:-1],
        [*whole.variables, *whole.optimizer.variables][:-1],
        strict=True,
    ):
        if "iteration" not in ours.path:
            np.testing.assert_allclose(ours.value, theirs.value, atol=1e-6)
    assert int(halves.optimizer.iterations) == int(whole.optimizer.iterations) == 8


def test_steps_are_recounted_where_the_parts_change() -> None:
    halves = linear_model(optimizers("sgd"), 2)
    halves.optimizer._iterations.assign(7)
    recount_steps(halves.optimizer, 1, 2)
    assert int(halves.optimizer.iterations) == 7


def test_a_trial_that_does_not_fit_goes_on_with_halved_batches(
    data: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """keras-tuner: out of memory is a failure like any other, and ends a search."""
    import tensorflow as tf

    fits = loop.fit_epoch
    tried = []

    def too_large(fit: Fit, epoch: int, pulse: Any) -> Any:
        parts = 64 // fit.training.slices[0].stop
        tried.append((parts, epoch))
        if parts == 1 and epoch == 1:
            tf.zeros([2**45])  # TensorFlow's own ResourceExhaustedError
        return fits(fit, epoch, pulse)

    monkeypatch.setattr(loop, "fit_epoch", too_large)
    WORKBENCH.clear()
    outcome = run_order(order(data, tmp_path, epochs=2), ignore, never)
    assert outcome.state == "COMPLETED"
    assert tried == [(1, 0), (1, 1), (2, 1)]
    assert "out of device memory in epoch 2" in outcome.notes[0]
    assert "64 in two halves" in outcome.notes[0]
    more = run_order(order(data, tmp_path, epochs=3), ignore, never)
    assert tried[3:] == [(2, 2)]  # it is remembered
    assert IN_HALVES in outcome.notes[0] and IN_HALVES in more.notes[0]
    again = run_order(order(data, tmp_path, epochs=3), ignore, never)
    assert again.notes == more.notes  # also where nothing is left to train
    assert len(more.history["loss"]) == 3
    rates = more.history["learning_rate"]
    straight = tmp_path / "straight"
    monkeypatch.setattr(loop, "fit_epoch", fits)
    whole = run_order(order(data, straight, epochs=3), ignore, never)
    assert rates == pytest.approx(whole.history["learning_rate"])


def test_a_trial_too_large_for_halves_has_failed(
    data: PreparedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    def too_large(*arguments: Any) -> Any:
        return tf.zeros([2**45])

    monkeypatch.setattr(loop, "fit_epoch", too_large)
    outcome = run_order(order(data, tmp_path, epochs=2), ignore, never)
    assert (outcome.state, outcome.failure) == ("FAILED", "out of memory")
    assert "ResourceExhausted" in str(outcome.message)


def test_failures_are_told_apart_by_class_and_message() -> None:
    class XlaRuntimeError(RuntimeError):
        pass

    host: Exception | None = None
    try:
        np.ones(2**45)
    except MemoryError as error:
        host = error
    assert host is not None
    expected = [
        (host, "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "out of memory"),
        (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), "out of memory"),
        (NotFiniteError("loss = nan"), "not finite"),
        (FloatingPointError("invalid value (nan) in jit"), "not finite"),
        (ValueError("Tensor had NaN values"), "not finite"),
        (OutOfTimeError("late"), "timeout"),
        (InfeasibleError("large"), "infeasible"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (StorageError("no"), "storage"),
        (LostDataError("data", "none", "Prepare them"), "storage"),
        (FileNotFoundError(errno.ENOENT, "no such file"), "bug"),
        (ZeroDivisionError("division by zero"), "bug"),
        (RuntimeError("the device was out"), "bug"),
    ]
    for error, kind in expected:
        assert failure_kind(error) == kind, error
    assert not is_device_full(host) and is_host_full(host)


def test_a_trial_whose_data_are_gone_pauses_and_goes_on_once_they_are_back(
    data: PreparedDataset, tmp_path: Path
) -> None:
    asked = replace(order(data, tmp_path, epochs=1), data_folder=str(tmp_path / "no"))
    outcome = run_order(asked, ignore, never)
    assert (outcome.state, outcome.failure) == ("PAUSED", "storage")
    assert "The same command prepares it again" in (outcome.message or "")
    assert (
        run_order(order(data, tmp_path, epochs=1), ignore, never).state == "COMPLETED"
    )


def test_a_trial_ends_at_its_time_over_all_its_lives(
    data: PreparedDataset, tmp_path: Path
) -> None:
    first = run_order(order(data, tmp_path, epochs=1), ignore, never)
    study = replace(STUDY, trial_timeout_seconds=first.seconds + 1e-3)
    late = replace(order(data, tmp_path), study=asdict(study))
    outcome = run_order(late, ignore, never)
    assert (outcome.state, outcome.failure) == ("FAILED", "timeout")
    assert "--trial-timeout" in str(outcome.message)
    assert outcome.history == first.history


def test_an_epoch_is_kept_until_there_is_room_for_it(
    data: PreparedDataset, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    waited = []

    def pulse(text: str) -> None:
        if text == "saving" and not waited:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        if "waiting for room" in text:
            waited.append(text)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    try:
        outcome = run_order(order(data, tmp_path, epochs=1), ignore, never, pulse)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(waited) == 1
    assert outcome.state == "COMPLETED"
    standing = read_standing(tmp_path / LAST)
    assert standing is not None and standing.history == outcome.history
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_checkpoint_is_trained_again_to_the_same_weights(
    data: PreparedDataset, tmp_path: Path
) -> None:
    whole = run_order(order(data, tmp_path, epochs=2), ignore, never)
    before = arrays(tmp_path)
    content = bytearray((tmp_path / LAST).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / LAST).write_bytes(content)
    again = run_order(order(data, tmp_path, epochs=2), ignore, never)
    assert again.history == whole.history
    assert "last.npz was damaged" in again.notes[0]
    for ours, theirs in zip(arrays(tmp_path), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert find_checkpoint(tmp_path).notes == ()
