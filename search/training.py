"""Train one configuration, epoch by epoch, so that any epoch can be the last.

The state of a training is its checkpoint and nothing else: weights, optimizer (its
step counter is the position in the learning-rate schedule), random state and history
are in it; the order of the images is a function of seed and epoch; early stopping is a
function of the history. So a run that is cut anywhere and continued equals a run that
was not, and a trial promoted to a higher rung is the same training going on.
"""

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.checkpoints import (
    BEST,
    LAST,
    Standing,
    load_variables,
    read_standing,
    save_checkpoint,
)
from search.datasets import PreparedDataset, open_prepared
from search.epoch_order import epoch_order
from search.errors import InfeasibleError, InputError
from search.events import EventWriter
from search.files import write_array
from search.orders import Order, Outcome, Progress, Report
from search.records import best_epoch_of, finite
from search.studies import Study


class NotFiniteError(ArithmeticError):
    """The training loss became NaN or infinite."""


def make_hypermodel(study: Study, data: PreparedDataset, length: int) -> Any:
    """Make the study's hypermodel for the prepared data; `length` in epochs."""
    import hypermodels

    size = data.sizes["train"]
    return hypermodels.load(study.hypermodel)(
        data.image_shape,
        len(data.class_names),
        input_size=study.image_size,
        weights=study.weights,
        train_size=min(size, study.limit_train or size),
        epochs=length,
    )


def build_model(order: Order, hypermodel: Any) -> Any:
    """Build the compiled network of an order, seeded, with its optimizer built."""
    import keras
    import keras_tuner

    keras.utils.set_random_seed(order.seed)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(order.values)
    model = hypermodel.build(hp)
    check_size(model, Study(**order.study))
    model.optimizer.build(model.trainable_variables)
    return model


def check_size(model: Any, study: Study) -> None:
    """Raise InfeasibleError where a network is larger than the study allows."""
    from hypermodels.cost import forward_flops

    flops, parameters = forward_flops(model), model.count_params()
    for option, size, limit, unit in (
        ("--max-flops", flops, study.max_flops, "MFLOPs an image"),
        ("--max-parameters", parameters, study.max_parameters, "million parameters"),
    ):
        if limit is not None and size > limit:
            raise InfeasibleError(
                f"{size / 1e6:.3g} {unit}, more than {option} {limit:.3g}"
            )


def check_latency(model: Any, study: Study) -> None:
    """Raise InfeasibleError where a network is slower than the study allows.

    Measured once, before the first epoch: a measurement differs from run to run, and
    must not end a trial that has begun.
    """
    from hypermodels.cost import latency_ms

    if study.max_latency_ms is None:
        return
    latency = latency_ms(model)
    if latency > study.max_latency_ms:
        raise InfeasibleError(
            f"{latency:.3g} ms an image, more than"
            f" --max-latency-ms {study.max_latency_ms:.3g}"
        )


def all_variables(model: Any) -> list[Any]:
    """Return every variable that decides how training goes on."""
    return [*model.variables, *model.optimizer.variables]


def train(order: Order, report: Report, is_stopped: Callable[[], bool]) -> Outcome:
    """Train an order from its last checkpoint to `order.epochs`.

    Args:
        report: called after every finished epoch, once it is safely on disk.
        is_stopped: asked after every epoch; True ends the order with PAUSED.

    Raises:
        NotFiniteError: the loss became NaN or infinite.
    """
    study = Study(**order.study)
    last = Path(order.folder) / LAST
    standing = read_standing(last) or Standing()
    if must_train(standing, order, study):
        standing = train_epochs(order, study, standing, report, is_stopped)
    unfinished = must_train(standing, order, study)
    return Outcome(
        order.order_id,
        state="PAUSED" if unfinished else "COMPLETED",
        message=early_stop_message(standing, order, study),
        history=standing.history,
        seconds=standing.seconds,
        parameters=standing.parameters,
    )


def must_train(standing: Standing, order: Order, study: Study) -> bool:
    """Return whether another epoch is due."""
    return standing.epochs < order.epochs and not is_stale(standing, study)


def is_stale(standing: Standing, study: Study) -> bool:
    """Return whether the score has not improved for `study.patience` epochs."""
    best = best_epoch_of(standing.history, study.objective, study.direction)
    if study.patience is None or standing.epochs == 0:
        return False
    return standing.epochs - (best or 0) >= study.patience


def early_stop_message(standing: Standing, order: Order, study: Study) -> str | None:
    """Say why a training ended before its last epoch, where it did."""
    if standing.epochs >= order.epochs or not is_stale(standing, study):
        return None
    return f"stopped early: no better {study.objective} for {study.patience} epochs"


