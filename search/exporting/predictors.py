"""Exported models of any format as one thing that maps images to probabilities."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError, first_line
from search.exporting.descriptions import Description, read_description
from search.exporting.export_check import RUNNERS
from search.files import file_hash
from search.machine.backend import load_keras
from search.paths import studies_in

Array = NDArray[Any]

# How a model's path ends -> what runs it, and the package that needs.
RUNTIMES = {
    ".keras": ("keras", "keras"),
    ".onnx": ("onnx", "onnxruntime"),
    ".tflite": ("litert", "ai_edge_litert"),
    "_savedmodel": ("savedmodel", "tensorflow"),
}
MODELS = "a .keras, .onnx or .tflite file, or the folder of a SavedModel"


@dataclass(frozen=True)
class Predictor:
    """A loaded model and what its numbers mean.

    Attributes:
        run: (images, height, width, channels) float32 0–255 -> the model's output.
    """

    run: Callable[[Array], Any]
    about: Description

    def probabilities(self, images: Array) -> Array:
        """Return (images, classes), or (images, height, width) of the foreground.

        Raises:
            InputError: an answer is not finite.
        """
        outputs = np.asarray(self.run(images.astype(np.float32)), np.float32)
        if not np.isfinite(outputs).all():
            raise InputError(
                "a model that answers with probabilities",
                "one that answers with NaN or infinity",
                "Train or export it again",
            )
        if self.about.task == "segmentation":
            return outputs[..., 0]
        if outputs.shape[1] == 1:  # one sigmoid: the probability of the second class
            return np.concatenate([1 - outputs, outputs], axis=1)
        return outputs


def resolve_model(model: str, results_dir: Path) -> Path:
    """Return the model file a user means: a path, or the name of a study.

    Of a study its ensemble, in the first of the formats above that is there.

    Raises:
        InputError: it is neither, or the study was not exported since its ensemble was
            made.
    """
    if ending_of(Path(model)) or Path(model).is_file():
        return Path(model)
    searched = studies_in(results_dir)
    exported = {
        name: found for name in searched if (found := models_of(results_dir, name))
    }
    if model in exported:
        refuse_outdated(exported[model][0], results_dir / model / "ensemble.json")
        return exported[model][0]
    if model in searched:
        raise InputError(
            f"an exported model of {model}",
            f"no {results_dir / model / 'export' / 'ensemble.keras'}",
            f"Run `vision-tuner export {model}` first",
        )
    raise InputError(
        f"{MODELS}, or an exported study in {results_dir}/"
        f" ({', '.join(exported) or 'none yet'})",
        repr(model),
        "Check the path, or run `vision-tuner export NAME` first",
    )


def refuse_outdated(model: Path, ensemble: Path) -> None:
    """Raise InputError where a study's ensemble is another than the exported one."""
    check_model_file(model)
    about = described(model)
    if about is None or not about.source or not ensemble.exists():
        return
    if about.source != file_hash(ensemble):
        name = ensemble.parent.name
        raise InputError(
            f"{model} made of the ensemble on record",
            "one made of an earlier one",
            f"Run `vision-tuner export {name}`, or pass the path of the file",
        )


def models_of(results_dir: Path, name: str) -> list[Path]:
    """Return the exported ensemble of a study in every format that can be run."""
    folder = results_dir / name / "export"
    paths = [folder / f"ensemble{ending}" for ending in RUNTIMES]
    return [path for path in paths if ending_of(path)]


def ending_of(path: Path) -> str | None:
    """Return the key of `RUNTIMES` for a path, or None where it is no model."""
    if (path / "saved_model.pb").is_file():
        return "_savedmodel"
    return path.suffix if path.suffix in RUNTIMES and path.is_file() else None


def check_model_file(path: Path) -> None:
    """Raise InputError where a path cannot be a model, before its runtime starts."""
    ending = ending_of(path)
    if ending is None:
        raise InputError(
            MODELS,
            f"{path}" if path.exists() else f"{path}, which does not exist",
            "Check the path, or pass the name of an exported study",
        )
    package = RUNTIMES[ending][1]
    if not importlib.util.find_spec(package):
        raise InputError(
            f"the package that runs {path.name}",
            f"no {package}",
            f"Install it: pip install {package}",
        )
    described(path)


def described(path: Path) -> Description | None:
    """Return the description inside a model file.

    Raises:
        InputError: the file is not a model, or is damaged.
    """
    try:
        return read_description(path)
    except Exception as error:
        # Runtimes raise classes of their own for a damaged file.
        raise unusable(path, error) from error


def unusable(path: Path, error: Exception) -> InputError:
    """Return the error of a model file that cannot be used."""
    return InputError(f"a whole model in {path}", first_line(error), "Export it again")


def load_predictor(path: Path) -> Predictor:
    """Load a model; a .keras file without a description is read by its shapes.

    Raises:
        InputError: it cannot be loaded, or does not map images to probabilities.
    """
    ending = ending_of(path)
    if ending is None or ending == ".keras":
        return load_keras_predictor(path)
    about = described(path)
    if about is None:
        raise InputError(
            "a model that says what its numbers mean",
            f"{path} without a description",
            "Use a model of `vision-tuner export`",
        )
    try:
        return Predictor(RUNNERS[RUNTIMES[ending][0]](str(path)), about)
    except Exception as error:
        # As above.
        raise unusable(path, error) from error


def load_keras_predictor(path: Path) -> Predictor:
    """Load a .keras model."""
    load_keras()
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:
        # Keras raises whatever the damaged part caused.
        raise unusable(path, error) from error
    about = described(path) or guessed(model)
    if about is None:
        raise InputError(
            "a model of one (height, width, 3 or 1) image and class probabilities or"
            " one mask",
            f"{path} with input {model.input_shape} and output {model.output_shape}",
            "Use a model of `vision-tuner export`",
        )
    return Predictor(model.predict_on_batch, about)


def guessed(model: Any) -> Description | None:
    """Describe a model by its shapes alone: classes are numbers then."""
    source, result = model.input_shape, model.output_shape
    if not (isinstance(source, tuple) and isinstance(result, tuple)):
        return None
    if len(source) != 4 or None in source[1:] or source[3] not in (1, 3):
        return None
    if len(result) == 2:
        classes = max(2, result[1])
        names = [str(number) for number in range(classes)]
        return Description("classification", names, list(source[1:]))
    if len(result) == 4 and result[3] == 1:
        return Description(
            "segmentation", ["background", "foreground"], list(source[1:])
        )
    return None
