"""What a trained order says of a split: its best weights, run on all images."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypermodels import HYPERMODELS
from search.datasets import open_prepared
from search.errors import InputError
from search.files import write_rows
from search.orders import Order, Outcome
from search.studies import Study
from search.training.checkpoints import BEST, damage, load_variables
from search.training.loop import build_model, make_hypermodel
from search.training.pulse import Pulse, silent
from search.training.streams import compiles_by_shape, even_size, read
from search.training.tta import averaged_over_views

BATCH_SIZE = 64


def load_best(order: Order) -> Any:
    """Return the trained network of an order, with the weights of its best epoch.

    Those it began with, which these replace, need not be there any more.

    Raises:
        InputError: there are no such weights, or they are damaged.
    """
    path = Path(order.folder) / BEST
    reason = damage(path)
    if reason is not None:
        raise InputError(
            f"trained weights in {path}",
            "no such file" if reason == "missing" else reason,
            "Run the same finalize command again: it trains what is missing",
        )
    study = Study(**order.study)
    if study.hypermodel in HYPERMODELS:  # of one's own the graph may depend on them
        study = replace(study, weights="none")
    data = open_prepared(Path(order.data_folder))
    order = replace(order, job="predict")
    model = build_model(order, make_hypermodel(study, data, order.length))
    load_variables(path, model.variables)
    return model


def predict_split(order: Order, pulse: Pulse = silent) -> Outcome:
    """Write the probabilities of `order.split` to its file (float32 or float16).

    Classification: (images, classes). Segmentation: (images, height, width), stored
    as float16, whose error of 5e-4 is far below what a threshold can see.

    Args:
        pulse: called before each batch: a whole split may take an hour.
    """
    study = Study(**order.study)
    path = prediction_path(order)
    if not path.exists():
        model = load_best(order)
        data = open_prepared(Path(order.data_folder))
        if order.split == "train":  # what was trained on, in the order of its targets
            images, _ = data.train_rows(study.task, study.limit_train, study.seed)
        else:
            images, _ = data.open(order.split, study.task)
        size = BATCH_SIZE
        if compiles_by_shape(model):
            size = even_size(len(images), size)

        def batches() -> Iterator[NDArray[Any]]:
            for start in range(0, len(images), size):
                pulse("predicting")
                seen = read(images, np.arange(start, min(start + size, len(images))))
                mean = averaged_over_views(
                    model.predict_on_batch, seen, order.tta, study.task
                )
                yield mean[..., 0] if study.task == "segmentation" else mean

        dtype = np.float16 if study.task == "segmentation" else np.float32
        write_rows(path, len(images), batches(), dtype)
    return Outcome(order.order_id, state="COMPLETED")


def prediction_path(order: Order) -> Path:
    """Return where the probabilities of an order lie: `<split>[-tta-…].npy`."""
    ending = "-".join(["-tta", *order.tta]) if order.tta else ""
    return Path(order.folder) / f"{order.split}{ending}.npy"
