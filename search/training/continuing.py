"""Train an order from where it stands; where memory runs out, with smaller batches."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from search.orders import Order, Outcome, Report
from search.studies import Study
from search.training.accumulation import IN_HALVES
from search.training.checkpoints import PREVIOUS, Found, Standing, find_checkpoint
from search.training.failures import is_device_full
from search.training.loop import configuration_of, train_epochs
from search.training.pulse import Act, Link, Pulse, at_once, silent
from search.training.stopping import early_stop_message, must_train
from search.training.workbench import WORKBENCH


def train(
    order: Order,
    report: Report,
    is_stopped: Callable[[], bool],
    pulse: Pulse = silent,
    later: Callable[[Act], None] = at_once,
) -> Outcome:
    """Train an order from its last checkpoint to `order.epochs`.

    Args:
        report, is_stopped, pulse, later: as in `Link`.

    Raises:
        NotFiniteError: the loss became NaN or infinite.
        OutOfTimeError: the trial has trained for longer than a trial may.
        StorageError: a checkpoint cannot be written.
    """
    study = Study(**order.study)
    folder = Path(order.folder)
    found = find_checkpoint(folder, configuration_of(order))
    standing, notes = found.standing, list(found.notes)
    if standing.parts > 1:
        notes.append(f"out of device memory in an earlier epoch: batches {IN_HALVES}")
    if must_train(standing, order, study):
        link = Link(report, is_stopped, pulse, later)
        standing, more = train_within_memory(order, study, found, link)
        notes += more
    with contextlib.suppress(OSError):
        (folder / PREVIOUS).unlink(missing_ok=True)
    unfinished = must_train(standing, order, study)
    # A checkpoint may be of a later epoch: the answer is that of the order.
    share = min(1.0, order.epochs / max(1, standing.epochs))
    return Outcome(
        order.order_id,
        state="PAUSED" if unfinished else "COMPLETED",
        message=early_stop_message(standing, order, study),
        history={
            key: values[: order.epochs] for key, values in standing.history.items()
        },
        seconds=standing.seconds * share,
        parameters=standing.parameters,
        measured=standing.measured,
        notes=notes,
    )


def train_within_memory(
    order: Order, study: Study, found: Found, link: Link
) -> tuple[Standing, list[str]]:
    """Train; where the device is too small, once more with each batch in halves.

    Before that comes a try without the networks that are kept for other trials.

    Returns:
        Where the training stands then, and a note of the second try.
    """
    was_alone = WORKBENCH.is_empty()
    try:
        return train_epochs(order, study, found, found.standing.parts, link), []
    except Exception as error:
        if found.standing.parts > 1 or not is_device_full(error):
            raise
    # Outside the handler: its traceback holds on to the model that did not fit.
    WORKBENCH.clear()
    found = find_checkpoint(Path(order.folder), configuration_of(order))
    if not was_alone:
        return train_within_memory(order, study, found, link)
    standing = train_epochs(order, study, found, 2, link)
    return standing, [
        f"out of device memory in epoch {found.standing.epochs + 1}: from there each"
        f" batch of {order.values.get('batch_size', '?')} {IN_HALVES}"
    ]
