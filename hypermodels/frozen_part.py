"""The part of a network that training never changes, split off from the rest.

What a frozen part says of an image is the same in every epoch and in every trial, so it
need be computed once. It is found in the graph, not declared: everything between the
images and the first layer that learns or draws random numbers, skip connections
included. Frozen batch normalisation is in inference mode (Keras does so).
"""

import hashlib
import json
import math
from typing import Any, NamedTuple

import keras
import numpy as np

from hypermodels.augmented_model import AugmentedModel
from hypermodels.cost import forward_flops

RESHAPING = (keras.layers.Flatten, keras.layers.Reshape)
POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


class Parts(NamedTuple):
    """A network in two; both share its layers.

    Attributes:
        frozen: from images to features, a list of one or more.
        head: from these features to the outputs; not compiled. Its trainable variables
            are those of the network, in the same order.
        unpooled: from images to what the features are pooled of, which networks with
            another head may take, or None where nothing is pooled.
        pooling: from there to the features, or None.
    """

    frozen: keras.Model
    head: AugmentedModel
    unpooled: keras.Model | None
    pooling: keras.Model | None

    def predicting(self) -> list[keras.Model]:
        """Return the parts that are never trained."""
        parts = (self.frozen, self.unpooled, self.pooling)
        return [part for part in parts if part is not None]


def split_frozen(model: Any) -> Parts | None:
    """Split a network, or return None where nothing worth computing once is frozen.

    To be called once, after what reads the graph of the network: its layers then
    belong to two graphs.
    """
    if not isinstance(model, AugmentedModel):
        return None
    features = frontier(model)
    if not features:
        return None
    before = unpooled_of(model, features)
    frozen = keras.Model(model.inputs[0], features, name="frozen")
    if not forward_flops(frozen):
        return None
    head = AugmentedModel(
        features, model.outputs[0], rules=model.rules, name=model.name
    )
    head.dialled = model.dialled
    ours, all_of_it = head.trainable_variables, model.trainable_variables
    if [id(v) for v in ours] != [id(v) for v in all_of_it]:
        return None
    if not before:
        return Parts(frozen, head, None, None)
    unpooled = keras.Model(model.inputs[0], before, name="unpooled")
    pooling = keras.Model(before, features, name="pooling")
    return Parts(frozen, head, unpooled, pooling)


def unpooled_of(model: keras.Model, features: list[Any]) -> list[Any]:
    """Return what the features are pooled of, or nothing where one is not pooled."""
    origin = origins(model)
    operations = [origin.get(id(tensor)) for tensor in features]
    if not all(isinstance(operation, POOLING) for operation in operations):
        return []
    inputs = {id(op.input): op.input for op in operations if op is not None}
    return list(inputs.values())


def origins(model: keras.Model) -> dict[int, Any]:
    """Return the operation that makes each tensor, by the tensor's id."""
    return {
        id(tensor): operation
        for operation in model.operations
        for tensor in listed(operation.output)
        if not isinstance(operation, keras.layers.InputLayer)
    }


def frontier(model: keras.Model) -> list[Any]:
    """Return the constant tensors that what changes is computed from."""
    constant = {id(tensor) for tensor in model.inputs}
    origin = origins(model)
    found: dict[int, Any] = {}
    for operation in model.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        inputs, outputs = listed(operation.input), listed(operation.output)
        if is_constant(operation) and all(id(tensor) in constant for tensor in inputs):
            constant |= {id(tensor) for tensor in outputs}
            continue
        edge = [smallest(t, origin) for t in inputs if id(t) in constant]
        found |= {id(tensor): tensor for tensor in edge}
    return list(found.values())


def is_constant(operation: Any) -> bool:
    """Return whether an operation computes the same whenever it is asked."""
    if not isinstance(operation, keras.layers.Layer):
        return True
    draws = any("seed_generator_state" in v.path for v in operation.variables)
    # Without scale and offset it has nothing to train, and looks at its batch.
    is_norm = isinstance(operation, keras.layers.BatchNormalization)
    looks_at_batch = is_norm and operation.trainable
    return not (operation.trainable_variables or draws or looks_at_batch)


def smallest(tensor: Any, origin: dict[int, Any]) -> Any:
    """Return what a tensor is merely enlarged from or another shape of, or itself.

    So networks that differ only in how they go on from there share their features.
    """
    while id(tensor) in origin:
        operation = origin[id(tensor)]
        inputs = listed(operation.input)
        if getattr(operation, "variables", []) or len(inputs) != 1:
            break
        is_reshaped = isinstance(operation, RESHAPING)
        if not is_reshaped and values_in(inputs[0]) >= values_in(tensor):
            break
        tensor = inputs[0]
    return tensor


def listed(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def values_in(tensor: Any) -> int:
    """Return how many numbers a tensor holds for one image."""
    return math.prod(int(edge) for edge in tensor.shape[1:])


def identity_of(frozen: keras.Model) -> str:
    """Return a hash of all that decides what a frozen part computes."""
    digest = hashlib.sha256(keras.backend.backend().encode())
    places: dict[int, int] = {}
    for operation in frozen.operations:
        config = operation.get_config()
        unnamed = {k: v for k, v in config.items() if k not in ("name", "trainable")}
        is_input = isinstance(operation, keras.layers.InputLayer)
        inputs = [] if is_input else listed(operation.input)
        for tensor in listed(operation.output):
            places[id(tensor)] = len(places)
        line = [
            type(operation).__name__,
            unnamed,
            [places.get(id(tensor), -1) for tensor in inputs],
        ]
        digest.update(json.dumps(line, sort_keys=True, default=str).encode())
    digest.update(str([places.get(id(tensor)) for tensor in frozen.outputs]).encode())
    for variable in frozen.variables:
        digest.update(np.ascontiguousarray(variable).tobytes())
    return digest.hexdigest()
