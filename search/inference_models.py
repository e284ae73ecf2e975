"""The networks that are handed over: plain Keras, with all they need inside.

One functional model of built-in layers and operations: RGB 0–255 in, probabilities out;
members, their weights and the temperature are part of it. `keras.models.load_model`
opens it where vision-tuner is not installed. What the numbers mean (class names, the
threshold of the mask) lies as a small JSON file inside the same .keras archive, which
Keras passes over.
"""

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.evaluation import EPSILON
from search.records import Task

DESCRIPTION_NAME = "vision_tuner.json"


@dataclass(frozen=True)
class Description:
    """What a model's numbers mean.

    Attributes:
        image_shape: (height, width, channels) the network sees.
        threshold: a pixel is foreground from this probability on (segmentation).
        study: the study it comes from.
        model: `ensemble` or `best_single`.
        source: hash of the ensemble record it was made from.
    """

    task: Task
    class_names: list[str]
    image_shape: list[int]
    threshold: float = 0.5
    study: str = ""
    model: str = ""
    source: str = ""


def inference_model(model: Any, temperature: float = 1.0) -> Any:
    """Return the trained network as a plain functional model that shares its weights.

    Augmentation is left out, and every layer is called with `training=False`: without
    it Keras' exporters, and `model(images)`, may run augmentation as in training.

    Args:
        model: functional or sequential; one input of images, one of probabilities.
        temperature: divides the logarithm of class probabilities.
    """
    import keras

    plain = keras.Model(model.inputs[0], model.outputs[0])
    flat = keras.models.clone_model(
        plain,
        clone_function=lambda layer: layer,
        call_function=call_for_inference,
        input_tensors=image_input(plain),
    )
    output = at_temperature(flat.outputs[0], temperature)
    return called_once(keras.Model(flat.inputs[0], output, name=model.name))


def ensemble_model(
    models: Sequence[Any], weights: Sequence[float], temperature: float, task: Task
) -> Any:
    """Return the weighted average of trained networks as one functional model.

    A single network stays as it is, not nested in another.

    Args:
        models: trained networks of the same image shape and classes.
        weights: one for each, summing to 1.
        temperature: divides the logarithm of averaged class probabilities.
    """
    import keras

    if len(models) == 1:
        return inference_model(
            models[0], temperature if task == "classification" else 1.0
        )
    members = [inference_model(model) for model in models]
    check_members(members, weights)
    images = image_input(members[0])
    average = None
    for number, (member, weight) in enumerate(zip(members, weights, strict=True), 1):
        # A nested model keeps its layers' names apart from the other members'.
        member.name = f"member_{number}"
        weighted = member(images, training=False) * float(weight)
        average = weighted if average is None else average + weighted
    if task == "classification":
        average = at_temperature(average, temperature)
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


def at_temperature(probabilities: Any, temperature: float) -> Any:
    """Return softmax(log p / temperature) as graph operations, in float32."""
    import keras

    if probabilities.dtype != "float32":
        probabilities = keras.ops.cast(probabilities, "float32")
    if temperature == 1:
        return probabilities
    logits = keras.ops.log(keras.ops.maximum(probabilities, EPSILON))
    return keras.ops.softmax(logits / float(temperature), axis=-1)


def called_once(model: Any) -> Any:
    """Run one image through a new model; Keras exports none that was never called."""
    import numpy as np

    model(np.zeros((1, *model.input_shape[1:]), np.float32), training=False)
    return model


def embed_description(path: Path, description: Description) -> None:
    """Add the description to a .keras file that has none yet."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(
            DESCRIPTION_NAME,
            json.dumps(dataclasses.asdict(description), ensure_ascii=False, indent=1),
        )


def read_description(path: Path) -> Description | None:
    """Read the description in a .keras file, or None where there is none.

    Raises:
        ValueError: the file is no .keras archive, or the description no longer JSON.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if DESCRIPTION_NAME not in archive.namelist():
                return None
            fields = json.loads(archive.read(DESCRIPTION_NAME))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a .keras archive: {error}") from error
    known = {field.name for field in dataclasses.fields(Description)}
    return Description(**{key: fields[key] for key in fields if key in known})
