"""Train one configuration, epoch by epoch, so that any epoch can be the last.

The state of a training is its checkpoint and nothing else: weights, optimizer (its
step counter is the position in the learning-rate schedule), random state and history
are in it; the order of the images is a function of seed and epoch; early stopping is a
function of the history. So a run that is cut anywhere and continued equals a run that
was not, and a trial promoted to a higher rung is the same training going on.
"""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets import PreparedDataset, open_prepared
from search.errors import NotFiniteError
from search.machine.room import when_there_is_room
from search.orders import Order, Progress
from search.records import History, best_epoch_of, finite
from search.studies import Study
from search.training.accumulation import accumulate, lasting_variables, recount_steps
from search.training.aside import Aside
from search.training.checkpoints import (
    BEST,
    Found,
    Standing,
    begin_copy,
    load_variables,
    save_checkpoint,
    save_last,
    values_of,
)
from search.training.epoch_order import epoch_order
from search.training.feeds import Fit, StoppedError, make_feed
from search.training.fused import fuse_layers
from search.training.fused.updates import fuse_updates
from search.training.leases import check_lease
from search.training.limits import check_latency, check_size, measured_costs
from search.training.pulse import Link, TrialClock, check_loss, make_pulse
from search.training.stepping import set_steps
from search.training.stopping import must_train
from search.training.trial_pictures import Pictures
from search.training.workbench import WORKBENCH, Built, key_of, largest_bytes
from search.watching.events import EventWriter, resources_of


def make_hypermodel(
    study: Study, data: PreparedDataset, length: int, use_validation: bool = False
) -> Any:
    """Make the study's hypermodel for the prepared data; `length` in epochs."""
    import hypermodels

    more = data.sizes["validation"] if use_validation else 0
    return hypermodels.load(study.hypermodel)(
        data.image_shape,
        len(data.class_names),
        input_size=study.image_size,
        weights=study.weights,
        train_size=data.trained_on(study.limit_train) + more,
        epochs=length,
    )


def build_model(order: Order, hypermodel: Any, parts: int = 1) -> Any:
    """Build the compiled network of an order, seeded, with its optimizer built.

    It computes in the precision of the study while it is trained, else in float32; its
    variables are the same.

    Args:
        parts: training steps to an update, each on a part of the batch.
    """
    import keras
    import keras_tuner

    keras.utils.set_random_seed(order.seed)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(order.values)
    study = Study(**order.study)
    precision = "float32" if order.job == "predict" else study.precision
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = hypermodel.build(hp)
    finally:
        keras.config.set_dtype_policy(usual)
    check_size(model, study)
    fuse_updates(model.optimizer)
    if parts > 1:
        accumulate(model.optimizer, parts)
    model.optimizer.build(model.trainable_variables)
    return model


def all_variables(model: Any) -> list[Any]:
    """Return every variable that decides how training goes on."""
    return [*model.variables, *lasting_variables(model.optimizer)]


def configuration_of(order: Order) -> str:
    """Return a hash of what a checkpoint of an order belongs to."""
    parts = [order.values, order.seed, order.length]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def train_epochs(
    order: Order,
    study: Study,
    found: Found,
    parts: int,
    link: Link,
) -> Standing:
    """Train epoch by epoch; each is reported when its checkpoint is on disk.

    That is written while the next epoch trains: a kill meanwhile costs both.

    Args:
        parts: training steps to an update, each on a part of the batch.
    """
    link.pulse("loading")
    standing = replace(
        found.standing, parts=parts, configuration=configuration_of(order)
    )
    data = open_prepared(Path(order.data_folder))
    link.pulse("building")
    key, built = network_of(order, study, data, parts, is_new=found.path is None)
    model = built.model
    if found.path is not None:
        load_variables(found.path, built.variables)
        recount_steps(model.optimizer, found.standing.parts, parts)
    else:
        check_latency(model, study)
        standing = replace(standing, measured=measured_costs(model, study))
    standing = replace(standing, parameters=model.count_params())
    source, feed = make_feed(order, study, data, built, parts, link)
    labels = class_numbers(source.targets) if study.balance_classes else None
    with ExitStack() as closing, Aside() as aside:
        events = closing.enter_context(EventWriter.opened(order, standing.epochs))
        pictures = Pictures(order, model, data, events, link)
        pictures.show_beginning(standing.epochs, source.images, source.targets)
        fit = None
        while must_train(standing, order, study):
            try:
                fit = feed(standing.epochs)
            except StoppedError:
                break
            count = len(source.images)
            fit.training.rows = epoch_order(order.seed, standing.epochs, count, labels)
            before = standing
            standing, logs = train_epoch(order, study, before, fit, link, aside)
            link.pulse("saving")
            seconds = standing.seconds - before.seconds
            progress = Progress(order.order_id, standing.epochs, seconds, logs)
            keep_epoch(order, model, standing, progress, count, events, link, aside)
            if link.is_stopped():
                break
        link.pulse("saving")
        aside.finish()
        pictures.show_end(standing, fit, built, closing.pop_all())
    WORKBENCH.put(key, built)
    return standing


