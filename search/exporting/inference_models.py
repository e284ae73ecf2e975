"""The networks that are handed over: plain Keras, with all they need inside.

One functional model of built-in layers and operations: RGB 0–255 in, probabilities out;
members, their weights and the temperature are part of it. `keras.models.load_model`
opens it where vision-tuner is not installed. What the numbers mean (class names, the
threshold of the mask) is added to the file by `search.exporting.descriptions`.
"""

from collections.abc import Sequence
from typing import Any

from search.records import Task
from search.scoring.calibration import EPSILON, PIXEL_EPSILON


def inference_model(
    model: Any, temperature: float = 1.0, task: Task = "classification"
) -> Any:
    """Return the trained network as a plain functional model that shares its weights.

    Augmentation is left out, and every layer is called with `training=False`: without
    it Keras' exporters, and `model(images)`, may run augmentation as in training.

    Args:
        model: functional or sequential; one input of images, one of probabilities.
        temperature: of the probabilities, see `search.scoring.calibration`.
    """
    import keras

    plain = keras.Model(model.inputs[0], model.outputs[0])
    flat = keras.models.clone_model(
        plain,
        clone_function=lambda layer: layer,
        call_function=call_for_inference,
        input_tensors=image_input(plain),
    )
    output = at_temperature(flat.outputs[0], temperature, task)
    return called_once(keras.Model(flat.inputs[0], output, name=model.name))


def ensemble_model(
    models: Sequence[Any], weights: Sequence[float], temperature: float, task: Task
) -> Any:
    """Return the weighted average of trained networks as one functional model.

    A single network stays as it is, not nested in another.

    Args:
        models: trained networks of the same image shape and classes.
        weights: one for each, summing to 1.
        temperature: of the averaged probabilities, see `search.scoring.calibration`.
    """
    import keras

    if len(models) == 1:
        return inference_model(models[0], temperature, task)
    members = [inference_model(model) for model in models]
    check_members(members, weights)
    images = image_input(members[0])
    average = None
    for number, (member, weight) in enumerate(zip(members, weights, strict=True), 1):
        # A nested model keeps its layers' names apart from the other members'.
        member.name = f"member_{number}"
        weighted = member(images, training=False) * float(weight)
        average = weighted if average is None else average + weighted
    average = at_temperature(average, temperature, task)
    return called_once(keras.Model(images, average, name="ensemble"))


def check_members(members: Sequence[Any], weights: Sequence[float]) -> None:
    """Refuse members that cannot be averaged."""
    shapes = {(member.input_shape, member.output_shape) for member in members}
    if len(members) != len(weights) or len(shapes) != 1:
        raise ValueError(
            "Expected members of one image shape and one output shape, and a weight"
            f" for each. Received: {len(weights)} weights for {len(members)} members"
            f" of shapes {sorted(map(str, shapes))}."
        )


def image_input(model: Any) -> Any:
    """Return a new input of images as `model` takes them: float32, RGB 0–255."""
    import keras

    return keras.Input(model.input_shape[1:], dtype="float32", name="image")


def call_for_inference(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a layer or operation as in `predict`; random augmentation is passed over."""
    import keras

    if not isinstance(layer, keras.Layer):
        return layer(*args, **kwargs)
    is_random = type(layer).__name__.startswith("Random")
    if is_random and layer.compute_output_shape(args[0].shape) == args[0].shape:
        return args[0]
    return layer(*args, **kwargs | {"training": False})


def at_temperature(probabilities: Any, temperature: float, task: Task) -> Any:
    """Return probabilities at a temperature as graph operations, in float32.

    The same as `search.scoring.calibration.scaled`.
    """
    import keras

    if probabilities.dtype != "float32":
        probabilities = keras.ops.cast(probabilities, "float32")
    if temperature == 1:
        return probabilities
    if task == "segmentation":
        inside = keras.ops.clip(probabilities, PIXEL_EPSILON, 1 - PIXEL_EPSILON)
        logits = keras.ops.log(inside) - keras.ops.log(1 - inside)
        return keras.ops.sigmoid(logits / float(temperature))
    logits = keras.ops.log(keras.ops.maximum(probabilities, EPSILON))
    return keras.ops.softmax(logits / float(temperature), axis=-1)


def called_once(model: Any) -> Any:
    """Run one image through a new model; Keras exports none that was never called."""
    import numpy as np

    model(np.zeros((1, *model.input_shape[1:]), np.float32), training=False)
    return model
