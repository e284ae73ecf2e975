"""Images a second of our epochs, against a bare compiled loop of the same network."""

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bare_loop import images_a_second
from search.datasets import PreparedDataset
from search.orders import Order
from search.studies import Study
from search.training.loop import build_model, make_hypermodel
from search.workers.worker import run_order

MEMORY = Path("/dev/shm")  # a file system of Linux without a disk
ROOM = 2**30  # for checkpoints of 135 MB, and those that replace them


def beside_bare_loop(
    order: Order, study: Study, data: PreparedDataset
) -> dict[str, Any]:
    """Train an order, then its network in a bare loop.

    Ours: from the beginning of the second epoch to that of the last, checkpoints and
    validation (a third the work) included. Once more with checkpoints in memory: what
    that is faster, a disk costs that is slower than an epoch.
    """
    each, inside = seconds_of_an_epoch(order)
    without_disk = None
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            without_disk, _ = seconds_of_an_epoch(replace(order, folder=folder))
    model = build_model(order, make_hypermodel(study, data, order.epochs))
    images, targets = data.open_train(study.task, study.limit_train, study.seed)
    size = order.values["batch_size"]
    batch = images[:size].astype("float32"), targets[:size]
    bare = images_a_second(model, *batch, steps=max(10, 3 * len(images) // size))
    ours = (len(images) + data.sizes["validation"] / 3) / each
    return {
        "seconds an epoch": each,
        "of which training and validation": inside,
        "seconds an epoch, checkpoints in memory": without_disk,
        "ours": ours,
        "bare": bare,
        "ratio": ours / bare,
        "epochs": order.epochs,
        "values": order.values,
    }


def seconds_of_an_epoch(order: Order) -> tuple[float, float]:
    """Return the mean from one epoch to the next, and the median inside them.

    The training begins anew, whatever one that was cut has left; its first epoch, which
    compiles, is left out.
    """
    shutil.rmtree(order.folder, ignore_errors=True)
    begins: list[float] = []
    inside: list[float] = []

    def note(stage: str) -> None:
        if stage == "first step":
            begins.append(time.perf_counter())

    outcome = run_order(
        order, lambda progress: inside.append(progress.seconds), lambda: False, note
    )
    assert outcome.state == "COMPLETED", outcome
    return (begins[-1] - begins[1]) / (len(begins) - 2), median(inside[1:])
