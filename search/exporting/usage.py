"""Code for the model card: how its files are used without vision-tuner."""

from collections.abc import Mapping, Sequence
from textwrap import indent

from search.exporting.formats import FORMATS
from search.records import Exported, Task

# The first of these that was exported is shown.
MODELS = ("ensemble", "best_single", "student")

PICTURE = """\
import numpy as np
from PIL import Image

image = Image.open("picture.jpg").convert("RGB")
image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)
images = np.asarray(image, np.float32)[None]
"""

# What runs a file -> its name, and the code.
CODE = {
    "keras": (
        "Keras",
        """\
import keras

answers = keras.saving.load_model("{file}").predict(images)
""",
    ),
    "savedmodel": (
        "TensorFlow",
        """\
import tensorflow as tf

model = tf.saved_model.load("{file}")
answers = model.serve(images).numpy()
""",
    ),
    "onnx": (
        "ONNX Runtime",
        """\
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(answers,) = session.run(None, {{session.get_inputs()[0].name: images}})
""",
    ),
    "litert": (
        "LiteRT",
        """\
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path="{file}")
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
interpreter.invoke()
answers = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
""",
    ),
}

# Where `search.exporting.descriptions` puts its document.
PLACES = {
    "keras": "in the archive that a `.keras` file is",
    "savedmodel": "in `assets.extra/` of a SavedModel",
    "onnx": "among the metadata of an `.onnx` file",
    "litert": "in a zip archive behind a `.tflite` file",
}

ANSWERS = {
    "classification": "probabilities = answers[0]  # of each class\n",
    "segmentation": "mask = answers[0, :, :, 0] >= {threshold:.2f}  # the foreground\n",
}


def usage(
    exported: Sequence[Exported],
    shape: Sequence[int],
    task: Task,
    thresholds: Mapping[str, float],
) -> str:
    """Return Markdown with code for every runtime that runs a file of one model.

    Args:
        shape: (height, width, channels) of the images.
        thresholds: model -> of the foreground.
    """
    models = [item.model for item in exported]
    if not models:
        return "No file passed its check.\n"
    model = next(name for name in MODELS if name in models)
    threshold = thresholds[model]
    first: dict[str, str] = {}
    for item in exported:
        if item.model == model:
            file = item.path.rpartition("/")[2]
            first.setdefault(FORMATS[item.format].runtime, file)
    height, width = shape[:2]
    parts = [indented(PICTURE.format(width=width, height=height))]
    for runtime, file in first.items():
        name, code = CODE[runtime]
        parts += [f"With nothing but {name}:\n", indented(code.format(file=file))]
    parts += [
        "And then, with any of them:\n",
        indented(ANSWERS[task].format(threshold=threshold)),
    ]
    places = ", ".join(PLACES[runtime] for runtime in first)
    parts.append(
        "What the numbers mean (class names, threshold, size of the images) is told by"
        f" `vision_tuner.json`:\n{places}.\n"
    )
    return "\n".join(parts)


def indented(code: str) -> str:
    """Return code as Markdown shows it."""
    return indent(code, "    ")
