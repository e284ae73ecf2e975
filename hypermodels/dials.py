"""What of a built network can be set anew without another graph.

A trial that differs from another in nothing else takes its network as it is, traced and
compiled. A number that is part of a graph becomes a variable here, which is no part of
the network's state: checkpoints hold what they held. On JAX, where variables are
constants of what is compiled, these are arguments of the training step; so processes
that find each other's compilations find those of such trials, too.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from hypermodels.augmented_model import AugmentedModel
from hypermodels.losses import LabelCrossEntropy
from hypermodels.optimizers import Values

Dials = dict[str, Callable[[float], None]]
Variables = list[keras.Variable]


def make_dials(model: AugmentedModel, values: Values) -> Dials:
    """Return knob -> what sets it, for the adjustable knobs this network has.

    To be called before the network is traced. It has no configuration of its training
    that could be saved afterwards.

    Args:
        model: compiled, with an optimizer of `make_optimizer`.
        values: of the knobs it was built with.
    """
    made: Variables = []
    dials = {
        **optimizer_dials(model.optimizer, values, made),
        **dropout_dials(model, made),
        **smoothing_dials(model.loss, made),
    }
    model.dialled = tuple(made)
    return dials


def optimizer_dials(optimizer: Any, values: Values, made: Variables) -> Dials:
    """Return the dials of learning rate and weight decay.

    Args:
        made: the variables behind dials, to be added to.
    """
    prefix = "sgd_" if values["optimizer"] == "sgd" else ""
    dials: Dials = {f"{prefix}learning_rate": optimizer.trial_schedule.set}
    made.append(optimizer.trial_schedule.rate)
    if optimizer.weight_decay is not None:
        decay = variable_of(optimizer.weight_decay, "decay")
        # Past the tracking of variables: this one is no state of the training.
        object.__setattr__(optimizer, "weight_decay", decay)
        dials[f"{prefix}weight_decay"] = decay.assign
        made.append(decay)
    return dials


def dropout_dials(model: keras.Model, made: Variables) -> Dials:
    """Return the dials of what `blocks` drops.

    There are none where another layer draws random numbers: what sets it is not known.

    Args:
        made: as of `optimizer_dials`.
    """
    layers = [layer for layer in model.layers if is_random(layer)]
    if not all(hasattr(layer, "rate_knob") for layer in layers):
        return {}
    rates = {layer.name: variable_of(layer.rate, "rate") for layer in layers}
    made += rates.values()
    for layer in layers:
        layer.call = partial(dropped, layer, rates[layer.name])

    def set_rates(knob: str, value: float) -> None:
        for layer in layers:
            if layer.rate_knob == knob:
                layer.rate = layer.rate_share * value
                rates[layer.name].assign(layer.rate)

    return {knob: partial(set_rates, knob) for knob in {x.rate_knob for x in layers}}


def is_random(layer: Any) -> bool:
    """Return whether a layer draws random numbers."""
    return any("seed_generator_state" in v.path for v in layer.variables)


def dropped(layer: Any, rate: Any, inputs: Any, training: bool = False) -> Any:
    """Compute what `keras.layers.Dropout` does, at a rate that is a variable."""
    if not training:
        return inputs
    ops = keras.ops
    noise_shape = layer.noise_shape or (None,) * len(inputs.shape)
    edges = zip(noise_shape, ops.shape(inputs), strict=True)
    shape = [whole if edge is None else edge for edge, whole in edges]
    # In float32: of the numbers from 0 to 1 bfloat16 has too few.
    kept = keras.random.uniform(shape, dtype="float32", seed=layer.seed_generator)
    scale = ops.cast(1.0 / (1.0 - rate), inputs.dtype)
    return ops.where(kept >= rate, inputs * scale, ops.zeros_like(inputs))


def smoothing_dials(loss: Any, made: Variables) -> Dials:
    """Return the dial of label smoothing, where the loss is ours.

    Args:
        made: as of `optimizer_dials`.
    """
    if not isinstance(loss, LabelCrossEntropy):
        return {}
    loss.smoothing = variable_of(loss.smoothing, "smoothing")
    made.append(loss.smoothing)
    return {"label_smoothing": loss.smoothing.assign}


def variable_of(value: float, name: str) -> keras.Variable:
    # In a layer of mixed precision a variable would else be read in its precision.
    return keras.Variable(
        value, trainable=False, dtype="float32", autocast=False, name=name
    )
