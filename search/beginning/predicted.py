"""How long a study will take here: a measured step of its default network, extended."""

import math
import statistics
import time
from typing import Any

import numpy as np

from search.datasets import PreparedDataset
from search.machine.devices import gpus
from search.spaces import default_values
from search.studies import Study

TIMED_STEPS = 3
# A forward pass costs about a third of a training step.
FORWARD_SHARE = 1 / 3


def epoch_seconds(
    study: Study, hypermodel: Any, space: Any, data: PreparedDataset
) -> float:
    """Return the seconds of one epoch of the default network on this machine.

    One batch is trained a few times, with random weights: nothing is downloaded. On a
    CPU TensorFlow trains it without compiling, which saves tens of seconds and comes
    out within a third of the compiled step.
    """
    import keras
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    hp.values = default_values(space)
    batch_size: int = hypermodel.batch_size(hp.values)
    pretrained, hypermodel.weights = hypermodel.weights, "none"
    try:
        model = hypermodel.build(hp)
    finally:
        hypermodel.weights = pretrained
    model.run_eagerly = keras.backend.backend() == "tensorflow" and not gpus()
    images, targets = data.open("train", study.task)
    batch = np.asarray(images[:batch_size]), np.asarray(targets[:batch_size])
    step: float = step_seconds(model, *batch)
    keras.utils.clear_session(free_memory=False)
    train = data.trained_on(study.limit_train)
    validation = data.sizes["validation"] * FORWARD_SHARE
    steps = math.ceil((train + validation) / batch_size)
    return step * steps


def step_seconds(model: Any, images: Any, targets: Any) -> float:
    """Return the median seconds of a training step, the first one left out."""
    seconds = []
    for _ in range(1 + TIMED_STEPS):
        started = time.perf_counter()
        model.train_on_batch(images, targets)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
