"""What lets layers of a network compute in another way than Keras wrote."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any


def replace_calls(
    model: Any,
    calls: Mapping[type, Callable[..., Any]],
    is_usual: Callable[[Any], bool],
) -> None:
    """Replace the calls of layers; subclasses stay as they are.

    `search.training.limits.layers_of_keras` takes them back for a while.

    Args:
        calls: kind of layer -> (layer, inputs, …) -> outputs.
        is_usual: whether a layer of such a kind does what its call computes.
    """
    for layer in model._flatten_layers(include_self=False):
        call = calls.get(type(layer))
        if call is not None and is_usual(layer):
            layer.call = partial(call, layer)