def train_epochs(
    order: Order,
    study: Study,
    standing: Standing,
    report: Report,
    is_stopped: Callable[[], bool],
) -> Standing:
    """Train epoch by epoch; each ends with its checkpoint on disk."""
    data = open_prepared(Path(order.data_folder))
    hypermodel = make_hypermodel(study, data, order.length)
    model = build_model(order, hypermodel)
    if standing.epochs:
        load_variables(Path(order.folder) / LAST, all_variables(model))
    else:
        check_latency(model, study)
    images, targets = data.open_train(study.task, study.limit_train, study.seed)
    validation = data.open("validation", study.task)
    batch_size = hypermodel.batch_size(order.values)
    with EventWriter.opened(order, standing.epochs) as events:
        while must_train(standing, order, study):
            started = time.perf_counter()
            labels = targets if study.balance_classes else None
            turn = epoch_order(order.seed, standing.epochs, len(images), labels)
            logs = fit_epoch(
                model, images[turn], targets[turn], validation, batch_size, standing
            )
            seconds = time.perf_counter() - started
            standing = extended(standing, logs, seconds, model.count_params())
            events.write_epoch(standing.epochs, logs)
            save_epoch(Path(order.folder), model, standing, study)
            report(Progress(order.order_id, standing.epochs, seconds, logs))
            if is_stopped():
                break
    return standing


def fit_epoch(
    model: Any,
    images: NDArray[Any],
    targets: NDArray[Any],
    validation: tuple[NDArray[Any], NDArray[Any]],
    batch_size: int,
    standing: Standing,
) -> dict[str, float | None]:
    """Train one epoch in the given order of images and return Keras' logs.

    Raises:
        NotFiniteError: the training loss is NaN or infinite.
    """
    epoch = standing.epochs
    model.begin_epoch(epoch, standing.history)
    result = model.fit(
        images,
        targets,
        batch_size=batch_size,
        epochs=epoch + 1,
        initial_epoch=epoch,
        shuffle=False,
        validation_data=validation,
        verbose=0,
    )
    logs = {key: float(values[-1]) for key, values in result.history.items()}
    logs["learning_rate"] = float(np.asarray(model.optimizer.learning_rate))
    if not np.isfinite(logs["loss"]):
        raise NotFiniteError(f"loss = {logs['loss']} in epoch {epoch + 1}")
    return {key: finite(value) for key, value in logs.items()}


def extended(
    standing: Standing,
    logs: dict[str, float | None],
    seconds: float,
    parameters: int,
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
        parameters=parameters,
        history=history,
    )


def save_epoch(folder: Path, model: Any, standing: Standing, study: Study) -> None:
    """Write the best checkpoint where this epoch is it, then the last.

    In this order a kill between the two repeats the epoch and writes the best again.
    """
    best = best_epoch_of(standing.history, study.objective, study.direction)
    if best == standing.epochs:
        save_checkpoint(folder / BEST, model.variables, standing)
    save_checkpoint(folder / LAST, all_variables(model), standing)


def load_best(order: Order) -> Any:
    """Return the trained network of an order, with the weights of its best epoch.

    Raises:
        InputError: there are no such weights.
    """
    path = Path(order.folder) / BEST
    if not path.exists():
        raise InputError(
            f"trained weights in {path}",
            "no such file",
            "Run the same finalize command again: it trains what is missing",
        )
    study = Study(**order.study)
    data = open_prepared(Path(order.data_folder))
    model = build_model(order, make_hypermodel(study, data, order.length))
    load_variables(path, model.variables)
    return model


def predict_split(order: Order) -> Outcome:
    """Write the probabilities of `order.split` to `<split>.npy` (float32 or float16).

    Classification: (images, classes). Segmentation: (images, height, width), stored
    as float16, whose error of 5e-4 is far below what a threshold can see.
    """
    study = Study(**order.study)
    path = Path(order.folder) / f"{order.split}.npy"
    if not path.exists():
        model = load_best(order)
        data = open_prepared(Path(order.data_folder))
        images, _ = data.open(order.split, study.task)
        probabilities = np.asarray(model.predict(images, batch_size=64, verbose=0))
        if study.task == "segmentation":
            probabilities = probabilities[..., 0].astype(np.float16)
        write_array(path, probabilities)
    return Outcome(order.order_id, state="COMPLETED")


def forget_models() -> None:
    """Free the graphs of the last order, so that a worker can take the next."""
    import keras

    keras.utils.clear_session(free_memory=False)
    gc.collect()