def network_of(
    order: Order, study: Study, data: PreparedDataset, parts: int, is_new: bool
) -> tuple[str, Built]:
    """Return the network of an order, from the workbench or built, and its key there.

    Args:
        is_new: its variables are to be those of a network that was just built.
    """
    import keras

    from hypermodels.dials import make_dials

    key = key_of(order, parts)
    built = WORKBENCH.take(key)
    if built is None or not built.can_become(order.values, is_new):
        hypermodel = make_hypermodel(study, data, order.length, order.use_validation)
        model = build_model(order, hypermodel, parts)
        fuse_layers(model)
        batch_size = hypermodel.batch_size(order.values)
        variables = all_variables(model)
        built = Built(model, hypermodel, batch_size, variables, order.values)
        is_compiled = keras.backend.backend() in ("tensorflow", "jax")
        if is_compiled and hasattr(model.optimizer, "trial_schedule"):
            set_steps(model, -(-batch_size // parts))
            built.dials = make_dials(model, order.values)
            if built.bytes() <= largest_bytes():
                built.start = values_of(variables)
    elif is_new:
        built.restart()
    built.adjust(order.values)
    return key, built


def train_epoch(
    order: Order,
    study: Study,
    standing: Standing,
    fit: Fit,
    link: Link,
    aside: Aside,
) -> tuple[Standing, dict[str, float | None]]:
    """Train one epoch; return where that leads, and its logs.

    Args:
        aside: looked after at every beat.
    """

    def beat(stage: str) -> None:
        aside.look()
        link.pulse(stage)

    link.pulse("first step")
    clock = TrialClock(standing.seconds, study.trial_timeout_seconds)
    clock.check()
    started = time.perf_counter()
    fit.model.begin_epoch(standing.epochs, known_history(order, standing))
    logs = fit_epoch(fit, standing.epochs, make_pulse(beat, clock))
    seconds = time.perf_counter() - started
    reached = extended(standing, logs, seconds, study)
    if order.use_validation:  # no score: the last epoch is kept
        reached = replace(reached, best_epoch=reached.epochs)
    return reached, logs


def known_history(order: Order, standing: Standing) -> History:
    """Return the logs so far, with those of the run that is repeated beside them."""
    guide = {name: values[: standing.epochs] for name, values in order.guide.items()}
    return guide | standing.history


def class_numbers(targets: NDArray[Any]) -> NDArray[Any]:
    """Return labels as class numbers: soft ones are half the truth, so its class."""
    return targets.argmax(axis=1) if targets.ndim == 2 else targets


def fit_epoch(fit: Fit, epoch: int, pulse: Any) -> dict[str, float | None]:
    """Train one epoch on the batches as they are ordered and return Keras' logs.

    Args:
        epoch: from 0.
        pulse: makes Keras' callbacks for a model.

    Raises:
        NotFiniteError: the training loss is NaN or infinite.
    """
    model = fit.model
    if fit.training.is_resident and model.train_function is None:
        from hypermodels.resident import build_rest

        build_rest(model, *fit.training.batch(0))
    try:
        result = model.fit(
            fit.training.source,
            epochs=epoch + 1,
            initial_epoch=epoch,
            shuffle=False,
            validation_data=fit.validation and fit.validation.source,
            callbacks=pulse(model),
            verbose=0,
        )
        logs = {key: float(values[-1]) for key, values in result.history.items()}
        check_loss(logs)
    except NotFiniteError as error:
        raise NotFiniteError(f"{error} in epoch {epoch + 1}") from None
    logs["learning_rate"] = float(np.asarray(model.optimizer.learning_rate))
    return {key: finite(value) for key, value in logs.items()}


def extended(
    standing: Standing,
    logs: dict[str, float | None],
    seconds: float,
    study: Study,
) -> Standing:
    """Return the progress with one more epoch; late metrics are padded with None."""
    before = [None] * standing.epochs
    history = {
        key: [*standing.history.get(key, before), logs.get(key)]
        for key in dict.fromkeys([*standing.history, *logs])
    }
    return replace(
        standing,
        epochs=standing.epochs + 1,
        seconds=standing.seconds + seconds,
        history=history,
        best_epoch=best_epoch_of(history, study.objective, study.direction),
    )


def keep_epoch(
    order: Order,
    model: Any,
    standing: Standing,
    progress: Progress,
    images: int,
    events: Any,
    link: Link,
    aside: Aside,
) -> None:
    """Begin to write the checkpoints and curves of an epoch on images, then report it.

    Where the disk is full that waits. The variables are copied at once: the next epoch
    changes them. What memory is held takes 20 ms to find out, and is, beside it.
    """
    folder, weights = Path(order.folder), len(model.variables)
    copied = begin_copy(all_variables(model))

    def write(what: Callable[[], object], where: Path) -> None:
        check_lease(order)
        when_there_is_room(what, where, link.pulse, link.is_stopped)

    def write_all() -> None:
        resources = resources_of(images, progress.seconds)
        values = copied()
        write(lambda: save_epoch(folder, values, weights, standing), folder)
        write(
            lambda: events.write_epoch(standing.epochs, progress.logs, resources),
            Path(order.logs or folder),
        )

    aside.begin(write_all, partial(link.report, progress))


def save_epoch(
    folder: Path, values: list[NDArray[Any]], weights: int, standing: Standing
) -> None:
    """Write the best checkpoint where this epoch is it, then the last.

    In this order a kill between the two repeats the epoch and writes the best again.

    Args:
        values: of all variables.
        weights: how many of them, the first ones, are the model's.
    """
    if standing.best_epoch == standing.epochs:
        save_checkpoint(folder / BEST, values[:weights], standing)
    save_last(folder, values, standing)
