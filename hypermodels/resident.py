"""Batches of data that stay on the device: gathered inside the compiled step (JAX).

Where inputs and targets lie on the device, a step is handed row numbers alone. Nothing
is gathered by the host, nor copied to the device, while the training runs.
"""

from typing import Any, NamedTuple

import keras


class Rows(NamedTuple):
    """A batch as rows of arrays on the device.

    Attributes:
        arrays: inputs and targets; a row is an image.
        rows: integers (batch,).
    """

    arrays: Any
    rows: Any


def gathered(data: Any) -> Any:
    """Return a batch; one that is no `Rows` as it came."""
    if not isinstance(data, Rows):
        return data
    return keras.tree.map_structure(lambda array: array[data.rows], data.arrays)


def build_rest(model: Any, images: Any, targets: Any) -> None:
    """Build what Keras builds of a compiled model at its first batch.

    That is its loss and metrics, and its augmentation, if any; of row numbers, Keras
    could not. Nothing random is drawn.

    Args:
        images, targets: a batch.
    """
    augmentation = model.augmentation
    if augmentation is not None and not augmentation.built:
        batch = (keras.KerasTensor(a.shape, str(a.dtype)) for a in (images, targets))
        augmentation(*batch)
    predicted = keras.ops.zeros((len(targets), *model.output_shape[1:]))
    model.compute_loss(None, targets, predicted)
    model.compute_metrics(None, targets, predicted)
