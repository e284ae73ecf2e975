"""The training step on JAX: what is handed to it, and what stays on the device.

Where inputs and targets lie on the device, a step is handed row numbers alone. Nothing
is gathered by the host, nor copied to the device, while the training runs.
"""

from collections.abc import Sequence
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


def dialled_step(step: Any, variables: Sequence[Any]) -> Any:
    """Compile a step of a Keras model with the values of variables as its arguments.

    Args:
        step: (state, data) -> (logs, state).
        variables: of no state.

    Returns:
        (state, iterator) -> (logs, state).
    """
    import jax

    def traced(state: Any, data: Any, values: Any) -> Any:
        before = [variable._value for variable in variables]
        set_values(variables, values)
        try:
            return step(state, data)
        finally:
            set_values(variables, before)

    compiled = jax.jit(traced, donate_argnums=0)

    def iterate(state: Any, iterator: Any) -> Any:
        values = [variable._value for variable in variables]
        return compiled(state, next(iterator), values)

    return iterate


def set_values(variables: Any, values: Any) -> None:
    """Let variables of Keras hold these arrays, tracers included."""
    for variable, value in zip(variables, values, strict=True):
        variable._value = value


def build(layer: Any, *inputs: Any) -> None:
    """Build a layer for arrays like these, unless it is built."""
    if not layer.built:
        layer(*(keras.KerasTensor(a.shape, str(a.dtype)) for a in inputs))


def made_by(layer: Any, *inputs: Any) -> Any:
    """Return what a layer without weights makes of arrays, in one compiled call.

    Its random state stays as it is.
    """
    import jax

    def make(state: Any, *arrays: Any) -> Any:
        made, _ = layer.stateless_call([], state, *arrays)
        return made

    build(layer, *inputs)
    state = [variable.value for variable in layer.non_trainable_variables]
    return jax.jit(make)(state, *inputs)


def build_rest(model: Any, images: Any, targets: Any) -> None:
    """Build what Keras builds of a compiled model at its first batch.

    That is its loss and metrics, and its augmentation, if any; of row numbers, Keras
    could not. Nothing random is drawn.

    Args:
        images, targets: a batch.
    """
    if model.augmentation is not None:
        build(model.augmentation, images, targets)
    predicted = keras.ops.zeros((len(targets), *model.output_shape[1:]))
    model.compute_loss(None, targets, predicted)
    model.compute_metrics(None, targets, predicted)
